"""Writes a run's weights in half precision, with a header that says what they are: the files of aesop/weights.

python scripts/ship_weights.py experiments/small_psnr 15000 -o aesop/weights/psnr_x4.safetensors

The header of the safetensors file has `architecture` (the network's block, as JSON), `scale`, `recipe` (the options of
the run that are not defaults, as JSON), `commit` and `iteration`. Exit code 2: something is wrong, said in a sentence.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import save_file

from aesop.archs import build_network
from aesop.errors import UserError
from aesop.options import load_options
from aesop.utils.checkpoint import load_network


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('run', type=Path, metavar='RUN', help='experiments/<name>')
    parser.add_argument('iteration', type=int)
    parser.add_argument('-o', '--output', type=Path, required=True, metavar='OUT')
    args = parser.parse_args(arguments)
    try:
        ship(args.run, args.iteration, args.output)
    except (UserError, OSError) as error:
        print(f'ship_weights.py: {error}', file=sys.stderr)
        return 2
    print(f'{args.output}: {args.output.stat().st_size / 1e6:.2f} MB')
    return 0


def ship(run: Path, iteration: int, output: Path) -> None:
    options = load_options(run / 'options.yml')
    net = build_network(options.network_g)
    load_network(net, run / 'models' / f'net_g_{iteration}.pth', 'params_ema')
    recipe = {key: options.to_dict()[key] for key in ('name', 'model_type', 'datasets', 'train')}
    metadata = {
        'format': 'pt',
        'architecture': json.dumps(options.to_dict()['network_g']),
        'scale': str(options.scale),
        'recipe': json.dumps(recipe),
        'commit': json.loads((run / 'run.json').read_text())['git']['commit'],
        'iteration': str(iteration),
    }
    tensors = {name: tensor.half().contiguous() for name, tensor in net.state_dict().items()}
    output.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, output, metadata)


if __name__ == '__main__':
    sys.exit(main())
