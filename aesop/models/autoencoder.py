"""Stage 1 of AESOP: pretraining the auto-encoder that later, frozen, measures the fidelity loss (Sec. 4.1)."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field
from torch import Tensor

from aesop.models.dry_run import Problem
from aesop.models.sr import SRModel
from aesop.options import Options
from aesop.options import schema as options_schema
from aesop.options.schema import Count, Loss, loss_key
from aesop.registry import ARCHS, MODELS
from aesop.utils import distributed


@MODELS.register()
class AEModel(SRModel):
    """L_pix(AE(gt), gt) + L_pix(Enc(gt), lq), Eq. 4 and 5: the bottleneck is the LR image, the output a regression.

    `path.pretrain_network_decoder` starts the decoder from a PSNR-oriented network; `train.freeze_decoder: N` keeps it
    fixed for the first N iterations. Without `train.pixel_at_LR_opt` the bottleneck is free (Table 3b).
    """

    class Train(SRModel.Train):
        pixel_at_LR_opt: Loss | None = loss_key(
            'pix_at_LR', "Pixel loss of the auto-encoder's bottleneck against the LR image.", ['lr', 'lq']
        )
        freeze_decoder: Count = Field(
            0, description="Iterations in which the auto-encoder's decoder keeps its weights."
        )

    parts = ('decoder',)
    inputs = ('gt',)

    @classmethod
    def check(cls, options: Options) -> list[Problem]:
        """Also checks that the network is an auto-encoder."""
        block = options.network_g
        kind = ARCHS.get(block.type) if block else None
        if isinstance(kind, type) and 'lr' not in getattr(kind, 'optional_outputs', ()):
            return [
                (
                    ('network_g', 'type'),
                    f'{block.type} has no encoder; {options.model_type or cls.__name__} trains an auto-encoder',
                )
            ]
        return super().check(options)

    def _prepare_training(self, train: options_schema.Train) -> None:
        super()._prepare_training(train)
        self._decoder_is_frozen = False

    def step(self, batch: Mapping[str, Any], current_iter: int) -> dict[str, Tensor]:
        """Like `SRModel.step`; the terms are `l_pix` (at HR) and `l_pix_at_LR`."""
        self._freeze_decoder(current_iter <= self.options.training.freeze_decoder)
        return super().step(batch, current_iter)

    def _freeze_decoder(self, frozen: bool) -> None:
        """DDP records what is trainable when it wraps, so freezing and unfreezing wrap again, on every rank."""
        if frozen != self._decoder_is_frozen:
            self.net_g.decoder.requires_grad_(not frozen)
            self._parallel_g = distributed.wrap_ddp(self.net_g, self.options.find_unused_parameters)
            self._decoder_is_frozen = frozen
