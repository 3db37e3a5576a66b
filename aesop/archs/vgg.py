"""Features of a pretrained VGG (Simonyan and Zisserman, ICLR 2015), the space of the perceptual loss."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aesop.archs.backbones import backbone_state_dict
from aesop.errors import UserError
from aesop.registry import did_you_mean
from aesop.utils.shapes import shapes_only

CONVS_PER_BLOCK = {'vgg16': (2, 2, 3, 3, 3), 'vgg19': (2, 2, 4, 4, 4)}
CHANNELS = (64, 128, 256, 512, 512)


def layer_order(vgg_type: str) -> list[str]:
    """conv1_1, relu1_1, conv1_2, relu1_2, pool1, conv2_1, ...: name i is torchvision's `features.i`."""
    order = []
    for block, convs in enumerate(CONVS_PER_BLOCK[vgg_type], 1):
        order += [f'{kind}{block}_{conv}' for conv in range(1, convs + 1) for kind in ('conv', 'relu')]
        order.append(f'pool{block}')
    return order


class VGGFeatures(nn.Module):
    """(N, 3, h, w) RGB -> {name: feature}; frozen, always in eval mode, and truncated after the deepest layer needed.

    Gradients flow to the input but not to the weights.

    Args:
        layer_names: layers to return: convK_J is taken before its ReLU, reluK_J after it, poolK after the pooling.
        vgg_type: vgg19 or vgg16.
        use_input_norm: the input is in [0, 1] and is normalised with ImageNet's mean and standard deviation.
        range_norm: the input is in [-1, 1] and is mapped to [0, 1] first.
        weights: see `backbone_state_dict`. A file may contain an initial 1x1 convolution (`vgg_r41.pth` does), which
            then replaces the normalisation.
        padding_mode: of the convolutions: zeros, as in training, or reflect, as in style transfer.
        width: channels of the first block; VGG has 64, other widths need matching weights.

    Attributes:
        plain: do not apply ReLUs in place; see `aesop.archs.layers.use_plain`.
    """

    plain = False
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        layer_names: list[str],
        vgg_type: str = 'vgg19',
        use_input_norm: bool = True,
        range_norm: bool = False,
        weights: str | None = 'imagenet',
        padding_mode: str = 'zeros',
        width: int = 64,
    ) -> None:
        super().__init__()
        if vgg_type not in CONVS_PER_BLOCK:
            raise UserError(f'vgg_type must be {" or ".join(CONVS_PER_BLOCK)}, not {vgg_type!r}')
        order = layer_order(vgg_type)
        unknown = [name for name in layer_names if name not in order]
        if unknown:
            raise UserError(f'{vgg_type} has no layer "{name}".{did_you_mean(name, order)}' for name in unknown)
        if not layer_names:
            raise UserError(f'no layer of {vgg_type} given: name at least one, e.g. conv5_4')
        self.layer_names = list(layer_names)
        self.use_input_norm, self.range_norm = use_input_norm, range_norm
        self.order = order[: 1 + max(map(order.index, layer_names))]

        state = {} if shapes_only() else backbone_state_dict(vgg_type, weights)
        self.convs = nn.ModuleDict()
        channels = 3
        for index, name in enumerate(self.order):
            if name.startswith('conv'):
                out_channels = CHANNELS[int(name[4]) - 1] * width // CHANNELS[0]
                conv = nn.utils.skip_init(
                    nn.Conv2d,
                    channels,
                    out_channels,
                    3,
                    padding=1,
                    padding_mode=padding_mode,
                    device='meta' if shapes_only() else 'cpu',
                )
                self.convs[name] = conv
                channels = out_channels
                if shapes_only():
                    continue
                tensors = {kind: state.get(f'features.{index}.{kind}') for kind in ('weight', 'bias')}
                if tensors['bias'] is None or getattr(tensors['weight'], 'shape', None) != conv.weight.shape:
                    raise UserError(
                        f'the weights "{weights}" are not those of {vgg_type}: features.{index} is missing or differs'
                    )
                conv.load_state_dict(tensors)
        self.first = None
        if 'input.weight' in state:
            self.first = nn.Conv2d(3, 3, 1)
            self.first.load_state_dict({kind: state[f'input.{kind}'] for kind in ('weight', 'bias')})
        of = 'with its own first convolution, as vgg_r41.pth' if self.first else "torchvision's, ImageNet normalisation"
        self.source = f'{vgg_type}, {weights} ({of})'
        self.register_buffer('mean', torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> 'VGGFeatures':
        """Stays in eval mode: the network is frozen."""
        return super().train(False)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        if self.range_norm:
            x = (x + 1) / 2
        if self.first is not None:
            x = self.first(x)
        elif self.use_input_norm:
            x = (x - self.mean) / self.std
        features = {}
        for before, name in zip(['', *self.order], self.order):
            if name.startswith('conv'):
                x = self.convs[name](x)
            elif name.startswith('relu'):
                x = F.relu(x, inplace=before not in self.layer_names and not self.plain)
            else:
                x = F.max_pool2d(x, 2)
            if name in self.layer_names:
                features[name] = x
        return features
