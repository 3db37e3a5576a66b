"""Writes one HTML page that compares results: tables, perception against distortion, and every image side by side.

python scripts/report.py results/LDL_RRDB_x4 results/AESOP_RRDB_x4 -o report.html \\
    --published 'AESOP_RRDB_x4=RRDB AESOP 128' --beside 'RRDB ESRGAN 128' --curves figures/pd.csv

The page holds all that it shows and needs no network. RESULTS are folders that test.py has written. Exit code 2:
something is wrong, said in a sentence.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from aesop.errors import UserError, at
from aesop.options import load_options
from aesop.reporting.autoencoder import autoencoder_of
from aesop.reporting.pd_curve import read_points
from aesop.reporting.report.page import build_page
from aesop.reporting.report.pictures import Format
from aesop.reporting.report.results import Results, read_results


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('results', nargs='+', metavar='RESULTS', help='folders results/<name>')
    parser.add_argument('-o', '--output', type=Path, default=Path('report.html'), metavar='HTML')
    parser.add_argument('--title', default='Comparison')
    parser.add_argument(
        '--published',
        nargs='+',
        default=[],
        metavar='NAME=COLUMN',
        help='published column that a result is compared to',
    )
    parser.add_argument('--beside', nargs='+', default=[], metavar='COLUMN', help='published columns shown as rows')
    parser.add_argument('--curves', nargs='+', default=[], metavar='CSV', help='tables of plot_pd_curve.py')
    parser.add_argument('--ae', metavar='FILE', help='option file that names an auto-encoder: adds maps of L_AESOP')
    parser.add_argument('-x', default='psnr', metavar='METRIC', help='first across in the plot')
    parser.add_argument('-y', default='lpips', metavar='METRIC', help='first up in the plot')
    parser.add_argument('--max-side', type=int, default=1024, help='larger pictures are scaled down; default: 1024')
    parser.add_argument('--crop', type=int, metavar='SIDE', help='show the middle SIDE pixels of each image instead')
    parser.add_argument('--quality', type=int, help="WebP's, 1 to 100; default: lossless if the limit allows, else 90")
    parser.add_argument('--limit-mb', type=float, default=60, help='of all pictures; more are left out; default: 60')
    parser.add_argument('--images', type=int, help='at most so many of each data set; default: all')
    args = parser.parse_args(arguments)
    try:
        page = run(args)
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(page, encoding='utf-8')
    except UserError as error:
        for problem in error.problems:
            print(f'report.py: {problem}', file=sys.stderr)
        return 2
    except OSError as error:
        print(f'report.py: {args.output} cannot be written ({error.strerror})', file=sys.stderr)
        return 2
    print(f'{args.output}: {args.output.stat().st_size / 1e6:.1f} MB')
    return 0


def run(args: argparse.Namespace) -> str:
    problems: list[str] = []
    least = {'--max-side': args.max_side, '--crop': args.crop, '--quality': args.quality, '--images': args.images}
    problems += [f'{name} {value}: name 1 or more' for name, value in least.items() if value is not None and value < 1]
    if args.quality is not None and args.quality > 100:
        problems.append(f'--quality {args.quality}: name 1 to 100, or leave it out')
    if args.limit_mb <= 0:
        problems.append(f'--limit-mb {args.limit_mb:g}: name more than 0')
    results, points = [], []
    for folder in args.results:
        with at('RESULTS', problems):
            results.append(read_results(folder))
    for path in args.curves:
        with at('--curves', problems):
            points += read_points(path)
    published = _published(args.published, results, problems)
    names = [result.name for result in results]
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.append(f'two results are called {name}; test one of them under another `name`')
    if problems:
        raise UserError(problems)
    how = Format(args.max_side, args.crop, args.quality, round(args.limit_mb * 1e6), args.images)
    ae = autoencoder_of(load_options(args.ae)) if args.ae else None
    return build_page(results, args.title, published, args.beside, points, (args.x, args.y), ae, how)


def _published(pairs: Sequence[str], results: Sequence[Results], problems: list[str]) -> dict[str, str]:
    published = {}
    for pair in pairs:
        name, equals, column = pair.rpartition('=')
        if not equals or name not in {result.name for result in results}:
            known = ', '.join(result.name for result in results)
            problems.append(f'--published {pair}: write NAME=COLUMN, with one of these results: {known}')
        published[name] = column
    return published


if __name__ == '__main__':
    sys.exit(main())
