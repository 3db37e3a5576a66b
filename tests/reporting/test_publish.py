import hashlib
import json
from pathlib import Path

import pytest
import torch
import yaml

import aesop
from aesop.archs import build_network
from aesop.cli import main
from aesop.reporting import publish as module
from aesop.utils import checkpoint, safetensors
from tests.golden import fill_, image

BLOCK = {'type': 'RRDBNet', 'num_feat': 8, 'num_block': 1, 'num_grow_ch': 4, 'scale': 4}
METRICS = {
    'datasets': {'Set5': {'psnr': 30.25, 'lpips': 0.1234}, 'Set14': {'psnr': 27.0}},
    'protocol': {
        'metrics': {
            'Set5': {'psnr': {'metric': 'PSNR', 'colour': 'RGB', 'crop_border': 4}},
            'Set14': {'psnr': {'metric': 'PSNR', 'colour': 'RGB', 'crop_border': 4}},
        },
        'packages': {'torch': '2.14.1'},
    },
}


@pytest.fixture
def net(tmp_path, monkeypatch):
    """The EMA network of experiments/tiny, which was tested."""
    monkeypatch.chdir(tmp_path)
    run = Path('experiments/tiny')
    options = {'name': 'tiny', 'model_type': 'SRModel', 'scale': 4, 'network_g': BLOCK}
    (run / 'models').mkdir(parents=True)
    (run / 'options.yml').write_text(yaml.safe_dump(options))
    net = fill_(build_network(BLOCK))
    for number, key in ((900, 'params'), (1000, 'params_ema')):
        states = [build_network(BLOCK).state_dict(), net.state_dict() if key == 'params_ema' else None]
        checkpoint.save_network(run / f'models/net_g_{number}.pth', *states)
    Path('results/tiny').mkdir(parents=True)
    Path('results/tiny/metrics.json').write_text(json.dumps(METRICS))
    return net


def test_a_folder_that_says_all_of_itself(net):
    assert main(['publish', 'experiments/tiny', '--license', 'apache-2.0', '--author', 'me']) == 0
    folder = Path('published/tiny')
    names = {'README.md', 'config.json', 'model.safetensors', 'options.yml', 'tiny.json'}
    assert {path.name for path in folder.iterdir()} == names
    lq = image(1, 3, 8, 8)
    assert torch.equal(aesop.from_pretrained(folder / 'model.safetensors')(lq), net(lq))

    said = safetensors.read_metadata(folder / 'model.safetensors')
    recipe = hashlib.sha256(Path('experiments/tiny/options.yml').read_bytes()).hexdigest()
    assert json.loads(said['architecture']) == BLOCK and said['scale'] == '4' and said['recipe_sha256'] == recipe
    assert json.loads((folder / 'config.json').read_text())['architecture'] == BLOCK

    card = (folder / 'README.md').read_text()
    front = yaml.safe_load(card.split('---\n')[1])
    assert front['license'] == 'apache-2.0' and front['pipeline_tag'] == 'image-to-image'
    assert front['model-index'][0]['results'][0]['metrics'][0] == {'type': 'psnr', 'value': 30.25}
    for line in (
        '# tiny',
        'RRDBNet, x4, after 1,000 iterations',
        '| data set | psnr | lpips |',
        '| Set5 | 30.2500 | 0.1234 |',
        '| Set14 | 27.0000 | - |',
        '- psnr: metric PSNR, colour RGB, crop_border 4',
        '- versions: torch 2.14.1',
    ):
        assert line in card

    entry = json.loads((folder / 'tiny.json').read_text())
    content = (folder / 'model.safetensors').read_bytes()
    assert entry['architecture'] == 'esrgan' and entry['scale'] == 4 and entry['trainingIterations'] == 1000
    assert entry['resources'][0]['sha256'] == hashlib.sha256(content).hexdigest()
    assert entry['resources'][0]['size'] == len(content)


def test_other_programs_open_the_weights(net):
    spandrel = pytest.importorskip('spandrel')
    wide = {**BLOCK, 'num_grow_ch': 32}  # spandrel takes this for granted
    module.save_network('wide.safetensors', build_network(wide).state_dict(), metadata=module.metadata(wide, 4))
    assert spandrel.ModelLoader('cpu').load_from_file('wide.safetensors').scale == 4


def test_a_run_without_results_says_so(net):
    Path('results/tiny/metrics.json').unlink()
    Path('results/tiny').rmdir()
    assert main(['publish', 'experiments/tiny', '-o', 'out']) == 0
    assert 'Not measured yet' in Path('out/README.md').read_text()


def test_it_is_uploaded_where_asked(net, monkeypatch, capsys):
    sent = []
    monkeypatch.setattr('aesop.utils.hub.upload_folder', lambda *given: sent.append(given) or 'https://hub/me/tiny')
    assert main(['publish', 'experiments/tiny', '-o', 'out', '--upload', 'me/tiny', '--private']) == 0
    assert sent == [(Path('out'), 'me/tiny', True)] and 'https://hub/me/tiny' in capsys.readouterr().out


def test_mistakes_are_told(net, capsys):
    Path('out').mkdir()
    Path('out/mine.txt').touch()
    for command, message in (
        (['experiments/none'], 'is not the folder of a run: options.yml not found'),
        (['experiments/tiny', '-o', 'out'], 'out is not empty'),
        (['experiments/tiny', '--results', 'none.json'], 'none.json: the results cannot be read'),
    ):
        assert main(['publish', *command]) == 2
        assert message in capsys.readouterr().err
