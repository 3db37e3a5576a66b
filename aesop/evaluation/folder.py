"""Evaluates images produced by any method, with the same metrics and result files as `aesop test`.

Images are matched to ground truths by name; suffixes that methods append (x4, _SR, -out, the name of the method) are
ignored, and ambiguities are reported. Without ground truths, only no-reference metrics are computed. Writes
results/NAME/ (metrics.json, .csv, .md and the images as PNG).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from aesop import __version__
from aesop.data.datasets.base import ImageDataset, Sample, below, capped
from aesop.data.storage.source import Size
from aesop.errors import UserError
from aesop.evaluation.evaluate import build_metrics, evaluate, protocols_of
from aesop.evaluation.published import find
from aesop.evaluation.results import Report
from aesop.metrics.ntire import PROTOCOLS
from aesop.options import load_options
from aesop.registry import did_you_mean
from aesop.run.experiment import move_aside
from aesop.run.logs import also_to
from aesop.utils.console import say
from aesop.utils.files import write_text

CROPPED = ('psnr', 'ssim', 'ae_psnr')
TYPES = {
    'psnr': {'type': 'PSNR', 'test_y_channel': True},
    'ssim': {'type': 'SSIM', 'test_y_channel': True},
    'lpips': {'type': 'LPIPS'},
    'dists': {'type': 'DISTS'},
    'fid': {'type': 'FID'},
    'pfid': {'type': 'PatchFID'},
    'lr_psnr': {'type': 'LRPSNR'},
    'niqe': {'type': 'NIQE'},
    'maniqa': {'type': 'MANIQA'},
    'musiq': {'type': 'MUSIQ'},
    'clipiqa': {'type': 'CLIPIQA'},
}
ADDED = re.compile(r'([_\-. ]*(x\d|\dx|srf|sr|hr|lr|gt|out|output|result|rlt|fake|bicubic)(?![a-z]))+$', re.IGNORECASE)


@dataclass
class Request:
    """What to evaluate.

    Args:
        images, gt, lq: folders; images in `lq` have the names of the ground truths.
        scale: the scale factor.
        metrics: keys of `TYPES`; None selects a default set.
        opt: option file whose `val.metrics` are used instead.
        protocol: key of `aesop.metrics.ntire.PROTOCOLS` whose metrics are used instead.
        name: of the results; default: the name of the folder.
        dataset: name of the dataset; default: the folder above the ground truths.
        published: column of the paper to compare with, e.g. 'RRDB AESOP 128'.
        skip_bad: leave out images that cannot be used.
    """

    images: Path
    gt: Path | None = None
    lq: Path | None = None
    scale: int = 4
    metrics: list[str] | None = None
    opt: str | None = None
    protocol: str | None = None
    name: str | None = None
    dataset: str | None = None
    published: str | None = None
    skip_bad: bool = False


def measure(args: Request) -> None:
    """Evaluates the images and writes `results/NAME`."""
    options = load_options(_options(args))
    if options.published is not None:
        find(options.published)  # raises an error for unknown names
    if args.skip_bad and args.gt is None:
        raise UserError('--skip-bad needs --gt, which determines the images to expect')
    (key, block), *_ = options.datasets.items()
    dataset = FolderImages(
        name=block['name'],
        dataroot=args.images,
        dataroot_gt=args.gt,
        dataroot_lq=args.lq,
        scale=args.scale,
    )
    if args.skip_bad:
        dataset.leave_out_unusable()
    unmatched = [] if args.skip_bad else dataset.left_out.values()
    if problems := capped([*unmatched, *dataset.check()]):
        raise UserError(problems)
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    missing: dict[str, dict[str, str]] = {}
    metrics = build_metrics(options, [key], device, missing)[key]
    root = Path('results') / options.name
    if aside := move_aside(root):
        say(f'the earlier results are now in {aside}')
    also_to(root / 'test.log')
    made: Any = SimpleNamespace(device=device, predict=lambda batch: {'sr': batch['sr']})
    result = evaluate(
        made,
        dataset,
        metrics,
        lambda name: root / 'visualization' / dataset.name / f'{name}.png',
        lenient=True,
        skip_bad=args.skip_bad,
    )
    result.missing |= missing[key]
    protocols = {dataset.name: protocols_of(options, key, metrics)}
    about = {'images_from': str(args.images), 'aesop': __version__}
    Report(options.name, {dataset.name: result}, protocols, about, options.published).write(root)
    write_text(root / 'options.yml', options.to_yaml())
    say(f'{root}:\n{(root / "metrics.md").read_text()}'.rstrip())


def _options(args: Request) -> dict[str, Any]:
    """The options of a test run on the same images; the report uses them to find the ground truths."""
    if args.gt is None and args.lq is not None:
        raise UserError('--lq needs --gt, the folder of the ground truths')
    root = args.gt or args.images
    if args.gt and args.lq:
        block = {'type': 'PairedImageDataset', 'dataroot_gt': str(args.gt), 'dataroot_lq': str(args.lq)}
    elif args.gt:
        block = {'type': 'BicubicImageDataset', 'dataroot_gt': str(args.gt)}
    else:
        block = {'type': 'SingleImageDataset', 'dataroot_lq': str(args.images)}
    above = root.resolve().parent if root.name.lower() in ('hr', 'gt', 'images') else root.resolve()
    name = args.name or args.images.resolve().name
    return {
        'name': name,
        'scale': args.scale,
        'published': args.published,
        'datasets': {'test_1': {'name': args.dataset or above.name, **block}},
        'val': {'save_img': True, 'metrics': _metrics(args)},
    }


def _metrics(args: Request) -> Mapping[str, Mapping[str, Any]]:
    if args.opt:
        return load_options(args.opt).val.metrics
    if args.protocol:
        if args.protocol not in PROTOCOLS:
            raise UserError(f'--protocol {args.protocol}: choose from {", ".join(PROTOCOLS)}')
        return PROTOCOLS[args.protocol]
    with_gt = ['psnr', 'ssim', 'lpips', 'dists', *(['lr_psnr'] if args.lq else [])]
    names = args.metrics or (with_gt if args.gt else ['niqe', 'maniqa', 'musiq', 'clipiqa'])
    if unknown := [name for name in names if name not in TYPES]:
        known = f'known: {", ".join(TYPES)}; others are named in an option file'
        raise UserError(
            [f'--metrics {name}: unknown metric.{did_you_mean(name, list(TYPES))}' for name in unknown] + [known]
        )
    blocks = {name: dict(TYPES[name]) for name in names}
    for name, block in blocks.items():
        block |= {'crop_border': args.scale} if name in CROPPED else {'scale': args.scale} if name == 'lr_psnr' else {}
    return blocks


@dataclass(kw_only=True, eq=False, repr=False)
class FolderImages(ImageDataset):
    """Images of a method as `sr`, with the corresponding ground truths and low-resolution images.

    A ground truth may be larger by less than `scale` pixels per side and is then cropped, as in a test run. Images
    without a counterpart are listed in `left_out`.

    Args:
        dataroot: folder of the images.
        dataroot_gt, dataroot_lq: folders of the ground truths and low-resolution images, or None.
    """

    dataroot: Path
    dataroot_gt: Path | None
    dataroot_lq: Path | None
    scale: int

    def raw(self, n: int) -> Sample:
        images = {kind: self._read(path) for kind, path in zip(self._kinds(), self.items[n])}
        height, width = images['sr'].shape[:2]
        if 'gt' in images:
            images['gt'] = images['gt'][:height, :width]
        return images | {'name': self.names[n], 'index': n}

    def to_float(self, sample: Sample) -> Sample:
        return {key: self._tensor(value) if key in ('sr', 'gt', 'lq') else value for key, value in sample.items()}

    def _kinds(self) -> tuple[str, ...]:
        return ('sr', *(['gt'] if self.dataroot_gt else []), *(['lq'] if self.dataroot_lq else []))

    def _find(self) -> tuple[list[tuple[Path, ...]], list[str]]:
        made = {below(self.dataroot, path): path for path in self._list(self.dataroot)}
        if self.dataroot_gt is None:
            return [(path,) for path in made.values()], list(made)
        truths = {below(self.dataroot_gt, path): path for path in self._list(self.dataroot_gt)}
        partners, problems = matched(list(truths), list(made))
        small: dict[str, str] = {}
        inputs: dict[str, Path] = {}
        if self.dataroot_lq is not None:
            inputs = {below(self.dataroot_lq, path): path for path in self._list(self.dataroot_lq)}
            small, unmatched = matched(list(truths), list(inputs))
            problems |= {name: problem for name, problem in unmatched.items() if name in truths}
        told = {name: f'{truths.get(name) or made[name]}: {problem}' for name, problem in problems.items()}
        self.left_out |= told
        names = [name for name in truths if name not in told]
        if not names:
            nothing = f'{self.dataroot}: no image has the name of one in {self.dataroot_gt}'
            raise UserError([nothing, *capped(list(told.values()))])
        sets = [(made[partners[name]], truths[name]) for name in names]
        if self.dataroot_lq is not None:
            sets = [(*files, inputs[small[name]]) for files, name in zip(sets, names)]
        return sets, names

    def _problem(self, item: tuple[Path, ...], sizes: list[Size]) -> str | None:
        of = dict(zip(self._kinds(), sizes))
        (height, width), whole = of['sr'], of.get('gt', of['sr'])
        cut = tuple(side // self.scale * self.scale for side in whole)
        if (height, width) not in (whole, cut):
            return (
                f'{item[0]}: {height}x{width} pixels (height x width), but {item[1]} has {whole[0]}x{whole[1]}; '
                'they must have the same size'
            )
        if 'lq' in of and of['lq'] != (height // self.scale, width // self.scale):
            lq = 'x'.join(map(str, of['lq']))
            return f'{item[2]}: {lq} pixels is not 1/{self.scale} of the {height}x{width} of {item[0]}'
        return None


def matched(truths: list[str], made: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Matches names in `made` to those in `truths`; returns the matches, and a problem for each other name.

    Tries equal names first, then names equal without the suffixes `ADDED`, then names that consist of one of `truths`
    (the longest possible), a separator and anything else.
    """
    candidates: dict[str, list[str]] = {name: [] for name in truths}
    problems: dict[str, str] = {}
    plain: dict[str, list[str]] = {}
    for name in truths:
        plain.setdefault(ADDED.sub('', name), []).append(name)
    for name in made:
        fitting = [name] if name in candidates else plain.get(ADDED.sub('', name), [])
        if not fitting:
            begun = [key for key in plain if name.startswith(key) and name[len(key) : len(key) + 1] in tuple('_-. ')]
            fitting = plain[max(begun, key=len)] if begun else []
        if len(fitting) == 1:
            candidates[fitting[0]].append(name)
        else:
            why = f'matches each of {", ".join(fitting)}; rename it' if fitting else 'has no ground truth'
            problems[name] = why
    for name, found in candidates.items():
        if len(found) != 1:
            both = f'matches {" and ".join(found)}; keep only one'
            problems[name] = both if found else 'has no image'
    return {name: found[0] for name, found in candidates.items() if found}, problems
