import copy
import hashlib
import json
import zlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from aesop.archs import build_network
from aesop.archs.mod import MOD, expert_shares, lda, load_balance, orthogonality
from aesop.errors import UserError
from aesop.utils import checkpoint
from tests.golden import DATA, fill_, image

GOLDEN = json.loads((DATA / 'calgan.json').read_text())
NETWORKS = {'small': (8, 3), 'small_of_48x80': (8, 4), 'full': (64, 12)}


def noise(name, *shape):
    values = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    return torch.from_numpy(values.astype(np.float32))


def filled(num_feat=8, num_expert=3, **weights):
    """The reference network, in training mode."""
    net = fill_(MOD(3, num_feat, num_expert, **weights))
    with torch.no_grad():
        net.orthonet.trans.weight *= 40
    return net.train()


def part_of(name):
    return next(part for part in ('FE', 'w_gating1', 'classifier.', 'orthonet.body', 'orthonet.trans') if part in name)


def gradient_norms(net, term):
    """The norm of the gradient of each part of the network; None: nothing reaches it."""
    named = dict(net.named_parameters())
    gradients = dict(zip(named, torch.autograd.grad(term, named.values(), retain_graph=True, allow_unused=True)))
    norms = {}
    for part in map(part_of, named):
        found = [g.norm() for name, g in gradients.items() if part_of(name) == part and g is not None]
        norms[part] = torch.stack(found).norm().item() if found else None
    return norms


@pytest.fixture(scope='module', params=NETWORKS)
def passes(request):
    """The reference network, its reference numbers and its outputs for gt, sr with gt's routing, sr with its own.

    In float64: processors round float32 products differently, by more than the tolerance.
    """
    name = request.param
    net, entry = filled(*NETWORKS[name]).double(), GOLDEN['networks'][name]
    gt, sr = (image(*entry['input'], phase).double() for phase in (0, 0.4))
    real = net(gt)
    outputs = real, net(sr, **real['for_sr']), net(sr)
    with np.load(DATA / 'calgan.npz') as arrays:
        wanted = {key.split('/')[1]: torch.from_numpy(arrays[key]) for key in arrays if key.startswith(f'{name}/')}
    return net, entry, wanted, outputs


def assert_close(actual, wanted, part=1e-5):
    assert actual.shape == wanted.shape
    assert (actual - wanted).abs().max() <= part * wanted.abs().max()


def test_outputs_are_the_published_ones(passes):
    _, _, wanted, (real, fake, own) = passes
    assert_close(real['logits'], wanted['real'])
    assert_close(fake['logits'], wanted['fake'])
    assert_close(own['logits'], wanted['fake_own_routing'])
    assert_close(real['for_sr']['routing'], wanted['routing'])


def test_features_of_an_expert_are_the_published_ones(passes):
    net, entry, wanted, (real, _, _) = passes
    to_first = torch.zeros(*entry['routing'], dtype=torch.float64)
    to_first[..., 0] = 1
    (features,) = copy.deepcopy(net)(image(*entry['input']).double(), to_first)['features']
    assert list(features.shape) == entry['features'][1]
    assert_close(features[:, :: features.shape[1] // 16], wanted['feature_0'])
    first = real['for_sr']['routing'].argmax(-1) == 0
    assert_close(real['features'][0][first], features[first])


def test_the_running_statistics_and_what_is_made_of_them_are_the_published_ones(passes):
    net, entry, wanted, _ = passes
    for name, numbers in entry['running'].items():
        assert net.state_dict()[name].sum().item() == pytest.approx(numbers['sum'], rel=1e-4, abs=1e-4)
    net.eval()
    with torch.no_grad():
        logits = net(image(*entry['input']).double())['logits']
    net.train()
    assert_close(logits, wanted['real_eval_after_three_training_passes'])


def test_terms_and_what_they_train_are_the_published_ones(passes):
    net, entry, _, (real, _, _) = passes
    terms = {'cos_similarity': real['losses']['orthogonality'] / 10, 'lda': real['losses']['lda'] / 10}
    terms['load_balancing'] = real['losses']['balance'] / 0.05
    for name, term in terms.items():
        assert term.item() == pytest.approx(entry[name], rel=1e-5)
        assert gradient_norms(net, term) == {
            part: norm and pytest.approx(norm, rel=1e-3) for part, norm in entry[f'grad_norm_{name}'].items()
        }
    norms = gradient_norms(net, real['logits'].mean())
    assert norms == {
        part: norm and pytest.approx(norm, rel=1e-3) for part, norm in entry['grad_norm_mean_of_real'].items()
    }


def test_shares_tell_how_often_each_expert_is_chosen(passes):
    _, entry, _, (real, fake, own) = passes
    for out, chosen in ((real, entry['experts_chosen_real']), (own, entry['experts_chosen_sr'])):
        wanted = {f'expert_{k:02d}': count / sum(chosen) for k, count in enumerate(chosen)}
        assert {name: share.item() for name, share in out['monitor'].items()} == pytest.approx(wanted)
        assert not any(share.requires_grad for share in out['monitor'].values())
    assert fake.keys() == {'logits', 'features'}  # the terms are those of gt
    assert not real['for_sr']['routing'].requires_grad


@pytest.mark.parametrize(
    ('name', 'term', 'make'),
    [
        ('cos_similarity', orthogonality, lambda: noise('weight', 12, 256)),
        (
            'lda_loss',
            lda,
            lambda: torch.stack([F.leaky_relu(noise(f'feature.{k}', 2, 64, 32), 0.2) for k in range(4)], 2),
        ),
        (
            'lda_loss_few_numbers',
            lda,
            lambda: torch.stack([0.1 + 0.05 * F.leaky_relu(noise(f'feature.{k}', 1, 2, 3), 0.2) for k in range(3)], 2),
        ),
        ('load_balancing_loss', load_balance, lambda: noise('logits', 2, 64, 5).softmax(-1)),
    ],
)
def test_terms_of_fixed_tensors(name, term, make):
    wanted, tensor = GOLDEN['losses'][name], make().requires_grad_()
    value = term(tensor)
    value.backward()
    assert value.item() == pytest.approx(wanted['value'], rel=2e-6)
    assert tensor.grad.norm().item() == pytest.approx(wanted['grad_norm'], rel=1e-4)
    assert tensor.grad.sum().item() == pytest.approx(wanted['grad_sum'], rel=1e-4, abs=1e-6)


def test_shares_of_fixed_tensors():
    routing = noise('logits', 2, 64, 5).softmax(-1)
    assert (expert_shares(routing) * 64).tolist() == GOLDEN['losses']['load_balancing_loss']['chosen']


def test_orthogonal_rows_and_equal_rows():
    assert orthogonality(3 * torch.eye(4, 9)).item() == 0
    assert orthogonality(torch.ones(4, 9)).item() == pytest.approx(12 / 16)


def test_the_balance_of_a_batch_is_the_mean_over_its_parts():
    """So gradients averaged over ranks are those of the whole batch."""
    routing = noise('logits', 4, 64, 5).softmax(-1)
    parts = [load_balance(part) for part in routing.chunk(2)]
    assert load_balance(routing).item() == pytest.approx((sum(parts) / 2).item())


def test_a_router_that_sends_all_to_one_pays():
    even = torch.eye(4).repeat(4, 1)[None]
    assert load_balance(even).item() == pytest.approx(1 / 16)
    assert load_balance(torch.eye(4)[0].expand(1, 16, 4)).item() == pytest.approx(4 / 16)


@pytest.mark.parametrize('precision', [torch.bfloat16, torch.float16])
def test_routing_and_terms_stay_in_full_precision(precision):
    net, x = filled(), image(1, 3, 32, 32)
    with torch.autocast('cpu', precision):
        out = net(x)
    assert out['for_sr']['routing'].dtype == torch.float32
    assert {term.dtype for term in out['losses'].values()} == {torch.float32}
    full = net(x)['losses']
    for name, term in out['losses'].items():
        assert term.item() == pytest.approx(full[name].item(), rel=0.05)
    out['losses']['balance'].backward()
    assert net.w_gating1.grad.dtype == torch.float32
    assert net.w_gating1.grad.abs().mean() > 1e-7


def test_shapes_are_found_without_computing():
    with torch.device('meta'):
        out = MOD()(torch.empty(2, 3, 50, 70))
    assert out['logits'].shape == (2, 12 * 17, 1)


def test_only_the_chosen_expert_is_heard():
    net, x = filled(), image(1, 3, 16, 16)
    routing = F.one_hot(torch.full((1, 16), 1), 3).float()
    before = net(x, routing)['logits']
    with torch.no_grad():
        net.orthonet.trans.weight.view(3, 32)[[0, 2]] *= 5
        assert torch.equal(net(x, routing)['logits'], before)
        net.orthonet.trans.weight.view(3, 32)[1] *= 5
        assert not torch.equal(net(x, routing)['logits'], before)


def test_weights_of_the_terms():
    x = image(1, 3, 16, 16)
    plain, weighted = filled()(x), filled(orthogonality_weight=1, lda_weight=2, balance_weight=3)(x)
    ratios = {name: (term / plain['losses'][name]).item() for name, term in weighted['losses'].items()}
    assert ratios == pytest.approx({'orthogonality': 0.1, 'lda': 0.2, 'balance': 60})


def test_the_full_size_network_is_the_published_one():
    wanted = GOLDEN['full_size']
    net = build_network(wanted['config'])
    assert sum(p.numel() for p in net.parameters()) == wanted['parameters']
    shapes = {name: list(tensor.shape) for name, tensor in checkpoint.network_state_dict(net).items()}
    assert len(shapes) == wanted['names']
    assert hashlib.sha256(json.dumps(sorted(shapes.items())).encode()).hexdigest() == wanted['sha256']


def test_one_classifier_is_kept_and_all_its_names_are_written_and_read(tmp_path):
    net = filled()
    assert len(net.state_dict()) == len(GOLDEN['networks']['small_state_dict']) - 3 * 4
    saved = checkpoint.network_state_dict(net)
    assert {name: list(t.shape) for name, t in saved.items()} == GOLDEN['networks']['small_state_dict']
    assert saved['classifiers.2.0.weight'].data_ptr() == saved['classifier.0.weight'].data_ptr()

    ours = {name: t for name, t in saved.items() if not name.startswith('classifiers.')}
    without = {name: t for name, t in saved.items() if not name.startswith('classifier.')}
    for number, state in enumerate((saved, ours, without)):
        checkpoint.save_network(tmp_path / f'{number}.pth', state)
        again = MOD(3, 8, 3)
        checkpoint.load_network(again, tmp_path / f'{number}.pth')
        assert all(torch.equal(t, net.state_dict()[name]) for name, t in again.state_dict().items())


def test_a_file_of_another_number_of_experts_is_refused(tmp_path):
    checkpoint.save_network(tmp_path / 'four.pth', checkpoint.network_state_dict(MOD(3, 8, 4)))
    with pytest.raises(UserError, match='does not fit this MOD'):
        checkpoint.load_network(MOD(3, 8, 3), tmp_path / 'four.pth')


def test_no_expert_is_refused():
    with pytest.raises(UserError, match='at least one expert'):
        MOD(num_expert=0)
