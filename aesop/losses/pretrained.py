"""L_AESOP for any training loop: `from aesop import AESOPLoss`. Nothing of this project's trainer is imported."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aesop.archs.pretrained import from_pretrained
from aesop.errors import UserError
from aesop.losses.aesop import aesop_loss
from aesop.losses.pixel import CRITERIA, Criterion, Reduction, choose

DEFAULT = 'aesop_ae_x4'


def as_constants(net: nn.Module) -> nn.Module:
    """`net` with buffers in place of its parameters, none of which is in its state dict.

    They move with `.to()`, but no optimiser, checkpoint or DistributedDataParallel sees them.
    """
    for module in net.modules():
        for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            delattr(module, name)
            module.register_buffer(name, tensor.detach(), persistent=False)
    return net


class AESOPLoss(nn.Module):
    """L_AESOP (Lee et al., CVPR 2025, Eq. 8): loss_weight * || AE(sr) - AE(gt) ||_1, with a frozen auto-encoder AE.

    Add it to the losses of a GAN-trained restoration network in place of its pixel loss. The scale of that network does
    not matter: the loss compares images of the output's size.

    - Images are RGB in [0, 1]. Nothing is clamped: `sr` may overshoot during training, but images in another range,
      e.g. [-1, 1], have to be brought to it first (`(x + 1) / 2`), else the auto-encoder sees what it never saw.
    - Gradient reaches `sr` alone. The auto-encoder is constant: `parameters()` and `state_dict()` of this loss are
      empty, so a checkpoint of a module that holds it does not hold the auto-encoder.
    - The auto-encoder computes in its own type, float32 unless `.to(dtype)` says otherwise, whatever the images' type
      and within `torch.autocast`: in bfloat16 the difference of two similar images is lost in rounding.

    Args:
        autoencoder: image to image, (N, 3, H, W) -> the same shape; `from_pretrained` makes one of a file.
        loss_weight: factor of the loss (1 in the paper).
        criterion: 'l1' (the paper's), 'l2' (= 'mse') or 'charbonnier'.
        reduction: 'mean', 'sum' or 'none'.

    Example:
        >>> aesop = AESOPLoss.from_pretrained().to(device)
        >>> loss = aesop(net(lq), gt) + perceptual + adversarial
    """

    def __init__(
        self,
        autoencoder: nn.Module,
        loss_weight: float = 1.0,
        criterion: Criterion = 'l1',
        reduction: Reduction = 'mean',
    ) -> None:
        super().__init__()
        self.criterion = choose('criterion', criterion, CRITERIA)(loss_weight, reduction)
        self.autoencoder = as_constants(autoencoder.eval())

    @classmethod
    def from_pretrained(
        cls,
        weights: str | Path = DEFAULT,
        architecture: dict[str, Any] | None = None,
        key: str = 'params',
        **arguments: Any,
    ) -> 'AESOPLoss':
        """The loss with the auto-encoder that a file holds.

        Args:
            weights: a path, a name, or `hf://owner/repository[@revision][/file]`; default: the auto-encoder that comes
                with the package, trained for bicubic x4.
            architecture: its block `{'type': 'AutoEncoder_RRDBNet', ...}`, where neither the header of the file nor its
                tensors tell it.
            key: entry of a `.pth` file.
            arguments: `loss_weight`, `criterion`, `reduction`.

        Raises:
            UserError: there is no such file, or it holds no auto-encoder.
        """
        autoencoder = from_pretrained(weights, architecture, key)
        if not hasattr(autoencoder, 'encoder'):
            raise UserError(f'{weights} holds a {type(autoencoder).__name__}, and L_AESOP needs an auto-encoder')
        return cls(autoencoder, **arguments)

    def train(self, mode: bool = True) -> 'AESOPLoss':
        return super().train(False)  # a frozen network has no training mode

    def forward(self, sr: Tensor, gt: Tensor) -> Tensor:
        """`sr`, `gt`: RGB (N, 3, H, W) in [0, 1], of one size. Sides that the auto-encoder's scale does not divide are
        reflected at the right and the bottom before it, and cropped after it.

        Raises:
            UserError: other shapes.
        """
        if sr.shape != gt.shape or sr.ndim != 4 or sr.shape[1] != 3:
            raise UserError(
                f'AESOPLoss compares RGB images (N, 3, H, W) of one size, not {tuple(sr.shape)} with {tuple(gt.shape)}'
            )
        dtype = next(self.autoencoder.buffers()).dtype
        with torch.autocast(sr.device.type, enabled=False):
            return aesop_loss(self.autoencoder, sr.to(dtype), gt.detach().to(dtype), self.criterion)

    def extra_repr(self) -> str:
        return f'scale={getattr(self.autoencoder, "scale", None)}'
