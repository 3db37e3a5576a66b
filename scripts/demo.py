"""Demonstrates the whole method on real photographs within minutes on two CPU cores.

    make demo
    make demo DATA=/a/folder

Starting from the PSNR-oriented network and the auto-encoder in aesop/weights, trains a GAN with 0.01 L1 and one with
L_AESOP, and compares them with the package's own network, which was trained longer and with a perceptual loss. Writes a
table and a figure; uses the same option files and commands as a real training.
"""

import argparse
import csv
import json
import shutil
import sys
import time
from importlib.resources import files
from pathlib import Path

import torch

from aesop.archs import build_network
from aesop.cli.runs import main as command
from aesop.data import build_dataset
from aesop.errors import UserError
from aesop.evaluation.autoencoder import autoencoder_quality
from aesop.options import load_options
from aesop.reporting.loss_maps import busiest_window, loss_maps
from aesop.utils.checkpoint import load_network
from aesop.utils.images import list_images, read_image, save_image, to_tensor

DATA = Path('datasets/demo')
RESULTS = Path('results/demo')
# The colour photographs of scikit-image; the two motorcycle views are one scene, so both are for training.
TRAINING = ('chelsea.png', 'hubble_deep_field.jpg', 'ihc.png', 'motorcycle_left.png', 'motorcycle_right.png')
TRAINING += ('retina.jpg', 'rocket.jpg')
HELD_OUT = ('astronaut.png', 'coffee.png')
METHODS = {  # title -> (name of its results, its weights)
    'Bicubic': ('demo_bicubic', None),
    'PSNR-oriented': ('demo_psnr', 'aesop/weights/psnr_x4.safetensors'),
    'GAN + 0.01 L1': ('demo_gan_pix', 'experiments/demo_gan_pix/models/net_g_300.pth'),
    'GAN + AESOP': ('demo_gan_aesop', 'experiments/demo_gan_aesop/models/net_g_300.pth'),
    'AESOP, shipped': ('demo_aesop', 'aesop/weights/aesop_x4.safetensors'),
}
COLUMNS = {'psnr': 'PSNR', 'ssim': 'SSIM', 'lpips': 'LPIPS', 'lr_psnr': 'LR-PSNR', 'ae_psnr': 'AE-PSNR'}
COLUMNS |= {'detail': 'detail'}
LARGEST = 1024, 512  # pixels a side that are used of a training and of a held-out photograph, from its middle


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--data', type=Path, help='a folder of photographs instead of those of scikit-image')
    start = time.perf_counter()
    try:
        prepare(parser.parse_args().data)
        check_autoencoder()
        for option_file in ('gan_pix.yml', 'gan_aesop.yml'):
            run('train', option_file)
        run('test', 'test_bicubic.yml')
        for name, weights in METHODS.values():
            if weights:
                run('test', 'test.yml', f'name={name}', f'path.pretrain_network_g={weights}')
        RESULTS.mkdir(parents=True, exist_ok=True)
        print(f'\n{table()}')
        draw(RESULTS / 'comparison.png')
    except UserError as error:
        print(f'demo: {error}', file=sys.stderr)
        return 2
    print(f'Done in {time.perf_counter() - start:.0f} s. The picture: {RESULTS / "comparison.png"}')
    return 0


def prepare(folder: Path | None) -> None:
    """Writes `datasets/demo/train` and `datasets/demo/val` anew."""
    if folder is None:
        photographs = files('skimage') / 'data'
        split = [[Path(str(photographs / name)) for name in names] for names in (TRAINING, HELD_OUT)]
    else:
        paths = list_images(folder)
        if len(paths) < 4:
            raise UserError(f'{folder} holds {len(paths)} image(s); the demo needs at least 4, better 20')
        held_out = paths[:: max(2, len(paths) // 4)][:4]
        split = [[path for path in paths if path not in held_out][:100], held_out]
    shutil.rmtree(DATA, ignore_errors=True)
    for part, paths, largest in zip(('train', 'val'), split, LARGEST):
        for number, path in enumerate(paths):
            image = read_image(path)
            top, left = (max(0, side - largest) // 2 for side in image.shape[:2])
            save_image(DATA / part / f'{number:03d}_{path.stem}.png', image[top : top + largest, left : left + largest])
        print(f'{part}: {len(paths)} photographs')


def run(mode: str, option_file: str, *overrides: str) -> None:
    """Runs train.py or test.py, and says so."""
    arguments = ['-opt', f'options/demo/{option_file}', *(['--set', *overrides] if overrides else [])]
    print(f'\n$ python {mode}.py {" ".join(arguments)}', flush=True)
    code = command(mode, arguments)
    if code:
        sys.exit(code)


def options_of(option_file: str):  # noqa: ANN201
    return load_options(f'options/demo/{option_file}')


def autoencoder() -> torch.nn.Module:
    options = options_of('gan_aesop.yml')
    block = options.train.aesop_opt
    net = build_network(block['autoencoder_arch'])
    load_network(net, block['autoencoder_load']['path'])
    return net.eval().requires_grad_(False)


def held_out():  # noqa: ANN201
    block = options_of('common.yml').datasets['val']
    return build_dataset({**block, 'scale': 4})


def check_autoencoder() -> None:
    """Says how good the auto-encoder is on these photographs; UserError where L_AESOP would mean nothing."""
    quality = autoencoder_quality(autoencoder(), held_out())
    print(f'\n{quality}')
    if quality.problems:
        raise UserError('these photographs are unlike those that the auto-encoder of the package was trained on')


def results(name: str) -> dict:
    return json.loads((Path('results') / name / 'metrics.json').read_text())


def table() -> str:
    """The table, also written as Markdown and CSV."""
    rows = [['held-out photographs', *COLUMNS.values()]]
    absent = {}
    for title, (name, _) in METHODS.items():
        values, digits = results(name)['datasets']['held-out'], {'ssim': 4, 'lpips': 4}
        absent |= results(name).get('missing', {}).get('held-out', {})
        rows.append([title, *(f'{values[key]:.{digits.get(key, 2)}f}' if key in values else '-' for key in COLUMNS)])
    with open(RESULTS / 'table.csv', 'w', newline='') as file:
        csv.writer(file).writerows(rows)
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ['| ' + ' | '.join(cell.ljust(width) for cell, width in zip(row, widths)) + ' |' for row in rows]
    lines.insert(1, '|' + '|'.join('-' * (width + 2) for width in widths) + '|')
    text = '\n'.join(lines) + '\n'
    (RESULTS / 'table.md').write_text(text)
    notes = ['detail: energy above half the Nyquist frequency relative to the ground truth, 1 is ideal']
    return '\n'.join([text, *notes, *(f'{COLUMNS[key]} is missing: {why}' for key, why in absent.items()), ''])


def draw(path: Path) -> None:
    """Each held-out photograph: LR, the methods, ground truth, AE(ground truth), and the loss maps of Figure 3."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    net = autoencoder()
    samples = list(held_out())
    panels = ['LR', *METHODS, 'ground truth', 'AE(ground truth)', 'L_pix map', 'L_AESOP map']
    figure, axes = plt.subplots(
        2 * len(samples), 5, figsize=(15, 6.3 * len(samples)), squeeze=False, layout='constrained'
    )
    for row, sample in enumerate(samples):
        gt, lq = sample['gt'], sample['lq']
        top, left, side = busiest_window(gt, 160)
        window = (slice(None), slice(top, top + side), slice(left, left + side))
        images = {'LR': lq[:, top // 4 : (top + side) // 4, left // 4 : (left + side) // 4], 'ground truth': gt[window]}
        for title, (name, _) in METHODS.items():
            file = Path('results') / name / 'visualization' / 'held-out' / f'{sample["name"]}.png'
            images[title] = to_tensor(read_image(file))
        sr = images['GAN + AESOP']
        with torch.inference_mode():
            images['AE(ground truth)'] = net(gt[None])[0][window].clamp(0, 1)
        pixel, auto_encoded = (m[0][window] for m in loss_maps(net, sr[None], gt[None]))
        brightest = pixel.quantile(0.99).item()  # one scale for both maps: they are to be compared
        for title in METHODS:
            images[title] = images[title][window]
        maps = {'L_pix map': pixel, 'L_AESOP map': auto_encoded}
        for panel, axis in zip(panels, axes[2 * row : 2 * row + 2].flat):
            if panel in maps:
                axis.imshow(maps[panel][0], cmap='magma', vmin=0, vmax=brightest)
            else:
                axis.imshow(images[panel].permute(1, 2, 0), interpolation='nearest')
            axis.set_title(panel, fontsize=13)
        for axis in axes[2 * row : 2 * row + 2].flat:
            axis.set_axis_off()
    figure.suptitle(
        'Loss maps compare GAN + AESOP with the ground truth, on one scale: L_pix punishes texture everywhere,\n'
        'L_AESOP what remains after the auto-encoder.',
        fontsize=13,
    )
    figure.savefig(path, dpi=100)


if __name__ == '__main__':
    sys.exit(main())
