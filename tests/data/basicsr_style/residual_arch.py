"""An architecture file as people write them for BasicSR: residual blocks and pixel shuffle."""

from torch import nn as nn

from basicsr.archs.arch_util import ResidualBlockNoBN, Upsample, make_layer
from basicsr.utils.registry import ARCH_REGISTRY


@ARCH_REGISTRY.register()
class TinyResidual(nn.Module):
    def __init__(self, num_in_ch=3, num_out_ch=3, num_feat=8, num_block=2, upscale=4, res_scale=1):
        super(TinyResidual, self).__init__()
        self.head = nn.Conv2d(num_in_ch, num_feat, 3, 1, 1)
        self.body = make_layer(ResidualBlockNoBN, num_block, num_feat=num_feat, res_scale=res_scale, pytorch_init=True)
        self.upsample = Upsample(upscale, num_feat)
        self.tail = nn.Conv2d(num_feat, num_out_ch, 3, 1, 1)

    def forward(self, x):
        feat = self.head(x)
        return self.tail(self.upsample(feat + self.body(feat)))
