"""Everything at once, for a machine that is at hand for a few minutes, above all one with a GPU.

Each part is a benchmark of its own in a process of its own. Its table and raw numbers go to OUTPUT/PART.md and
PART.json, and what became of all parts to OUTPUT/all.md. The same command goes on where it was stopped: a part whose
files exist is not run again, and none is begun when `--seconds` are over. `--small` makes every part small enough for a
CPU, to try out the suite itself; that is the default where there is no GPU.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

from aesop.benchmarks import measure
from aesop.benchmarks.measure import Table
from aesop.errors import UserError
from aesop.evaluation.tiling import TiledPrediction
from aesop.utils.console import say
from aesop.utils.files import write_text

BACKBONES = ('rrdb', 'swinir', 'drct')
COMMON = {'compress_ratio': 3, 'squeeze_factor': 30, 'mlp_ratio': 2, 'upscale': 4, 'upsampler': 'pixelshuffle'}
HAT = {'img_size': 64, 'depths': (6,) * 6, 'embed_dim': 180, 'num_heads': (6,) * 6, 'window_size': 16} | COMMON
SMALL_HAT = HAT | {'img_size': 16, 'depths': (2,), 'embed_dim': 16, 'num_heads': (2,), 'window_size': 8}


@dataclass(frozen=True)
class Part:
    """`arguments` of `aesop benchmark`, or of Python itself where `is_benchmark` is false."""

    name: str
    arguments: tuple[str, ...]
    is_benchmark: bool = True


def arguments(parser: argparse.ArgumentParser) -> None:
    on_gpu = torch.cuda.is_available()
    parser.add_argument('--seconds', type=float, default=540, help='none is begun after so many; default: 540')
    parser.add_argument('--small', action='store_true', default=not on_gpu, help='the default without a GPU')
    parser.add_argument('--only', nargs='+', metavar='PART', help='these parts alone')
    parser.add_argument('--list', action='store_true', help='print the names of the parts and the commands')
    parser.add_argument('--hat', action='store_true', help=argparse.SUPPRESS)  # a part that is no command of its own
    parser.add_argument('--device', default='cuda' if on_gpu else 'cpu')


def run(args: argparse.Namespace) -> None:
    if args.hat:
        hat(args)
        return
    todo = parts(args.small, args.device)
    if unknown := set(args.only or ()) - {part.name for part in todo}:
        raise UserError(f'unknown part {sorted(unknown)[0]}; choose from {", ".join(part.name for part in todo)}')
    todo = [part for part in todo if not args.only or part.name in args.only]
    if args.list:
        for part in todo:
            say(f'{part.name}: {" ".join(command(part, Path("FOLDER"))[1:])}')
        return
    end = time.monotonic() + args.seconds
    for part in todo:
        if (args.output / f'{part.name}.md').exists() or time.monotonic() > end:
            continue
        say(f'{part.name} ...')
        started = time.monotonic()
        outcome = one(part, args.output, max(30.0, end - time.monotonic()))
        note(args.output, part.name, outcome, time.monotonic() - started)
    write_summary(args, todo)


def parts(small: bool, device: str) -> list[Part]:
    """What is most wanted comes first."""
    on = ('--device', device)
    rrdb = '{type: RRDBNet, num_feat: 16, num_block: 1, num_grow_ch: 4}'
    window = 'upscale: 4, img_size: 16, window_size: 8, depths: [2], embed_dim: 16, num_heads: [2]'
    nets = {
        'rrdb': rrdb,
        'swinir': f'{{type: SwinIR, {window}, mlp_ratio: 2, upsampler: pixelshuffle}}',
        'drct': f'{{type: DRCT, {window}, gc: 8}}',
    }
    encoder = f'{{type: AutoEncoder_RRDBNet, enc_opt: {{num_feat: 48, num_block: 1}}, dec_opt: {rrdb}}}'
    rounds = ('--rounds', '1')

    def step(backbone: str, patch: int, *more: str) -> tuple[str, ...]:
        if not small:
            size = ('--batch', '16', '--patch', str(patch), '--steps', '4')
            variants = ('--variants', 'plain', 'default', 'bf16', 'bf16_compile', 'bf16_max')
            return ('step', '--backbone', backbone, *size, *(more or variants), *on)
        sets = ('datasets.train.gt_size=32', f'network_g={nets[backbone]}', 'runtime.compile=false')
        sets += ('network_d={type: VGGStyleDiscriminator, num_feat: 4, input_size: 32}',)
        sets += (f'train.aesop_opt.autoencoder_arch={encoder}', 'train.perceptual_opt.layer_weights={conv1_2: 1}')
        return ('step', '--backbone', backbone, '--steps', '2', '--variants', 'plain', 'default', '--set', *sets, *on)

    def inference(backbone: str) -> tuple[str, ...]:
        size = ('--size', '24', '32', '--tile', '16', '--overlap', '8') if small else ('--size', '480', '640')
        sets = ('--set', f'network_g={nets[backbone]}') if small else ()
        variants = ('--variants', 'plain', 'default', 'tiles') if small else ()
        return ('inference', '--backbone', backbone, *size, *rounds, *variants, *sets, *on)

    found: list[Part] = []
    if not small and Path('tests').is_dir():
        found.append(Part('gpu_tests', ('-m', 'pytest', '-q', '-m', 'gpu', 'tests'), is_benchmark=False))
    patches = (128,) if small else (128, 256)
    found += [Part(f'step_{name}_{patch}', step(name, patch)) for patch in patches for name in BACKBONES]
    found += [Part(f'inference_{name}', inference(name)) for name in BACKBONES]
    if importlib.util.find_spec('spandrel'):
        found.append(Part('inference_hat', ('all', '--hat', *(('--small',) if small else ()), *on)))
    if not small:
        tf32 = ('--variants', 'default', '--set', 'runtime.tf32=true')
        found.append(Part('step_rrdb_128_tf32', step('rrdb', 128, *tf32)))
        found.append(Part('batch_size', ('batch-size', '-opt', 'options/train_aesop_rrdb.yml', *on)))
    sizes = ('--batches', '1', '--batch', '1', '--crop', '64', '--gt_size', '32') if small else ('--batch', '16')
    found.append(Part('degradation', ('degradation', *sizes, *rounds, *on)))
    sizes = (
        ('--network', 'small', '--size', '16', '--images', '2', '--large', '300')
        if small
        else (
            '--size',
            '256',
        )
    )
    found.append(Part('upscale', ('upscale', *sizes, *rounds, *on)))
    if not small:
        found.append(Part('start-up', ('start-up', '--rounds', '3')))
    return found


def command(part: Part, folder: Path) -> list[str]:
    if not part.is_benchmark:
        return [sys.executable, *part.arguments]
    name, *rest = part.arguments
    output = [] if name == 'batch-size' else ['-o', str(folder)]
    return [sys.executable, '-m', 'aesop', 'benchmark', name, *output, *rest]


def one(part: Part, output: Path, seconds: float) -> str:
    """Runs a part and keeps what it wrote; returns what became of it, in a few words."""
    with TemporaryDirectory() as folder:
        try:
            child = subprocess.run(command(part, Path(folder)), capture_output=True, text=True, timeout=seconds)
        except subprocess.TimeoutExpired:
            return f'not done in {seconds:.0f} s'
        if child.returncode:
            last = (child.stderr.strip() or child.stdout.strip() or 'it says nothing').splitlines()[-1]
            return f'failed ({child.returncode}): {last}'
        files = sorted(Path(folder).iterdir())
        for file in files:
            write_text(output / f'{part.name}{file.suffix}', file.read_text())
        if not files:
            write_text(output / f'{part.name}.md', f'# {part.name}\n\n{child.stdout}')
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


# HAT (Chen et al., CVPR 2023), which this project has not, by spandrel


def hat(args: argparse.Namespace) -> None:
    """One image, whole and in tiles, in bf16 on a GPU and in fp32 else."""
    from spandrel.architectures.HAT import HAT as Network

    torch.manual_seed(0)
    net: nn.Module = Network(**(SMALL_HAT if args.small else HAT)).to(args.device).eval()
    lq = torch.rand(1, 3, *((24, 32) if args.small else (480, 640)), device=args.device)
    window = (SMALL_HAT if args.small else HAT)['window_size']
    tiles = TiledPrediction(net, 4, 2 * window if args.small else 128, window, window)
    kind, low = torch.device(args.device).type, torch.device(args.device).type == 'cuda'

    def call(predict: Callable[[torch.Tensor], torch.Tensor]) -> None:
        with torch.inference_mode(), torch.autocast(kind, torch.bfloat16, enabled=low):
            predict(lq)

    timings = measure.interleave({'whole': lambda: call(net), 'tiles': lambda: call(tiles)}, 1, device=args.device)
    rows = [{'variant': name, 'seconds': timing.median} for name, timing in timings.items()]
    about = measure.environment(args.device)
    about |= {'precision': 'bf16' if low else 'fp32', 'image': f'{lq.shape[-2]}x{lq.shape[-1]}'}
    text = "By spandrel, with random weights: what another project's network takes on the same machine."
    measure.write(args.output, 'inference_hat', args.command, about, 'Inference: HAT', text, [Table('Variants', rows)])
