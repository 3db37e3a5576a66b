import json

import torch

from aesop.archs import build_network
from aesop.archs.pretrained import from_pretrained
from aesop.options import load_options
from aesop.utils import checkpoint, safetensors
from scripts.ship_weights import main

NET = {'type': 'MSRResNet', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 1, 'upscale': 4}


def test_a_runs_weights_become_a_file_that_says_what_it_is(tmp_path, capsys):
    run = tmp_path / 'run'
    (run / 'models').mkdir(parents=True)
    train = {'total_iter': 5, 'optim_g': {'type': 'Adam', 'lr': 1e-3}, 'pixel_opt': {'type': 'L1Loss'}}
    options = load_options({'name': 'a', 'model_type': 'SRModel', 'scale': 4, 'network_g': NET, 'train': train})
    (run / 'options.yml').write_text(json.dumps(options.to_dict()))
    (run / 'run.json').write_text(json.dumps({'git': {'commit': 'abc'}}))
    net = build_network(NET)
    state = checkpoint.network_state_dict(net)
    checkpoint.save_network(run / 'models/net_g_5.pth', {k: 0 * v for k, v in state.items()}, state)

    out = tmp_path / 'weights/a.safetensors'
    assert main([str(run), '5', '-o', str(out)]) == 0
    tensors, header = safetensors.read(out)
    assert all(t.dtype == torch.float16 for t in tensors.values())
    assert header.items() >= {'scale': '4', 'commit': 'abc', 'iteration': '5'}.items()
    assert json.loads(header['recipe'])['train']['total_iter'] == 5 and len(header['recipe_sha256']) == 64
    lq = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(from_pretrained(out)(lq), net(lq), atol=2e-3, rtol=0)

    assert main([str(tmp_path / 'nowhere'), '5', '-o', str(out)]) == 2
    assert 'nowhere' in capsys.readouterr().err


def test_the_files_of_the_package_are_small_and_whole():
    files = {path.stem: path for path in checkpoint.PACKAGED.glob('*.safetensors')}
    assert files.keys() == {'aesop_x4', 'psnr_x4', 'aesop_ae_x4'}
    assert max(path.stat().st_size for path in files.values()) < 2_000_000
    images = torch.rand(1, 3, 8, 8)
    sizes = {name: from_pretrained(path)(images).shape[-1] for name, path in files.items()}
    assert sizes == {'aesop_x4': 32, 'psnr_x4': 32, 'aesop_ae_x4': 8}
