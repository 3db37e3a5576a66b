import csv

import numpy as np
import pytest
import torch
import yaml

from aesop.archs.mod import MOD
from aesop.utils.checkpoint import network_state_dict, save_network
from aesop.utils.images import save_image
from tests.commands import command
from tests.golden import fill_

main = command('plot', 'experts')

pytestmark = pytest.mark.usefixtures('coarse')


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    save_image('photo.png', rng.integers(0, 256, (40, 64, 3), dtype=np.uint8))
    save_network('net_d.pth', network_state_dict(fill_(MOD(3, 8, 3))))
    block = {'type': 'MOD', 'num_in_ch': 3, 'num_feat': 8, 'num_expert': 3}
    with open('calgan.yml', 'w') as file:
        yaml.safe_dump({'network_d': block, 'path': {'pretrain_network_d': 'net_d.pth'}}, file)


def test_a_figure_of_a_photograph(folder, capsys):
    assert main(['-opt', 'calgan.yml', '--image', 'photo.png', '-o', 'out/experts']) == 0
    assert capsys.readouterr().out.split() == ['out/experts.png', 'out/experts.pdf', 'out/experts.csv']
    with open('out/experts.csv') as file:
        assert sum(int(row['tokens']) for row in csv.DictReader(file)) == 10 * 16


def test_mistakes_are_told(folder, capsys):
    save_image('dot.png', np.zeros((4, 90, 3), np.uint8))
    torch.save({'params': {'a': torch.zeros(1)}}, 'other.pth')
    for arguments, words in (
        (['--image', 'none.png'], 'none.png: file not found'),
        (['--image', 'dot.png'], 'dot.png: 90x4 pixels are too few'),
        (['--image', 'photo.png', '--set', 'path.pretrain_network_d=~'], 'path.pretrain_network_d is missing'),
        (['--image', 'photo.png', '--set', 'path.pretrain_network_d=other.pth'], 'does not fit this MOD'),
        (
            ['--image', 'photo.png', '--set', 'network_d={type: UNetDiscriminatorSN}'],
            'network_d is UNetDiscriminatorSN',
        ),
        (['--image', 'photo.png', '--set', 'network_d=~'], 'network_d is missing'),
    ):
        assert main(['-opt', 'calgan.yml', *arguments]) == 2
        assert words in capsys.readouterr().err
