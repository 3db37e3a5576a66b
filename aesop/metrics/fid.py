"""FID and patch-FID: the distance between two sets of images (Heusel et al., NeurIPS 2017), with torchmetrics."""

import io
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aesop.archs.backbones import inception_state_dict
from aesop.errors import UserError
from aesop.metrics.metric import Metric, weights_sha256
from aesop.registry import METRICS

PATCH = 299  # the side of the network's input


def inception_network(backbone_weights: str) -> nn.Module:
    """The network of FID: (N, 3, H, W) uint8 -> a tuple of (N, 2048) float32; the weights as `inception_state_dict`."""
    from torchmetrics.image.fid import NoTrainInceptionV3  # heavy, and not needed by the other metrics

    file = io.BytesIO()  # given a path, the package would load it without weights_only
    torch.save(inception_state_dict(backbone_weights), file)
    file.seek(0)
    try:
        # the argument goes to torch.load, which takes files too
        return NoTrainInceptionV3('inception-v3-compat', ['2048'], file, antialias=False)  # pyright: ignore[reportArgumentType]
    except RuntimeError as error:  # missing, unexpected or mis-shaped tensors
        raise UserError(
            f'backbone_weights: "{backbone_weights}" does not contain the weights of FID\'s Inception'
        ) from error


def patches(images: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, P, C, 299, 299): non-overlapping patches from the top left corner.

    The remainder at the right and bottom is dropped; sides under 299 pixels are zero-padded first.
    """
    h, w = images.shape[-2:]
    images = F.pad(images, (0, max(PATCH - w, 0), 0, max(PATCH - h, 0)))
    cut = images.unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH)  # (N, C, rows, columns, 299, 299)
    return cut.flatten(2, 3).transpose(1, 2)


def frechet_distance(sr: Tensor, gt: Tensor) -> float:
    """The Fréchet distance between Gaussians fitted to two sets of features (n, D), in float64."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    given: Any = nn.Identity()  # the inputs are features already
    given.num_features = sr.shape[1]
    distance = FrechetInceptionDistance(given, sync_on_compute=False)  # features are gathered from the ranks already
    distance.update(gt.double(), real=True)
    distance.update(sr.double(), real=False)
    return float(distance.compute())


@METRICS.register()
class FID(Metric):
    """Distance between the sets of results and ground truths; each image is one sample.

    Args:
        backbone_weights: local file with FID's Inception network, or 'imagenet' for torch-fidelity's.
        common: arguments of `Metric`.
    """

    higher_is_better = False
    value_range = '0 and more'
    how = (
        'on RGB; whole images, resized to 299x299 by the network as in TensorFlow; needs 2 samples or more and depends '
        'on their number below 2048: compare FIDs of the same images only'
    )
    per_image = False
    takes_y = False
    samples = 'whole images, resized to 299x299'

    def __init__(
        self,
        backbone_weights: str = 'imagenet',
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.network = inception_network(backbone_weights)
        self.details = {
            'samples': self.samples,
            'backbone': 'Inception of FID, 2015-12-05, pool3',
            'backbone_sha256': weights_sha256(self.network),
            'package': f'torchmetrics {version("torchmetrics")}, torch-fidelity {version("torch-fidelity")}',
        }

    def score(self, sr: Tensor, gt: Tensor) -> list[Tensor]:
        """The contribution of each image: the features (2, P, 2048) of its P samples in sr and gt."""
        sets = [self.cut((x * 255).round().to(torch.uint8)) for x in self.prepare_rgb(sr, gt)]  # each (N, P, 3, h, w)
        features = [self.network(x.flatten(0, 1)).unflatten(0, x.shape[:2]) for x in sets]
        return list(torch.stack(features, 1))

    def cut(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> the samples of each image (N, P, 3, h, w)."""
        return images[:, None]

    def summary(self, scores: Sequence[Tensor]) -> float:
        sr, gt = torch.cat([each.cpu() for each in scores], 1)
        if len(sr) < 2:
            raise UserError(f'{type(self).__name__} needs at least 2 samples ({self.samples}), got {len(sr)}')
        return frechet_distance(sr, gt)


@METRICS.register()
class PatchFID(FID):
    """FID over patches of 299x299 at full resolution (Chai et al., 2022); arguments as in `FID`."""

    how = (
        'on RGB; non-overlapping patches of 299x299 from the top left corner, the remainder dropped, smaller images '
        'zero-padded; samples as for FID'
    )
    samples = 'patches of 299x299 side by side, smaller images padded with zeros'

    def cut(self, images: Tensor) -> Tensor:
        return patches(images)
