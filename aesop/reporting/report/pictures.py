"""The images of a report: results, ground truth, input, error and loss maps, within a size limit."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from aesop.data.datasets.base import ImageDataset
from aesop.errors import UserError
from aesop.reporting.autoencoder import auto_encode
from aesop.reporting.loss_maps import brightest_of
from aesop.reporting.report.results import Results
from aesop.utils.images import quantise, read_image, to_tensor, to_uint8
from aesop.utils.imresize import imresize

GT, BICUBIC, LQ = OWN = 'Ground truth', 'Input, bicubic', 'Input'  # reserved names on the page
LOSSLESS = 101  # OpenCV encodes WebP losslessly if the quality is above 100
FALLBACK = 90  # quality if the images do not fit losslessly
Sets = dict[str, tuple[ImageDataset, list[Results]]]


@dataclass(frozen=True)
class Format:
    """Size and quality of the images.

    Attributes:
        max_side: images with a longer side (in pixels) are downscaled to it.
        crop: side of a central square to show; None shows whole images.
        quality: WebP quality, 1 to 100; None is lossless if `limit` allows, else `FALLBACK`.
        limit: total bytes; images beyond it are left out.
        images: maximum number of images per dataset.
    """

    max_side: int = 1024
    crop: int | None = None
    quality: int | None = None
    limit: int = 60_000_000
    images: int | None = None


@dataclass
class Comparison:
    """An image by each method, (3, H, W) in [0, 1] (smaller for the input), and its maps (H, W), by kind and method."""

    dataset: str
    image: str
    pictures: dict[str, Tensor]
    maps: dict[str, dict[str, Tensor]]


def album(results: Sequence[Results], how: Format, ae: nn.Module | None) -> tuple[list[dict[str, Any]], list[str]]:
    """Returns the entries of the page's `images` and notes about them.

    Raises:
        UserError: an image is missing, unreadable, or differs in size from the ground truth.
    """
    sets = _datasets(results)
    wanted = _order(sets, how.images)
    if not wanted:
        return [], ['There are no pictures: the folders hold none, or their options name no data set.']
    quality = how.quality or _affordable(sets, wanted, how, ae)
    entries: list[dict[str, Any]] = []
    used = 0
    for dataset, index in tqdm(wanted, desc='pictures', unit='image', leave=False, disable=None):
        entry = _encode(_compare(*sets[dataset], index, how, ae), how, quality)
        size = entry.pop('bytes')
        if used + size > how.limit and entries:
            break
        entries.append(entry | {'index': index})
        used += size
    places = {name: place for place, name in enumerate(sets)}
    entries.sort(key=lambda entry: (places[entry['dataset']], entry['index']))
    total = sum(len(dataset) for dataset, _ in sets.values())
    return entries, _about(len(entries), len(wanted), total, used, quality, how)


def _about(shown: int, wanted: int, total: int, used: int, quality: int, how: Format) -> list[str]:
    kind = 'lossless WebP' if quality >= LOSSLESS else f'WebP of quality {quality}, so they are not exact'
    size = f'the middle {how.crop} pixels' if how.crop else f'scaled down where a side exceeds {how.max_side} pixels'
    notes = [f'Pictures are {kind}, {size}: {used / 1e6:.1f} MB. Numbers and maps are made from the original files.']
    if shown < total:
        why = (
            f'the page is limited to {how.limit / 1e6:g} MB' if shown < wanted else 'no more were asked for, or written'
        )
        notes.append(f'{shown} of {total} images are shown: {why}. The tables cover all.')
    return notes


def _datasets(results: Sequence[Results]) -> Sets:
    """By name: each dataset with images, and the methods that have results for it."""
    found: Sets = {}
    for name in dict.fromkeys(name for result in results for name in result.means):
        methods = [result for result in results if (result.folder / 'visualization' / name).is_dir()]
        dataset = next(filter(None, (result.dataset(name) for result in methods)), None)
        if dataset is not None:
            found[name] = dataset, methods
    return found


def _order(sets: Sets, most: int | None) -> list[tuple[str, int]]:
    """(dataset, index) of the images to show; datasets alternate, so that the size limit affects all of them."""
    columns = []
    for name, (dataset, methods) in sets.items():
        shown = [i for i, image in enumerate(dataset.names) if any(m.pictures(name, image) for m in methods)]
        columns.append([(name, index) for index in shown[:most]])
    longest = max(map(len, columns), default=0)
    return [column[place] for place in range(longest) for column in columns if place < len(column)]


def _affordable(sets: Sets, wanted: list[tuple[str, int]], how: Format, ae: nn.Module | None) -> int:
    """LOSSLESS if all images fit into the limit, estimated from the first one of each dataset; else FALLBACK."""
    needed = 0.0
    for name in dict.fromkeys(name for name, _ in wanted):
        indices = [index for other, index in wanted if other == name]
        first = _encode(_compare(*sets[name], indices[0], how, None), how, LOSSLESS)
        needed += first['bytes'] * len(indices) * (1.4 if ae else 1)  # the maps of L_AESOP
    return LOSSLESS if needed <= how.limit else FALLBACK


def _compare(
    dataset: ImageDataset, methods: Sequence[Results], index: int, how: Format, ae: nn.Module | None
) -> Comparison:
    sample = dataset[index]
    image, gt, lq = sample['name'], sample.get('gt'), sample['lq']
    of_methods = [method.pictures(dataset.name, image) for method in methods]
    paths = {name: path for of_method in of_methods for name, path in of_method.items()}
    results = {name: to_tensor(read_image(path)) for name, path in paths.items()}
    shape = next(iter(results.values())).shape if gt is None else gt.shape
    factor = shape[-2] // lq.shape[-2]
    results = {name: _cut(sr, shape, factor) for name, sr in results.items()}
    if wrong := [
        f'{paths[name]} has {sr.shape[-1]}x{sr.shape[-2]} pixels where {shape[-1]}x{shape[-2]} are expected'
        for name, sr in results.items()
        if sr.shape != shape
    ]:
        raise UserError(wrong)
    if factor > 1:  # not for auto-encoders, whose input has the size of the output
        results[BICUBIC] = quantise(imresize(lq, factor))
    maps: dict[str, dict[str, Tensor]] = {}
    if gt is not None:
        maps['error'] = {name: (sr - gt).abs().mean(0) for name, sr in results.items()}
        if ae is not None:
            encoded = auto_encode(ae, gt)
            maps['aesop'] = {name: (auto_encode(ae, sr) - encoded).abs().mean(0) for name, sr in results.items()}
    for solutions in (list(of_method) for of_method in of_methods if len(of_method) > 1):
        spread = torch.stack([results[name] for name in solutions]).std(0).mean(0)
        maps.setdefault('spread', {}).update(dict.fromkeys(solutions, spread))
    pictures = ({} if gt is None else {GT: gt}) | results | ({LQ: lq} if factor > 1 else {})
    for images in (pictures, *maps.values()):
        images |= {name: _middle(x, how.crop, factor if name == LQ else 1, factor) for name, x in images.items()}
    return Comparison(dataset.name, image, pictures, maps)


def _cut(sr: Tensor, shape: torch.Size, scale: int) -> Tensor:
    """Crops `sr` like a test run crops the ground truth, by less than `scale` rows and columns."""
    more = [have - wanted for have, wanted in zip(sr.shape[-2:], shape[-2:])]
    return sr[..., : shape[-2], : shape[-1]] if all(0 <= n < scale for n in more) else sr


def _middle(image: Tensor, side: int | None, smaller: int, factor: int) -> Tensor:
    """The central square of `side` pixels of the ground truth, aligned with the pixels of the input; None: all.

    Args:
        smaller: downscaling factor of the image with respect to the ground truth.
        factor: downscaling factor of the input.
    """
    if side is None:
        return image
    window = []
    for length in image.shape[-2:]:
        length = length * smaller // factor  # of the input
        kept = min(length, max(1, side // factor))
        start = (length - kept) // 2
        window.append(slice(start * factor // smaller, (start + kept) * factor // smaller))
    return image[(..., *window)]


def _encode(comparison: Comparison, how: Format, quality: int) -> dict[str, Any]:
    """The entry of a comparison, with its size in `bytes`."""
    pictures = {name: to_uint8(picture) for name, picture in comparison.pictures.items()}
    height, width = next(iter(pictures.values())).shape[:2]
    brightest = max(map(brightest_of, _all(comparison)), default=0.0)  # a common scale for all maps
    maps = {
        kind: {name: _webp(_fit(_coloured(values, brightest), how), quality) for name, values in of_kind.items()}
        for kind, of_kind in comparison.maps.items()
    }
    encoded = {name: _webp(_fit(picture, how), quality) for name, picture in pictures.items()}
    return {
        'dataset': comparison.dataset,
        'name': comparison.image,
        'size': [width, height],
        'pictures': encoded,
        'maps': maps,
        'means': {kind: {name: m.mean().item() for name, m in of.items()} for kind, of in comparison.maps.items()},
        'brightest': brightest,
        'bytes': sum(len(uri) for uris in (encoded, *maps.values()) for uri in uris.values()),
    }


def _all(comparison: Comparison) -> Iterator[Tensor]:
    for maps in comparison.maps.values():
        yield from maps.values()


def _coloured(values: Tensor, brightest: float) -> np.ndarray:
    """Maps (H, W) values to HWC RGB: 0 to black, `brightest` and above to the lightest colour."""
    grey = (values / max(brightest, 1e-6)).clamp(0, 1).mul(255).round().to(torch.uint8).numpy()
    return cv2.cvtColor(cv2.applyColorMap(grey, cv2.COLORMAP_MAGMA), cv2.COLOR_BGR2RGB)


def _fit(image: np.ndarray, how: Format) -> np.ndarray:
    longest = max(image.shape[:2])
    if longest <= how.max_side:
        return image
    height, width = (max(1, round(side * how.max_side / longest)) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _webp(image: np.ndarray, quality: int) -> str:
    """The image as a data URI."""
    _, data = cv2.imencode('.webp', cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, quality])
    return f'data:image/webp;base64,{base64.b64encode(data.tobytes()).decode()}'
