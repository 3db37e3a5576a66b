"""Tracks steps that were skipped because a loss or gradient was not finite."""

import logging
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from aesop.models import SRModel
from aesop.utils import distributed
from aesop.utils.jsonl import JSONLWriter

logger = logging.getLogger(__name__)


@dataclass
class Step:
    """The data of an iteration, kept until its flag has been checked."""

    iteration: int
    images: dict[str, Any]
    terms: dict[str, Tensor]
    grad_norms: dict[str, Tensor]
    skipped: Tensor
    copied: Any = None  # on a GPU, the event after which `skipped` has been copied


class Health:
    """Checks a model's flag for skipped steps without synchronising with the GPU.

    The flag is the same on all ranks, so all notice a problem at the same iteration. On a GPU it is copied in the
    background and checked one iteration later.

    Attributes:
        skips: number of consecutive skipped steps.
    """

    def __init__(self, lines: JSONLWriter) -> None:
        self._lines = lines
        self._last: Step | None = None
        self.skips = 0

    def look(self, model: SRModel, iteration: int, images: dict[str, Any], terms: dict[str, Tensor]) -> None:
        """Records a step, and counts it or the previous one.

        Args:
            images: identifies the images in this rank's batch by indices and names.
            terms: the loss terms of the step.
        """
        step = Step(iteration, images, terms, model.grad_norms, model.skipped)
        if model.skipped.is_cuda:
            step.skipped = torch.empty((), pin_memory=True).copy_(model.skipped, non_blocking=True)
            step.copied = torch.cuda.Event()
            step.copied.record()
            step, self._last = self._last, step
        if step is None:
            return
        if step.copied is not None:
            step.copied.synchronize()
        self.skips = self.skips + 1 if step.skipped else 0
        if self.skips:
            self._tell(step)

    def start_again(self) -> None:
        self.skips, self._last = 0, None

    def _tell(self, step: Step) -> None:
        """Writes the terms and images of all ranks to the file, and logs which terms were not finite where."""
        mine = {
            'images': {
                key: value.tolist() if isinstance(value, Tensor) else value for key, value in step.images.items()
            },
            'terms': {name: value.item() for name, value in step.terms.items()},
            'grad_norms': {name: value.item() for name, value in step.grad_norms.items()},
        }
        ranks = distributed.gather(mine)
        if not distributed.is_main():
            return
        self._lines.add({'iter': step.iteration, 'skips': self.skips, 'ranks': ranks})
        culprits = [
            f'{name} {value} on rank {rank}'
            for rank, seen in enumerate(ranks)
            for kind in ('terms', 'grad_norms')
            for name, value in seen[kind].items()
            if not math.isfinite(value)
        ]
        logger.warning(
            'iteration %d was skipped (%d in a row): %s; the batches are in %s',
            step.iteration, self.skips, ', '.join(culprits) or 'a gradient is not finite', self._lines.path,
        )  # fmt: skip
