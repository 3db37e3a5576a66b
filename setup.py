from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = next(
    line.split("'")[1] for line in (ROOT / 'aesop/__init__.py').read_text().splitlines() if '__version__' in line
)

setup(
    name='aesop-sr',
    version=VERSION,
    description='Auto-encoded supervision and its baselines for perceptual image super-resolution',
    long_description=(ROOT / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=['aesop', 'aesop.*']),
    install_requires=(ROOT / 'requirements.txt').read_text().split(),
    extras_require={
        # photographs and figure of `make demo`
        'demo': ['scikit-image>=0.22', 'matplotlib>=3.7'],
        'dev': ['pytest>=8', 'ruff>=0.8', 'scikit-image>=0.22', 'matplotlib>=3.7'],
    },
)
