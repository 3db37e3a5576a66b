"""aesop: auto-encoded supervision and its baselines for perceptual image super-resolution.

Importing this package loads nothing; import the subpackage you need (`aesop.archs`, `aesop.losses`, ...). In your own
training loop: `from aesop import AESOPLoss`, `aesop.from_pretrained(WEIGHTS)`.
"""

from typing import Any

__version__ = '0.1.0'

_PUBLIC = {  # loaded when first asked for
    'AESOPLoss': 'aesop.losses.pretrained',
    'from_pretrained': 'aesop.archs.pretrained',
    'save_pretrained': 'aesop.archs.pretrained',
    'push_to_hub': 'aesop.archs.pretrained',
}
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from importlib import import_module

    return getattr(import_module(_PUBLIC[name]), name)
