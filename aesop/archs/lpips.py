"""The network of LPIPS (Zhang et al., CVPR 2018), by its authors' package: a metric and a loss use it."""

import warnings

from torch import nn

from aesop.archs.backbones import backbone_state_dict
from aesop.errors import UserError
from aesop.utils.shapes import shapes_only

BACKBONES = {'alex': 'alexnet', 'vgg': 'vgg16', 'squeeze': 'squeezenet1_1'}
LEAST_SIDE = {'alex': 31, 'vgg': 16, 'squeeze': 17}  # pixels, below which pooling leaves nothing


def lpips_network(net: str, backbone_weights: str, spatial: bool = False) -> nn.Module:
    """The package's network with its own linear layers; the backbone comes from a local file or torchvision.

    Called with two batches (N, 3, H, W) in [-1, 1] it gives (N, 1, 1, 1), or, with `spatial`, the sum of its layers'
    maps enlarged to (N, 1, H, W).
    """
    import lpips  # heavy, and not needed by the other metrics and losses

    with warnings.catch_warnings():
        warnings.simplefilter('ignore', UserWarning)  # the package uses an old argument of torchvision
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
