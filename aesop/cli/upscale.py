"""Upscale an image, or a folder of them: `aesop upscale photo.jpg` writes `photo_x4.png` beside it.

aesop upscale INPUT -o OUTPUT --weights FILE

The network is recognised from its weights. Images that cannot be upscaled are listed at the end, with exit code 2; all
others are upscaled. The same command resumes interrupted work.
"""

import argparse
import logging
import signal
import time
from pathlib import Path

logger = logging.getLogger('aesop.upscale')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add('input', type=Path, metavar='INPUT', help='image, or folder with its sub-folders')
    add('-o', '--output', type=Path, help='folder, with the same sub-folders, or file; default: INPUT_x4')
    add(
        '--weights',
        metavar='FILE',
        help='file, published name or hf://owner/repository; default: the packaged AESOP network',
    )
    add('--key', help='which weights of the file; default: params_ema, if any, else params')
    add(
        '--arch',
        metavar='BLOCK',
        help='network, if it is not recognised from the weights: {type: RRDBNet, scale: 4}',
    )
    add('--suffix', default='', help='suffix of the names of the results, e.g. _x4')
    add('--format', choices=('png', 'jpg', 'webp'), help='default: png, lossless')
    add('--quality', type=_whole(1, 100), default=95, help='quality of jpg and webp, 1 to 100; default: 95')
    add('--overwrite', action='store_true', help='replace existing results')
    add(
        '--ref',
        type=Path,
        metavar='PATH',
        help='for RefVAE: a reference image, or a folder of them; default: the image',
    )
    add('--samples', type=_whole(1), default=1, help='solutions per image, for networks that have several')
    add(
        '--seed',
        type=_whole(0),
        metavar='N',
        help='seed of references and noise; default: no noise in a single solution',
    )
    add('--tile', type=_whole(0), default=512, help='side of tiles in pixels; 0: whole images; default: 512')
    add('--overlap', type=_whole(0), default=32, help='context around a tile in pixels; default: 32')
    add('--blend', type=_whole(0), default=0, help='pixels over which neighbouring tiles are blended; default: 0')
    add(
        '--colour',
        choices=('wavelet', 'adain'),
        help="restore the image's colours, if a network shifts them",
    )
    add('--batch', type=_whole(1), help='tiles per batch; default: 4 on a GPU, else 1')
    text = 'default: auto: bf16 or fp16 if faster on this device'
    add('--precision', choices=('auto', 'fp32', 'bf16', 'fp16'), default='auto', help=text)
    add('--compile', action='store_true', help="compile the network's blocks: for many images of few sizes")
    add('--device', help='cpu, cuda, cuda:1, ...; default: the GPU, if there is one')


def run(args: argparse.Namespace) -> None:
    from aesop.errors import UserError
    from aesop.run.logs import console

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # handled like Ctrl-C
    try:
        with console(is_main=True):
            problems = _upscale(args)
    finally:
        signal.signal(signal.SIGTERM, before)
    if problems:
        raise UserError(problems)


def _whole(least: int, most: int = 2**31):  # noqa: ANN202  (argparse uses the name in its message)
    def number(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise ValueError
        return value

    number.__name__ = f'whole number from {least}' + (f' to {most}' if most < 2**31 else '')
    return number


def _upscale(args: argparse.Namespace) -> list[str]:
    """Upscales; returns the problems."""
    from aesop.upscale import samples
    from aesop.upscale.folder import Upscaler, beside, find_jobs, run
    from aesop.upscale.networks import SHIPPED, load_generator

    runtime = _runtime(args)
    net = load_generator(args.weights or SHIPPED, args.arch, args.key)
    form = args.format and f'.{args.format}'
    output = args.output or beside(args.input, net.scale, form or '.png')
    jobs, outcome = find_jobs(args.input, output, args.suffix, form, args.overwrite)
    batch = args.batch or (4 if runtime.device.type == 'cuda' else 1)
    logger.info('computing on %s', runtime.device)
    started = time.monotonic()
    try:
        if samples.several(net, args.ref, args.samples, args.seed):
            sampler = samples.Sampler(net, runtime, args.ref, args.samples, args.seed)
            samples.run(sampler, jobs, outcome, args.quality, args.overwrite)
            return outcome.problems
        upscaler = Upscaler(net, runtime, args.tile or None, args.overlap, batch, args.colour, args.blend)
        run(upscaler, jobs, outcome, args.quality)
    finally:
        skipped = f'; {outcome.skipped} exist (--overwrite replaces them)' if outcome.skipped else ''
        failed = f'; {len(outcome.problems)} could not be upscaled' if outcome.problems else ''
        seconds = time.monotonic() - started
        logger.info('%d images in %.1f s, to %s%s%s', outcome.done, seconds, output, skipped, failed)
    return outcome.problems


def _runtime(args: argparse.Namespace):  # noqa: ANN202
    from aesop.models.precision import Precision
    from aesop.options import load_options
    from aesop.utils.devices import find_device

    asked = {'precision': args.precision, 'compile': args.compile, 'cudnn_benchmark': False}  # sizes vary
    return Precision(load_options({'runtime': asked}), find_device(args.device))
