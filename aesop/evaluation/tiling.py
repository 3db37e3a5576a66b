"""Tiled prediction of images that are too large for the memory."""

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from aesop.archs.autoencoder import AutoEncoder
from aesop.errors import UserError

logger = logging.getLogger(__name__)

SMALLEST = 16  # pixels; tiles are not made smaller than this when memory runs out


def tiled(
    predict: Callable[[Tensor], Tensor],
    lq: Tensor,
    scale: int,
    tile: int,
    overlap: int,
    batch: int = 1,
    progress: Callable[[int], Any] | None = None,
    blend: int = 0,
) -> Tensor:
    """`predict(lq)`, computed tile by tile: (N, 3, h, w) -> (N, 3, scale * h, scale * w).

    Each tile is predicted with `overlap` pixels of context on each side (less at the image border), which are cropped
    from the result. If the overlap covers the network's receptive field, the result equals that of the whole image. No
    context is added beyond the image border, so the network pads there as it does for the whole image.

    Args:
        predict: (n, 3, a, b) -> (n, 3, scale * a, scale * b).
        tile: side of a tile in pixels of `lq`, without the context. For window-based networks, `tile` and `overlap`
            should be multiples of the window size, so that the windows are aligned with those of the whole image.
        overlap: pixels of context around a tile.
        batch: maximum number of tiles of equal size per call of `predict`, counting those of all N images.
        progress: called with the number of pixels of `lq` that have been completed since the last call.
        blend: neighbouring tiles are cross-faded linearly over this many pixels of `lq` on each side of their border;
            at most `overlap` and half a tile.
    """
    h, w = lq.shape[-2:]
    if max(h, w) <= tile:
        return predict(lq)
    blend = min(blend, overlap, tile // 2)
    corners: dict[tuple[int, int], list[tuple[int, int]]] = {}  # size including context -> top left corners of tiles
    for top in range(0, h, tile):
        for left in range(0, w, tile):
            size = len(around(top, tile, overlap, h)), len(around(left, tile, overlap, w))
            corners.setdefault(size, []).append((top, left))
    sr: Any = None  # allocated when the first result gives the channels and the dtype
    at_a_time = max(1, batch // len(lq))
    for same in corners.values():
        for first in range(0, len(same), at_a_time):
            part = same[first : first + at_a_time]
            windows = [(around(top, tile, overlap, h), around(left, tile, overlap, w)) for top, left in part]
            results = predict(torch.cat([lq[..., rows.start : rows.stop, c.start : c.stop] for rows, c in windows]))
            if sr is None:
                sr = results.new_zeros(*lq.shape[:-3], results.shape[-3], scale * h, scale * w)
            for (top, left), (rows, columns), result in zip(part, windows, results.split(len(lq))):
                bottom, right = min(top + tile, h), min(left + tile, w)
                if blend:
                    vertical = _weights(top, tile, h, blend, scale, rows, result)
                    horizontal = _weights(left, tile, w, blend, scale, columns, result)
                    target = sr[..., scale * rows.start : scale * rows.stop, :]
                    target[..., scale * columns.start : scale * columns.stop] += result * vertical[:, None] * horizontal
                else:
                    kept = result[..., scale * (top - rows.start) : scale * (bottom - rows.start), :]
                    kept = kept[..., scale * (left - columns.start) : scale * (right - columns.start)]
                    sr[..., scale * top : scale * bottom, scale * left : scale * right] = kept
                if progress is not None:
                    progress(len(lq) * (bottom - top) * (right - left))
    return sr


def around(start: int, tile: int, overlap: int, side: int) -> range:
    """The pixels along one side of an image that the tile starting at `start` covers, including its context."""
    return range(max(start - overlap, 0), min(start + tile + overlap, side))


def _weights(start: int, tile: int, side: int, blend: int, scale: int, seen: range, like: Tensor) -> Tensor:
    """Blending weights of a tile's pixels along one side; those of all tiles add up to 1."""
    centres = torch.arange(scale * seen.start, scale * seen.stop, device=like.device, dtype=like.dtype) + 0.5

    def ramp(border: int) -> Tensor:
        return ((centres - scale * border) / (2 * scale * blend) + 0.5).clamp(0, 1)

    weights = torch.ones_like(centres) if start == 0 else ramp(start)
    return weights if start + tile >= side else weights - ramp(start + tile)


class TiledPrediction:
    """Tiled prediction that halves the tile size, permanently, whenever memory runs out.

    Args:
        predict, scale, progress, blend: see :func:`tiled`.
        tile: side of a tile; None: whole images, as long as they fit into memory.
        overlap: pixels of context around a tile.
        multiple: `tile` and `overlap` are rounded up to multiples of this, e.g. a network's window size.
        batch: see :func:`tiled`; reduced to 1 when memory runs out.
    """

    def __init__(
        self,
        predict: Callable[..., Tensor],
        scale: int,
        tile: int | None = None,
        overlap: int = 32,
        multiple: int = 1,
        batch: int = 1,
        progress: Callable[[int], Any] | None = None,
        blend: int = 0,
    ) -> None:
        self._predict, self._scale, self._multiple, self._blend = predict, scale, multiple, blend
        self.tile = tile and self._rounded(tile)
        self.overlap = self._rounded(overlap)
        self.batch, self.progress = batch, progress

    def __call__(self, lq: Tensor, then: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """(N, 3, h, w) -> (N, 3, scale * h, scale * w).

        Args:
            then: applied to the prediction of each tile, e.g. to convert it to 8 bits and save memory.

        Raises:
            UserError: there is not enough memory for the smallest tile.
        """
        predict = self._predict if then is None else lambda x: then(self._predict(x))
        while True:
            tile = self.tile or max(lq.shape[-2:])
            try:
                return tiled(predict, lq, self._scale, tile, self.overlap, self.batch, self.progress, self._blend)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
            self._halve(min(tile, max(lq.shape[-2:])))

    def _halve(self, tile: int) -> None:
        torch.cuda.empty_cache()  # no effect without a GPU
        if self.batch > 1:
            logger.warning('not enough memory for %d tiles at a time: continuing with one', self.batch)
            self.batch = 1
            return
        half = self._rounded(-(-tile // 2))
        if half >= tile or half < SMALLEST:
            raise UserError(
                f'not enough memory for tiles of {tile} pixels with {self.overlap} pixels of context; '
                'lower val.tile_overlap (or --overlap), or free memory on the device'
            )
        logger.warning('not enough memory for tiles of %d pixels: continuing with %d', tile, half)
        self.tile = half

    def _rounded(self, side: int) -> int:
        return -(-side // self._multiple) * self._multiple


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a GPU or the machine ran out of memory."""
    return isinstance(error, torch.cuda.OutOfMemoryError) or "can't allocate memory" in str(error)


def step_of(net: Any) -> int:
    """The size that tiles of `net` should be multiples of: its window size or downsampling factor, otherwise 1."""
    if isinstance(net, AutoEncoder):
        return net.decoder.scale * step_of(net.decoder)
    return getattr(net, 'window_size', getattr(net, 'unshuffle', 1))
