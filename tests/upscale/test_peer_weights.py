"""Files of weights go both ways between this project and spandrel, which reads those of ComfyUI and chaiNNer."""

import pytest
import torch

from aesop.archs import build_network
from aesop.upscale.networks import load_generator
from aesop.utils import checkpoint
from tests.golden import image

RRDB = {'num_feat': 16, 'num_block': 2}
OLD = {'nf': 16, 'nb': 2}
WINDOW = {'upscale': 4, 'img_size': 16, 'window_size': 8, 'depths': [2, 2], 'embed_dim': 24, 'num_heads': [2, 2]}
BLOCKS = {
    'RRDBNet x4': {'type': 'RRDBNet', **RRDB},
    'RRDBNet x2': {'type': 'RRDBNet', **RRDB, 'scale': 2},
    'RRDBNet x1': {'type': 'RRDBNet', **RRDB, 'scale': 1},
    'RRDBNet_LEGACY x4': {'type': 'RRDBNet_LEGACY', **OLD},
    'RRDB_BSRGANNet x2': {'type': 'RRDB_BSRGANNet', **OLD, 'sf': 2},
    'SRVGGNetCompact x4': {'type': 'SRVGGNetCompact', 'num_feat': 16, 'num_conv': 4},
    'SwinIR classical x4': {'type': 'SwinIR', **WINDOW, 'upsampler': 'pixelshuffle'},
    'SwinIR lightweight x4': {'type': 'SwinIR', **WINDOW, 'upsampler': 'pixelshuffledirect'},
    'SwinIR real-world x4': {'type': 'SwinIR', **WINDOW, 'upsampler': 'nearest+conv', 'resi_connection': '3conv'},
}
DRCT = {'type': 'DRCT', **WINDOW, 'depths': [6, 6], 'gc': 8, 'num_heads': [4, 4]}


def opened_by_spandrel(path):
    spandrel = pytest.importorskip('spandrel')
    return spandrel.ModelLoader('cpu').load_from_file(path).model.eval()


@pytest.fixture
def saved(tmp_path, request):
    torch.manual_seed(0)
    net = build_network(request.param).eval()
    checkpoint.save_network(tmp_path / 'net.pth', checkpoint.network_state_dict(net))
    return net, tmp_path / 'net.pth'


@pytest.mark.parametrize('saved', BLOCKS.values(), ids=BLOCKS, indirect=True)
@torch.no_grad()
def test_spandrel_opens_ours_and_ours_opens_spandrels(saved, tmp_path):
    net, path = saved
    lq = image(1, 3, 16, 24)
    theirs = opened_by_spandrel(path)
    torch.testing.assert_close(theirs(lq), net(lq), rtol=1e-4, atol=1e-5)
    torch.save(theirs.state_dict(), tmp_path / 'back.pth')  # under the names that spandrel has, bare
    torch.testing.assert_close(load_generator(tmp_path / 'back.pth')(lq), net(lq), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_drct_is_read_from_its_authors_form_and_needs_an_export_to_it(tmp_path):
    """As in the published AESOP code, a training saves linear layers where DRCT's authors, and spandrel, have 1x1
    convolutions; `aesop export` writes these."""
    torch.manual_seed(0)
    net = build_network(DRCT).eval()
    state = checkpoint.network_state_dict(net)
    checkpoint.save_network(tmp_path / 'ours.pth', state)
    theirs = {k: t[..., None, None] if '.adjust' in k and t.ndim == 2 else t for k, t in state.items()}
    checkpoint.save_network(tmp_path / 'theirs.pth', theirs)
    lq = image(1, 3, 16, 32)
    torch.testing.assert_close(opened_by_spandrel(tmp_path / 'theirs.pth')(lq), net(lq), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(load_generator(tmp_path / 'theirs.pth')(lq), net(lq))
    with pytest.raises(RuntimeError):
        opened_by_spandrel(tmp_path / 'ours.pth')
