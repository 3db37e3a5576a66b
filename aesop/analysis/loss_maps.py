"""Where L_pix and L_AESOP punish an image (the paper's Figure 3)."""

import torch
from torch import Tensor, nn


@torch.inference_mode()
def loss_maps(ae: nn.Module, sr: Tensor, gt: Tensor) -> tuple[Tensor, Tensor]:
    """Per-pixel |sr - gt| and |AE(sr) - AE(gt)|, each (N, 1, H, W), the mean over the colours.

    Args:
        ae: the pretrained auto-encoder, in eval mode.
        sr, gt: (N, 3, H, W), RGB in [0, 1].
    """
    pixel = (sr - gt).abs()
    auto_encoded = (ae(sr) - ae(gt)).abs()
    return pixel.mean(1, keepdim=True), auto_encoded.mean(1, keepdim=True)
