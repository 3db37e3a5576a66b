"""`step` against the formulas written out plainly, as the published code schedules them."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torchvision.models import vgg19

from aesop.losses import build_loss
from aesop.models import build_model

G = {'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 1, 'num_grow_ch': 4, 'scale': 4}
D = {'type': 'VGGStyleDiscriminator', 'num_in_ch': 3, 'num_feat': 4, 'input_size': 64}
AE = {'type': 'AutoEncoder_RRDBNet', 'enc_opt': {'num_feat': 48, 'num_grow_ch': 4}, 'dec_opt': G}
# Adam divides by the gradient's size, so rounding errors of tiny gradients would come out as large as the large ones.
ADAM = {'type': 'Adam', 'lr': 1e-3, 'betas': [0.9, 0.99], 'eps': 1e-3}
LAYERS = {'conv1_2': 0.1, 'conv2_2': 0.1, 'conv3_4': 1, 'conv4_4': 1, 'conv5_4': 1}
GAN = {'gan_opt': {'type': 'GANLoss', 'gan_type': 'vanilla', 'loss_weight': 0.005}}
PIXEL = {'pixel_opt': {'type': 'L1Loss', 'loss_weight': 0.01}}
ARTIFACTS = {'artifacts_opt': {'type': 'L1Loss', 'loss_weight': 1.0}}
DECAY = 0.9


@pytest.fixture(scope='module')
def vgg_file(tmp_path_factory):
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp('vgg') / 'vgg19.pth'
    torch.save({f'features.{k}': v for k, v in vgg19(weights=None).features.state_dict().items()}, path)
    return str(path)


@pytest.fixture(scope='module')
def ae_file(tmp_path_factory):
    torch.manual_seed(2)
    options = {'model_type': 'AEModel', 'scale': 4, 'network_g': AE}
    path = tmp_path_factory.mktemp('ae') / 'ae.pth'
    torch.save({'params': build_model(options, 'cpu').net_g.state_dict()}, path)
    return str(path)


def batches(count, seed=3):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        gt = torch.rand(2, 3, 64, 64, generator=generator)
        yield {'gt': gt, 'lq': F.avg_pool2d(gt, 4)}


def options_of(model_type, train, network_g=G):
    train = {'ema_decay': DECAY, 'total_iter': 10, 'optim_g': ADAM, **train}
    options = {'model_type': model_type, 'scale': 4, 'network_g': network_g, 'path': {}, 'train': train}
    if 'gan_opt' in train:
        options['network_d'], train['optim_d'] = D, ADAM
    return options


def adam_of(net):
    return torch.optim.Adam(
        net.parameters(), **{key: value for key, value in ADAM.items() if key != 'type'}, foreach=False
    )


class Plain:
    """One model's training, term by term: `losses` maps a logged name to a function of (sr, gt, lq)."""

    def __init__(self, model, losses, relativistic=True):
        self.g, self.d, self.ema = (copy.deepcopy(net) for net in (model.net_g, model.net_d, model.net_g_ema))
        self.losses, self.relativistic = losses, relativistic
        self.optim_g = adam_of(self.g)
        self.optim_d = self.d and adam_of(self.d)

    def take(self, state):
        """Goes on from a model's state: BatchNorm blows rounding errors up, so that after some steps of two correct
        programs the errors of one step could not be told from rounding."""
        for name, net in (('net_g', self.g), ('net_d', self.d), ('net_g_ema', self.ema)):
            if net is not None:
                net.load_state_dict(state[name])
        for name, adam in (('optim_g', self.optim_g), ('optim_d', self.optim_d)):
            if adam is not None:
                adam.load_state_dict(adam.state_dict() | {'state': copy.deepcopy(state[name]['state'])})

    def gan(self, pred, is_real):
        return F.binary_cross_entropy_with_logits(pred, torch.full_like(pred, float(is_real)))

    def step(self, *shards, train_g=True):
        """One iteration on the shares of one or several ranks, whose gradients are averaged."""
        out = {}
        images = [self.g(shard['lq']) for shard in shards]
        if train_g:
            for shard, sr in zip(shards, images):
                gt = shard['gt']
                terms = {name: loss(sr, gt, self.ema(shard['lq']).detach()) for name, loss in self.losses.items()}
                if self.d is not None:
                    self.d.requires_grad_(False)
                    real, fake = self.d(gt).detach(), self.d(sr)
                    if self.relativistic:
                        both = self.gan(real - fake.mean(), False) + self.gan(fake - real.mean(), True)
                        terms['l_g_gan'] = 0.005 * both / 2
                    else:
                        terms['l_g_gan'] = 0.005 * self.gan(fake, True)
                    self.d.requires_grad_(True)
                for name, term in terms.items():
                    out[name] = out.get(name, 0) + term / len(shards)
            self.optim_g.zero_grad()
            sum(out.values()).backward()
            self.optim_g.step()
        if self.d is not None:
            self.optim_d.zero_grad()
            for shard, sr in zip(shards, images):
                half = (0.5 if self.relativistic else 1) / len(shards)
                with torch.no_grad():
                    fake = self.d(sr)
                real = self.d(shard['gt'])
                l_d_real = half * self.gan(real - (fake.mean() if self.relativistic else 0), True)
                l_d_real.backward()
                fake = self.d(sr.detach())
                l_d_fake = half * self.gan(fake - (real.detach().mean() if self.relativistic else 0), False)
                l_d_fake.backward()
                values = {'l_d_real': l_d_real, 'l_d_fake': l_d_fake}
                values |= {'out_d_real': real.mean() / len(shards), 'out_d_fake': fake.mean() / len(shards)}
                for name, value in values.items():
                    out[name] = out.get(name, 0) + value
            self.optim_d.step()
        self.update_ema()
        return {name: value.item() for name, value in out.items()}

    @torch.no_grad()
    def update_ema(self):
        for mean, now in zip(self.ema.parameters(), self.g.parameters()):
            mean.copy_(DECAY * mean + (1 - DECAY) * now)


def l1(weight):
    return lambda sr, gt, ema: weight * (sr - gt).abs().mean()


def aesop(path):
    ae = build_model({'model_type': 'AEModel', 'scale': 4, 'network_g': AE}, 'cpu').net_g
    ae.load_state_dict(torch.load(path, weights_only=True)['params'])
    return lambda sr, gt, ema: (ae.requires_grad_(False)(sr) - ae(gt)).abs().mean()


def perceptual(path):
    vgg = vgg19(weights=None)
    vgg.load_state_dict(torch.load(path, weights_only=True), strict=False)
    places = {2: 0.1, 7: 0.1, 16: 1, 25: 1, 34: 1}  # of conv1_2, conv2_2, conv3_4, conv4_4, conv5_4 in features
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))

    def features(x):
        x, taken = (x - mean) / std, []
        for place, layer in enumerate(vgg.features[:35].requires_grad_(False)):
            x = F.relu(x) if isinstance(layer, torch.nn.ReLU) else layer(x)
            if place in places:
                taken.append(x)
        return taken

    return lambda sr, gt, ema: sum(
        weight * (a - b).abs().mean() for weight, a, b in zip(places.values(), features(sr), features(gt))
    )


def artifact_map(sr, gt, ema):
    residual, residual_ema = ((gt - x).abs().sum(1, keepdim=True) for x in (sr, ema))
    of_image = residual.flatten(1).var(1).view(-1, 1, 1, 1) ** 0.2
    windows = F.unfold(F.pad(residual, (3, 3, 3, 3), mode='reflect'), 7)  # (N, 49, H * W)
    local = windows.var(1).view_as(residual)
    return of_image * local * (residual >= residual_ema)


def artifacts(sr, gt, ema):
    weight = artifact_map(sr, gt, ema)
    return (weight * sr - weight * gt).abs().mean()


def compare(model, plain, count=4, train_g=lambda i: True):
    for i, batch in enumerate(batches(count), start=1):
        plain.take(model.state_dict())
        expected = plain.step(batch, train_g=train_g(i))
        got = {name: value.item() for name, value in model.step(batch, i).items()}
        assert got == pytest.approx(expected, rel=2e-4, abs=1e-7), i
        for mine, theirs in ((model.net_g, plain.g), (model.net_d, plain.d), (model.net_g_ema, plain.ema)):
            if mine is not None:
                for (name, a), b in zip(mine.named_parameters(), theirs.parameters()):
                    assert (a - b).abs().mean() < 1e-5, (i, name)
    return got


def tell_apart(model):
    """Makes generator and EMA differ, in some pixels one nearer to gt and in some the other."""
    with torch.no_grad():
        for net, spread in ((model.net_g, 1.0), (model.net_g_ema, 2.0)):
            net.conv_last.bias.fill_(0.5)
            net.conv_last.weight.mul_(5 * spread)


def test_psnr_oriented():
    torch.manual_seed(0)
    model = build_model(options_of('SRModel', {'pixel_opt': {'type': 'L1Loss', 'loss_weight': 1.0}}), 'cpu')
    compare(model, Plain(model, {'l_pix': l1(1.0)}))


def test_esrgan(vgg_file):
    torch.manual_seed(0)
    percep = {'type': 'PerceptualLoss', 'layer_weights': LAYERS, 'vgg_weights': vgg_file}
    model = build_model(options_of('ESRGANModel', PIXEL | GAN | {'perceptual_opt': percep}), 'cpu')
    compare(model, Plain(model, {'l_g_pix': l1(0.01), 'l_g_percep': perceptual(vgg_file)}), count=3)


def test_ldl(vgg_file):
    torch.manual_seed(0)
    percep = {'type': 'PerceptualLoss', 'layer_weights': LAYERS, 'vgg_weights': vgg_file}
    train = PIXEL | GAN | ARTIFACTS | {'perceptual_opt': percep}
    model = build_model(options_of('ESRGANArtifactsDisModel', train), 'cpu')
    tell_apart(model)
    losses = {'l_g_pix': l1(0.01), 'l_g_percep': perceptual(vgg_file), 'l_g_artifacts': artifacts}
    plain = Plain(model, losses)
    got = compare(model, plain, count=3)
    batch = next(batches(1))
    weights = artifact_map(plain.g(batch['lq']), batch['gt'], plain.ema(batch['lq']))
    assert 0.1 < (weights == 0).float().mean() < 0.9
    assert got['l_g_artifacts'] > 0


def test_aesop(vgg_file, ae_file):
    torch.manual_seed(0)
    percep = {'type': 'PerceptualLoss', 'layer_weights': LAYERS, 'vgg_weights': vgg_file}
    supervision = {'type': 'AutoEncoderLoss', 'autoencoder_arch': AE, 'autoencoder_load': {'path': ae_file}}
    train = GAN | ARTIFACTS | {'perceptual_opt': percep, 'aesop_opt': supervision}
    model = build_model(options_of('AesopESRGANArtifactsDisModel', train), 'cpu')
    tell_apart(model)
    losses = {'l_g_aesop': aesop(ae_file), 'l_g_percep': perceptual(vgg_file), 'l_g_artifacts': artifacts}
    compare(model, Plain(model, losses), count=3)


def test_aesop_and_gan_alone_leave_the_autoencoder_as_it_is(ae_file):
    torch.manual_seed(0)
    supervision = {'type': 'AutoEncoderLoss', 'autoencoder_arch': AE, 'autoencoder_load': {'path': ae_file}}
    model = build_model(options_of('AesopESRGANArtifactsDisModel', GAN | {'aesop_opt': supervision}), 'cpu')
    before = copy.deepcopy(model.losses['aesop'].state_dict())
    compare(model, Plain(model, {'l_g_aesop': aesop(ae_file)}))
    for name, value in model.losses['aesop'].state_dict().items():
        assert torch.equal(value, before[name]), name


def test_plain_gan_is_neither_relativistic_nor_halved():
    torch.manual_seed(0)
    model = build_model(options_of('SRGANModel', PIXEL | GAN), 'cpu')
    compare(model, Plain(model, {'l_g_pix': l1(0.01)}, relativistic=False))


def test_spsr_has_a_second_discriminator_on_gradient_maps_and_a_branch_loss():
    torch.manual_seed(0)
    spsr = {'type': 'SPSRNet', 'in_nc': 3, 'out_nc': 3, 'nf': 8, 'nb': 23, 'gc': 4}
    pixel = {'type': 'L1Loss', 'loss_weight': 0.5}
    train = PIXEL | GAN | {'gan_grad_opt': GAN['gan_opt'], 'optim_d_grad': ADAM, 'branch_opt': pixel}
    options = options_of(
        'ESRGANModel', train | {'losses': {'grad': {'type': 'GradientLoss', 'loss_weight': 0.1}}}, spsr
    )
    options['network_d_grad'] = D
    model = build_model(options, 'cpu')
    g, d, d_grad = (copy.deepcopy(model._nets[name]) for name in ('net_g', 'net_d', 'net_d_grad'))
    adams = [adam_of(net) for net in (g, d, d_grad)]

    def edges(x):  # central differences, zero outside, length of the gradient
        x = F.pad(x, (1, 1, 1, 1))
        dx, dy = x[..., 1:-1, 2:] - x[..., 1:-1, :-2], x[..., 2:, 1:-1] - x[..., :-2, 1:-1]
        return (dx**2 + dy**2 + 1e-6).sqrt()

    def gan(pred, is_real):
        return F.binary_cross_entropy_with_logits(pred, torch.full_like(pred, float(is_real)))

    for i, batch in enumerate(batches(2), start=1):
        gt = batch['gt']
        sr, branch = g(batch['lq'], also=('branch',)).values()
        expected = {
            'l_g_pix': 0.01 * (sr - gt).abs().mean(),
            'l_g_grad': 0.1 * (edges(sr) - edges(gt)).abs().mean(),
            'l_g_branch': 0.5 * (branch - edges(gt)).abs().mean(),
        }
        for suffix, net, view in (('', d, lambda x: x), ('_grad', d_grad, edges)):
            real, fake = net(view(gt)).detach(), net(view(sr))
            both = gan(real - fake.mean(), False) + gan(fake - real.mean(), True)
            expected[f'l_g_gan{suffix}'] = 0.005 * both / 2
        adams[0].zero_grad()
        sum(expected.values()).backward()
        adams[0].step()
        for suffix, net, view, adam in (('', d, lambda x: x, adams[1]), ('_grad', d_grad, edges, adams[2])):
            real, fake = net(view(gt)), net(view(sr.detach()))
            adam.zero_grad()
            expected[f'l_d_real{suffix}'] = 0.5 * gan(real - fake.detach().mean(), True)
            expected[f'l_d_fake{suffix}'] = 0.5 * gan(fake - real.detach().mean(), False)
            (expected[f'l_d_real{suffix}'] + expected[f'l_d_fake{suffix}']).backward()
            adam.step()
            expected |= {f'out_d_real{suffix}': real.mean(), f'out_d_fake{suffix}': fake.mean()}
        got = {name: value.item() for name, value in model.step(batch, i).items()}
        assert got == pytest.approx({name: value.item() for name, value in expected.items()}, rel=5e-4, abs=1e-6)


def test_real_world_losses_aim_at_the_sharpened_truth_where_the_options_say_so(ae_file):
    torch.manual_seed(0)
    supervision = {'type': 'AutoEncoderLoss', 'autoencoder_arch': AE, 'autoencoder_load': {'path': ae_file}}
    options = options_of('AesopRealESRGANArtifactsDisModel', PIXEL | GAN | {'aesop_opt': supervision})
    options |= {'l1_gt_usm': True, 'percep_gt_usm': True, 'gan_gt_usm': False}
    model = build_model(options, 'cpu')
    batch = next(batches(1))
    batch['gt_usm'] = batch['gt'].flip(-1)
    sr, gt = model.net_g(batch['lq']).detach(), batch['gt']
    real = copy.deepcopy(model.net_d)(gt)
    got = model.step(batch, 1)
    assert got['l_g_pix'].item() == pytest.approx(l1(0.01)(sr, batch['gt_usm'], None).item(), rel=1e-5)
    assert got['l_g_aesop'].item() == pytest.approx(aesop(ae_file)(sr, gt, None).item(), rel=1e-4)
    assert got['out_d_real'].item() == pytest.approx(real.mean().item(), abs=1e-5)
    assert got['l_d_real'].item() == pytest.approx(
        F.binary_cross_entropy_with_logits(real, torch.ones_like(real)).item(), rel=1e-4
    )


def test_generator_waits_for_net_d_init_iters_and_net_d_iters():
    torch.manual_seed(0)
    schedule = {'net_d_iters': 2, 'net_d_init_iters': 2}
    model = build_model(options_of('ESRGANModel', PIXEL | GAN | schedule), 'cpu')
    compare(model, Plain(model, {'l_g_pix': l1(0.01)}), count=6, train_g=lambda i: i in (4, 6))


def test_autoencoder():
    torch.manual_seed(0)
    pixel = {'type': 'L1Loss', 'loss_weight': 1.0}
    train = {'pixel_opt': pixel, 'pixel_at_LR_opt': pixel}
    model = build_model(options_of('AEModel', train, AE), 'cpu')
    ae = copy.deepcopy(model.net_g)
    ema = copy.deepcopy(ae)
    adam = adam_of(ae)
    for i, batch in enumerate(batches(4), start=1):
        lr = ae.encoder(batch['gt'])
        expected = {
            'l_pix': (ae.decoder(lr) - batch['gt']).abs().mean(),
            'l_pix_at_LR': (lr - batch['lq']).abs().mean(),
        }
        adam.zero_grad()
        sum(expected.values()).backward()
        adam.step()
        with torch.no_grad():
            for mean, now in zip(ema.parameters(), ae.parameters()):
                mean.copy_(DECAY * mean + (1 - DECAY) * now)
        got = model.step(batch, i)
        assert {k: v.item() for k, v in got.items()} == pytest.approx(
            {k: v.item() for k, v in expected.items()}, rel=1e-4
        )
    for (name, a), b in zip(model.net_g_ema.named_parameters(), ema.parameters()):
        assert (a - b).abs().mean() < 1e-5, name


def test_frozen_decoder_thaws():
    torch.manual_seed(0)
    pixel = {'type': 'L1Loss', 'loss_weight': 1.0}
    options = options_of('AEModel', {'pixel_opt': pixel, 'pixel_at_LR_opt': pixel, 'freeze_decoder': 2}, AE)
    model = build_model(options, 'cpu')
    decoder, encoder = (copy.deepcopy(part.state_dict()) for part in (model.net_g.decoder, model.net_g.encoder))

    def moved(part, before):
        return any(not torch.equal(value, before[name]) for name, value in part.state_dict().items())

    for i, batch in enumerate(batches(3), start=1):
        model.step(batch, i)
        assert moved(model.net_g.encoder, encoder)
        assert moved(model.net_g.decoder, decoder) == (i > 2)


def test_a_flat_red_image_stays_red_through_a_trained_autoencoder():
    torch.manual_seed(0)
    pixel = {'type': 'L1Loss', 'loss_weight': 1.0}
    schedule = {'type': 'CosineAnnealingRestartLR', 'periods': [250]}
    train = {'pixel_opt': pixel, 'pixel_at_LR_opt': pixel, 'optim_g': {'type': 'Adam', 'lr': 2e-3}}
    wider = {**AE, 'dec_opt': {**G, 'num_feat': 16, 'num_grow_ch': 8}}
    model = build_model(options_of('AEModel', train | {'ema_decay': 0.95, 'scheduler': schedule}, wider), 'cpu')
    with torch.no_grad():  # the small start of the plain convolutions costs iterations that a test does not have
        for part in (model.net_g.encoder[0], model.net_g.encoder[3]):
            for parameter in part.parameters():
                parameter.mul_(10)
    generator = torch.Generator().manual_seed(5)
    for i in range(1, 251):
        gt = torch.rand(8, 3, 1, 1, generator=generator).expand(-1, -1, 16, 16)
        model.step({'gt': gt, 'lq': gt[..., :4, :4]}, i)
    red = torch.tensor([0.9, 0.1, 0.1]).view(1, 3, 1, 1).expand(-1, -1, 16, 16)
    assert (model.predict(red) - red)[..., 4:-4, 4:-4].abs().max() < 0.15


def test_aesop_gradient_reaches_the_image_and_vanishes_at_the_truth(ae_file):
    loss = build_loss({'type': 'AutoEncoderLoss', 'autoencoder_arch': AE, 'autoencoder_load': {'path': ae_file}})
    batch = next(batches(1))
    sr = (batch['gt'] * 0.9).requires_grad_()
    loss(sr, batch['gt']).backward()
    assert sr.grad.abs().max() > 0
    assert all(p.grad is None for p in loss.parameters())
    assert loss(batch['gt'], batch['gt']).item() == 0
