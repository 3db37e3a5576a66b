"""MATLAB's bicubic interpolation as networks without parameters: the weakest baseline."""

from torch import Tensor, nn

from aesop.registry import ARCHS
from aesop.utils.imresize import imresize


@ARCHS.register()
class Bicubic(nn.Module):
    """(N, C, h, w) -> (N, C, scale * h, scale * w), so that test.py evaluates bicubic upsampling like a network."""

    def __init__(self, scale: int = 4) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return imresize(x, self.scale)
