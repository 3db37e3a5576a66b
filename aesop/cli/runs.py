"""What `train.py` and `test.py` share: the command line, and how a run ends (exit codes)."""

import argparse
import json
import logging
import sys
from collections.abc import Sequence

from aesop.errors import DONE, FAILED, USER_ERROR, RunEnded, UserError

logger = logging.getLogger(__name__)


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

    0 done; 1 the run cannot go on, and 2 the user's input is wrong, both said in a sentence, of several ranks by one;
    3 stopped by a signal after saving; anything else raises.
    """
    args = _parser(mode).parse_args(arguments)
    from aesop.utils import distributed  # here: `--help` and a mistyped command answer at once

    failure: BaseException | None = None
    try:
        distributed.read_launcher(args.launcher)
        return _run(mode, args) if mode == 'train' else _evaluate(args)
    except BaseException as error:
        failure = error
        if not isinstance(error, UserError | RunEnded):
            raise
        for problem in getattr(error, 'problems', ()):
            if distributed.first_to_tell(problem):
                print(f'{mode}.py: {problem}', file=sys.stderr)  # noqa: T201
        return USER_ERROR if isinstance(error, UserError) else FAILED
    finally:
        distributed.shutdown(failure)


def _parser(mode: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f'{mode}.py', description=f'{mode.capitalize()} as an option file says.')
    several = {} if mode == 'train' else {'nargs': '+'}
    parser.add_argument('-opt', required=True, metavar='FILE', help='option file (YAML)', **several)
    parser.add_argument('--set', nargs='+', action='extend', default=[], metavar='KEY=VALUE', help='overrides options')
    parser.add_argument(
        '--force_yml', nargs='+', action='extend', default=[], dest='set', help='the same, as a:b=value'
    )
    parser.add_argument('--debug', action='store_true', help='a few iterations of everything')
    parser.add_argument('--launcher', choices=('none', 'pytorch', 'slurm'), default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, help=argparse.SUPPRESS)  # torchrun tells by itself
    if mode == 'train':
        parser.add_argument('--auto_resume', action='store_true', help='go on from the newest good state of this run')
        parser.add_argument('--force', action='store_true', help='resume although the networks or the scale changed')
    else:
        parser.add_argument(
            '--weights',
            nargs='+',
            default=[],
            metavar='NAME=FILE',
            help='the networks to evaluate, each as results/NAME',
        )
        parser.add_argument('--resume', action='store_true', help='do not repeat what an interrupted run has finished')
        parser.add_argument('--skip-bad', action='store_true', help='leave images out that cannot be used')
    return parser


def _evaluate(args: argparse.Namespace) -> int:
    """Every evaluation that the command line names, one after the other; what is wrong with one stops no other."""
    runs = _evaluations(args)
    problems: list[str] = []
    for run in runs:
        try:
            _run('test', run)
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(dict.fromkeys(problems))
    return DONE


def _evaluations(args: argparse.Namespace) -> list[argparse.Namespace]:
    """The command line of each evaluation alone.

    Raises:
        UserError: an option file is wrong, or two evaluations would write to one folder.
    """
    from aesop.options import load_options

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
                names.append(load_options(run.opt, run.set).name)
            except UserError as error:
                problems += error.problems
        if twice := sorted({name for name in names if names.count(name) > 1}):
            problems.append(f'two evaluations have the name {", ".join(twice)}, and would write to one folder')
        if problems:
            raise UserError(dict.fromkeys(problems))
    return runs


def _run(mode: str, args: argparse.Namespace) -> int:
    from aesop.run.logs import console
    from aesop.utils import distributed

    with console(distributed.is_main()):
        try:
            with distributed.explaining():
                return _train_or_test(mode, args)
        except RunEnded as error:
            if distributed.first_to_tell(str(error)):
                logger.error('%s', error)
            raise


def _train_or_test(mode: str, args: argparse.Namespace) -> int:
    from aesop.options import load_options
    from aesop.utils import distributed

    distributed.join()
    options = load_options(args.opt, args.set)
    options.require(mode)
    if args.debug:
        options = load_options(args.opt, [*args.set, f'name={json.dumps(f"debug_{options.name}")}', *DEBUG[mode]])
    device = distributed.setup(options.num_gpu, options.dist_params.timeout)
    try:
        if mode == 'train':
            from aesop.training.loop import train

            return train(options, device, auto_resume=args.auto_resume, force=args.force, debug=args.debug)
        from aesop.evaluation.test_run import test

        return test(options, device, resume=args.resume, skip_bad=args.skip_bad, debug=args.debug)
    except UserError as error:
        raise UserError(map(options.located, error.problems)) from error
