"""Maps of L_pix and L_AESOP over an image (the paper's Figure 3)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aesop.reporting.autoencoder import auto_encode
from aesop.reporting.figures import COLUMN, drawing, write_csv, write_figure


@torch.inference_mode()
def loss_maps(ae: nn.Module, sr: Tensor, gt: Tensor) -> tuple[Tensor, Tensor]:
    """|sr - gt| and |AE(sr) - AE(gt)| averaged over channels, each (N, 1, H, W).

    Args:
        ae: the pretrained auto-encoder, in eval mode.
        sr, gt: (N, 3, H, W), RGB in [0, 1].
    """
    pixel = (sr - gt).abs()
    auto_encoded = (ae(sr) - ae(gt)).abs()
    return pixel.mean(1, keepdim=True), auto_encoded.mean(1, keepdim=True)


def brightest_of(values: Tensor) -> float:
    """The 99th percentile, the end of a map's colour scale (torch.quantile rejects large images)."""
    return values.flatten().kthvalue(max(1, round(0.99 * values.numel()))).values.item()


def busiest_window(gt: Tensor, side: int) -> tuple[int, int, int]:
    """(top, left, side) of the square with the most detail in a (3, H, W) image; all are multiples of 4."""
    side = min(side, *(s // 4 * 4 for s in gt.shape[-2:]))
    detail = (gt - gt.roll((1, 1), (1, 2))).abs().mean(0)[None, None]
    detail = F.avg_pool2d(detail, side, stride=8)[0, 0]
    top, left = divmod(int(detail.argmax()), detail.shape[1])
    return top * 8, left * 8, side


def draw_loss_maps(
    ae: nn.Module, gt: Tensor, methods: Mapping[str, Tensor], window: tuple[int, int, int], stem: str | Path
) -> list[Path]:
    """Draws the ground truth, AE(gt) and their difference, and each method's image with its two maps, on one scale.

    Args:
        ae: the pretrained auto-encoder, in eval mode.
        gt: (3, H, W) in [0, 1].
        methods: by name, images like `gt`.
        window: (top, left, side) of the square to draw.
        stem: writes `<stem>.png`, `.pdf` and `.csv`; the latter has the values of the maps at each pixel of the square.
    """
    top, left, side = window
    inside = (..., slice(top, top + side), slice(left, left + side))
    encoded = auto_encode(ae, gt)
    maps = {
        name: [difference.abs().mean(0)[inside] for difference in (sr - gt, auto_encode(ae, sr) - encoded)]
        for name, sr in methods.items()
    }
    brightest = max(brightest_of(pixel) for pixel, _ in maps.values())
    with drawing() as pyplot:
        rows = 1 + len(methods)
        figure, axes = pyplot.subplots(rows, 3, figsize=(COLUMN, 1.24 * rows + 0.4), layout='constrained')
        figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.01, hspace=0.01)
        scale = {'cmap': 'magma', 'vmin': 0, 'vmax': brightest}
        _show(axes[0, 0], gt[inside], 'HR')
        _show(axes[0, 1], encoded.clamp(0, 1)[inside], 'AE(HR)')
        shown = axes[0, 2].imshow((gt - encoded).abs().mean(0)[inside], **scale)
        axes[0, 2].set_title('|HR - AE(HR)|', pad=2)
        for row, (name, sr) in zip(axes[1:], methods.items()):
            _show(row[0], sr[inside], name)
            for axis, values, title in zip(row[1:], maps[name], (r'$L_{pix}$', r'$L_{AESOP}$')):
                axis.imshow(values, **scale)
                axis.set_title(f'{title}: {values.mean():.4f}', pad=2)
        for axis in axes.flat:
            axis.set_axis_off()
        bar = figure.colorbar(shown, ax=axes, location='bottom', aspect=40, fraction=0.05, pad=0.02)
        bar.set_label('absolute error, in [0, 1]; titles: its mean')
        written = write_figure(figure, stem)
    return [*written, write_csv(stem, ('method', 'y', 'x', 'l_pix', 'l_aesop'), _pixels(maps, top, left))]


def _show(axis: Any, image: Tensor, title: str) -> None:
    axis.imshow(image.permute(1, 2, 0))
    axis.set_title(title, pad=2)


def _pixels(maps: Mapping[str, Sequence[Tensor]], top: int, left: int) -> list[tuple[str, int, int, str, str]]:
    return [
        (name, top + y, left + x, f'{a:.5f}', f'{b:.5f}')
        for name, (pixel, encoded) in maps.items()
        for y, (as_, bs) in enumerate(zip(pixel.tolist(), encoded.tolist()))
        for x, (a, b) in enumerate(zip(as_, bs))
    ]
