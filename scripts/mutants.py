"""Mutates small forms of the shipped option files and starts each for real: none may end in a traceback or hang.

python -m scripts.mutants --count 700 --seed 0            # in the repository's root; what is not well is printed
python -m scripts.mutants --count 1 --first 17 --seed 0   # number 17 again

A mutant is trained for the iterations of `--debug`, or tests, on random images of 64 pixels, with limits of processor
time and memory. It is forked from a process that has imported everything, so that a start takes a second.
"""

import argparse
import copy
import inspect
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from aesop.cli import main as aesop
from aesop.options import load_options
from aesop.registry import ARCHS, DATASETS, LOSSES, METRICS, MODELS, OPTIMIZERS
from tests.tiny import make_images, overrides, stand_ins

ROOT = Path(__file__).parents[1] / 'options'
FILES = (
    'train_psnr_rrdb', 'baselines/train_psnr_swinir', 'baselines/train_ldl_drct', 'train_aesop_rrdb', 'train_ae_rrdb',
    'train_aesop_swinir', 'train_aesop_calgan_rrdb', 'realworld/train_aesop_rrdb', 'refvae/train_refvae_x8',
    'test_aesop_rrdb', 'test_ae_rrdb', 'refvae/test_refvae_x8',
)  # fmt: skip
VALUES = [
    None, True, 0, -1, 1, 2, 5, 0.5, 1e-30, 1e9, 1e300, float('nan'), 1024, 10**5, 2**31, 10**30, '', 'x', '3', '~/x',
    [], [0], [1, 2], [1e9], {}, {'x': 1}, {'type': 'RRDBNet'},
]  # fmt: skip
SIZES = ('num_feat', 'num_block', 'mlp_ratio', 'num_grow_ch', 'num_in_ch', 'num_out_ch', 'embed_dim', 'depths', 'scale')
SIZES += ('num_heads', 'window_size', 'num_expert', 'num_latent', 'gt_size', 'ref_size', 'input_size', 'crop_border')
SIZES += ('batch_size_per_gpu', 'num_worker_per_gpu')
OUTCOMES = {0: 'ran', 1: 'ended with a sentence', 2: 'told, exit code 2', -signal.SIGXCPU: 'too long'}
WELL = list(OUTCOMES.values())[:3]


def mutant(base: dict[str, Any], rng: random.Random) -> tuple[dict[str, Any], list[str]]:
    """A changed copy of the options, and what was changed."""
    data, done = copy.deepcopy(base), []
    for _ in range(rng.choice((1, 1, 2))):
        leaves = [leaf for leaf in _leaves(data) if leaf[1] != 'name']
        sizes = [leaf for leaf in leaves if leaf[1] in SIZES]
        place, key, block = rng.choice(sizes if rng.random() < 0.5 else leaves)
        before, kind = block[key], rng.random()
        if kind < 0.1:
            del block[key]
            done.append(f'{place} taken away')
        elif kind < 0.15:
            block[key[:-1]] = block.pop(key)
            done.append(f'{place} misspelled')
        else:
            if key == 'type' and rng.random() < 0.8:
                registry = next((r for r in (ARCHS, DATASETS, LOSSES, METRICS) if before in r.names()), OPTIMIZERS)
                block[key] = rng.choice(registry.names())
                if rng.random() < 0.7:  # without the arguments that it does not have
                    known = inspect.signature(registry.get(block[key])).parameters
                    for name in [n for n in block if n not in (*known, 'type', 'name', 'batch_size_per_gpu')]:
                        del block[name]
            elif key == 'model_type':
                block[key] = rng.choice(MODELS.names())
            elif type(before) in (int, float) and rng.random() < 0.4:
                block[key] = rng.choice((before + 1, before - 1, 2 * before, 100 * before, -before, 48))
            else:
                block[key] = copy.deepcopy(rng.choice(VALUES))
            done.append(f'{place}: {before!r} -> {block[key]!r}')
    return data, done


def _leaves(block: dict[str, Any], place: str = '') -> Iterator[tuple[str, str, dict[str, Any]]]:
    for key, value in block.items():
        yield f'{place}{key}', key, block
        if isinstance(value, dict):
            yield from _leaves(value, f'{place}{key}.')


def start(data: dict[str, Any], seconds: int, gigabytes: float) -> tuple[str, str]:
    """Runs an option file in a forked process; returns what came of it, and what it printed."""
    Path('mutant.yml').write_text(yaml.safe_dump(data, sort_keys=False))
    child = os.fork()
    if child == 0:
        os.setsid()
        output = os.open('output.txt', os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        resource.setrlimit(resource.RLIMIT_AS, (int(gigabytes * 1e9),) * 2)
        code = 70
        try:
            code = aesop(['train' if 'train' in data else 'test', '-opt', 'mutant.yml', '--debug'])
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    ends, status = time.monotonic() + 5 * seconds, None
    while status is None and time.monotonic() < ends:
        time.sleep(0.02)
        pid, ended = os.waitpid(child, os.WNOHANG)
        status = os.waitstatus_to_exitcode(ended) if pid else None
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # and whatever it left behind
    if status is None:
        os.waitpid(child, 0)
    said = Path('output.txt').read_text(errors='replace')
    if status is None:
        return 'hangs', said
    known = OUTCOMES.get(status)
    return (known if known and 'Traceback' not in said else f'traceback or exit code {status}'), said


def bases(files: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The small form of each option file, with its images in this folder."""
    found = {}
    for file in files:
        options = load_options(ROOT / f'{file}.yml')
        small = [*overrides(options), 'val.save_img=false']
        found[file] = load_options(ROOT / f'{file}.yml', small).to_dict()
        sets = found[file]['datasets']
        for key in [key for key in sets if key not in ('train', 'val', 'test_1')]:
            del sets[key]
        make_images(load_options(found[file]))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--count', type=int, default=700)
    parser.add_argument('--first', type=int, default=0, help='number of the first mutant')
    parser.add_argument('--files', nargs='+', default=FILES, metavar='RECIPE', help='default: %(default)s')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--seconds', type=int, default=60, help='processor time that a mutant may take')
    parser.add_argument('--memory', type=float, default=12, help='address space that it may take, in GB')
    args = parser.parse_args()
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, stand_ins(Path(folder)):
        os.chdir(folder)
        small = bases(args.files)
        for data in small.values():  # so that nothing has to be imported after a fork
            assert start(data, args.seconds, args.memory)[0] == 'ran', Path('output.txt').read_text()
        with suppress(KeyboardInterrupt):  # what has been counted is told
            for number in range(args.first, args.first + args.count):
                rng = random.Random(f'{args.seed} {number}')
                file = rng.choice(args.files)
                data, done = mutant(small[file], rng)
                outcome, said = start(data, args.seconds, args.memory)
                counts[outcome] += 1
                if outcome not in WELL or args.count == 1:
                    print(f'--- {number} {file}: {"; ".join(done)}: {outcome}\n{said[-3000:]}', flush=True)
    print(dict(counts))
    return 0 if counts.keys() <= set(WELL) else 1


if __name__ == '__main__':
    sys.exit(main())
