"""What `train.py` and `test.py` share: the command line, and how a run ends (exit codes)."""

import argparse
import json
import sys
from collections.abc import Sequence

from aesop.errors import UserError

DONE, FAILED, USER_ERROR, STOPPED = 0, 1, 2, 3

# `--debug` shrinks a run to a few iterations of everything, validation and saving included.
DEBUG = {
    'train': (
        'train.total_iter=4',
        'train.warmup_iter=-1',
        'train.net_d_iters=1',
        'train.net_d_init_iters=0',
        'train.freeze_decoder=1',
        'val.val_freq=2',
        'val.val_start_iter=0',
        'logger.print_freq=1',
        'logger.save_checkpoint_freq=2',
        'logger.use_tb_logger=false',
    ),
    'test': (),
}


def main(mode: str, arguments: Sequence[str] | None = None) -> int:
    """Runs `mode` ('train' or 'test') as the command line says; returns the exit code.

    0 done; 2 the user's input is wrong (said in a sentence); 3 stopped by a signal after saving; anything else raises.
    """
    args = _parser(mode).parse_args(arguments)
    try:
        return _run(mode, args)
    except UserError as error:
        for problem in error.problems:
            print(f'{mode}.py: {problem}', file=sys.stderr)  # noqa: T201
        return USER_ERROR


def _parser(mode: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f'{mode}.py', description=f'{mode.capitalize()} as an option file says.')
    parser.add_argument('-opt', required=True, metavar='FILE', help='option file (YAML)')
    parser.add_argument('--set', nargs='+', action='extend', default=[], metavar='KEY=VALUE', help='overrides options')
    parser.add_argument(
        '--force_yml', nargs='+', action='extend', default=[], dest='set', help='the same, as a:b=value'
    )
    parser.add_argument('--debug', action='store_true', help='a few iterations of everything')
    parser.add_argument('--launcher', choices=('none', 'pytorch', 'slurm'), default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, help=argparse.SUPPRESS)  # torchrun tells by itself
    if mode == 'train':
        parser.add_argument('--auto_resume', action='store_true', help='go on from the newest good state of this run')
    return parser


def _run(mode: str, args: argparse.Namespace) -> int:
    # Imported here: `--help` and a mistyped command answer at once.
    from aesop import distributed
    from aesop.engine.logs import console
    from aesop.options import load_options

    if args.launcher == 'slurm':
        distributed.read_slurm()
    with console(distributed.is_main()):
        options = load_options(args.opt, args.set)
        options.require(mode)
        if args.debug:
            options = load_options(args.opt, [*args.set, f'name={json.dumps(f"debug_{options.name}")}', *DEBUG[mode]])
        device = distributed.setup(options.num_gpu)
        try:
            if mode == 'train':
                from aesop.engine.train import train

                return train(options, device, auto_resume=args.auto_resume, debug=args.debug)
            from aesop.engine.test import test

            return test(options, device, debug=args.debug)
        except UserError as error:
            raise UserError(map(options.located, error.problems)) from error
        finally:
            distributed.shutdown()
