"""The network of LPIPS (Zhang et al., CVPR 2018), from its authors' package; used by a metric and a loss."""

import warnings

from torch import nn

from aesop.archs.backbones import backbone_state_dict
from aesop.errors import UserError
from aesop.utils.shapes import shapes_only

BACKBONES = {'alex': 'alexnet', 'vgg': 'vgg16', 'squeeze': 'squeezenet1_1'}
MIN_SIDE = {'alex': 31, 'vgg': 16, 'squeeze': 17}  # pixels; pooling leaves nothing of smaller images


def lpips_network(net: str, backbone_weights: str, spatial: bool = False) -> nn.Module:
    """The package's network with its own linear layers; the backbone comes from a local file or torchvision.

    For two batches (N, 3, H, W) in [-1, 1] it returns (N, 1, 1, 1) or, with `spatial`, the sum of its layers' maps
    upsampled to (N, 1, H, W).
    """
    import lpips  # heavy, and not needed by the other metrics and losses

    with warnings.catch_warnings():
        warnings.simplefilter('ignore', UserWarning)  # the package uses a deprecated argument of torchvision
        # pnet_rand: do not download the backbone
        network = lpips.LPIPS(net=net, pnet_rand=True, spatial=spatial, verbose=False)
    if shapes_only():
        return network.requires_grad_(False)
    features = backbone_state_dict(BACKBONES[net], backbone_weights)
    # the package cuts the backbone's `features.I` into slices, as `sliceK.I`
    names = {f'features.{name.split(".", 1)[1]}': name for name in network.net.state_dict()}
    try:
        network.net.load_state_dict({names.get(k, k): tensor for k, tensor in features.items()})
    except RuntimeError as error:  # missing, unexpected or mis-shaped tensors
        raise UserError(f'backbone_weights: "{backbone_weights}" is not a file of {BACKBONES[net]}') from error
    return network.requires_grad_(False)
