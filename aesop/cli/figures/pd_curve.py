"""Draw perception-distortion curves: weights between a PSNR-oriented network and perceptual ones, any two metrics.

aesop plot pd-curve -opt options/test_aesop_rrdb.yml -o figures/pd \\
    --curve LDL PSNR.pth LDL.pth --curve AESOP PSNR.pth AESOP.pth
aesop plot pd-curve --add figures/pd.csv figures/pd_swinir.csv -x psnr -y dists -o figures/pd_both

The data sets and metrics are those of the option file, a network in it is that of all its curves; curves of other
networks come from the tables of earlier runs. Writes OUT.csv with all points, after each network, OUT.json with how
they were made, and for each data set OUT_NAME.png and .pdf. With --resume an interrupted run continues.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aesop.reporting.pd_curve import Made, Point


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('-opt', metavar='FILE', help='option file of a test')
    parser.add_argument('--set', nargs='+', action='extend', default=[], metavar='KEY=VALUE', help='overrides options')
    parser.add_argument('--curve', nargs=3, action='append', default=[], metavar=('NAME', 'PSNR', 'PERCEPTUAL'))
    parser.add_argument('--steps', type=int, default=11, help='networks on a curve, both ends included; default: 11')
    parser.add_argument('--resume', action='store_true', help='do not repeat what an interrupted run has in OUT.csv')
    parser.add_argument('--add', nargs='+', default=[], metavar='CSV', help='curves of earlier runs')
    parser.add_argument(
        '--published', nargs='+', default=[], metavar='NAME', help='marks of published columns, e.g. "RRDB CALGAN"'
    )
    parser.add_argument('-x', default='psnr', metavar='METRIC')
    parser.add_argument('-y', default='lpips', metavar='METRIC')
    parser.add_argument('-o', '--output', default='figures/pd', metavar='OUT')


def run(args: argparse.Namespace) -> None:
    from aesop.utils.console import say

    for path in draw(args):
        say(str(path))


def draw(args: argparse.Namespace) -> list[Path]:
    import torch

    from aesop.errors import UserError
    from aesop.evaluation.published import find
    from aesop.reporting.pd_curve import draw_pd_curves, measure, read_earlier, read_points, write_points
    from aesop.utils.recipes import recipe

    if bool(args.opt) != bool(args.curve) or not (args.opt or args.add):
        raise UserError(
            'name an option file and curves (-opt FILE --curve NAME PSNR PERCEPTUAL), or tables (--add CSV)'
        )
    if args.steps < 2:
        raise UserError(f'--steps {args.steps}: a curve has two ends at least')
    names = [name for name, *_ in args.curve]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise UserError(f'--curve: {", ".join(sorted(repeated))} is named twice; give each curve a name of its own')
    added = [point for path in args.add for point in read_points(path)]
    if both := {point.method for point in added} & set(names):
        raise UserError(f'--add: there is a curve {", ".join(sorted(both))} already; give the new one another name')
    marks = [name for name in args.published if find(name)]  # tells of unknown names before the long work
    points = list(added)
    Path(args.output).parent.mkdir(parents=True, exist_ok=True)  # fails before the long work if it must
    if args.opt:
        device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
        ends = {name: (psnr, perceptual) for name, psnr, perceptual in args.curve}
        earlier = read_earlier(args.output) if args.resume else ([], {})
        axes = (args.x, args.y)

        def save(new: 'list[Point]', made: 'Made') -> None:
            write_points(args.output, added + new, made)

        points += measure(str(recipe(args.opt)), args.set, ends, args.steps, device, save, axes, earlier)
    table = write_points(args.output, points)
    points = read_points(table)  # the figures are the table's, whether it was made in one run or in several
    datasets = {point.dataset for point in points}
    single = [point for name in marks for point in published_points(name, datasets, (args.x, args.y))]
    return [table, *draw_pd_curves(points, args.x, args.y, args.output, single)]


def published_points(name: str, datasets: set[str], metrics: tuple[str, str]) -> 'list[Point]':
    """A mark on each data set for which both numbers are printed."""
    from aesop.evaluation.published import find
    from aesop.reporting.pd_curve import Point

    points = []
    for dataset in datasets:
        rows = {metric: find(name, dataset=dataset, metric=metric) for metric in metrics}
        if all(rows.values()):
            points.append(Point(f'{name} (published)', 1, dataset, {m: found[0].value for m, found in rows.items()}))
    return points
