"""Shared by training and tests: the command line, the ranks, and the end of a run."""

import argparse
import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from aesop.errors import DONE, FAILED, USER_ERROR, RunEnded, UserError

if TYPE_CHECKING:
    import torch

    from aesop.options import Options

logger = logging.getLogger(__name__)

# `--debug` shortens a run to a few iterations, including validation and saving.
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
    """`aesop train` or `aesop test` (`mode`); returns the exit code, see `aesop.cli.main`."""
    from aesop.cli import main

    return main([mode, *(sys.argv[1:] if arguments is None else arguments)])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--set', nargs='+', action='extend', default=[], metavar='KEY=VALUE', help='overrides options')
    parser.add_argument(
        '--force_yml', nargs='+', action='extend', default=[], dest='set', help='the same, as a:b=value'
    )
    parser.add_argument('--debug', action='store_true', help='run a few iterations, with validation and saving')
    parser.add_argument('--launcher', choices=('none', 'pytorch', 'slurm'), default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, help=argparse.SUPPRESS)  # torchrun sets LOCAL_RANK


def start(args: argparse.Namespace, work: Callable[[argparse.Namespace], int]) -> int:
    """Runs the work of one rank. An error of all ranks is reported by one of them; other errors name their rank."""
    from aesop.run.logs import console
    from aesop.utils import distributed

    distributed.read_launcher(args.launcher)
    with console(distributed.is_main()):
        try:
            code = work(args)
        except UserError as error:
            if distributed.should_report(error):
                raise
            code = USER_ERROR
        except RunEnded as error:  # on all ranks
            if distributed.is_main():
                logger.error('%s', error)
            code = FAILED
        except Exception as error:
            if distributed.world_size() > 1:
                what = str(error).partition('\n')[0]
                logger.error('rank %d ends: %s: %s', distributed.rank(), type(error).__name__, what)
            raise
    distributed.shutdown()
    return code


def train(args: argparse.Namespace) -> int:
    from aesop.training.loop import train

    options, device = _begin('train', args)
    with _located(options):
        return train(options, device, auto_resume=args.auto_resume, force=args.force, debug=args.debug)


def test(args: argparse.Namespace) -> int:
    """Runs all evaluations of the command line in turn; a UserError in one does not stop the others."""
    from aesop.utils import distributed

    code, problems = DONE, []
    for run in _evaluations(args):
        try:
            _test(run)
        except UserError as error:
            code = USER_ERROR
            problems += error.problems if distributed.should_report(error) else ()
    if problems:
        raise UserError(dict.fromkeys(problems))
    return code


def _evaluations(args: argparse.Namespace) -> list[argparse.Namespace]:
    """The arguments of each evaluation.

    Raises:
        UserError: an option file is wrong, or two evaluations would write to one folder.
    """
    from aesop.options import load_options
    from aesop.utils.recipes import recipe

    weights = [pair.partition('=') for pair in args.weights]
    if bad := [''.join(pair) for pair in weights if not all(pair)]:
        raise UserError(f'--weights {" ".join(bad)}: write NAME=FILE')
    if weights and len(args.opt) > 1:
        raise UserError('--weights goes with one option file: that of the network which the weights are for')
    each = [[f'name={json.dumps(n)}', f'path.pretrain_network_g={json.dumps(f)}'] for n, _, f in weights] or [[]]
    runs = [
        argparse.Namespace(**vars(args) | {'opt': file, 'set': [*args.set, *of_one]})
        for file in args.opt
        for of_one in each
    ]
    if len(runs) > 1:
        problems: list[str] = []
        names = []
        for run in runs:
            try:
                names.append(load_options(recipe(run.opt), run.set).name)
            except UserError as error:
                problems += error.problems
        if twice := sorted({name for name in names if names.count(name) > 1}):
            problems.append(f'two evaluations have the name {", ".join(twice)}, and would write to one folder')
        if problems:
            raise UserError(dict.fromkeys(problems))
    return runs


def _test(args: argparse.Namespace) -> None:
    from aesop.evaluation.test_run import test
    from aesop.run.logs import own_log

    options, device = _begin('test', args)
    with _located(options), own_log():
        test(options, device, resume=args.resume, skip_bad=args.skip_bad, debug=args.debug)


def _begin(mode: Literal['train', 'test'], args: argparse.Namespace) -> 'tuple[Options, torch.device]':
    """The options and the device of this rank; connects the ranks."""
    from aesop.options import load_options
    from aesop.utils import distributed
    from aesop.utils.recipes import recipe

    file = recipe(args.opt)
    options = load_options(file, args.set)
    options.require(mode)
    if args.debug:
        options = load_options(file, [*args.set, f'name={json.dumps(f"debug_{options.name}")}', *DEBUG[mode]])
    return options, distributed.setup(options.num_gpu, options.dist_params.timeout)


@contextmanager
def _located(options: 'Options') -> Iterator[None]:
    """Adds file and line to errors that name a key."""
    try:
        yield
    except UserError as error:
        raise type(error)(map(options.located, error.problems)) from error
