"""One training iteration at full size: `plain` (plain.py) against the defaults and further options.

The variants take steps in turn, each on the same photographs and from the current weights of the first variant, so that
their losses can be compared as well as their times. (Separate fp32 runs diverge within a few steps: initially, Adam
changes each weight by the full learning rate regardless of the size of its gradient.) The weights are random, but
constructed such that outputs look like images (lifelike.py). Peak memory is that of two steps in a separate process, in
addition to the imported libraries.
"""

import argparse
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from aesop.archs import build_network
from aesop.archs.layers import use_plain
from aesop.benchmarks import measure
from aesop.benchmarks.lifelike import lifelike_, vgg_state
from aesop.benchmarks.measure import FlopCounter, Table, Timing, in_own_process, interleave
from aesop.benchmarks.plain import PlainStep
from aesop.errors import UserError
from aesop.models import build_model
from aesop.options import Options, load_options
from aesop.utils import checkpoint
from aesop.utils.images import read_image, to_tensor
from aesop.utils.imresize import imresize
from aesop.utils.recipes import recipe

RECIPES = {
    'ae': {'rrdb': 'train_ae_rrdb.yml'},
    'aesop': {name: f'train_aesop_{name}.yml' for name in ('rrdb', 'swinir', 'drct')},
    'ldl': {name: f'baselines/train_ldl_{name}.yml' for name in ('rrdb', 'swinir', 'drct')},
    'esrgan': {'rrdb': 'baselines/train_esrgan_rrdb.yml', 'swinir': 'baselines/train_gan_swinir.yml'},
}
# What each variant sets beyond the recipe; `plain` is a code of its own. TF32 is a setting of the whole process: --set.
VARIANTS = {
    'plain': (),
    'default': (),
    'plain_blocks': ('runtime.fast_blocks=false',),
    'channels_first': ('runtime.channels_last=false',),
    'channels_last': ('runtime.channels_last=true',),
    'bf16': ('runtime.precision=bf16',),
    'fp16': ('runtime.precision=fp16',),
    'compile': ('runtime.compile=true',),
    'bf16_compile': ('runtime.precision=bf16', 'runtime.compile=true'),
    'bf16_max': ('runtime.precision=bf16', 'runtime.compile=max'),
    'checkpoint': ('network_g.use_checkpoint=true',),
    'bf16_checkpoint': ('runtime.precision=bf16', 'network_g.use_checkpoint=true'),
}
USUAL = {
    'cpu': ('plain', 'default', 'plain_blocks', 'bf16'),
    'cuda': ('plain', 'default', 'bf16', 'bf16_compile', 'bf16_max'),
}
UNTRAINED = tuple(f'path.pretrain_network_{which}=~' for which in ('g', 'd', 'decoder'))


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--objective', choices=RECIPES, default='aesop')
    parser.add_argument('--backbone', choices=('rrdb', 'swinir', 'drct'), default='rrdb')
    parser.add_argument('-opt', metavar='FILE', help='this option file instead of the recipe of objective and backbone')
    parser.add_argument('--set', nargs='+', default=[], metavar='KEY=VALUE', help='overrides options in all variants')
    parser.add_argument('--variants', nargs='+', choices=VARIANTS, metavar='NAME', help=f'from {", ".join(VARIANTS)}')
    parser.add_argument('--batch', type=int, default=2, help='images a step')
    parser.add_argument('--patch', type=int, help="side of the HR patch; default: the recipe's")
    parser.add_argument('--steps', type=int, default=5, help='steps of each variant; the first is not timed')
    parser.add_argument('--rates', type=float, default=0.25, help='seconds for each of the rates of products')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--profile', action='store_true', help='also where the time of each variant goes')


@dataclass(frozen=True)
class Case:
    """What is run: picklable, so that other processes can run it too."""

    file: str
    overrides: tuple[str, ...]
    device: str
    batch: int
    steps: int

    def options(self, variant: str) -> Options:
        return load_options(self.file, [*self.overrides, *VARIANTS[variant]])


@dataclass
class Run:
    """A variant's model and what each of its steps gave."""

    model: Any
    batches: list[dict[str, Tensor]]
    losses: list[dict[str, float]] = field(default_factory=list)
    flop: int = 0

    def step(self, count: bool = False) -> None:
        number = len(self.losses)
        torch.manual_seed(number)  # stochastic depth drops the same blocks in all variants
        counter = FlopCounter()
        with counter if count else nullcontext():
            if isinstance(self.model, PlainStep):
                terms = self.model.step(self.batches[number])
            else:
                terms = self.model.step(self.batches[number], number + 1)
        if count:
            self.flop = counter.total
        self.losses.append({name: float(value) for name, value in terms.items() if name.startswith('l_')})


def run(args: argparse.Namespace) -> None:
    variants = args.variants or list(USUAL[torch.device(args.device).type])
    with TemporaryDirectory() as folder:
        case = describe(args, Path(folder))
        runs, timings = compare(case, variants)
        peaks = {name: in_own_process(steps_alone, case, name)[1] for name in variants}
        profiles = [measure.profiled(name, runs[name].step, args.device) for name in variants] if args.profile else []
    rates = measure.product_rates(args.device, args.rates)
    name = f'step_{Path(args.opt).stem}' if args.opt else f'step_{args.objective}_{args.backbone}'
    measure.write(
        args.output,
        name,
        args.command,
        measure.environment(args.device) | {'batch': case.batch, 'steps': case.steps},
        f'One iteration: {Path(case.file).name}',
        measure.title_and_text(__doc__)[1],
        [
            Table('Variants', rows(runs, timings, peaks, rates), TEXT),
            Table('Measured rates', [{'product': k, 'GFLOP/s': v / 1e9} for k, v in rates.items()]),
            *profiles,
        ],
    )


TEXT = (
    'Seconds of a step: median, and half the distance between the quartiles as a share of it. `forward` is the plain '
    'generator alone, without gradients, in fp32; `forwards` are seconds in multiples of it. GFLOP are those of the '
    'products that a step makes; the share is of the highest measured rate of that precision. `difference` is the '
    'largest of any loss term in any step, relative to the first variant.'
)


def describe(args: argparse.Namespace, folder: Path) -> Case:
    """The case that the arguments mean; `folder` takes the random VGG."""
    recipes = RECIPES[args.objective]
    if not args.opt and args.backbone not in recipes:
        raise UserError(f'there is no recipe of {args.objective} on {args.backbone}; there is {", ".join(recipes)}')
    file = str(recipe(args.opt or recipes[args.backbone]))
    options = load_options(file, args.set)
    options.require('train')
    overrides = [*args.set, *UNTRAINED]
    if args.patch:
        overrides.append(f'datasets.train.gt_size={args.patch}')
        if getattr(options, 'network_d', None):
            overrides.append(f'network_d.type=VGGStyleDiscriminator{args.patch}')
    if options.training.aesop_opt:
        overrides.append('train.aesop_opt.autoencoder_load=~')
    if options.training.perceptual_opt:
        overrides.append(f'train.perceptual_opt.vgg_weights={folder}/vgg19.pth')
        checkpoint.save(vgg_state(), folder / 'vgg19.pth')
    return Case(file, tuple(overrides), args.device, args.batch, args.steps)


def photographs(count: int, size: int, patch: int, scale: int) -> list[dict[str, Tensor]]:
    """Batches of random crops of scikit-image's astronaut with their LR images, always the same ones."""
    with as_file(files('skimage') / 'data/astronaut.png') as path:
        photograph = to_tensor(read_image(path))
    generator = torch.Generator().manual_seed(0)
    corners = torch.randint(photograph.shape[-1] - patch, (count, size, 2), generator=generator).tolist()
    gts = [torch.stack([photograph[:, y : y + patch, x : x + patch] for y, x in batch]) for batch in corners]
    return [{'gt': gt, 'lq': imresize(gt, 1 / scale).clamp(0, 1)} for gt in gts]


def prepare(case: Case, variant: str) -> Run:
    options, device = case.options(variant), torch.device(case.device)
    torch.manual_seed(0)
    model = (PlainStep if variant == 'plain' else build_model)(options, device)
    patch = options.datasets['train']['gt_size']
    return Run(model, photographs(case.steps + 1, case.batch, patch, options.scale))


@torch.no_grad()
def make_lifelike(model: Any) -> None:
    lifelike_(model.net_g)
    model.net_g_ema.load_state_dict(model.net_g.state_dict())
    for average in model.net_g_ema.parameters():  # about what a thousand steps of Adam leave between the two
        average.mul_(1 + 2e-2 * torch.randn_like(average))
    if 'aesop' in model.losses:
        lifelike_(model.losses['aesop'].ae)


def copy_weights(model: Any, other: Any, frozen: bool = False) -> None:
    """Gives `model` the weights of `other`, those of its losses too if `frozen`."""
    pairs = [(getattr(model, name), getattr(other, name)) for name in ('net_g', 'net_g_ema', 'net_d')]
    both = [name for name in model.losses if name in other.losses] if frozen else []  # not those without weights
    pairs += [(model.losses[name], other.losses[name]) for name in both]
    for net, like in pairs:
        if net is not None:
            state = like.state_dict()
            inside = {key: key if key in state else key.replace('.net.', '.', 1) for key in net.state_dict()}
            net.load_state_dict({key: state[inside[key]] for key in inside})  # frozen ones may stand a level deeper


def compare(case: Case, variants: list[str]) -> tuple[dict[str, Run], dict[str, Timing]]:
    """Every variant's steps, one of each in turn; `forward` is timed between them."""
    runs = {name: prepare(case, name) for name in variants}
    first, *others = [one.model for one in runs.values()]
    make_lifelike(first)
    for model in others:
        copy_weights(model, first, frozen=True)

    net = use_plain(build_network(case.options('plain').network_g)).to(case.device).eval()
    images = runs[variants[0]].batches[0]['gt' if hasattr(net, 'encoder') else 'lq'].to(case.device)
    calls: dict[str, Callable[[], object]] = {'forward': torch.no_grad()(lambda: net(images))}
    for name, one in runs.items():  # compiled code is not counted
        calls[name] = lambda one=one, name=name: one.step(not one.losses and name in ('plain', 'default'))
    same_start = lambda: [copy_weights(model, first) for model in others]  # noqa: E731
    return runs, interleave(calls, case.steps - 1, device=case.device, before=same_start)


def steps_alone(case: Case, variant: str) -> None:
    """What the peak memory of a variant is taken of."""
    one = prepare(case, variant)
    for _ in range(min(2, case.steps)):
        one.step()


def rows(
    runs: dict[str, Run], timings: dict[str, Timing], peaks: dict[str, int], rates: dict[str, float]
) -> list[dict[str, Any]]:
    table = [{'variant': 'forward', 'seconds': timings['forward'].median, '+-': timings['forward'].spread}]
    first = next(iter(runs))
    counted = next((one.flop for name, one in runs.items() if name != 'plain' and one.flop), runs[first].flop)
    for name, one in runs.items():
        seconds, batch = timings[name].median, len(one.batches[0]['lq'])
        flop = one.flop or counted
        precision = 'bf16' if name.startswith(('bf16', 'fp16')) else 'fp32'  # both are the same for a GPU
        highest = max(rate for kind, rate in rates.items() if kind.startswith(precision))
        table.append(
            {
                'variant': name,
                'seconds': seconds,
                '+-': timings[name].spread,
                'samples/s': batch / seconds,
                'forwards': seconds / timings['forward'].median,
                f'speed / {first}': timings[first].median / seconds,
                'peak GB': peaks[name] / 1e9,
                f'memory / {first}': peaks[name] / peaks[first],
                'GFLOP': flop / 1e9,
                'GFLOP/s': flop / 1e9 / seconds,
                'share of rate': flop / seconds / highest,
                'difference': difference(one, runs[first]),
            }
        )
    return table


def difference(one: Run, other: Run) -> float:
    """The largest relative difference between the loss terms of two runs."""
    pairs = [(a[name], b[name]) for a, b in zip(one.losses, other.losses) for name in b]
    return max(abs(a - b) / max(abs(b), 1e-12) for a, b in pairs)
