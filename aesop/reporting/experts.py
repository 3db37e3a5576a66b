"""Visualises the routing of CAL-GAN's discriminator: the expert chosen for each part of an image, and their shares."""

from pathlib import Path

import torch
from torch import Tensor

from aesop.archs import build_network
from aesop.archs.mod import MOD, expert_shares
from aesop.errors import UserError, error_context
from aesop.options import Options
from aesop.reporting.figures import COLUMN, drawing, write_csv, write_figure
from aesop.utils.checkpoint import load_network


def router_of(options: Options) -> MOD:
    """The pretrained mixture of experts of an option file, in eval mode without gradients.

    Raises:
        UserError: `network_d` is not a MOD, or `path.pretrain_network_d` is missing.
    """
    block = getattr(options, 'network_d', None)
    net = build_network(block) if block else None
    if not isinstance(net, MOD):
        kind = block['type'] if block else 'missing'
        raise UserError(f'network_d is {kind}: only MOD, the discriminator of CAL-GAN, has experts')
    path, key, strict = options.path.weights('d')
    if path is None:
        raise UserError('path.pretrain_network_d is missing: a router with random weights shows nothing')
    with error_context('path.pretrain_network_d'):
        load_network(net, path, key, strict)
    return net.eval().requires_grad_(False)


@torch.inference_mode()
def route(net: MOD, image: Tensor) -> Tensor:
    """The probabilities (H // 4, W // 4, E) of the experts for each 4x4 block of a (3, H, W) image in [0, 1]."""
    height, width = (side // 4 for side in image.shape[-2:])
    return net.route(net.tokens(image[None]))[0].unflatten(0, (height, width))


def draw_experts(net: MOD, image: Tensor, stem: str | Path) -> list[Path]:
    """Draws an image, the expert chosen for each 4x4 block, and the share of the image routed to each expert.

    Args:
        net: in eval mode, so that BatchNorm uses its running statistics.
        image: (3, H, W) in [0, 1], with sides of at least 4 pixels.
        stem: writes `<stem>.png`, `.pdf` and `.csv`; the latter has the tokens, share and mean probability per expert.
    """
    probabilities = route(net, image)
    chosen, experts = probabilities.argmax(-1), net.num_expert
    shares = expert_shares(probabilities.flatten(0, 1)[None])[0]
    height, width = (4 * side for side in chosen.shape)
    with drawing() as pyplot:
        shown = COLUMN / 2 * height / width + 0.2  # inches: two images side by side
        figure = pyplot.figure(figsize=(COLUMN, shown + 1.3), layout='constrained')
        upper, lower = figure.subfigures(2, 1, height_ratios=[shown, 1.3])
        left, right = upper.subplots(1, 2)
        left.imshow(image[:, :height, :width].permute(1, 2, 0))
        left.set_title('image', pad=2)
        colours = pyplot.get_cmap('turbo', experts)
        right.imshow(chosen, cmap=colours, vmin=-0.5, vmax=experts - 0.5)
        right.set_title('chosen expert', pad=2)
        for axis in (left, right):
            axis.set_axis_off()
        axis = lower.subplots()
        axis.bar(range(experts), 100 * shares, color=colours(range(experts)))
        axis.axhline(100 / experts, color='grey', linewidth=0.8, linestyle=':')  # uniform routing
        axis.set(xlabel='expert', ylabel='% of the tokens', xticks=range(experts))
        written = write_figure(figure, stem)
    rows = zip(range(experts), torch.bincount(chosen.flatten(), minlength=experts).tolist(), shares.tolist(),
               probabilities.mean((0, 1)).tolist())  # fmt: skip
    columns = ('expert', 'tokens', 'share', 'mean_probability')
    return [*written, write_csv(stem, columns, [(k, n, f'{s:.5f}', f'{p:.5f}') for k, n, s, p in rows])]
