"""The discriminator of RefVAE: one PatchGAN applied to the image at several sizes."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aesop.errors import UserError
from aesop.registry import ARCHS


@ARCHS.register('discriminator_v2')
class MultiScaleDiscriminator(nn.Module):
    """(N, num_in_ch, h, w) -> `logits` (N, L) of all patches of all scales, `features`: a list of activations by scale.

    The same network is applied at full size, half, a quarter, ... (max pooling); the receptive field is 40x40 pixels at
    each scale. A 256x256 image has 32^2 + 16^2 + 8^2 = 1344 logits, so each scale is weighted by its size.

    Args:
        num_feat: channels of the first layer; each of the three downsamplings doubles them.
        num_scales: number of image sizes.
    """

    def __init__(self, num_in_ch: int = 3, num_feat: int = 32, num_scales: int = 3) -> None:
        super().__init__()
        self.num_scales = num_scales
        self.input_conv = nn.Conv2d(num_in_ch, num_feat, 3, padding=1)
        self.conv1 = nn.Conv2d(num_feat, 2 * num_feat, 4, stride=2, padding=1)
        self.conv2 = nn.Conv2d(2 * num_feat, 4 * num_feat, 4, stride=2, padding=1)
        self.conv3 = nn.Conv2d(4 * num_feat, 8 * num_feat, 4, stride=2, padding=1)
        self.weight = nn.Conv2d(8 * num_feat, 1, 3, padding=1)
        for conv in self.children():
            if isinstance(conv, nn.Conv2d) and conv.bias is not None:
                nn.init.normal_(conv.weight, std=0.02)
                nn.init.zeros_(conv.bias)
                # The others are removed by the normalisation: their gradients are rounding noise.
                conv.bias.requires_grad_(conv in (self.input_conv, self.weight))

    def forward(self, x: Tensor) -> dict[str, Tensor | list[list[Tensor]]]:
        height, width = (-(-side // 2 ** (self.num_scales - 1)) // 8 for side in x.shape[-2:])
        if height * width < 2:  # instance normalisation of a single logit would leave nothing
            raise UserError(
                f'MultiScaleDiscriminator: an image of {x.shape[-1]}x{x.shape[-2]} pixels is too small for '
                f'{self.num_scales} scales: set gt_size to {2 ** (self.num_scales + 3)} or more, or lower num_scales'
            )
        logits, features = [], []
        for scale in range(self.num_scales):
            if scale:
                x = F.max_pool2d(x, 3, stride=2, padding=1)
            activations = [F.leaky_relu(self.input_conv(x), 0.2)]
            for conv in (self.conv1, self.conv2, self.conv3):
                activations.append(F.leaky_relu(F.instance_norm(conv(activations[-1])), 0.2))
            features.append(activations)
            logits.append(self.weight(activations[-1]).flatten(1))
        return {'logits': torch.cat(logits, dim=1), 'features': features}
