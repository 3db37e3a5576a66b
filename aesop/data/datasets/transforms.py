"""What is done to arrays between the file and the tensor: aligned crops, flips and rotations."""

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

    def times(self, scale: int) -> 'Window':
        """The same rectangle on the image enlarged by `scale`."""
        return Window(*(scale * side for side in self))

    def grown(self, margin: int, height: int, width: int) -> 'Window':
        """The rectangle with `margin` more pixels on each side, as far as a (height, width) image goes."""
        top, left = max(self.top - margin, 0), max(self.left - margin, 0)
        bottom = min(self.top + self.height + margin, height)
        right = min(self.left + self.width + margin, width)
        return Window(top, left, bottom - top, right - left)

    def inside(self, outer: 'Window') -> 'Window':
        """The same rectangle, counted from the corner of `outer`."""
        return Window(self.top - outer.top, self.left - outer.left, self.height, self.width)


def random_window(height: int, width: int, size: int, rng: np.random.Generator) -> Window:
    """A square of `size`, any position in a (height, width) image equally likely."""
    return Window(int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1)), size, size)


def augment(images: list[np.ndarray], flip: bool, rotate: bool, rng: np.random.Generator) -> list[np.ndarray]:
    """One of the square's eight symmetries for all `images` (HWC, square), equally likely when both are allowed.

    Args:
        images: views are fine; what comes back are contiguous copies.
        flip: allows left-right mirroring.
        rotate: allows upside-down mirroring and transposing.
    """
    mirror, turn, transpose = rng.random(3) < 0.5  # always all three: one option does not shift another's draws
    mirror, turn, transpose = flip and mirror, rotate and turn, rotate and transpose
    if mirror or turn:
        axes = -1 if mirror and turn else int(mirror)  # OpenCV: both, left-right (1), upside-down (0)
        images = [cv2.flip(image, axes) for image in images]
    if transpose:
        images = [cv2.transpose(image) for image in images]
    return images if mirror or turn or transpose else [image.copy() for image in images]
