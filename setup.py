from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = next(
    line.split("'")[1] for line in (ROOT / 'aesop/__init__.py').read_text().splitlines() if '__version__' in line
)

LMDB = ['lmdb>=1.4']  # io_backend: {type: lmdb}, scripts/create_lmdb.py
FIGURES = ['matplotlib>=3.7']  # scripts/plot_*.py
DEMO = ['scikit-image>=0.22', *FIGURES]  # the photographs and the picture of `make demo`
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
    package_data={
        'aesop': ['weights/*'],
        'aesop.utils': ['weights.yml'],
        'aesop.reporting.report': ['*.html', '*.css', '*.js'],
    },
    install_requires=(ROOT / 'requirements.txt').read_text().split(),
    extras_require={
        'iqa': ['pyiqa>=0.1.13'],  # NIQE, MANIQA, MUSIQ, CLIP-IQA; its licence is for non-commercial use
        'wandb': ['wandb>=0.16'],  # logger.wandb
        'figures': FIGURES,
        'demo': DEMO,
        'lmdb': LMDB,
        'export': EXPORT,
        'report-test': ['playwright>=1.40'],  # make test-report, with the system's Chromium
        'dev': ['pytest>=8', 'pytest-xdist>=3.5', 'ruff>=0.8', *DEMO, *EXPORT, *LMDB],
    },
)
