"""AE-PSNR: fidelity in the space that AESOP supervises, which ignores texture that no network can predict."""

from typing import Any

import torch
from torch import Tensor

from aesop.losses.aesop import WeightsBlock, build_frozen_autoencoder
from aesop.metrics.metric import Metric, weights_sha256
from aesop.metrics.psnr_ssim import psnr
from aesop.registry import METRICS, NetworkBlock


@METRICS.register('calculate_aepsnr_pytorch')
class AEPSNR(Metric):
    """PSNR in dB between AE(sr) and AE(gt): images are quantised before AE, cropped and converted to luma after it.

    Args:
        autoencoder_arch, autoencoder_load: as in `aesop.losses.aesop.AutoEncoderLoss`.
        test_y_channel, common: arguments of `Metric`.
    """

    value_range = 'dB, up to infinity'
    how = 'PSNR between AE(sr) and AE(gt): quantise, auto-encode, crop'

    def __init__(
        self,
        autoencoder_arch: NetworkBlock,
        autoencoder_load: WeightsBlock | None = None,
        test_y_channel: bool = True,
        **common: Any,
    ) -> None:
        super().__init__(test_y_channel=test_y_channel, **common)
        ae = build_frozen_autoencoder(autoencoder_arch, autoencoder_load)
        self.ae = ae.to(memory_format=torch.channels_last)  # convolutions need no reordered copies
        self.details = {
            'quantisation': '8 bit, before the auto-encoder',
            'autoencoder': autoencoder_arch['type'],
            'autoencoder_sha256': weights_sha256(self.ae),
        }

    def score(self, sr: Tensor, gt: Tensor) -> Tensor:
        self.crop(sr, gt)  # reports mismatched sizes before the network does
        return psnr(*self.prepare(self.ae(sr), self.ae(gt)))
