"""Builds each recipe at full size, takes one training step with batch 1 on the CPU, and updates docs/recipes.md.

python scripts/recipe_steps.py [FILE ...] [--vgg FILE]

Each recipe runs in a separate process, to measure its peak memory. Pretrained weights are not loaded; everything else
is as in the option file. Rows of recipes that are not selected are kept.
"""

import argparse
import math
import os
import platform
import shutil
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from importlib.resources import as_file, files
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from aesop.data import build_dataset
from aesop.data.datasets.realesrgan import RealESRGANDataset
from aesop.data.degradation.real import build_degradation
from aesop.errors import UserError
from aesop.models import SRModel, build_model
from aesop.options import Options, load_options
from aesop.utils.devices import peak_memory

ROOT = Path(__file__).parents[1]
PAGE = ROOT / 'docs/recipes.md'
BEGIN, END = '<!-- scripts/recipe_steps.py writes from here -->', '<!-- to here -->'
COLUMNS = 'recipe | patch | generator | discriminator | auto-encoder | seconds | peak memory | loss terms'


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    recipes = [path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob('options/**/train_*.yml'))]
    parser.add_argument('files', nargs='*', default=recipes, help='option files; default: all options/**/train_*.yml')
    parser.add_argument('--vgg', help='VGG19 features for the perceptual loss (a file, or its name in AESOP_WEIGHTS)')
    args = parser.parse_args()
    try:
        for file in args.files:
            with ProcessPoolExecutor(1, get_context('spawn')) as own_process:
                row = own_process.submit(measure, file, args.vgg).result()
            print(row, flush=True)
            write(file, row)
    except UserError as error:
        sys.exit(f'recipe_steps: {error}')
    return 0


def write(file: str, row: str) -> None:
    """Puts a recipe's row into the page's table."""
    before, rest = PAGE.read_text().split(BEGIN)
    table, after = rest.split(END)
    rows = {line.split('`')[1]: line for line in table.splitlines() if line.startswith('| `')} | {file: row}
    PAGE.write_text(f'{before}{BEGIN}\n{report([rows[name] for name in sorted(rows)])}\n{END}{after}')


def measure(file: str, vgg: str | None) -> str:
    """The table's row of an option file, after a step in which every loss term was finite and every network moved."""
    options = load_options(file)
    options.require('train')
    starts = [key for key in type(options.path).model_fields if key.startswith('pretrain_network_')]
    overrides = [f'path.{key}=~' for key in starts]
    if options.train.aesop_opt:
        overrides.append('train.aesop_opt.autoencoder_load=~')
    if vgg and options.train.perceptual_opt:
        overrides.append(f'train.perceptual_opt.vgg_weights={vgg}')
    options = load_options(file, overrides)
    torch.manual_seed(options.manual_seed)
    model = build_model(options, 'cpu')
    batch = photograph(options)
    before = first_weights(model)

    start = time.perf_counter()
    terms = {name: value.item() for name, value in model.step(batch, current_iter=1).items()}
    seconds = time.perf_counter() - start
    gigabytes = peak_memory(torch.device('cpu')) / 2**30

    assert all(map(math.isfinite, terms.values())), terms
    now = first_weights(model)
    assert not any(torch.equal(old, now[name]) for name, old in before.items()), 'a network did not move'
    ae = model.losses['aesop'].ae if 'aesop' in model.losses else None
    counts = [f'{parameters(net):,}' if net else '' for net in (model.net_g, model.net_d, ae)]
    if getattr(options, 'network_d_grad', None):
        counts[1] += ', twice'  # SPSR's two are alike
    losses = ', '.join(f'{name} {value:.3g}' for name, value in terms.items() if name.startswith('l_'))
    patch = options.datasets['train']['gt_size']
    return f'| {" | ".join([f"`{file}`", str(patch), *counts, f"{seconds:.1f}", f"{gigabytes:.1f} GiB", losses])} |'


def photograph(options: Options) -> dict[str, Any]:
    """A batch of one crop of scikit-image's astronaut, as the recipe's own data set makes it."""
    with TemporaryDirectory() as folder, as_file(files('skimage') / 'data/astronaut.png') as path:
        shutil.copy(path, folder)
        block = options.datasets['train'] | {'dataroot_gt': folder}
        if block.get('ref') == 'folder':
            block['dataroot_ref'] = folder
        dataset = build_dataset(block, scale=options.scale, seed=options.manual_seed)
        batch = default_collate([dataset[0]])
    return build_degradation(options, 'cpu')(batch) if isinstance(dataset, RealESRGANDataset) else batch


def first_weights(model: SRModel) -> dict[str, Tensor]:
    """The first tensor of each network that is trained."""
    return {name: next(iter(file['params'].values())).clone() for name, file in model.network_states().items()}


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def report(rows: list[str]) -> str:
    header = [f'| {COLUMNS} |', '|---' * len(COLUMNS.split(' | ')) + '|']
    machine = (
        f'Last written {time.strftime("%Y-%m-%d")}; threads: {torch.get_num_threads()}, cores: {os.cpu_count()} '
        f'({platform.system()}, {platform.machine()}), PyTorch {torch.__version__}.'
    )
    return '\n'.join([*header, *rows, '', machine])


if __name__ == '__main__':
    sys.exit(main())
