"""Upscales an image, or a folder of them: `python -m aesop.upscale photo.jpg` writes `photo_x4.png` beside it.

Exit code 0: all is done; 2: something is wrong, or some images could not be upscaled (all others are); 3: stopped.
"""

import argparse
import logging
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

logger = logging.getLogger('aesop.upscale')


def main(arguments: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    from aesop.errors import DONE, STOPPED, USER_ERROR, UserError  # here: `--help` answers at once
    from aesop.run.logs import console

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # it ends like Ctrl-C
    try:
        with console(is_main=True):
            problems = _upscale(args)
    except UserError as error:
        problems = error.problems
    except KeyboardInterrupt:
        print('stopped; the same command goes on', file=sys.stderr)  # noqa: T201
        return STOPPED
    finally:
        signal.signal(signal.SIGTERM, before)
    for problem in problems:
        print(f'upscale: {problem}', file=sys.stderr)  # noqa: T201
    return USER_ERROR if problems else DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='python -m aesop.upscale', description=__doc__)
    add = parser.add_argument
    add('input', type=Path, metavar='INPUT', help='an image or a folder; its sub-folders too')
    add('-o', '--output', type=Path, help='a folder, which gets the same sub-folders; or a file. Default: INPUT_x4')
    add('--weights', metavar='FILE', help='a file, or a name in weights.yml; default: the AESOP network of the package')
    add('--key', help='which weights of the file; default: params_ema, if there, else params')
    add('--arch', metavar='BLOCK', help='the network, where it is not told by the weights: {type: RRDBNet, scale: 4}')
    add('--suffix', default='', help='follows the names of the results, e.g. _x4')
    add('--format', choices=('png', 'jpg', 'webp'), help='default: png, which keeps all')
    add('--quality', type=_whole(1, 100), default=95, help='of jpg and webp, 1 to 100; default: 95')
    add('--overwrite', action='store_true', help='make results anew that exist')
    add('--tile', type=_whole(0), default=512, help='side of tiles in pixels; 0: whole images; default: 512')
    add('--overlap', type=_whole(0), default=32, help='pixels around a tile that its result sees; default: 32')
    add('--batch', type=_whole(1), help='tiles of equal size at a time; default: 4 on a GPU, else 1')
    add('--precision', choices=('fp32', 'bf16', 'fp16'), default='fp32')
    add('--compile', action='store_true', help="compile the network's blocks: for many images of few sizes")
    add('--device', help='cpu, cuda, cuda:1, ...; default: the GPU, if there is one')
    return parser


def _whole(least: int, most: int = 2**31):  # noqa: ANN202  (argparse takes the name for its message)
    def number(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise ValueError
        return value

    number.__name__ = f'whole number from {least}' + (f' to {most}' if most < 2**31 else '')
    return number


def _upscale(args: argparse.Namespace) -> list[str]:
    """What could not be upscaled."""
    from aesop.upscale.folder import Upscaler, beside, find_jobs, run
    from aesop.upscale.networks import SHIPPED, load_generator

    runtime = _runtime(args)
    net = load_generator(args.weights or SHIPPED, args.arch, args.key)
    form = args.format and f'.{args.format}'
    output = args.output or beside(args.input, net.scale, form or '.png')
    jobs, outcome = find_jobs(args.input, output, args.suffix, form, args.overwrite)
    batch = args.batch or (4 if runtime.device.type == 'cuda' else 1)
    started = time.monotonic()
    try:
        run(Upscaler(net, runtime, args.tile or None, args.overlap, batch), jobs, outcome, args.quality)
    finally:
        skipped = f'; {outcome.skipped} exist (--overwrite makes them anew)' if outcome.skipped else ''
        failed = f'; {len(outcome.problems)} could not be upscaled' if outcome.problems else ''
        seconds = time.monotonic() - started
        logger.info('%d images in %.1f s, to %s%s%s', outcome.done, seconds, output, skipped, failed)
    return outcome.problems


def _runtime(args: argparse.Namespace):  # noqa: ANN202
    from aesop.models.precision import Precision, find_device
    from aesop.options import load_options

    asked = {'precision': args.precision, 'compile': args.compile, 'cudnn_benchmark': False}  # sizes vary
    return Precision(load_options({'runtime': asked}), find_device(args.device))


if __name__ == '__main__':
    sys.exit(main())
