"""Converts a run's weights to a file for aesop/weights: half precision, with a descriptive header.

python scripts/ship_weights.py experiments/small_psnr 15000 -o aesop/weights/psnr_x4.safetensors

The header of the safetensors file has `architecture` (the network's block, as JSON), `scale`, `recipe` (datasets and
training options of the run, as JSON) with its `recipe_sha256`, `commit` and `iteration`. Errors give exit code 2.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from aesop.archs import build_network
from aesop.archs.pretrained import metadata
from aesop.errors import UserError
from aesop.options import load_options
from aesop.utils.checkpoint import load_network, save_network


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
    about = options.to_dict()
    recipe = json.dumps({key: about[key] for key in ('name', 'model_type', 'datasets', 'train')})
    commit = json.loads((run / 'run.json').read_text())['git']['commit']
    others = {'recipe': recipe, 'recipe_sha256': sha256(recipe.encode()).hexdigest()}
    others |= {'commit': commit, 'iteration': str(iteration)}
    tensors = {name: tensor.half() for name, tensor in net.state_dict().items()}
    save_network(output, tensors, metadata=metadata(about['network_g'], options.scale, **others))


if __name__ == '__main__':
    sys.exit(main())
