"""Predicting an image too large for the memory: in tiles, each with as much around it as matters for its pixels."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from aesop.archs.autoencoder import AutoEncoder
from aesop.errors import UserError
from aesop.evaluation.blending import blended

logger = logging.getLogger(__name__)

SMALLEST = 16  # side of a tile below which memory is not what is lacking


def tiled(
    predict: Callable[[Tensor], Tensor],
    lq: Tensor,
    scale: int,
    tile: int,
    overlap: int,
    batch: int = 1,
    progress: Callable[[int], Any] | None = None,
) -> Tensor:
    """`predict(lq)`, computed tile by tile: (N, 3, h, w) -> (N, 3, scale * h, scale * w).

    A tile is seen with `overlap` more pixels on each side, as far as the image goes, and these are cut off its result:
    with an overlap of the network's receptive field the result is that of the whole image. A tile at the image's border
    meets the border itself, so that the network pads there as it would for the whole image.

    Args:
        predict: (n, 3, a, b) -> (n, 3, scale * a, scale * b).
        tile: side of a tile in pixels of `lq`, without what is around it. For networks with windows: a multiple of the
            window's side, as `overlap`; then the windows of all tiles lie as in the whole image.
        overlap: pixels of `lq` around a tile.
        batch: tiles of equal size that `predict` gets at a time, those of the N images counted.
        progress: called with the number of pixels of `lq` that each call of `predict` has finished.
    """
    h, w = lq.shape[-2:]
    if max(h, w) <= tile:
        return predict(lq)
    corners: dict[tuple[int, int], list[tuple[int, int]]] = {}  # size of what is seen -> the tiles' top left
    for top in range(0, h, tile):
        for left in range(0, w, tile):
            seen = len(around(top, tile, overlap, h)), len(around(left, tile, overlap, w))
            corners.setdefault(seen, []).append((top, left))
    sr: Any = None  # until a result tells its channels and type
    at_a_time = max(1, batch // len(lq))
    for same in corners.values():
        for first in range(0, len(same), at_a_time):
            part = same[first : first + at_a_time]
            windows = [(around(top, tile, overlap, h), around(left, tile, overlap, w)) for top, left in part]
            results = predict(torch.cat([lq[..., rows.start : rows.stop, c.start : c.stop] for rows, c in windows]))
            if sr is None:
                sr = results.new_empty(*lq.shape[:-3], results.shape[-3], scale * h, scale * w)
            for (top, left), (rows, columns), result in zip(part, windows, results.split(len(lq))):
                bottom, right = min(top + tile, h), min(left + tile, w)
                kept = result[..., scale * (top - rows.start) : scale * (bottom - rows.start), :]
                kept = kept[..., scale * (left - columns.start) : scale * (right - columns.start)]
                sr[..., scale * top : scale * bottom, scale * left : scale * right] = kept
                if progress is not None:
                    progress(len(lq) * (bottom - top) * (right - left))
    return sr


def around(start: int, tile: int, overlap: int, side: int) -> range:
    """What is seen along one side of an image for the tile that begins at `start`."""
    return range(max(start - overlap, 0), min(start + tile + overlap, side))


class TiledPrediction:
    """`predict` in tiles; if memory runs out, in tiles of half the side, from then on.

    Args:
        predict, scale: see `tiled`.
        tile: side of a tile; None: whole images, as long as they fit.
        overlap: pixels around a tile.
        multiple: `tile` and `overlap` are rounded up to multiples of it: the side of a network's windows.
        batch, progress: see `tiled`. If memory runs out, there is no batch any more.
        blend: pixels of a border in which neighbouring tiles fade into each other (`blended`); 0: none.
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
        self._tiled = partial(blended, blend=blend) if blend else tiled
        self._predict, self._scale, self._multiple = predict, scale, multiple
        self.tile = tile and self._rounded(tile)
        self.overlap = self._rounded(overlap)
        self.batch, self.progress = batch, progress

    def __call__(self, lq: Tensor, then: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """(N, 3, h, w) -> (N, 3, scale * h, scale * w).

        Args:
            then: what becomes of each tile's prediction, e.g. 8 bits, so that the whole takes less memory.

        Raises:
            UserError: there is not enough memory for the smallest tile.
        """
        predict = self._predict if then is None else lambda x: then(self._predict(x))
        while True:
            tile = self.tile or max(lq.shape[-2:])
            try:
                return self._tiled(predict, lq, self._scale, tile, self.overlap, self.batch, self.progress)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
            self._halve(min(tile, max(lq.shape[-2:])))

    def _halve(self, tile: int) -> None:
        torch.cuda.empty_cache()  # without effect where there is no GPU
        if self.batch > 1:
            logger.warning('there is not enough memory for %d tiles at a time: continuing with one', self.batch)
            self.batch = 1
            return
        half = self._rounded(-(-tile // 2))
        if half >= tile or half < SMALLEST:
            raise UserError(
                f'there is not enough memory for tiles of {tile} pixels with {self.overlap} around them; '
                'lower val.tile_overlap (or --overlap), or free memory on the device'
            )
        logger.warning('there is not enough memory for tiles of %d pixels: continuing with %d', tile, half)
        self.tile = half

    def _rounded(self, side: int) -> int:
        return -(-side // self._multiple) * self._multiple


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a device, or the machine, ran out of memory."""
    return isinstance(error, torch.cuda.OutOfMemoryError) or "can't allocate memory" in str(error)


def step_of(net: Any) -> int:
    """The pixels of an input that `net` takes together: the side of its windows, or of an auto-encoder's steps; 1."""
    if isinstance(net, AutoEncoder):
        return net.decoder.scale * step_of(net.decoder)
    return getattr(net, 'window_size', getattr(net, 'unshuffle', 1))
