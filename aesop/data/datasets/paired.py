"""Pairs of ground-truth and low-resolution files."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from aesop.data.datasets.base import below
from aesop.data.datasets.meta_info import read_meta_info
from aesop.data.datasets.references import ReferencedDataset
from aesop.data.datasets.transforms import Window
from aesop.data.storage.source import Size
from aesop.errors import UserError
from aesop.registry import DATASETS


@DATASETS.register()
@dataclass(kw_only=True, eq=False, repr=False)
class PairedImageDataset(ReferencedDataset):
    """Pairs of files with the same path relative to the two roots; extensions may differ.

    Low-resolution sides must be those of the ground truth divided by `scale`, rounded down or up; both are cropped to
    the size that is rounded down.

    Args:
        dataroot_gt, dataroot_lq: folders.
        filename_tmpl: low-resolution file name, given that of the ground truth: `{}x4` pairs 1x4.png with 1.png.

    Raises:
        UserError: a folder is missing or empty, or images have no counterpart (all are listed).
    """

    dataroot_gt: str
    dataroot_lq: str | None = None
    filename_tmpl: str = '{}'

    def _find(self) -> tuple[list[tuple[Path, ...]], list[str]]:
        if not self.dataroot_lq:
            raise UserError(
                f'{self} needs dataroot_lq; where there are no low-resolution files, '
                'use `type: BicubicImageDataset`, which makes them from dataroot_gt'
            )
        gts = self._list(self.dataroot_gt)
        lqs = {below(self.dataroot_lq, path): path for path in self._source.list(self.dataroot_lq)}
        names = [below(self.dataroot_gt, path) for path in gts]
        partners = self._named_partners(self.dataroot_lq) or [self._partner(name) for name in names]
        unpaired = {
            name: f'{gt}: {self.dataroot_lq} has no {partner} for it'
            for gt, name, partner in zip(gts, names, partners)
            if partner not in lqs
        }
        if not self._meta():
            without = sorted(lqs.keys() - set(partners))
            unpaired |= {str(lqs[name]): f'{lqs[name]}: {self.dataroot_gt} has no image for it' for name in without}
        pairs = [(gt, name, lqs[partner]) for gt, name, partner in zip(gts, names, partners) if name not in unpaired]
        if unpaired and (self.on_error == 'raise' or self.gt_size is not None or not pairs):
            remedy = (
                f"complete the folders or set filename_tmpl (now '{self.filename_tmpl}'; e.g. '{{}}x4' for 1x4.png)"
            )
            raise UserError([f'{self}: each ground truth needs its low-resolution image: {remedy}', *unpaired.values()])
        self.left_out |= unpaired
        return [(gt, lq) for gt, _, lq in pairs], [name for _, name, _ in pairs]

    def _named_partners(self, root: str) -> list[str]:
        """The low-resolution images, if `meta_info` lists pairs."""
        meta = self._meta()
        lines = read_meta_info(meta) if meta else []
        if not all(len(names) == 2 for names in lines):
            return []
        return [below(root, path) for path in self._below(root, [lq for _, lq in lines])]

    def _partner(self, name: str) -> str:
        path = PurePosixPath(name)
        try:
            return str(path.with_name(self.filename_tmpl.format(path.name)))
        except (LookupError, ValueError):
            raise UserError(f"{self}: filename_tmpl '{self.filename_tmpl}' is not a name with one {{}} in it") from None

    def _problem(self, item: tuple[Path, ...], sizes: list[Size]) -> str | None:
        (gt_h, gt_w), (lq_h, lq_w) = sizes
        if all(gt // self.scale <= lq <= -(-gt // self.scale) for gt, lq in ((gt_h, lq_h), (gt_w, lq_w))):
            return super()._problem(item, sizes)
        return (
            f'{item[1]}: {lq_h}x{lq_w} pixels (height x width) is not 1/{self.scale} of the {gt_h}x{gt_w} of '
            f'{item[0]}; recreate it, or correct scale or the folders'
        )

    def _cut(self, images: list[np.ndarray], window: Window) -> tuple[np.ndarray, np.ndarray]:
        gt, lq = images
        return self._part(gt, window.scaled(self.scale)), self._part(lq, window)
