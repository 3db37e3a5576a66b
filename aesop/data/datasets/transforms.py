"""Aligned crops, flips and rotations of image arrays."""

from typing import NamedTuple

import cv2
import numpy as np


class Window(NamedTuple):
    """A rectangle of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def cut(self, image: np.ndarray) -> np.ndarray:
        """The rectangle of an HWC image, as a view."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]

    def scaled(self, scale: int) -> 'Window':
        """The rectangle in the image enlarged by `scale`."""
        return Window(*(scale * side for side in self))

    def grown(self, margin: int, height: int, width: int) -> 'Window':
        """The rectangle extended by `margin` pixels on each side, within a (height, width) image."""
        top, left = max(self.top - margin, 0), max(self.left - margin, 0)
        bottom = min(self.top + self.height + margin, height)
        right = min(self.left + self.width + margin, width)
        return Window(top, left, bottom - top, right - left)

    def relative_to(self, outer: 'Window') -> 'Window':
        """The rectangle relative to the corner of `outer`."""
        return Window(self.top - outer.top, self.left - outer.left, self.height, self.width)


def random_window(height: int, width: int, size: int, rng: np.random.Generator) -> Window:
    """A square of side `size` at a uniformly random position in a (height, width) image."""
    return Window(int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1)), size, size)


def augment(
    images: list[np.ndarray], flip: bool, rotate: bool, rng: np.random.Generator, transposed: float = 0.5
) -> list[np.ndarray]:
    """Applies one random symmetry of the square to all `images` (HWC, square); if both kinds are allowed, all eight
    symmetries are equally likely, unless `transposed` says otherwise.

    Args:
        images: arrays or views; the results are contiguous copies.
        flip: allow horizontal flips.
        rotate: allow vertical flips and transposition.
        transposed: probability of transposition.
    """
    # Always three draws, so that one option does not affect the others
    mirror, turn, transpose = rng.random(3) < (0.5, 0.5, transposed)
    mirror, turn, transpose = flip and mirror, rotate and turn, rotate and transpose
    if mirror or turn:
        axes = -1 if mirror and turn else int(mirror)  # OpenCV: both, left-right (1), upside-down (0)
        images = [cv2.flip(image, axes) for image in images]
    if transpose:
        images = [cv2.transpose(image) for image in images]
    return images if mirror or turn or transpose else [image.copy() for image in images]
