"""Stage 1 of AESOP: pretraining the auto-encoder that later, frozen, measures the fidelity loss (Sec. 4.1)."""

from typing import Any

import torch
from torch import Tensor

from aesop.errors import UserError, at
from aesop.models.sr import SRModel
from aesop.options import Options
from aesop.registry import MODELS
from aesop.utils import checkpoint, distributed


@MODELS.register()
class AEModel(SRModel):
    """L_pix(AE(gt), gt) + L_pix(Enc(gt), lq), Eq. 4 and 5: the bottleneck is the LR image, the output a regression.

    `path.pretrain_network_decoder` starts the decoder from a PSNR-oriented network; `train.freeze_decoder: N` keeps it
    fixed for the first N iterations. Without `train.pixel_at_LR_opt` the bottleneck is free (Table 3b).
    """

    condition = 'gt'

    def _build(self, block: dict[str, Any] | None, which: str) -> torch.nn.Module:
        net = super()._build(block, which)
        path = self.options.path
        if not hasattr(net, 'encoder'):
            raise UserError(f'network_g: AEModel trains an auto-encoder, {block["type"]} is none; see docs/options.md')
        if path.pretrain_network_decoder is not None:
            with at('path.pretrain_network_decoder'):
                checkpoint.load_network(
                    net.decoder, path.pretrain_network_decoder, path.param_key_decoder, path.strict_load_decoder
                )
        return net

    def _prepare_training(self, options: Options) -> None:
        super()._prepare_training(options)
        self._loss_at_lr = self._loss('pixel_at_LR_opt', options.train.pixel_at_LR_opt)
        self._decoder_is_frozen = False

    def step(self, batch: dict[str, Any], current_iter: int) -> dict[str, Tensor]:
        """As `SRModel.step`; terms `l_pix` (at HR) and `l_pix_at_LR`."""
        self._freeze_decoder(current_iter <= self.options.train.freeze_decoder)
        return super().step(batch, current_iter)

    def _gradients(self, lq: Tensor, gt: Tensor, sharp: Tensor, current_iter: int) -> dict[str, Tensor]:
        reconstruction, bottleneck = self._parallel_g(gt, return_lr=True)
        terms = dict(self._supervision(reconstruction, gt, sharp))
        if self._loss_at_lr is not None:
            terms['l_pix_at_LR'] = self._loss_at_lr(bottleneck, lq)
        return self._backward(terms)

    def _freeze_decoder(self, frozen: bool) -> None:
        """DDP takes note of what is trainable when it wraps, so freezing and thawing wrap anew, on every rank alike."""
        if frozen != self._decoder_is_frozen:
            self.net_g.decoder.requires_grad_(not frozen)
            self._parallel_g = distributed.wrap(self.net_g, self.options.find_unused_parameters)
            self._decoder_is_frozen = frozen
