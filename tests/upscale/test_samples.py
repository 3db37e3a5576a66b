import numpy as np
import pytest
import torch
import yaml

from aesop.archs import build_network
from aesop.utils import checkpoint
from aesop.utils.images import read_image, save_image, to_tensor, to_uint8
from tests.archs.test_refvae import filled, image, vgg_r41  # noqa: F401  (a fixture)
from tests.commands import command

main = command('upscale')


@pytest.fixture
def run(tmp_path, vgg_r41):  # noqa: F811
    """A run's folder with the weights of a small RefVAE, two images and three references of one colour."""
    net = filled(vgg_r41, 'small_x8')
    (tmp_path / 'run/models').mkdir(parents=True)
    checkpoint.save_network(tmp_path / 'run/models/net_g_1.pth', checkpoint.network_state_dict(net))
    block = {'type': 'RefVAE', 'num_feat': 64, 'num_latent': 32, 'vgg_width': 8, 'vgg_weights': vgg_r41['small']}
    (tmp_path / 'run/options.yml').write_text(yaml.safe_dump({'scale': 8, 'network_g': block}))
    for name in ('a', 'b'):
        save_image(tmp_path / f'in/{name}.png', image(1, 3, 6, 5, ord(name))[0])
    for k in range(3):
        save_image(tmp_path / f'refs/{k}.png', np.full((40, 30, 3), 90 * k, np.uint8))
    return tmp_path, net


def upscale(folder, *more, out='out'):
    weights = folder / 'run/models/net_g_1.pth'
    return main(
        [
            str(folder / 'in'),
            '-o',
            str(folder / out),
            '--weights',
            str(weights),
            '--device',
            'cpu',
            '--precision',
            'fp32',
            *map(str, more),
        ]
    )


def results(folder, out='out'):
    return {path.name: read_image(path) for path in sorted((folder / out).glob('*.png'))}


def test_one_solution_is_the_mean_with_the_image_as_its_reference(run):
    folder, net = run
    assert upscale(folder) == 0
    (name, sr), _ = results(folder).items()
    assert name == 'a.png' and sr.shape == (48, 40, 3)
    with torch.no_grad():
        want = net(to_tensor(read_image(folder / 'in/a.png'))[None])['sr'][0]
    assert np.abs(sr.astype(int) - to_uint8(want)).max() <= 1


def test_several_solutions_differ_and_come_again(run):
    folder, _ = run
    assert upscale(folder, '--samples', 3, '--seed', 1) == 0
    first = results(folder)
    assert list(first) == [f'{name}_sample{k:05}.png' for name in 'ab' for k in range(3)]
    assert not np.array_equal(first['a_sample00000.png'], first['a_sample00001.png'])
    (folder / 'out/a_sample00001.png').unlink()
    assert upscale(folder, '--samples', 4, '--seed', 1) == 0  # makes what is missing
    again = results(folder)
    assert len(again) == 8 and all(np.array_equal(again[name], first[name]) for name in first)
    assert upscale(folder, '--samples', 3, '--seed', 2, out='other') == 0
    assert not np.array_equal(results(folder, 'other')['a_sample00000.png'], first['a_sample00000.png'])


def test_references(run):
    folder, net = run
    assert upscale(folder, '--ref', folder / 'refs/1.png') == 0
    ref = torch.full((1, 3, 256, 256), 90 / 255)
    with torch.no_grad():
        want = net(to_tensor(read_image(folder / 'in/a.png'))[None], ref)['sr'][0]
    assert np.abs(results(folder)['a.png'].astype(int) - to_uint8(want)).max() <= 1
    assert upscale(folder, '--ref', folder / 'refs', '--samples', 3, out='three') == 0
    assert len(results(folder, 'three')) == 6


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['--ref', 'nowhere'], '--ref: file or folder nowhere not found'),
        (['--ref', 'in'], '--ref: in/c.png: '),
    ],
)
def test_references_that_cannot_be_used_are_told(run, arguments, said, capsys, monkeypatch):
    folder, _ = run
    monkeypatch.chdir(folder)
    (folder / 'in/c.png').write_bytes(b'')
    assert upscale(folder, *arguments) == 2
    assert said in capsys.readouterr().err


def test_a_network_of_one_solution_says_so(tmp_path, capsys):
    net = build_network({'type': 'SRVGGNetCompact', 'num_feat': 8, 'num_conv': 2, 'upscale': 2})
    checkpoint.save_network(tmp_path / 'net.pth', checkpoint.network_state_dict(net))
    save_image(tmp_path / 'in/a.png', image(1, 3, 8, 8)[0])
    arguments = [str(tmp_path / 'in'), '-o', str(tmp_path / 'out'), '--weights', str(tmp_path / 'net.pth')]
    assert main([*arguments, '--samples', '2']) == 2
    assert '--samples: SRVGGNetCompact has one solution per image' in capsys.readouterr().err


def test_weights_alone_do_not_tell_the_scale(run, tmp_path, capsys):
    folder, _ = run
    (folder / 'run/options.yml').unlink()
    assert upscale(folder) == 2
    assert '--arch' in (said := capsys.readouterr().err) and 'num_feat: 64, num_latent: 32' in said
