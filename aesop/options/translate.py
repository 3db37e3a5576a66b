"""Names and keys of BasicSR's and the published code's option files, turned into those of this project.

The only place that knows them. Each rule works on the plain data of a file that may be wrong elsewhere.
"""

from collections.abc import Iterator
from typing import Any

from aesop.options.yaml_file import Key

# Keys that mean nothing here (`*` is any name): accepted, dropped and named in one log line.
IGNORED = {
    'dist_params.backend': 'the device says how processes talk',
    'dist_params.port': 'the launcher says where processes meet',
    'val.pbar': 'there is a progress bar where there is a terminal',
    'val.use_pbar': 'there is a progress bar where there is a terminal',
    'datasets.*.prefetch_mode': 'batches are always fetched ahead',
    'datasets.*.num_prefetch_queue': 'batches are always fetched ahead',
    'datasets.*.persistent_workers': 'workers live as long as the run',
}
# Model types whose name decides whether real and fake predictions are compared.
RELATIVISTIC = {
    'ESRGANModel': True,
    'ESRGANArtifactsDisModel': True,
    'AesopESRGANArtifactsDisModel': True,
    'SRGANModel': False,
    'RealESRGANModel': False,
    'AesopRealESRGANArtifactsDisModel': False,
}
CRITERIA = {'L1Loss': 'l1', 'MSELoss': 'l2', 'CharbonnierLoss': 'charbonnier'}
# Published flags that let a loss aim at the sharpened ground truth.
SHARPENED = {'l1_gt_usm': 'pixel_opt', 'percep_gt_usm': 'perceptual_opt', 'gan_gt_usm': 'gan_opt'}


def translate(data: dict[str, Any]) -> list[str]:
    """Turns `data` into this project's names, in place; returns the keys that mean nothing here and were dropped."""
    dropped = _drop_ignored(data)
    train = data.get('train')
    if isinstance(train, dict):
        _say_relativistic(data.get('model_type'), train)
        _name_artifact_loss(train)
        _aim_at_sharpened(data, train)
    return dropped


def _say_relativistic(model_type: Any, train: dict[str, Any]) -> None:
    if isinstance(model_type, str) and model_type in RELATIVISTIC:
        for name, block in train.items():
            if isinstance(name, str) and name.startswith('gan') and name.endswith('_opt') and isinstance(block, dict):
                train[name] = {**block, 'relativistic': block.get('relativistic', RELATIVISTIC[model_type])}


def _name_artifact_loss(train: dict[str, Any]) -> None:
    """`artifacts_opt` of a published file names the criterion alone; the map was the model's."""
    block = train.get('artifacts_opt')
    if isinstance(block, dict) and isinstance(block.get('type'), str) and block['type'] in CRITERIA:
        train['artifacts_opt'] = {**block, 'type': 'ArtifactLoss', 'criterion': CRITERIA[block['type']]}


def _aim_at_sharpened(data: dict[str, Any], train: dict[str, Any]) -> None:
    if data.get('gt_usm') is True and 'l1_gt_usm' not in data and 'pixel_opt' in train:
        data['l1_gt_usm'] = True  # Real-ESRNet's file says `gt_usm` for both
    for flag, name in SHARPENED.items():
        if isinstance(data.get(flag), bool | None) and flag in data:
            block = train.get(name)
            if data.pop(flag) and isinstance(block, dict):
                train[name] = {**block, 'of': block.get('of', ['sr', 'gt_usm'])}


def _drop_ignored(data: dict[str, Any]) -> list[str]:
    """Removes the keys that mean nothing here; their names.

    Entries of blocks by name that are `~` go too, without a word: that takes away what a base has there.
    """
    dropped = []
    for pattern in (('datasets',), ('train', 'losses'), ('val', 'metrics'), ('datasets', '*', 'metrics')):
        for _, block in _matches(data, pattern):
            for name in [name for name, entry in block.items() if entry is None]:
                del block[name]
    for pattern in IGNORED:
        *blocks, last = pattern.split('.')
        for key, block in _matches(data, tuple(blocks)):
            if last in block:
                del block[last]
                dropped.append('.'.join((*key, last)))
    return dropped


def _matches(data: Any, pattern: Key, key: Key = ()) -> Iterator[tuple[Key, dict[str, Any]]]:
    if not isinstance(data, dict):
        return
    if not pattern:
        yield key, data
    for name in list(data) if pattern[:1] == ('*',) else [n for n in pattern[:1] if n in data]:
        yield from _matches(data[name], pattern[1:], (*key, name))
