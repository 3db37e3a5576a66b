"""Runs all benchmarks, for machines that are only available for a few minutes, especially with a GPU.

Each benchmark runs in a separate process. Its table and raw numbers are written to OUTPUT/PART.md and PART.json, and
the status of all of them to OUTPUT/all.md. Repeating the command resumes: benchmarks already measured on this machine
are skipped, and none is started after `--seconds`. The most important ones come first, those that take minutes to
compile last. `--small` reduces all sizes for a CPU, to test the suite itself; it is the default without a GPU.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from aesop import benchmarks
from aesop.benchmarks import measure
from aesop.benchmarks.measure import Table
from aesop.errors import UserError
from aesop.utils.console import say
from aesop.utils.files import write_text

BACKBONES = ('rrdb', 'swinir', 'drct')
GPU_TESTS = ('-m', 'pytest', '-q', '-m', 'gpu', 'tests')
MACHINE = ('processor', 'cores', 'gpu')  # what a part is measured on
LEAST = 30.0  # seconds that a part has once it is begun


@dataclass(frozen=True)
class Part:
    """`words` of `aesop benchmark`; of Python itself for the tests."""

    name: str
    words: tuple[str, ...]


def arguments(parser: argparse.ArgumentParser) -> None:
    on_gpu = torch.cuda.is_available()
    parser.add_argument('--seconds', type=float, default=540, help='no part is started after this time; default: 540')
    parser.add_argument('--small', action='store_true', default=not on_gpu, help='the default without a GPU')
    parser.add_argument('--only', nargs='+', metavar='PART', help='these parts alone')
    parser.add_argument('--list', action='store_true', help='print the names of the parts and the commands')
    parser.add_argument('--device', default='cuda' if on_gpu else 'cpu')


def run(args: argparse.Namespace) -> None:
    todo = small_parts() if args.small else parts()
    if unknown := set(args.only or ()) - {part.name for part in todo}:
        raise UserError(f'unknown part {sorted(unknown)[0]}; choose from {", ".join(part.name for part in todo)}')
    todo = [part for part in todo if not args.only or part.name in args.only]
    if args.list:
        for part in todo:
            say(f'{part.name}: {"python" if part.words is GPU_TESTS else "aesop benchmark"} {" ".join(part.words)}')
        return
    end = time.monotonic() + args.seconds
    for part in todo:
        if is_measured(args.output / f'{part.name}.json', args.device) or time.monotonic() > end:
            continue
        say(f'{part.name} ...')
        started = time.monotonic()
        outcome = one(part, args.output, args.device, max(LEAST, end - time.monotonic()))
        note(args.output, part.name, outcome, time.monotonic() - started)
    write_summary(args, todo)


def parts() -> list[Part]:
    """For a GPU."""

    low, tf32 = ('bf16', 'bf16_tiles'), ('--set', 'runtime.tf32=true')

    def step(name: str, backbone: str, patch: int, *variants: str, more: tuple[str, ...] = ()) -> Part:
        size = ('--batch', '16', '--patch', str(patch), '--steps', '4')
        return Part(name, ('step', '--backbone', backbone, *size, '--variants', *variants, *more))

    def inference(name: str, *network: str, variants: tuple[str, ...] = ('plain', 'default', *low)) -> Part:
        size = ('--size', '480', '640', '--rounds', '1', '--variants', *variants)
        return Part(f'inference_{name}', ('inference', *network, *size))

    usual = ('plain', 'default', 'bf16')
    found = [Part('gpu_tests', GPU_TESTS)] if Path('tests').is_dir() else []
    found += [step(f'step_{name}_128', name, 128, *usual) for name in BACKBONES]
    found += [inference(name, '--backbone', name) for name in BACKBONES]
    if importlib.util.find_spec('spandrel'):
        found.append(inference('hat', '-opt', 'test_aesop_hat.yml', variants=low))
    found += [
        Part('batch_size', ('batch-size', '-opt', 'train_aesop_rrdb.yml', '--variant', 'runtime.precision=bf16')),
        Part('loader', ('loader', '--workers', '0', '4', '8')),
        Part('validation', ('validation', '--network', 'rrdb')),
        Part('training', ('training',)),
        Part('degradation', ('degradation', '--batch', '16', '--rounds', '1')),
    ]
    found += [step(f'step_{name}_256', name, 256, *usual) for name in BACKBONES]
    found += [step(f'step_{name}_128_tf32', name, 128, 'default', more=tf32) for name in BACKBONES]
    found += [
        Part('upscale', ('upscale', '--size', '256', '--rounds', '1')),
        Part('start-up', ('start-up', '--rounds', '3')),
    ]
    found += [step(f'step_{name}_128_compile', name, 128, 'bf16', 'compile', 'bf16_compile') for name in BACKBONES]
    return found + [step(f'step_{name}_128_max', name, 128, 'bf16', 'bf16_max') for name in BACKBONES]


def small_parts() -> list[Part]:
    """Of every kind one, in seconds on a CPU."""
    rrdb = '{type: RRDBNet, num_feat: 16, num_block: 1, num_grow_ch: 4}'
    window = 'upscale: 4, img_size: 16, window_size: 8, depths: [2], embed_dim: 16, num_heads: [2]'
    nets = {
        'rrdb': rrdb,
        'swinir': f'{{type: SwinIR, {window}, mlp_ratio: 2, upsampler: pixelshuffle}}',
        'drct': f'{{type: DRCT, {window}, gc: 8}}',
    }
    encoder = f'{{type: AutoEncoder_RRDBNet, enc_opt: {{num_feat: 48, num_block: 1}}, dec_opt: {rrdb}}}'
    sets = (
        'datasets.train.gt_size=32',
        'network_d={type: VGGStyleDiscriminator, num_feat: 4, input_size: 32}',
        f'train.aesop_opt.autoencoder_arch={encoder}',
        'train.perceptual_opt.layer_weights={conv1_2: 1}',
    )
    variants = ('--rates', '0', '--variants', 'plain', 'default')
    rounds = ('--rounds', '1')
    pairs = ('--batches', '1', '--batch', '1', '--crop', '64', '--gt_size', '32')
    image = ('--size', '24', '32', '--tile', '16', '--overlap', '8', *rounds, *variants, 'tiles')

    found = []
    for name, net in nets.items():
        step = ('step', '--backbone', name, '--steps', '2', *variants, '--set', f'network_g={net}', *sets)
        found.append(Part(f'step_{name}', step))
        found.append(Part(f'inference_{name}', ('inference', '--backbone', name, *image, '--set', f'network_g={net}')))
    if importlib.util.find_spec('spandrel'):
        hat = f'{{type: Spandrel, arch: HAT, {window}, squeeze_factor: 8, upsampler: pixelshuffle}}'
        words = ('inference', '-opt', 'test_aesop_hat.yml', *image, '--set', f'network_g={hat}')
        found.append(Part('inference_hat', words))
    fits = ('-opt', 'train_aesop_rrdb.yml', '--most', '1', '--set', f'network_g={rrdb}', *sets)
    return [
        *found,
        Part('batch_size', ('batch-size', *fits)),
        Part('loader', ('loader', '--workers', '0', '--batch', '2', '--gt_size', '32', '--batches', '1')),
        Part('validation', ('validation', '--size', '40', '48', '--images', '2', *rounds)),
        Part('training', ('training', '--seconds', '0')),
        Part('degradation', ('degradation', *pairs, *rounds)),
        Part('upscale', ('upscale', '--network', 'small', '--size', '16', '--images', '2', '--large', '300', *rounds)),
        Part('start-up', ('start-up', *rounds)),
    ]


def is_measured(path: Path, device: str) -> bool:
    """Whether the numbers of a part are there, from this machine."""
    if not path.exists():
        return False
    of_part, here = json.loads(path.read_text())['environment'], measure.environment(device)
    return all(of_part.get(key) == here.get(key) for key in MACHINE)


def one(part: Part, output: Path, device: str, seconds: float) -> str:
    """Runs a part and keeps what it wrote; returns what became of it, in a few words."""
    if part.words is GPU_TESTS:
        return gpu_tests(part, output, device, seconds)
    with TemporaryDirectory() as name:
        folder = Path(name)
        words = [*part.words] if part.words[0] == 'start-up' else [*part.words, '--device', device]
        child = measure.own_processes().Process(target=measure_part, args=(words, folder))
        child.start()
        child.join(seconds)
        if child.is_alive():
            child.kill()
            child.join()
            return f'not done in {seconds:.0f} s'
        if child.exitcode:
            said = (folder / 'said.txt').read_text().strip() or 'it says nothing'
            return f'failed ({child.exitcode}): {said.splitlines()[-1]}'
        for kind in ('json', 'md'):
            (file,) = folder.glob(f'*.{kind}')
            write_text(output / f'{part.name}.{kind}', file.read_text())
    return 'done'


def measure_part(words: list[str], folder: Path) -> None:
    """Writes into a folder what a benchmark finds, and what it says into said.txt."""
    with open(folder / 'said.txt', 'w') as said:
        os.dup2(said.fileno(), sys.stdout.fileno())
        os.dup2(said.fileno(), sys.stderr.fileno())
    benchmarks.run(words[0], ['-o', str(folder), *words[1:]])


def gpu_tests(part: Part, output: Path, device: str, seconds: float) -> str:
    try:
        child = subprocess.run([sys.executable, *part.words], capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return f'not done in {seconds:.0f} s'
    said = child.stdout.strip().splitlines() or ['it says nothing']
    if child.returncode:
        return f'failed ({child.returncode}): {said[-1]}'
    table = Table('Result', [{'last line': said[-1]}])
    text = 'The tests that need a GPU.'
    measure.write(output, part.name, ' '.join(part.words), measure.environment(device), 'GPU tests', text, [table])
    return 'done'


def note(output: Path, name: str, outcome: str, seconds: float) -> None:
    path = output / 'all.json'
    notes = json.loads(path.read_text()) if path.exists() else {}
    write_text(path, json.dumps(notes | {name: {'outcome': outcome, 'seconds': round(seconds, 1)}}, indent=1) + '\n')
    say(f'{name}: {outcome}')


def write_summary(args: argparse.Namespace, todo: list[Part]) -> None:
    path = args.output / 'all.json'
    notes = json.loads(path.read_text()) if path.exists() else {}
    rows = [{'part': part.name} | notes.get(part.name, {'outcome': 'not begun'}) for part in todo]
    about = ', '.join(f'{key} {value}' for key, value in measure.environment(args.device).items())
    table = Table('Parts', rows).markdown()
    write_text(args.output / 'all.md', f'# All benchmarks\n\n    {args.command}\n\n{about}.\n\n{table}\n')
    say(table)
