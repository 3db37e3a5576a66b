from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = next(
    line.split("'")[1] for line in (ROOT / 'aesop/__init__.py').read_text().splitlines() if '__version__' in line
)

DEMO = ['scikit-image>=0.22', 'matplotlib>=3.7']  # the photographs and the picture of `make demo`
EXPORT = ['safetensors>=0.4', 'onnx>=1.15', 'onnxruntime>=1.17', 'spandrel>=0.4', 'torch>=2.5']  # scripts/export.py

setup(
    name='aesop-sr',
    version=VERSION,
    description='Auto-encoded supervision and its baselines for perceptual image super-resolution',
    long_description=(ROOT / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=['aesop', 'aesop.*']),
    package_data={'aesop': ['weights.yml']},
    install_requires=(ROOT / 'requirements.txt').read_text().split(),
    extras_require={
        'wandb': ['wandb>=0.16'],  # logger.wandb
        'demo': DEMO,
        'export': EXPORT,
        'dev': ['pytest>=8', 'pytest-xdist>=3.5', 'ruff>=0.8', *DEMO, *EXPORT],
    },
)
