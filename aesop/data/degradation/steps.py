"""Single degradation steps for images on the CPU, from which `DegradedDataset` builds sequences.

A step takes an (h, w, 3) float32 RGB image in [0, 1] and a random generator, and returns such an image; its other
arguments are the keys of its block in the option file.
"""

import inspect
import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np

from aesop.data.degradation.kernels import KINDS, random_kernel, uniform
from aesop.errors import UserError
from aesop.registry import did_you_mean

Image = np.ndarray
Step = Callable[[Image, np.random.Generator], Image]
T = TypeVar('T')

INTERPOLATIONS = {
    'nearest': cv2.INTER_NEAREST,
    'bilinear': cv2.INTER_LINEAR,
    'bicubic': cv2.INTER_CUBIC,
    'area': cv2.INTER_AREA,
    'lanczos': cv2.INTER_LANCZOS4,
}
CODECS = {'mpeg2': ('MPG2', '.mpg'), 'mpeg4': ('mp4v', '.mp4'), 'vp8': ('VP80', '.webm'), 'vp9': ('VP90', '.webm')}
FRAMES = 3  # the last frame is used, which is predicted from the others


def blur(
    image: Image,
    rng: np.random.Generator,
    kinds: Sequence[str] = (*KINDS, 'sinc', 'motion', 'defocus'),
    size: int = 21,
    sigma: Sequence[float] = (0.2, 3.0),
    betag: Sequence[float] = (0.5, 4.0),
    betap: Sequence[float] = (1.0, 2.0),
) -> Image:
    """Blurs with a kernel of a random kind: Real-ESRGAN's, `sinc` (ringing), `motion` (a line), `defocus` (a disc).

    Args:
        size: side of the largest kernel, odd.
        sigma: standard deviation of the Gaussian kinds, radius of the disc, or a sixth of the length of the line.
        betag, betap: see `random_kernel`.
    """
    kind = pick(rng, kinds)
    if kind == 'motion':
        kernel = line(min(size, 1 + 6 * uniform(rng, sigma)), rng.uniform(0, math.pi))
    elif kind == 'defocus':
        kernel = disc(min(size / 2, max(0.5, uniform(rng, sigma))))
    else:
        smooth = [kind] if kind in KINDS else KINDS[:1]
        kernel = random_kernel(rng, size, smooth, [1], float(kind == 'sinc'), sigma, betag, betap)
    return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101).clip(0, 1)


def line(length: float, angle: float) -> np.ndarray:
    """Kernel of linear motion blur of this many pixels; sums to 1."""
    radius = max(1, math.ceil(length / 2))
    across, along = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    along, across = (
        along * math.cos(angle) + across * math.sin(angle),
        across * math.cos(angle) - along * math.sin(angle),
    )
    kernel = (length / 2 + 0.5 - abs(along)).clip(0, 1) * (1 - abs(across)).clip(0, 1)
    return kernel / kernel.sum()


def disc(radius: float) -> np.ndarray:
    """Kernel of defocus blur, a disc with a soft edge; sums to 1."""
    side = math.ceil(radius)
    row, column = np.mgrid[-side : side + 1, -side : side + 1]
    kernel = (radius + 0.5 - np.hypot(row, column)).clip(0, 1)
    return kernel / kernel.sum()


def resize(
    image: Image,
    rng: np.random.Generator,
    factor: Sequence[float] = (0.3, 1.5),
    modes: Sequence[str] = ('area', 'bilinear', 'bicubic'),
) -> Image:
    """Resizes by a factor from the range; up and down are equally likely if it includes both."""
    low, high = factor
    if low < 1 < high:
        low, high = (low, 1) if rng.random() < 0.5 else (1, high)
    chosen = rng.uniform(low, high)
    return resized(image, [max(1, round(side * chosen)) for side in image.shape[:2]], rng, modes)


def resized(image: Image, size: Sequence[int], rng: np.random.Generator, modes: Sequence[str]) -> Image:
    """Resizes to (height, width) by one of INTERPOLATIONS."""
    mode = INTERPOLATIONS[pick(rng, modes)]
    return cv2.resize(image, (size[1], size[0]), interpolation=mode).clip(0, 1)


def noise(
    image: Image,
    rng: np.random.Generator,
    kinds: Sequence[str] = ('gaussian', 'poisson', 'speckle'),
    sigma: Sequence[float] = (1.0, 30.0),
    scale: Sequence[float] = (0.05, 3.0),
    gray_prob: float = 0.4,
) -> Image:
    """Adds Gaussian noise (`sigma` of 255), shot noise (`scale` times that of 255 photons) or multiplicative noise."""
    shape = (*image.shape[:2], 1 if rng.random() < gray_prob else 3)
    kind = pick(rng, kinds)
    normal = rng.standard_normal(shape, dtype=np.float32)
    if kind == 'gaussian':
        added = uniform(rng, sigma) / 255 * normal
    elif kind == 'speckle':
        added = uniform(rng, sigma) / 255 * 2 * normal * image
    elif kind == 'poisson':
        photons = 255.0
        mean = image.mean(2, keepdims=True) if shape[2] == 1 else image
        added = uniform(rng, scale) * (rng.poisson(photons * mean) / photons - mean)
    else:
        raise UserError(f'noise: unknown kind "{kind}"; choose from gaussian, poisson, speckle')
    return (image + added).clip(0, 1).astype(np.float32)


def jpeg(image: Image, rng: np.random.Generator, quality: Sequence[float] = (30, 95)) -> Image:
    """Compresses as JPEG, with a quality from the range, by OpenCV."""
    return _coded(image, '.jpg', [cv2.IMWRITE_JPEG_QUALITY, _whole(rng, quality)])


def webp(image: Image, rng: np.random.Generator, quality: Sequence[float] = (30, 95)) -> Image:
    """Compresses as WebP, with a quality from the range, by OpenCV."""
    return _coded(image, '.webp', [cv2.IMWRITE_WEBP_QUALITY, _whole(rng, quality)])


def video(image: Image, rng: np.random.Generator, codecs: Sequence[str] = ('mpeg2', 'mpeg4')) -> Image:
    """Compresses as a frame of a video that pans over the image by one pixel per frame, by OpenCV's FFmpeg.

    The codec's rate control sets the strength. vp9 takes a third of a second.
    """
    name = pick(rng, codecs)
    if name not in CODECS:
        raise UserError(f'video: unknown codec "{name}"; choose from {", ".join(CODECS)}')
    code, suffix = CODECS[name]
    height, width = image.shape[:2]
    even = cv2.copyMakeBorder(_bytes(image), 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / f'video{suffix}')
        writer = cv2.VideoWriter(path, cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*code), 25, even.shape[1::-1])
        if not writer.isOpened():
            raise UserError(f'video: this OpenCV cannot write {name}; remove it from `codecs`')
        for frame in range(FRAMES):
            writer.write(np.roll(even, FRAMES - 1 - frame, axis=1))
        writer.release()
        reader, last = cv2.VideoCapture(path, cv2.CAP_FFMPEG), None
        while True:
            read, frame = reader.read()
            if not read:
                break
            last = frame
        reader.release()
    if last is None:
        raise UserError(f'video: this OpenCV cannot read {name}; remove it from `codecs`')
    return _floats(last[:height, :width])


def _coded(image: Image, suffix: str, arguments: list[int]) -> Image:
    return _floats(cv2.imdecode(cv2.imencode(suffix, _bytes(image), arguments)[1], cv2.IMREAD_COLOR))


def pick(rng: np.random.Generator, choices: Sequence[T]) -> T:
    """One of the choices, uniformly at random."""
    return choices[int(rng.integers(len(choices)))]


def _whole(rng: np.random.Generator, limits: Sequence[float]) -> int:
    """A whole number from low to high, inclusive."""
    low, high = limits
    return int(rng.integers(int(low), int(high) + 1))


def _bytes(image: Image) -> np.ndarray:
    return cv2.cvtColor((image * 255).round().astype(np.uint8), cv2.COLOR_RGB2BGR)


def _floats(image: Any) -> Image:
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.float32) / 255


STEPS: dict[str, Callable[..., Image]] = {
    'blur': blur, 'resize': resize, 'noise': noise, 'jpeg': jpeg, 'webp': webp, 'video': video,
}  # fmt: skip


def build_steps(blocks: Sequence[dict[str, Any]]) -> Step:
    """Builds a sequence of steps `{type: NAME, prob: P, **arguments}`; each is applied with probability `prob` (1).

    `{type: one_of, steps: [...]}` applies one of its steps, `{type: shuffled, steps: [...]}` all in random order.

    Raises:
        UserError: an unknown step or argument.
    """
    steps = [_step(block) for block in blocks]

    def run(image: Image, rng: np.random.Generator) -> Image:
        for step in steps:
            image = step(image, rng)
        return image

    return run


def _step(block: Any) -> Step:
    known = [*STEPS, 'one_of', 'shuffled']
    if not isinstance(block, dict) or block.get('type') not in known:
        name = block.get('type') if isinstance(block, dict) else block
        raise UserError(
            f'steps: unknown step "{name}".{did_you_mean(str(name), known) or " Known: " + ", ".join(known)}'
        )
    kind, probability = block['type'], block.get('prob', 1.0)
    arguments = {key: value for key, value in block.items() if key not in ('type', 'prob')}
    takes = list(inspect.signature(STEPS[kind]).parameters)[2:] if kind in STEPS else ['steps']
    for key in arguments:
        if key not in takes:
            raise UserError(f'steps: {kind} has no argument "{key}".{did_you_mean(key, takes)}')
    if not isinstance(probability, int | float) or not 0 <= probability <= 1:
        raise UserError(f'steps: prob of {kind} is {probability!r}; set it between 0 and 1')
    inner = [_step(each) for each in arguments.get('steps', ())]

    def make(image: Image, rng: np.random.Generator) -> Image:
        if rng.random() >= probability:
            return image
        if kind == 'one_of':
            return pick(rng, inner)(image, rng)
        if kind == 'shuffled':
            for number in rng.permutation(len(inner)):
                image = inner[number](image, rng)
            return image
        return STEPS[kind](image, rng, **arguments)

    return make
