"""Spectral normalisation (Miyato et al., ICLR 2018) under published names: weight_orig, weight_u, weight_v."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aesop.archs.layers import in_fp32


class SpectralConv2d(nn.Conv2d):
    """A convolution whose weight is divided by its largest singular value, estimated by one power iteration per pass.

    In training each forward pass refines the singular vectors `weight_u` and `weight_v`. They stay in fp32 under
    autocast: rounded vectors would not converge.
    """

    weight_orig: Tensor
    weight_u: Tensor
    weight_v: Tensor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        weight = self.weight
        del self.weight
        self.weight_orig = weight
        rows, columns = weight.flatten(1).shape
        self.register_buffer('weight_u', F.normalize(weight.new_empty(rows).normal_(), dim=0, eps=1e-12))
        self.register_buffer('weight_v', F.normalize(weight.new_empty(columns).normal_(), dim=0, eps=1e-12))

    def normalised(self) -> Tensor:
        """The weight divided by the current estimate of its largest singular value."""
        u, v = (
            self.weight_u.clone(),
            self.weight_v.clone(),
        )  # a later forward pass may update them before this one's backward
        return self.weight_orig / torch.dot(u, torch.mv(self.weight_orig.flatten(1), v))

    def forward(self, input: Tensor) -> Tensor:
        with in_fp32(input):
            if self.training:
                with torch.no_grad():
                    matrix = self.weight_orig.flatten(1)
                    self.weight_v.copy_(F.normalize(torch.mv(matrix.t(), self.weight_u), dim=0, eps=1e-12))
                    self.weight_u.copy_(F.normalize(torch.mv(matrix, self.weight_v), dim=0, eps=1e-12))
            weight = self.normalised()
        return F.conv2d(input, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
