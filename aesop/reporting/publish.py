"""Exports a run for publication: weights, configuration, a model card with results, and an OpenModelDB entry."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch
import yaml

import aesop
from aesop.archs import build_network
from aesop.archs.pretrained import metadata
from aesop.errors import UserError
from aesop.options import Options, load_options
from aesop.utils.checkpoint import load_params, network_state_dict, read_weights, save_network
from aesop.utils.hub import DEFAULT_FILE


@dataclass(frozen=True)
class Publication:
    """The parts of a run that are published.

    Attributes:
        block: the option block of the network.
        recipe_sha256: hash of the run's resolved options.
        iteration: of the weights; None if it is not in the file name.
        metrics: the contents of `results/<name>/metrics.json`; None if the run has not been tested.
    """

    name: str
    options: Options
    block: Mapping[str, Any]
    scale: int
    weights: Path
    recipe_sha256: str
    iteration: int | None
    metrics: dict[str, Any] | None


def read_run(run: Path, weights: Path | None = None, results: Path | None = None) -> Publication:
    """Collects what to publish.

    Args:
        run: `experiments/<name>`.
        weights: a file of weights; default: the latest `models/net_g_*.pth` of the run.
        results: `metrics.json` of `aesop test`, or its folder; default: `results/<name>`, if it exists.

    Raises:
        UserError: the folder is not a run, or has no weights.
    """
    recipe = run / 'options.yml'
    if not recipe.is_file():
        raise UserError(f'{run} is not the folder of a run: options.yml not found; give experiments/NAME')
    options = load_options(recipe)
    if options.network_g is None:
        raise UserError(f'{recipe}: network_g is missing')
    weights = weights or _newest(run / 'models')
    number = re.search(r'net_g_(\d+)', weights.stem)
    if results is None and Path('results', options.name).is_dir():
        results = Path('results', options.name)
    with torch.device('meta'):
        net = build_network(options.network_g)
    return Publication(
        name=options.name,
        options=options,
        block=options.network_g,
        scale=getattr(net, 'scale', options.scale),
        weights=weights,
        recipe_sha256=hashlib.sha256(recipe.read_bytes()).hexdigest(),
        iteration=int(number[1]) if number else None,
        metrics=None if results is None else _metrics(results),
    )


def _newest(models: Path) -> Path:
    numbered = {int(m[1]): path for path in models.glob('net_g_*.pth') if (m := re.search(r'net_g_(\d+)$', path.stem))}
    if numbered:
        return numbered[max(numbered)]
    latest = models / 'net_g_latest.pth'
    if latest.is_file():
        return latest
    raise UserError(f'{models} has no net_g_*.pth: train the run, or give a file with --weights')


def _metrics(path: Path) -> dict[str, Any]:
    path = path / 'metrics.json' if path.is_dir() else path
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise UserError(f'{path}: the results cannot be read ({error}); run `aesop test` again') from error


def publish(
    this: Publication, folder: Path, licence: str | None = None, author: str | None = None, key: str = 'params_ema'
) -> list[Path]:
    """Writes the folder: model.safetensors, config.json, README.md (the model card), options.yml, `<name>.json`.

    Args:
        licence: of the weights, as an SPDX identifier, e.g. `apache-2.0`.
        key: which weights in the file to publish.

    Returns:
        The paths of the files.

    Raises:
        UserError: the folder has other files, or the weights do not fit the network.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f'{folder} is not empty: give another folder with -o, or remove it')
    net = build_network(this.block)
    load_params(net, read_weights(this.weights, key)[0], this.weights)
    model = folder / DEFAULT_FILE
    describing = metadata(this.block, this.scale, recipe_sha256=this.recipe_sha256, name=this.name)
    save_network(model, network_state_dict(net), metadata=describing)
    texts = {
        'config.json': _json({'architecture': this.block, 'scale': this.scale, 'recipe_sha256': this.recipe_sha256}),
        'options.yml': yaml.safe_dump(this.options.to_dict(), sort_keys=False, allow_unicode=True),
        'README.md': model_card(this, licence),
        f'{this.name.replace("/", "_")}.json': _json(openmodeldb(this, model, licence, author)),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding='utf-8')
    return sorted(folder.iterdir())


def model_card(this: Publication, licence: str | None = None) -> str:
    """README.md as the Hub reads it: YAML in front, then Markdown."""
    front = {
        'library_name': 'aesop-sr',
        'pipeline_tag': 'image-to-image',
        'tags': ['super-resolution', 'image-restoration', 'pytorch'],
        **({'license': licence} if licence else {}),
        **({'model-index': [_model_index(this.name, this.scale, this.metrics)]} if this.metrics else {}),
    }
    parts = [
        f'---\n{yaml.safe_dump(front, sort_keys=False)}---\n',
        f'# {this.name}',
        f'{_kind(this)}, x{this.scale}'
        + (f', after {this.iteration:,} iterations' if this.iteration else '')
        + f'. Trained with [aesop-sr](https://pypi.org/project/aesop-sr/) {aesop.__version__}; `options.yml` is its '
        f'recipe (sha256 `{this.recipe_sha256[:16]}`).',
        '## Use',
        _usage(this),
        '## Results',
        _results(this),
    ]
    return '\n\n'.join(parts) + '\n'


def _kind(this: Publication) -> str:
    return this.block.get('arch', this.block['type'])


def _usage(this: Publication) -> str:
    if _is_autoencoder(this):
        return (
            '```python\nfrom aesop import AESOPLoss\n\n'
            "loss = AESOPLoss.from_pretrained('hf://OWNER/REPOSITORY')  # or the path of model.safetensors\n```"
        )
    return '```bash\naesop upscale photo.jpg -o results --weights hf://OWNER/REPOSITORY  # or model.safetensors\n```'


def _is_autoencoder(this: Publication) -> bool:
    return 'dec_opt' in this.block


def _results(this: Publication) -> str:
    if not this.metrics:
        return 'Not measured yet: `aesop test`, then publish again.'
    datasets = this.metrics['datasets']
    names = list(dict.fromkeys(name for scores in datasets.values() for name in scores))
    lines = ['| data set | ' + ' | '.join(names) + ' |', '|---' * (len(names) + 1) + '|']
    for dataset, scores in datasets.items():
        values = (f'{scores[name]:.4f}' if isinstance(scores.get(name), int | float) else '-' for name in names)
        lines.append(f'| {dataset} | ' + ' | '.join(values) + ' |')
    return '\n'.join([*lines, '', '### Protocol', *_protocol(this.metrics.get('protocol', {}))])


def _protocol(protocol: dict[str, Any]) -> list[str]:
    """One line a metric that is measured in the same way on all data sets, and the versions."""
    lines = []
    of_sets = protocol.get('metrics', {})
    for name in dict.fromkeys(name for of_set in of_sets.values() for name in of_set):
        ways = {_json(of_set[name]) for of_set in of_sets.values() if name in of_set}
        for way in sorted(ways):
            said = {k: v for k, v in json.loads(way).items() if not k.endswith('sha256')}
            lines.append(f'- {name}: ' + ', '.join(f'{key} {value}' for key, value in said.items()))
    packages = protocol.get('packages', {})
    if packages:
        lines.append('- versions: ' + ', '.join(f'{name} {version}' for name, version in packages.items()))
    return lines


def _model_index(name: str, scale: int, metrics: dict[str, Any]) -> dict[str, Any]:
    """The Hub's `model-index`: https://huggingface.co/docs/hub/model-cards#evaluation-results."""
    results = [
        {
            'task': {'type': 'image-to-image', 'name': f'Super-resolution x{scale}'},
            'dataset': {'name': dataset, 'type': dataset.lower()},
            'metrics': [
                {'type': name, 'value': value} for name, value in scores.items() if isinstance(value, int | float)
            ],
        }
        for dataset, scores in metrics['datasets'].items()
    ]
    return {'name': name, 'results': results}


def openmodeldb(this: Publication, model: Path, licence: str | None, author: str | None) -> dict[str, Any]:
    """An entry of OpenModelDB (https://github.com/OpenModelDB/open-model-database, `data/models/*.json`)."""
    train = this.options.datasets.get('train', {})
    content = model.read_bytes()
    return {
        'name': this.name,
        'author': author or '',
        'license': licence,
        'tags': [],
        'description': f'{_kind(this)} trained with aesop-sr.',
        'date': date.today().isoformat(),
        'architecture': _kind(this).lower().replace('rrdbnet', 'esrgan'),
        'size': None,
        'scale': this.scale,
        'inputChannels': 3,
        'outputChannels': 3,
        'resources': [
            {
                'platform': 'pytorch',
                'type': 'safetensors',
                'size': len(content),
                'sha256': hashlib.sha256(content).hexdigest(),
                'urls': [],
            }
        ],
        'trainingIterations': this.iteration,
        'trainingBatchSize': train.get('batch_size_per_gpu'),
        'trainingHRSize': train.get('gt_size'),
        'trainingOTF': 'RealESRGAN' in train.get('type', ''),
        'dataset': train.get('name'),
        'pretrainedModelG': this.options.path.weights('g')[0],
        'images': [],
    }


def _json(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False, default=dict) + '\n'
