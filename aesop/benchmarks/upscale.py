"""`aesop upscale` on a folder of images against the network alone, and the memory for a large image.

`network` predicts the decoded images one after the other, without reading or writing files. `folder` is the complete
command: it reads, upscales and writes PNGs. Both alternate in one process. The large image has `--large` pixels per
side, and its result, four times as large, is written in bands; its peak memory is measured in a separate process, in
addition to the imported libraries, and compared with the size in bytes of the decoded image and of the result.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from aesop.archs import build_network
from aesop.benchmarks import measure
from aesop.benchmarks.lifelike import lifelike_
from aesop.benchmarks.measure import Table, in_own_process, interleave
from aesop.benchmarks.step import photographs
from aesop.models.precision import Precision
from aesop.options import load_options
from aesop.upscale.folder import Outcome, Upscaler, find_jobs
from aesop.upscale.folder import run as upscale
from aesop.upscale.photo import read_photo
from aesop.utils.images import list_images, save_image, to_uint8

NETWORKS = {
    'rrdb': {'type': 'RRDBNet', 'num_feat': 64, 'num_block': 23, 'num_grow_ch': 32, 'scale': 4},
    'small': {'type': 'SRVGGNetCompact', 'num_feat': 8, 'num_conv': 1, 'upscale': 4},
}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--network', choices=NETWORKS, default='rrdb')
    parser.add_argument('--images', type=int, default=6)
    parser.add_argument('--size', type=int, default=128, help='side of the images')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--large', type=int, default=5000, help='side of the large image; 0: none')
    parser.add_argument('--precision', choices=('fp32', 'bf16', 'fp16'), default='fp32')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')


def run(args: argparse.Namespace) -> None:
    torch.manual_seed(0)
    upscaler = build(args.network, args.precision, args.device, 512)
    with TemporaryDirectory() as folder:
        source, target = Path(folder) / 'in', Path(folder) / 'out'
        for number, image in enumerate(photographs(1, args.images, args.size, 4)[0]['gt']):
            save_image(source / f'{number}.png', image)
        photos = [read_photo(path) for path in list_images(source)]

        def network() -> None:
            for photo in photos:
                upscaler([photo])

        def everything() -> None:
            jobs, outcome = find_jobs(source, target, '', None, overwrite=True)
            upscale(upscaler, jobs, outcome, quality=95)

        timings = interleave({'network': network, 'folder': everything}, args.rounds, device=args.device)
    pixels = args.images * args.size**2 * upscaler.scale**2 / 1e6
    rows = [
        {
            'variant': name,
            'SR megapixels/s': pixels / timing.median,
            '+-': timing.spread,
            'rate / network': timings['network'].median / timing.median,
        }
        for name, timing in timings.items()
    ]
    tables = [Table('A folder', rows, 'Rates: median, and half the distance between the quartiles as a share of it.')]
    if args.large:
        _, peak = in_own_process(one_large, args.large, args.device)
        decoded = 3 * args.large**2
        row = {'side': args.large, 'decoded GB': decoded / 1e9, 'result GB': 16 * decoded / 1e9, 'peak GB': peak / 1e9}
        tables.append(Table('A large image', [row], 'With a small network: what counts is what lies in memory.'))
    about = measure.environment(args.device)
    about |= {
        'network': args.network,
        'images': f'{args.images} of {args.size}x{args.size}',
        'precision': args.precision,
    }
    title, text = measure.title_and_text(__doc__)
    measure.write(args.output, 'upscale', args.command, about, title, text, tables)


def build(network: str, precision: str, device: str, tile: int) -> Upscaler:
    net = lifelike_(build_network(NETWORKS[network])) if network == 'rrdb' else build_network(NETWORKS[network])
    options = load_options({'runtime': {'precision': precision, 'cudnn_benchmark': False}})
    net = net.requires_grad_(False).eval()
    return Upscaler(net, Precision(options, torch.device(device)), tile, overlap=32, batch=1)


def one_large(side: int, device: str) -> None:
    upscaler = build('small', 'fp32', device, 512)
    photograph = to_uint8(photographs(1, 1, 256, 4)[0]['gt'][0])
    tiles = -(-side // 256)
    with TemporaryDirectory() as folder:
        source = Path(folder) / 'large.png'
        save_image(source, np.ascontiguousarray(np.tile(photograph, (tiles, tiles, 1))[:side, :side]))
        jobs, outcome = find_jobs(source, Path(folder) / 'out.png', '', None, overwrite=True)
        upscale(upscaler, jobs, outcome, quality=95)
        assert outcome == Outcome(done=1), outcome
