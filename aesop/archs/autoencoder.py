"""The auto-encoder of AESOP (Lee et al., CVPR 2025, section 4.1): HR image -> LR-sized RGB bottleneck -> HR image.

AE(x) keeps what a regressor can predict of x and drops random texture. Encoder and decoder are registered networks.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import torch.nn.functional as F
from torch import Tensor, nn

from aesop.archs.layers import conv3x3, init_small_, pad_to_multiple
from aesop.archs.rrdbnet import RRDB
from aesop.errors import UserError
from aesop.registry import ARCHS, BlockOf, CountOrZero, NetworkBlock

EncoderBlock = Annotated[dict[str, Any], BlockOf(ARCHS, default='RRDBEncoder', also=('placeholder',))]
UNSHUFFLES = {2: [2], 3: [3], 4: [2, 2], 8: [2, 2, 2]}  # x4 is x2 twice, whose channel order differs from a single x4


@ARCHS.register()
class RRDBEncoder(nn.Sequential):
    """The learned encoder, (N, 3, scale * h, scale * w) -> (N, 3, h, w): stem, pixel-unshuffle, RRDBs, head.

    The stem is linear and has num_feat / scale^2 channels: with fewer than 3, colour is lost.

    Args:
        num_feat: channels of the trunk, a multiple of scale^2 and at least 3 * scale^2.
        scale: 2, 3, 4 or 8.
        num_block, num_grow_ch: number of RRDBs, and channels added by each of their convolutions.
    """

    def __init__(self, num_feat: int = 64, scale: int = 4, num_block: CountOrZero = 2, num_grow_ch: int = 32) -> None:
        width, rest = divmod(num_feat, scale**2)
        if width < 3 or rest:
            raise UserError(
                f"the encoder's stem has num_feat / scale^2 = {num_feat / scale**2:g} channels: it needs a whole "
                'number, and with fewer than 3 the bottleneck would lose colour. Set '
                f'`enc_opt: {{num_feat: {max(3, width + 1) * scale**2}}}` or another multiple of {scale**2} '
                f'of at least {3 * scale**2}'
            )
        stem = nn.Sequential(conv3x3(3, width), conv3x3(width, width))
        head = nn.Sequential(conv3x3(num_feat, num_feat), conv3x3(num_feat, 3))
        super().__init__(
            stem,
            nn.Sequential(*(nn.PixelUnshuffle(factor) for factor in UNSHUFFLES[scale])),
            nn.Sequential(*(RRDB(num_feat, num_grow_ch) for _ in range(num_block))),
            head,
        )
        init_small_(self)


@ARCHS.register()
class BicubicEncoder(nn.Module):
    """Antialiased bicubic downsampling instead of a learned encoder (the paper's Table 3, row a).

    (N, 3, scale * h, scale * w) -> (N, 3, h, w). PyTorch's, as in the published ablation: the same kernel as MATLAB's
    `imresize`, but a different border.
    """

    def __init__(self, scale: int = 4) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[-2:]
        return F.interpolate(x, (h // self.scale, w // self.scale), mode='bicubic', antialias=True)


@ARCHS.register('AutoEncoder_RRDBNet', 'AutoEncoder_MSRResNet')
class AutoEncoder(nn.Module):
    """(N, 3, H, W) -> (N, 3, H, W), both RGB in [0, 1]; sides are padded to multiples of the scale and cropped.

    Args:
        dec_opt: block of the decoder, any super-resolution network of scale 2, 3, 4 or 8.
        enc_opt: block of the encoder; by default an RRDBEncoder with the decoder's `num_feat` and `num_grow_ch`. The
            key `placeholder` of published option files is ignored.
    """

    optional_outputs = ('lr',)
    # Published checkpoints contain each encoder tensor under these names too.
    published_aliases = {'encoder.0.': 'conv_first.', 'encoder.2.': 'body.', 'encoder.3.': 'conv_last.'}

    def __init__(self, dec_opt: NetworkBlock, enc_opt: EncoderBlock | None = None) -> None:
        super().__init__()
        decoder = ARCHS.build(dec_opt)
        scale = getattr(decoder, 'scale', None)
        if not isinstance(scale, int) or scale not in UNSHUFFLES:
            raise UserError(
                f'dec_opt: an auto-encoder needs a super-resolution network of scale 2, 3, 4 or 8 as its decoder; '
                f'{dec_opt["type"]} has scale {scale}'
            )
        self.scale = scale
        block = {'type': 'RRDBEncoder', **(enc_opt or {})}
        block.pop('placeholder', None)
        if block['type'] == 'RRDBEncoder':
            block = {'num_feat': dec_opt.get('num_feat', 64), 'num_grow_ch': dec_opt.get('num_grow_ch', 32)} | block
        self.encoder = ARCHS.build(block, scale=scale)
        self.decoder = decoder

    def forward(self, x: Tensor, also: Sequence[str] = ()) -> Tensor | dict[str, Tensor]:
        """AE(x); with `also=('lr',)`, {'sr': AE(x), 'lr': Enc(x)}. The sides of Enc(x) are ceil(side / scale)."""
        h, w = x.shape[-2:]
        lr = self.encoder(pad_to_multiple(x, self.scale))
        out = self.decoder(lr)[..., :h, :w]
        return {'sr': out, 'lr': lr} if 'lr' in also else out


@ARCHS.register()
def BicubicDown_RRDBNet(dec_opt: NetworkBlock, enc_opt: EncoderBlock | None = None) -> AutoEncoder:
    """The published name of the auto-encoder with bicubic downsampling as its encoder."""
    return AutoEncoder(dec_opt, {**(enc_opt or {}), 'type': 'BicubicEncoder'})
