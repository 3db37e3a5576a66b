"""Inference of one image with a full-size generator, whole and tiled, in each precision, against `plain` (eager fp32).

All variants except `plain` use the model's own `predict`, as a test run does. The weights are random, but constructed
such that outputs look like images (lifelike.py), so that the differences are meaningful. Peak memory is that of one
image in a separate process, in addition to the imported libraries.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from aesop.archs import build_network
from aesop.archs.layers import use_plain
from aesop.benchmarks import measure
from aesop.benchmarks.lifelike import lifelike_
from aesop.benchmarks.measure import FlopCounter, Table, in_own_process, interleave
from aesop.benchmarks.step import photographs
from aesop.evaluation.tiling import TiledPrediction, step_of
from aesop.models import build_model
from aesop.models.precision import repeated_blocks
from aesop.options import load_options
from aesop.utils.recipes import recipe

# What each variant sets, whether it goes in tiles, and whether it is compiled; `plain` is the bare network.
VARIANTS: dict[str, tuple[tuple[str, ...], bool, bool]] = {
    'plain': ((), False, False),
    'default': ((), False, False),
    'channels_first': (('runtime.channels_last=false',), False, False),
    'tiles': ((), True, False),
    'compile': ((), True, True),
    'bf16': (('val.precision=bf16',), False, False),
    'bf16_tiles': (('val.precision=bf16',), True, False),
    'bf16_compile': (('val.precision=bf16',), True, True),
    'fp16': (('val.precision=fp16',), False, False),
}
USUAL = {
    'cpu': ('plain', 'default', 'tiles', 'bf16', 'bf16_tiles'),
    'cuda': ('plain', 'default', 'tiles', 'bf16', 'bf16_tiles', 'bf16_compile'),
}
SIZES = {'cpu': (256, 256), 'cuda': (1080, 2048)}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--backbone', choices=('rrdb', 'swinir', 'drct'), default='rrdb')
    parser.add_argument('-opt', metavar='FILE', help='the generator of this option file instead')
    parser.add_argument('--set', nargs='+', default=[], metavar='KEY=VALUE', help='overrides options in all variants')
    parser.add_argument('--variants', nargs='+', choices=VARIANTS, metavar='NAME', help=f'from {", ".join(VARIANTS)}')
    parser.add_argument('--size', nargs=2, type=int, metavar=('H', 'W'), help='of the LR image; default: 2K on a GPU')
    parser.add_argument('--tile', type=int, default=128, help='side of a tile in LR pixels')
    parser.add_argument('--overlap', type=int, default=16, help='LR pixels around a tile')
    parser.add_argument('--rounds', type=int, default=3, help='how often each variant is timed, after a first time')
    parser.add_argument('--rates', type=float, default=0.25, help='seconds for each of the rates of products')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')


@dataclass(frozen=True)
class Case:
    """What is run: picklable, so that other processes can run it too."""

    file: str
    overrides: tuple[str, ...]
    device: str
    size: tuple[int, int]
    tile: int
    overlap: int

    def image(self) -> Tensor:
        """A photograph (1, 3, h, w) on the device, as large as needed by reflections."""
        h, w = self.size
        image = photographs(1, 1, 256, 1)[0]['gt']
        while image.shape[2] < h or image.shape[3] < w:
            image = F.pad(image, (0, image.shape[3] - 1, 0, image.shape[2] - 1), mode='reflect')
        return image[..., :h, :w].to(self.device)

    def predictor(self, variant: str) -> Callable[[Tensor], Tensor]:
        sets, in_tiles, compiled = VARIANTS[variant]
        options = load_options(self.file, [*self.overrides, *sets])
        torch.manual_seed(0)
        if variant == 'plain':
            net = use_plain(lifelike_(build_network(options.network_g))).to(self.device).eval()
            return torch.inference_mode()(net)
        model = build_model(options, torch.device(self.device))
        lifelike_(model.net_g)
        for block in repeated_blocks(model.net_g) if compiled else ():
            block.compile()
        if not in_tiles:
            return model.predict
        return TiledPrediction(model.predict, options.scale, self.tile, self.overlap, step_of(model.net_g))


def run(args: argparse.Namespace) -> None:
    kind = torch.device(args.device).type
    file = str(recipe(args.opt or f'test_aesop_{args.backbone}.yml'))
    overrides = (*args.set, 'path.pretrain_network_g=~')
    height, width = args.size or SIZES[kind]
    case = Case(file, overrides, args.device, (height, width), args.tile, args.overlap)
    variants = args.variants or list(USUAL[kind])

    image, results, flop = case.image(), {}, {}
    predictors = {name: case.predictor(name) for name in variants}

    def call(name: str) -> None:
        count = name not in results and not VARIANTS[name][2]  # compiled code is not counted
        if not count:
            results[name] = predictors[name](image)
            return
        with FlopCounter() as counter:
            results[name] = predictors[name](image)
        flop[name] = counter.total

    timings = interleave({name: lambda name=name: call(name) for name in variants}, args.rounds, device=args.device)
    peaks = {name: in_own_process(alone, case, name)[1] for name in variants}
    rates = measure.product_rates(args.device, args.rates)
    first, rows = variants[0], []
    for name in variants:
        seconds = timings[name].median
        count = flop.get(name, flop.get('tiles' if VARIANTS[name][1] else first, 0))
        precision = 'bf16' if name.startswith(('bf16', 'fp16')) else 'fp32'
        highest = max(rate for product, rate in rates.items() if product.startswith(precision))
        rows.append(
            {
                'variant': name,
                'seconds': seconds,
                '+-': timings[name].spread,
                'SR megapixels/s': results[name][0, 0].numel() / 1e6 / seconds,
                f'speed / {first}': timings[first].median / seconds,
                'peak GB': peaks[name] / 1e9,
                f'memory / {first}': peaks[name] / peaks[first],
                'GFLOP/s': count / 1e9 / seconds,
                'share of rate': count / seconds / highest,
                'difference': levels(results[name], results[first]),
            }
        )
    measure.write(
        args.output,
        f'inference_{Path(args.opt).stem}' if args.opt else f'inference_{args.backbone}',
        args.command,
        measure.environment(args.device) | {'image': '{}x{}'.format(*case.size), 'tile': f'{case.tile}+{case.overlap}'},
        f'Inference: {Path(file).stem}',
        measure.title_and_text(__doc__)[1],
        [
            Table('Variants', rows, TEXT),
            Table('Measured rates', [{'product': k, 'GFLOP/s': v / 1e9} for k, v in rates.items()]),
        ],
    )


TEXT = (
    'Seconds of an image: median, and half the distance between the quartiles as a share of it. The share is of the '
    'highest measured rate of products of that precision; what tiles compute twice counts. `difference` is the largest '
    "of any pixel from the first variant, in steps of 8 bits: within a tile's overlap the network sees less than the "
    'whole image.'
)


def levels(result: Tensor, other: Tensor) -> float:
    return 255 * (result.clamp(0, 1) - other.clamp(0, 1)).abs().max().item()


def alone(case: Case, variant: str) -> Any:
    case.predictor(variant)(case.image())
