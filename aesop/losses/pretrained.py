"""L_AESOP for any training loop: `from aesop import AESOPLoss`. Independent of this project's trainer."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aesop.archs.pretrained import from_pretrained
from aesop.errors import UserError
from aesop.losses.aesop import aesop_loss
from aesop.losses.pixel import CRITERIA, Criterion, Reduction, choose

DEFAULT = 'aesop_ae_x4'


def parameters_to_buffers(net: nn.Module) -> nn.Module:
    """`net` with its parameters and buffers replaced by non-persistent buffers.

    They move with `.to()` but are ignored by optimisers and checkpoints. DistributedDataParallel finds no gradient to
    reduce; it copies buffers from rank 0 in every forward pass unless it is told `broadcast_buffers=False`.
    """
    for module in net.modules():
        for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            delattr(module, name)
            module.register_buffer(name, tensor.detach(), persistent=False)
    return net


class AESOPLoss(nn.Module):
    """L_AESOP (Lee et al., CVPR 2025, Eq. 8): loss_weight * || AE(sr) - AE(gt) ||_1, with a frozen auto-encoder AE.

    Replaces the pixel loss of a GAN-trained restoration network. Any scale works: the loss compares images of the
    output's size.

    - Images are RGB in [0, 1]. Nothing is clamped: `sr` may overshoot during training, but convert images in another
      range, e.g. [-1, 1], first (`(x + 1) / 2`); the auto-encoder was trained on [0, 1].
    - Only `sr` receives gradients. The auto-encoder is constant: `parameters()` and `state_dict()` of this loss are
      empty, so checkpoints of a module that contains the loss do not contain the auto-encoder.
    - The auto-encoder computes in its own dtype (float32 unless changed with `.to(dtype)`), whatever the images' dtype
      and also under `torch.autocast`: bfloat16 would round away the difference of two similar images.

    Args:
        autoencoder: image to image, (N, 3, H, W) -> the same shape; `from_pretrained` loads one from a file.
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
        self.autoencoder = parameters_to_buffers(autoencoder.eval())

    @classmethod
    def from_pretrained(
        cls,
        weights: str | Path = DEFAULT,
        architecture: dict[str, Any] | None = None,
        key: str = 'params',
        **arguments: Any,
    ) -> 'AESOPLoss':
        """Creates the loss with an auto-encoder loaded from a file.

        Args:
            weights: a path, a name, or `hf://owner/repository[@revision][/file]`; default: the auto-encoder shipped
                with the package, trained for bicubic x4.
            architecture: its block `{'type': 'AutoEncoder_RRDBNet', ...}`, if it can be inferred neither from the
                header of the file nor from its tensors.
            key: entry of a `.pth` file.
            arguments: `loss_weight`, `criterion`, `reduction`.

        Raises:
            UserError: file not found, or it does not contain an auto-encoder.
        """
        autoencoder = from_pretrained(weights, architecture, key)
        if not hasattr(autoencoder, 'encoder'):
            raise UserError(f'{weights} contains a {type(autoencoder).__name__}, but L_AESOP needs an auto-encoder')
        return cls(autoencoder, **arguments)

    def train(self, mode: bool = True) -> 'AESOPLoss':
        return super().train(False)  # a frozen network has no training mode

    def forward(self, sr: Tensor, gt: Tensor) -> Tensor:
        """`sr`, `gt`: RGB (N, 3, H, W) in [0, 1], of equal size. Sides that are not multiples of the AE's scale
        are reflection-padded at the right and bottom, and cropped afterwards.

        Raises:
            UserError: other shapes.
        """
        if sr.shape != gt.shape or sr.ndim != 4 or sr.shape[1] != 3:
            raise UserError(
                f'AESOPLoss: expected RGB (N, 3, H, W) of one size, got {tuple(sr.shape)} and {tuple(gt.shape)}'
            )
        dtype = next(self.autoencoder.buffers()).dtype
        with torch.autocast(sr.device.type, enabled=False):
            return aesop_loss(self.autoencoder, sr.to(dtype), gt.detach().to(dtype), self.criterion)

    def extra_repr(self) -> str:
        return f'scale={getattr(self.autoencoder, "scale", None)}'
