import pytest
import torch
import yaml

from aesop.errors import UserError
from aesop.options import load_options
from aesop.reporting.autoencoder import auto_encode, autoencoder_of
from tests.small_results import AE, METRICS


def test_it_is_found_wherever_an_option_file_names_it(inputs):
    wanted = torch.load('ae.pth', weights_only=True)['params']
    metric = {'type': 'AEPSNR', 'autoencoder_arch': AE, 'autoencoder_load': {'path': 'ae.pth'}}
    image = torch.rand(3, 32, 40)
    for options in (
        'ae.yml',
        {'scale': 4, 'val': {'metrics': METRICS | {'ae': metric}}},
        {'scale': 4, 'network_g': AE, 'path': {'pretrain_network_g': 'ae.pth'}},
    ):
        net = autoencoder_of(load_options(options))
        assert not net.training and not any(p.requires_grad for p in net.parameters())
        assert all(torch.equal(tensor.cpu(), wanted[name]) for name, tensor in net.state_dict().items())
        torch.testing.assert_close(auto_encode(net, image), net.cpu()(image[None])[0])


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'train': {}}, 'no auto-encoder is named'),
        ({'train': {'aesop_opt': {'type': 'AutoEncoderLoss', 'autoencoder_arch': AE}}}, 'autoencoder_load is missing'),
        ({'train': {}, 'network_g': AE}, 'path.pretrain_network_g is missing'),
    ],
)
def test_one_without_weights_is_refused(inputs, change, words):
    with open('ae.yml') as file:
        options = yaml.safe_load(file) | change
    with pytest.raises(UserError, match=words):
        autoencoder_of(load_options(options))
