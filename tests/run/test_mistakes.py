"""Typical mistakes of a user. Each ends with exit code 2 and a clear message, and nothing is written."""

import os
import re
import shutil
import struct
import subprocess
import sys
import zlib
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from aesop.archs import build_network
from aesop.cli.runs import main
from aesop.models import build_model
from aesop.training.rng import random_state
from aesop.utils.images import read_image, save_image
from tests.runs import ADAM, AE, G

ROOT = Path(__file__).parents[2]


# What the mistakes are made of


class Exploit:
    def __reduce__(self):
        return os.mkdir, ('exploited',)


def malicious(path):
    torch.save({'params': Exploit()}, path)


def garbage(path):
    Path(path).write_bytes(b'<html>404 Not Found</html>' * 50)


def fifo(path):
    path.unlink()
    os.mkfifo(path)


def bomb(path):
    """A PNG whose header promises 30,000x30,000 pixels."""
    data = path.read_bytes()
    header = b'IHDR' + struct.pack('>II', 30_000, 30_000) + data[24:29]
    path.write_bytes(data[:12] + header + struct.pack('>I', zlib.crc32(header)) + data[33:])


def network(path, **changes):
    torch.save({'params': build_network(G | changes).state_dict()}, path)


def truncated(path):
    network(path)
    Path(path).write_bytes(Path(path).read_bytes()[:-500])


def state(options, path='other.state', **changes):
    """A state file such as a run with these options, after two iterations, leaves."""
    model = build_model(options, 'cpu').state_dict()
    content = {'iter': 2, 'model': model, 'random': [random_state()], 'pools': [{}], 'best': {}}
    torch.save(content | {'elapsed': 1.0, 'seed': 7} | changes, path)


def pairs(options):
    """Makes the training set one of pairs in train/ and lq/."""
    for path in Path('train').iterdir():
        save_image(Path('lq', path.name), read_image(path)[::4, ::4])
    options['datasets']['train'] |= {'type': 'PairedImageDataset', 'dataroot_lq': 'lq'}


def put(options, key, value):
    *blocks, last = key.split('.')
    for block in blocks:
        options = options.setdefault(block, {})
    options[last] = value


def has(key, value):
    """The mistake of having this in the option file."""
    return lambda options: put(options, key, value)


def lacks(key):
    def mistake(options):
        *blocks, last = key.split('.')
        for block in blocks:
            options = options[block]
        del options[last]

    return mistake


def weights(make, key='path.pretrain_network_g', file='w.pth'):
    """The mistake of naming the file that `make` writes."""
    return lambda options: (make(file), put(options, key, file))


def image(change, name='train/3.png'):
    return lambda options: change(Path(name))


def resumes(**changes):
    """The mistake of resuming from a state whose run had other options."""

    def mistake(options):
        other = {**options, 'train': dict(options['train'])}
        for key, value in changes.items():
            put(other, key.replace('__', '.'), value)
        state(other)
        put(options, 'path.resume_state', 'other.state')

    return mistake


def resumes_from(make):
    return lambda options: (make(options), put(options, 'path.resume_state', 'other.state'))


MISTAKES = {
    # options
    'a misspelled key': (has('train.total_itr', 6), 'run.yml:', 'train.total_itr', 'Did you mean "total_iter"?'),
    'a wrong type': (has('train.total_iter', 'many'), 'train.total_iter', 'whole number', 'many'),
    'a negative rate': (has('train.optim_g.lr', -0.1), 'train.optim_g.lr', 'at least 0'),
    'no name': (lacks('name'), 'name: is missing'),
    'no patch size': (lacks('datasets.train.gt_size'), 'datasets.train.gt_size: is missing'),
    'no loss': (lacks('train.pixel_opt'), 'has no loss', 'pixel_opt'),
    'an unknown model': (has('model_type', 'SRMdel'), 'model_type', 'Did you mean "SRModel"?'),
    'an unknown network': (has('network_g.type', 'RRDBnet'), 'network_g.type', 'Did you mean "RRDBNet"?'),
    'an unknown argument': (has('network_g.num_feats', 8), 'network_g.num_feats', 'Did you mean "num_feat"?'),
    'an unknown loss': (has('train.pixel_opt.type', 'L1Los'), 'train.pixel_opt.type', 'Did you mean "L1Loss"?'),
    'an unknown optimiser': (has('train.optim_g.type', 'Adm'), 'train.optim_g.type', 'Did you mean "Adam"?'),
    'an unknown schedule': (has('train.scheduler', {'type': 'MultiStep'}), 'train.scheduler', '"MultiStepLR"?'),
    'an unknown metric': (has('val.metrics.psnr.type', 'pnsr'), 'val.metrics.psnr.type', 'unknown metric "pnsr"'),
    'an unknown data set': (has('datasets.val.type', 'Folder'), 'datasets.val.type', 'unknown dataset "Folder"'),
    'a scale the network lacks': (has('scale', 2), 'network_g', 'scale: 2'),
    'a patch that is no multiple': (has('datasets.train.gt_size', 30), 'datasets.train.gt_size', 'multiple'),
    'a GAN without discriminator': (has('model_type', 'ESRGANModel'), 'network_d'),
    'an unset variable': (has('datasets.val.dataroot_gt', '${NO_SUCH}/val'), 'NO_SUCH', 'is not set'),
    # paths
    'a missing folder': (has('datasets.train.dataroot_gt', 'gone'), 'datasets.train', 'gone', 'datasets/README.md'),
    'an empty folder': (image(lambda p: shutil.rmtree('val') or Path('val').mkdir()), 'datasets.val', 'no image'),
    'a missing list': (has('datasets.train.meta_info', 'list.txt'), 'datasets.train', 'list.txt', 'meta_info'),
    'a list of what is gone': (
        lambda o: (Path('list.txt').write_text('0.png\n9.png\n'), put(o, 'datasets.train.meta_info', 'list.txt')),
        'datasets.train', 'train/9.png', 'not found',
    ),
    'missing weights': (has('path.pretrain_network_g', 'w.pth'), 'path.pretrain_network_g', 'w.pth', 'README'),
    'a missing state': (has('path.resume_state', 'x.state'), 'path.resume_state', 'x.state'),
    'a file for a folder': (
        lambda o: (Path('runs').write_text(''), put(o, 'path.experiments_root', 'runs')), 'runs is a file',
    ),
    # images
    'an image under the crop': (
        image(lambda p: save_image(p, np.zeros((20, 40, 3), np.uint8))), 'train/3.png', '20x40', 'gt_size',
    ),
    'an image cut off': (image(lambda p: p.write_bytes(p.read_bytes()[:-100])), 'train/3.png', 'truncated'),
    'an empty image': (image(lambda p: p.write_bytes(b'')), 'train/3.png', 'cannot be read as an image'),
    'text named .png': (image(lambda p: p.write_text('hello\n')), 'train/3.png', 'cannot be read as an image'),
    'a FIFO for an image': (image(fifo), 'train/3.png: this is not a regular file'),
    'a FIFO to validate on': (image(fifo, 'val/1.png'), 'val/1.png: this is not a regular file'),
    'a bomb': (image(bomb, 'val/1.png'), 'val/1.png', 'more than 100,000,000 pixels', 'AESOP_MAX_PIXELS'),
    'a pair of another scale': (
        lambda o: (pairs(o), shutil.copy('train/0.png', 'lq/1.png')), 'lq/1.png', '72x80', 'not 1/4', 'train/1.png',
    ),
    'two images of one name': (
        image(lambda p: shutil.copy(p, 'val/1.jpg')), 'datasets.val', '2 images are named 1',
    ),
    'a metric without ground truth': (
        has('datasets.val', {'type': 'SingleImageDataset', 'dataroot_lq': 'val'}), 'datasets.val', 'val.metrics.psnr',
    ),
    # checkpoints
    'weights of another width': (
        weights(lambda file: network(file, num_feat=12)), 'path.pretrain_network_g', 'w.pth', 'RRDBNet', '12x3x3x3',
    ),
    'weights of another scale': (weights(lambda f: network(f, scale=2)), 'path.pretrain_network_g', '8x12x3x3'),
    'weights of another network': (
        weights(lambda f: torch.save(build_network({'type': 'MSRResNet', 'num_feat': 8}).state_dict(), f)),
        'path.pretrain_network_g', 'w.pth', 'missing', 'unexpected',
    ),
    'weights that are a web page': (weights(garbage), 'path.pretrain_network_g', 'w.pth', 'not a PyTorch file'),
    'weights cut off': (weights(truncated), 'path.pretrain_network_g', 'w.pth is damaged', 'again'),
    'weights that run code': (weights(malicious), 'path.pretrain_network_g', 'w.pth is refused', 'mkdir'),
    'a state for weights': (
        weights(lambda f: torch.save({'iter': 3}, f)), 'path.pretrain_network_g', 'w.pth has no network weights',
    ),
    # states
    'a state of another width': (
        resumes(network_g={**G, 'num_feat': 12}), 'other.state', 'belongs to another run', '12x3x3x3',
        'pretrain_network_g',
    ),
    'a state without average': (resumes(train__ema_decay=0), 'other.state', 'net_g_ema', 'belongs to another run'),
    'a state of the other stage': (resumes(model_type='AEModel', network_g=AE), 'belongs to another run'),
    'a state of another optimiser': (resumes(train__optim_g={'type': 'SGD', 'lr': 0.1}), 'optim_g was SGD', 'Adam'),
    'a state beyond the end': (resumes_from(lambda o: state(o, iter=9)), 'iteration 9', 'total_iter 6'),
    'weights for a state': (resumes_from(lambda o: network('other.state')), 'other.state', 'pretrain_network_g'),
    'a list for a state': (resumes_from(lambda o: torch.save([1, 2], 'other.state')), 'other.state is not a training'),
    'a state that runs code': (resumes_from(lambda o: malicious('other.state')), 'other.state is refused', 'mkdir'),
    'a state that is a web page': (resumes_from(lambda o: garbage('other.state')), 'other.state is damaged'),
}  # fmt: skip

PERCEPTUAL = {'type': 'PerceptualLoss', 'layer_weights': {'conv1_2': 1}, 'vgg_weights': 'v.pth'}
IN_GAN_RUNS = {
    'artifacts without an average': (has('train.ema_decay', 0), 'train.artifacts_opt', 'set ema_decay'),
    'a patch the discriminator does not take': (has('datasets.train.gt_size', 64), 'datasets.train.gt_size', '32'),
    'a missing auto-encoder': (
        image(lambda p: p.unlink(), 'ae.pth'), 'train.aesop_opt.autoencoder_load.path', 'ae.pth', 'README',
    ),
    'an auto-encoder that runs code': (
        image(malicious, 'ae.pth'), 'train.aesop_opt.autoencoder_load.path', 'ae.pth is refused', 'mkdir',
    ),
    'a generator for an auto-encoder': (
        image(network, 'ae.pth'), 'train.aesop_opt.autoencoder_load.path', 'ae.pth does not fit', 'encoder.0.0.weight',
    ),
    "a missing file of SPSR's second discriminator": (
        lambda o: (
            o['train'].update(optim_d_grad=o['train']['optim_d'], gan_grad_opt=o['train']['gan_opt']),
            o.update(network_d_grad=o['network_d'], path={'pretrain_network_d_grad': 'none.pth'}),
        ),
        'path.pretrain_network_d_grad', 'none.pth', 'README',
    ),
    'a generator for a discriminator': (
        weights(network, 'path.pretrain_network_d'), 'path.pretrain_network_d', 'w.pth', 'VGGStyleDiscriminator',
    ),
    'missing VGG weights': (
        has('train.perceptual_opt', PERCEPTUAL),
        'train.perceptual_opt.vgg_weights', 'v.pth',
    ),
    'VGG weights of another network': (
        lambda o: (
            torch.save({'features.0.weight': torch.zeros(64, 3, 11, 11), 'features.0.bias': torch.zeros(64)}, 'v.pth'),
            put(o, 'train.perceptual_opt', PERCEPTUAL),
        ),
        'train.perceptual_opt', 'v.pth', 'not those of vgg19',
    ),
    'a state of the PSNR stage': (
        lambda o: (
            state({'model_type': 'SRModel', 'scale': 4, 'network_g': G, 'train': {'ema_decay': 0.9, 'optim_g': ADAM}}),
            put(o, 'path.resume_state', 'other.state'),
        ),
        'net_d', 'belongs to another run',
    ),
}  # fmt: skip


def run(options, *arguments, mode='train'):
    Path('run.yml').write_text(yaml.safe_dump(options))
    return main(mode, ['-opt', 'run.yml', *arguments])


def contents():
    """Every folder and file, and what it holds; the option file, which the tests write, left out."""
    return {path: path.is_file() and path.read_bytes() for path in Path().rglob('*') if path.name != 'run.yml'}


def fails(options, capsys, *arguments, mode='train'):
    """Runs, checks that it ends as a mistake has to; the lines that it said."""
    before = contents()
    assert run(options, *arguments, mode=mode) == 2
    assert contents() == before
    said = capsys.readouterr().err
    assert 'Traceback' not in said
    lines = said.splitlines()
    assert lines and all(line.startswith(f'aesop {mode}: ') for line in lines)
    return lines


def check(options, mistake, expected, capsys):
    mistake(options)
    lines = fails(options, capsys)
    assert len(lines) == 1
    for words in expected:
        assert words in lines[0]


@pytest.fixture
def earlier(folder):
    """An earlier run of this name, which must stay as it is."""
    for name in ('.lock', 'models/net_g_6.pth', 'metrics.jsonl'):
        path = folder / 'experiments/tiny' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


@pytest.mark.parametrize('name', MISTAKES)
def test_a_mistake(earlier, options, capsys, name):
    mistake, *expected = MISTAKES[name]
    check(options, mistake, expected, capsys)


@pytest.mark.parametrize('name', IN_GAN_RUNS)
def test_a_mistake_in_a_gan_run(earlier, adversarial, capsys, name):
    mistake, *expected = IN_GAN_RUNS[name]
    check(adversarial, mistake, expected, capsys)


def test_mistakes_of_all_kinds_are_told_together(folder, adversarial, capsys):
    network('g.pth', num_feat=12)
    garbage('ae.pth')
    adversarial['path'] = {'pretrain_network_g': 'g.pth', 'pretrain_network_d': 'd.pth', 'resume_state': 's.state'}
    adversarial['datasets']['train']['dataroot_gt'] = 'gone'
    save_image('val/1.png', np.zeros((3, 40, 3), np.uint8))
    lines = fails(adversarial, capsys)
    assert re.match(r'aesop train: \S+\.yml:\d+: datasets\.train: ', lines[0])  # the place in the option file
    for line, words in zip(lines, ('gone', 'val/1.png', 'g.pth', 'd.pth', 'ae.pth', 's.state'), strict=True):
        assert words in line


def test_all_images_without_a_partner_are_named_and_what_to_do(folder, options, capsys):
    pairs(options)
    Path('lq/2.png').rename('lq/two.png')
    remedy, *alone = fails(options, capsys)
    assert ['train/2.png' in alone[0], 'lq/two.png' in alone[1], len(alone)] == [True, True, 2]
    assert 'filename_tmpl' in remedy


def test_a_disk_too_full_for_the_checkpoints_is_told_with_the_numbers(folder, options, capsys, monkeypatch):
    usage = namedtuple('usage', 'total used free')
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage(10**12, 10**12 - 10**8, 10**8))
    options['train']['total_iter'], options['logger']['save_checkpoint_freq'] = 100_000, 10
    (line,) = fails(options, capsys)
    g = sum(t.nbytes for t in build_network(G).state_dict().values())
    needed = 10_001 * 2 * g + 4 * (2 + 2) * g  # weights and their average; those and two moments in four states
    assert f'experiments/tiny: {needed / 1e9:.3g} GB are needed but only 0.1 GB are free' in line
    assert 'logger.save_checkpoint_freq' in line and 'logger.keep_last' in line


def test_what_a_run_that_goes_on_has_written_needs_no_space_again(folder, options, monkeypatch):
    assert run(options) == 0
    usage = namedtuple('usage', 'total used free')
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage(10**9, 10**9 - 10**5, 10**5))
    assert run(options) == 2
    assert run(options, '--auto_resume') == 0


def test_sixteen_bits_grey_and_a_larger_lq_are_no_mistakes(folder, options):
    pairs(options)
    save_image('train/1.png', np.full((73, 81, 3), 30_000, np.uint16))  # rounded up to 19x21
    save_image('lq/1.png', np.full((19, 21, 3), 30_000, np.uint16))
    options['train']['total_iter'] = 2
    assert run(options) == 0


def test_an_image_with_something_after_its_end_is_no_mistake(folder, options):
    with open('train/3.png', 'ab') as file:
        file.write(b'appended by a camera' * 10)
    options['train']['total_iter'] = 1
    assert run(options) == 0


@pytest.mark.parametrize(('mistake', 'expected'), [
    (lacks('datasets.val'), ['datasets', 'test run needs a data set']),
    (has('path.pretrain_network_g', 'w.pth'), ['path.pretrain_network_g', 'w.pth']),
    (weights(lambda file: network(file, num_feat=12)), ['path.pretrain_network_g', 'w.pth']),
    (image(fifo, 'val/1.png'), ['val/1.png: this is not a regular file']),
    (image(bomb, 'val/1.png'), ['val/1.png', 'more than 100,000,000 pixels']),
    (has('datasets.val', {'type': 'SingleImageDataset', 'dataroot_lq': 'val'}), ['val.metrics.psnr', 'ground truth']),
    (
        lambda o: (
            garbage('alex.pth'),
            put(o, 'val.metrics.lpips', {'type': 'calculate_lpips', 'backbone_weights': 'alex.pth'}),
        ),
        ['val.metrics.lpips', 'alex.pth'],
    ),
])  # fmt: skip
def test_a_mistake_in_a_test_run(folder, options, capsys, mistake, expected):
    for key in ('train', 'logger'):
        del options[key]
    del options['datasets']['train']
    mistake(options)
    (line,) = fails(options, capsys, mode='test')
    for words in expected:
        assert words in line


COMMANDS = [
    (['-opt', 'run.yml', '--set', 'network_g.num_feat=12', 'path.pretrain_network_g=g.pth'],
     ['path.pretrain_network_g', 'g.pth']),
    (['-opt', 'nothing.yml'], ['nothing.yml', 'No such file']),
    (['-opt', 'run.yml', '--force_yml', 'train:pixel_opt:type=L2'], ['train.pixel_opt.type', 'L2']),
]  # fmt: skip


def as_a_process(arguments):
    command = [sys.executable, str(ROOT / 'train.py'), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, 'OMP_NUM_THREADS': '1'})
    return done.returncode, done.stderr


@pytest.mark.parametrize(('arguments', 'expected', 'process'), [(*COMMANDS[0], True), *((*c, False) for c in COMMANDS)])
def test_the_command_itself(folder, options, capsys, arguments, expected, process):
    network('g.pth')
    Path('run.yml').write_text(yaml.safe_dump(options))
    before = contents()
    code, said = as_a_process(arguments) if process else (main('train', arguments), capsys.readouterr().err)
    assert code == 2 and contents() == before
    (line,) = said.splitlines()
    for words in expected:
        assert words in line
