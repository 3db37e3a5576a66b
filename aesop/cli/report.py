"""Write one HTML page that compares results: tables, perception against distortion, images side by side.

aesop report results/LDL_RRDB_x4 results/AESOP_RRDB_x4 -o report.html \\
    --published 'AESOP_RRDB_x4=RRDB AESOP 128' --beside 'RRDB ESRGAN 128' --curves figures/pd.csv

The page is self-contained. RESULTS are folders written by `aesop test`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aesop.reporting.report.results import Results


def add_arguments(parser: argparse.ArgumentParser) -> None:
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
    parser.add_argument('--curves', nargs='+', default=[], metavar='CSV', help='tables of `aesop plot pd-curve`')
    parser.add_argument('--ae', metavar='FILE', help='option file with an auto-encoder: adds maps of L_AESOP')
    parser.add_argument('-x', default='psnr', metavar='METRIC', help='horizontal axis of the plot')
    parser.add_argument('-y', default='lpips', metavar='METRIC', help='vertical axis of the plot')
    parser.add_argument('--max-side', type=int, default=1024, help='larger pictures are scaled down; default: 1024')
    parser.add_argument('--crop', type=int, metavar='SIDE', help='show the central SIDE pixels of each image instead')
    parser.add_argument('--quality', type=int, help="WebP's, 1 to 100; default: lossless if the limit allows, else 90")
    parser.add_argument(
        '--limit-mb', type=float, default=60, help='limit of all pictures, others are omitted; default: 60'
    )
    parser.add_argument('--images', type=int, help='images per data set; default: all')


def run(args: argparse.Namespace) -> None:
    from aesop.utils.console import say
    from aesop.utils.files import write_text

    write_text(args.output, _page(args))
    say(f'{args.output}: {args.output.stat().st_size / 1e6:.1f} MB')


def _page(args: argparse.Namespace) -> str:
    from aesop.errors import UserError, error_context
    from aesop.options import load_options
    from aesop.reporting.autoencoder import autoencoder_of
    from aesop.reporting.pd_curve import read_points
    from aesop.reporting.report.page import build_page
    from aesop.reporting.report.pictures import Format
    from aesop.reporting.report.results import read_results
    from aesop.utils.recipes import recipe

    problems: list[str] = []
    least = {'--max-side': args.max_side, '--crop': args.crop, '--quality': args.quality, '--images': args.images}
    problems += [f'{name} {value}: name 1 or more' for name, value in least.items() if value is not None and value < 1]
    if args.quality is not None and args.quality > 100:
        problems.append(f'--quality {args.quality}: name 1 to 100, or leave it out')
    if args.limit_mb <= 0:
        problems.append(f'--limit-mb {args.limit_mb:g}: name more than 0')
    results, points = [], []
    for folder in args.results:
        with error_context('RESULTS', problems):
            results.append(read_results(folder))
    for path in args.curves:
        with error_context('--curves', problems):
            points += read_points(path)
    published = _published(args.published, results, problems)
    names = [result.name for result in results]
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.append(f'two results are called {name}; test one of them under another `name`')
    if problems:
        raise UserError(problems)
    how = Format(args.max_side, args.crop, args.quality, round(args.limit_mb * 1e6), args.images)
    ae = autoencoder_of(load_options(recipe(args.ae))) if args.ae else None
    return build_page(results, args.title, published, args.beside, points, (args.x, args.y), ae, how)


def _published(pairs: Sequence[str], results: 'Sequence[Results]', problems: list[str]) -> dict[str, str]:
    published = {}
    for pair in pairs:
        name, equals, column = pair.rpartition('=')
        if not equals or name not in {result.name for result in results}:
            known = ', '.join(result.name for result in results)
            problems.append(f'--published {pair}: write NAME=COLUMN, with one of these results: {known}')
        published[name] = column
    return published
