from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = next(
    line.split("'")[1] for line in (ROOT / 'aesop/__init__.py').read_text().splitlines() if '__version__' in line
)
PYTHONS = ('3.10', '3.11', '3.12', '3.13', '3.14')

LMDB = ['lmdb>=1.4']  # io_backend: {type: lmdb}, `aesop lmdb`
FIGURES = ['matplotlib>=3.7']  # `aesop plot`
DEMO = ['scikit-image>=0.22', *FIGURES]  # the photographs and the picture of `make demo`, `aesop benchmark`
EXPORT = ['safetensors>=0.4', 'onnx>=1.15', 'onnxruntime>=1.17', 'spandrel>=0.4']  # `aesop export`
HUB = ['huggingface_hub>=0.23']  # hf://owner/repository, aesop publish

setup(
    name='aesop-sr',
    version=VERSION,
    description='Auto-encoded supervision and its baselines for perceptual image super-resolution',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    project_urls={'Paper': 'https://arxiv.org/abs/2412.00124'},  # docs/releasing.md: those of the repository
    keywords='super-resolution perceptual loss GAN auto-encoder image restoration PyTorch',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Environment :: Console',
        'Intended Audience :: Developers',
        'Intended Audience :: Science/Research',
        'Operating System :: OS Independent',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3 :: Only',
        *(f'Programming Language :: Python :: {version}' for version in PYTHONS),
        'Topic :: Multimedia :: Graphics',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Topic :: Scientific/Engineering :: Image Processing',
        'Typing :: Typed',
    ],
    python_requires='>=3.10',
    # The recipes in options/ are installed as aesop/recipes: `aesop train -opt train_ae_rrdb.yml` finds them there.
    packages=[*find_packages(include=['aesop', 'aesop.*']), 'aesop.recipes'],
    package_dir={'aesop.recipes': 'options'},
    package_data={
        'aesop': ['py.typed', 'weights/*'],
        'aesop.data.preparation': ['*.yml'],
        'aesop.evaluation': ['*.json'],
        'aesop.recipes': ['*.yml', '*.json', '*/*.yml', '*/*.txt'],
        'aesop.reporting.report': ['*.html', '*.css', '*.js'],
        'aesop.utils': ['*.yml'],
    },
    entry_points={'console_scripts': ['aesop = aesop.cli:main']},
    install_requires=(ROOT / 'requirements.txt').read_text().split(),
    extras_require={
        'iqa': ['pyiqa>=0.1.13'],  # NIQE, MANIQA, MUSIQ, CLIP-IQA; its licence is for non-commercial use
        'wandb': ['wandb>=0.16'],  # logger.wandb
        'figures': FIGURES,
        'demo': DEMO,
        'lmdb': LMDB,
        'export': EXPORT,
        'hub': HUB,
        'optimisers': ['pytorch-optimizer>=3.5'],  # train.optim_g: {type: Adan, ...}
        'spandrel': ['spandrel>=0.4'],  # {type: Spandrel, arch: HAT, ...}; files of other programs in upscale
        'docs': ['mkdocs-material>=9.5', 'mkdocstrings[python]>=0.26'],  # make docs
        'completion': ['argcomplete>=3'],  # eval "$(register-python-argcomplete aesop)"
        'report-test': ['playwright>=1.40'],  # make test-report, with the system's Chromium
        'release': ['build>=1.0', 'twine>=5'],  # docs/releasing.md
        'dev': [
            'pytest>=8',
            'pytest-xdist>=3.5',
            'ruff>=0.8',
            'pyright[nodejs]>=1.1.400',
            'accelerate>=0.30',
            *DEMO,
            *EXPORT,
            *HUB,
            *LMDB,
        ],
    },
)
