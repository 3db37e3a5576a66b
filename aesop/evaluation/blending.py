"""Tiles that fade into each other: no seams where a network sees too little around a tile."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def blended(
    predict: Callable[[Tensor], Tensor],
    lq: Tensor,
    scale: int,
    tile: int,
    overlap: int,
    batch: int = 1,
    progress: Callable[[int], Any] | None = None,
    blend: int | None = None,
) -> Tensor:
    """As `tiling.tiled`, but on both sides of a border between two tiles the one fades into the other linearly.

    Args:
        predict, lq, scale, tile, overlap, progress: see `tiled`.
        batch: tiles are predicted one by one, whatever it says.
        blend: pixels of `lq` on each side of a border in which both tiles count; at most `overlap` and half a tile;
            default: half of `overlap`.
    """
    h, w = lq.shape[-2:]
    if max(h, w) <= tile:
        return predict(lq)
    blend = min(overlap // 2 if blend is None else blend, overlap, tile // 2)
    sr: Any = None  # until a result tells its channels and type
    for top in range(0, h, tile):
        for left in range(0, w, tile):
            (rows, y), (columns, x) = (_seen(a, tile, overlap, side) for a, side in ((top, h), (left, w)))
            result = predict(lq[..., rows, columns])
            if sr is None:
                sr = result.new_zeros(*lq.shape[:-3], result.shape[-3], scale * h, scale * w)
            # Only where the weights are above 0, so that what is far from the border stays as it is.
            along = [
                _weights(s, tile, side, blend, scale, seen, result) for s, side, seen in ((top, h, y), (left, w, x))
            ]
            sr[..., _times(rows, scale), _times(columns, scale)] += result * along[0][:, None] * along[1]
            if progress is not None:
                progress(len(lq) * (min(top + tile, h) - top) * (min(left + tile, w) - left))
    return sr


def _seen(start: int, tile: int, overlap: int, side: int) -> tuple[slice, range]:
    """What is seen along one side of an image for the tile that begins at `start`."""
    seen = range(max(start - overlap, 0), min(start + tile + overlap, side))
    return slice(seen.start, seen.stop), seen


def _times(part: slice, scale: int) -> slice:
    return slice(scale * part.start, scale * part.stop)


def _weights(start: int, tile: int, side: int, blend: int, scale: int, seen: range, like: Tensor) -> Tensor:
    """How much each pixel of the result counts along one side; those of all tiles add up to 1."""
    centres = torch.arange(scale * seen.start, scale * seen.stop, device=like.device, dtype=like.dtype) + 0.5
    ramp = max(scale * blend, 0.5)  # without blending, a step

    def risen(border: int) -> Tensor:
        return ((centres - scale * border) / (2 * ramp) + 0.5).clamp(0, 1)

    weights = torch.ones_like(centres) if start == 0 else risen(start)
    return weights if start + tile >= side else weights - risen(start + tile)
