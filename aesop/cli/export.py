"""Write a network for other programs: safetensors, ONNX, or a file that spandrel opens.

aesop export WEIGHTS -o OUT
aesop export WEIGHTS -opt FILE -o OUT
aesop export WEIGHTS --arch '{type: RRDBNet}' -o OUT

WEIGHTS is a path or the name of published weights. The network is recognised from them, as by `aesop upscale`, unless
an option file or a block describes it. The extension of OUT decides the format:
  .safetensors  the tensors under their published names
  .onnx         `lq` (1, 3, h, w) -> `sr`, RGB in [0, 1]; any h and w, unless the network has a fixed size (`ape: true`)
  .pth          a file that the package spandrel recognises: RRDBNet and its older names (32 growth channels), SwinIR,
                DRCT, SRVGGNetCompact (PReLU)
The file is compared with PyTorch before it is put in place. Needs `pip install 'aesop-sr[export]'`.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('weights', metavar='WEIGHTS')
    described = parser.add_mutually_exclusive_group()
    described.add_argument('-opt', metavar='FILE', help='option file with its network_g')
    described.add_argument('--arch', metavar='BLOCK', help='block of the network, e.g. {type: RRDBNet, scale: 4}')
    parser.add_argument('-o', '--output', type=Path, required=True, metavar='OUT')
    parser.add_argument('--key', help='which weights of the file; default: params_ema, if any')


def run(args: argparse.Namespace) -> None:
    from aesop.archs import build_network
    from aesop.errors import UserError
    from aesop.options import load_options
    from aesop.run.logs import console
    from aesop.upscale.export import export
    from aesop.upscale.networks import recognise
    from aesop.utils import checkpoint
    from aesop.utils.console import say
    from aesop.utils.recipes import recipe

    with console(is_main=True):
        if not (args.opt or args.arch):
            net, block = recognise(args.weights, key=args.key)
            say(f'{args.output}: differs from PyTorch by {export(net, args.output, block):.1e} at most')
            return
        options = load_options(recipe(args.opt) if args.opt else {}, [f'network_g={args.arch}'] if args.arch else ())
        if options.network_g is None:
            raise UserError(f'{args.opt or "--arch"}: network_g is missing, and it says what the weights are of')
        net = build_network(options.network_g).eval().requires_grad_(False)
        checkpoint.load_network(net, args.weights, args.key or 'params_ema')
    say(f'{args.output}: differs from PyTorch by {export(net, args.output, options.network_g):.1e} at most')
