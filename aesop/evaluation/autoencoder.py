"""Assesses whether an auto-encoder is good enough for L_AESOP; logged after each of its validations."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from aesop.metrics.psnr_ssim import PSNR
from aesop.utils.imresize import imresize

GAIN = 1.0  # minimum PSNR gain (dB) of AE(gt) over bicubic upsampling of lq; below it, AE is little more than a blur
DISTANCE = 3.0  # maximum difference between bottleneck and lq, in levels of 255, unless downsampled gt differs more
IMAGES = 16  # maximum number of images to measure


@dataclass(frozen=True)
class AutoEncoderQuality:
    """Means over images.

    Attributes:
        images: number of images.
        psnr: PSNR (dB) of AE(gt) against gt, on Y with `scale` pixels of border cropped.
        bicubic: the same for bicubic upsampling of lq.
        bottleneck: mean absolute difference between Enc(gt) and lq, in levels of 255.
        downsampling: the same for bicubic downsampling of gt, i.e. a fixed encoder.
    """

    images: int
    psnr: float
    bicubic: float
    bottleneck: float
    downsampling: float

    @property
    def problems(self) -> list[str]:
        """Reasons why the auto-encoder is not good enough for L_AESOP, with remedies; empty if it is."""
        problems = []
        if self.psnr < self.bicubic + GAIN:
            problems.append(
                f'AE(gt) should be at least {GAIN:g} dB above bicubic: train longer, or use a larger network'
            )
        if self.bottleneck > max(DISTANCE, self.downsampling):
            problems.append(
                f'the bottleneck should be within {max(DISTANCE, self.downsampling):.1f} levels of lq: raise the '
                'weight of train.pixel_at_LR_opt, or train longer'
            )
        return problems

    def __str__(self) -> str:
        verdict = '; '.join(self.problems) or 'good enough for L_AESOP'
        return (
            f'auto-encoder on {self.images} images: AE(gt) {self.psnr:.2f} dB, bicubic upsampling of lq '
            f'{self.bicubic:.2f} dB; bottleneck {self.bottleneck:.2f} of 255 levels from lq, downsampled gt '
            f'{self.downsampling:.2f}: {verdict}'
        )


@torch.inference_mode()
def autoencoder_quality(
    ae: Any,
    samples: Sequence[Mapping[str, Any]],
    device: torch.device | str = 'cpu',
    call: Callable[..., Any] = nn.Module.__call__,
) -> AutoEncoderQuality | None:
    """Measures an auto-encoder on pairs `lq` (3, h, w) and `gt` (3, scale * h, scale * w) in [0, 1].

    Args:
        ae: an auto-encoder on `device` with a `scale`; called with `also=('lr',)`, it returns its output as `sr` and
            its bottleneck as `lr`, as `AutoEncoder` does.
        samples: a dataset; at most `IMAGES` evenly spaced samples are used.
        call: called as `call(ae, gt, also=('lr',))`; e.g. to run in another precision than that of the weights.

    Returns:
        None if the samples have no `lq` or no `gt`.
    """
    indices = range(0, len(samples), max(1, -(-len(samples) // IMAGES)))
    measured: list[Tensor] = []
    training = ae.training
    ae.eval()
    psnr = PSNR(crop_border=ae.scale, test_y_channel=True)
    for sample in (samples[index] for index in indices):
        if 'lq' not in sample or 'gt' not in sample:
            return None
        lq, gt = (sample[key][None].to(device) for key in ('lq', 'gt'))
        outputs = call(ae, gt, also=('lr',))
        values = [psnr(outputs['sr'], gt), psnr(imresize(lq, ae.scale), gt)]
        values += [255 * (x - lq).abs().mean()[None] for x in (outputs['lr'], imresize(gt, 1 / ae.scale))]
        measured.append(torch.cat([value.double().cpu() for value in values]))
    ae.train(training)
    return AutoEncoderQuality(len(measured), *torch.stack(measured).mean(0).tolist()) if measured else None
