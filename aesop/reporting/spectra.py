"""Spectra of auto-encoded and low-pass filtered images (the paper's Figures 6 and 19)."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from aesop.reporting.autoencoder import auto_encode
from aesop.reporting.figures import COLUMN, drawing, look, write_csv, write_figure
from aesop.utils.images import to_y
from aesop.utils.imresize import imresize

FLOOR = 1e-6  # added to magnitudes to keep their logarithms finite


def low_pass(image: Tensor, scale: int) -> Tensor:
    """Bicubic downsampling by `scale` and upsampling of (..., C, H, W), as in MATLAB; H, W are multiples of `scale`."""
    return imresize(imresize(image, 1 / scale), scale)


def log_spectrum(image: Tensor) -> Tensor:
    """log10 of the magnitude (H, W) of the Fourier transform of a (3, H, W) image's luma, with zero frequency centred.

    The transform is orthonormal. A Hann window suppresses the cross caused by discontinuities at the border.
    """
    luma = to_y(image.double())[0]
    window = torch.hann_window(luma.shape[0])[:, None] * torch.hann_window(luma.shape[1])
    magnitude = torch.fft.fftshift(torch.fft.fft2((luma - luma.mean()) * window, norm='ortho')).abs()
    return (magnitude + FLOOR).log10()


def radial_profile(spectrum: Tensor, bins: int = 64) -> tuple[Tensor, Tensor]:
    """Frequencies (cycles per pixel, up to 1/2) and the means of a centred (H, W) spectrum over the rings at them."""
    fy, fx = (torch.fft.fftshift(torch.fft.fftfreq(side, dtype=torch.float64)) for side in spectrum.shape)
    ring = (fy[:, None].hypot(fx) * 2 * bins).long()
    used = ring < bins
    count = torch.bincount(ring[used], minlength=bins)
    total = torch.bincount(ring[used], spectrum[used], minlength=bins)
    middle = (torch.arange(bins, dtype=torch.float64) + 0.5) / (2 * bins)
    return middle[count > 0], (total / count)[count > 0]


def draw_spectra(ae: nn.Module, gt: Tensor, scale: int, stem: str | Path) -> list[Path]:
    """Draws an image, AE(image), the low-pass filtered image and the difference of the latter two, with their spectra
    and radial profiles.

    Below the (normalised) difference of the images is the difference of their magnitudes. All spectra have a common
    logarithmic scale.

    Args:
        ae: the pretrained auto-encoder, in eval mode.
        gt: (3, H, W) in [0, 1]; H and W are multiples of `scale`.
        stem: writes `<stem>.png`, `.pdf` and `.csv`; the latter has the profiles (log10) and their difference.
    """
    encoded = auto_encode(ae, gt)
    filtered = low_pass(gt, scale)
    images = {'HR': gt, 'AE(HR)': encoded, 'LPF(HR)': filtered}
    spectra = {name: log_spectrum(image) for name, image in images.items()}
    profiles = {name: radial_profile(spectrum) for name, spectrum in spectra.items()}
    low, high = np.quantile(spectra['HR'], (0.02, 0.999))  # torch.quantile rejects large images
    difference = (encoded - filtered).abs()
    images['|AE - LPF|'] = difference / difference.max()
    magnitudes = (10 ** spectra['AE(HR)'] - 10 ** spectra['LPF(HR)']).abs()
    spectra['|AE - LPF|'] = (magnitudes + FLOOR).log10()
    with drawing() as pyplot:
        shown = 2 * COLUMN / 4 * gt.shape[1] / gt.shape[2] + 0.2  # inches: two rows of images
        figure = pyplot.figure(figsize=(COLUMN, shown + 1.6), layout='constrained')
        figure.get_layout_engine().set(w_pad=0.01, h_pad=0.02, wspace=0.01, hspace=0.01)
        upper, lower = figure.subfigures(2, 1, height_ratios=[shown, 1.6])
        for pair, name in zip(upper.subplots(2, 4).T, images):
            pair[0].imshow(images[name].clamp(0, 1).permute(1, 2, 0))
            pair[0].set_title(name, pad=2)
            pair[1].imshow(spectra[name], cmap='magma', vmin=low, vmax=high, interpolation='antialiased')
            for axis in pair:
                axis.set_axis_off()
        axis = lower.subplots()
        for number, (name, (frequency, mean)) in enumerate(profiles.items()):
            axis.plot(frequency, mean, label=name, **look(number), markevery=8)
        axis.axvline(0.5 / scale, color='grey', linewidth=0.8, linestyle=':')
        axis.text(0.5 / scale, axis.get_ylim()[1], ' Nyquist of LR', fontsize=7, va='top')
        axis.set(xlabel='spatial frequency (cycles per pixel)', ylabel=r'$\log_{10}$ magnitude')
        axis.legend(loc='lower left')
        written = write_figure(figure, stem)
    columns = ('frequency', 'hr', 'ae', 'lpf', 'ae_minus_lpf')
    (frequency, hr), (_, ae_mean), (_, lpf) = profiles.values()
    rows = torch.stack([frequency, hr, ae_mean, lpf, ae_mean - lpf], 1).tolist()
    return [*written, write_csv(stem, columns, [[f'{value:.5f}' for value in row] for row in rows])]
