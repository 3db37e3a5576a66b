"""aesop: auto-encoded supervision and its baselines for perceptual image super-resolution.

Importing this package loads nothing; import the room you need (`aesop.archs`, `aesop.losses`, ...).
"""

__version__ = '0.1.0'
