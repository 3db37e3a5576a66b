"""Names and keys of the option files of BasicSR, LDL, Real-ESRGAN and the published code, turned into this project's.

The only place that knows them. Each rule works on the plain data of a file that may be wrong elsewhere.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from typing import Any

from aesop.errors import UserError
from aesop.options.yaml_file import Key

logger = logging.getLogger(__name__)

# Keys that mean nothing here (`*` is any name): accepted, dropped and named in one log line.
IGNORED = {
    'dist_params.backend': 'follows from the device: NCCL on GPUs, gloo on CPUs',
    'dist_params.port': 'the launcher (torchrun) sets it',
    'val.pbar': 'a progress bar is shown on terminals',
    'val.use_pbar': 'a progress bar is shown on terminals',
    'datasets.*.prefetch_mode': 'batches are always fetched ahead',
    'datasets.*.num_prefetch_queue': 'batches are always fetched ahead',
    'datasets.*.persistent_workers': 'workers live as long as the run',
}
# Classes that are called differently here, wherever a `type` or the model type names them.
NAMES = {
    'SwinIRModel': 'SRModel',  # it pads images to whole windows, which the network does here
    'SRGANArtifactsDisModel': 'SRGANModel',
    'RealESRGANArtifactsDisModel': 'RealESRGANModel',
    'SRVGGNetCompact_basicsr': 'SRVGGNetCompact',
    'RealESRGANPairedDataset': 'PairedImageDataset',
    'SingleImageFixSizeDataset': 'SingleImageDataset',
    'calculate_psnr_pt': 'calculate_psnr_pytorch',
    'calculate_ssim_pt': 'calculate_ssim_pytorch',
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
# Keys of which an empty text means that there is none.
EMPTY = ('pretrain_', 'resume_state', 'experiments_root', 'dataroot_', 'meta_info', 'suffix')
# What the files of other programs are, and what becomes of them.
OTHERS = {
    'KAIR': 'an option file of KAIR, which has other keys: begin with a recipe of options/; its weights load',
    'traiNNer-redux': 'an option file of traiNNer-redux, which has other keys: `aesop convert FILE` translates it',
    'neosr': 'an option file of neosr, which has other keys: begin with a recipe of options/; its weights load',
}
CRITERIA = {'L1Loss': 'l1', 'MSELoss': 'l2', 'CharbonnierLoss': 'charbonnier'}
# Published flags that let a loss aim at the sharpened ground truth.
SHARPENED = {'l1_gt_usm': 'pixel_opt', 'percep_gt_usm': 'perceptual_opt', 'gan_gt_usm': 'gan_opt'}


def translate(data: dict[str, Any]) -> list[str]:
    """Turns `data` into this project's names, in place; returns the keys that mean nothing here and were dropped."""
    _rename(data)
    _empty_to_null(data)
    dropped = _drop_ignored(data) + _drop_order_of_degradation(data)
    train = data.get('train')
    if isinstance(train, dict):
        if 'ldl_opt' in train:  # BasicSR's name for it
            train.setdefault('artifacts_opt', train.pop('ldl_opt'))
        _drop_unused_artifact_loss(data, train)
        _say_relativistic(data.get('model_type'), train)
        _name_artifact_loss(train)
        _aim_at_sharpened(data, train)
    return dropped


def foreign(data: Mapping[str, Any]) -> str | None:
    """What to do with a file of a program whose keys have no counterpart here, by keys that only it has."""
    train = data.get('train')
    losses = train.get('losses') if isinstance(train, Mapping) else None
    if data.keys() & {'netG', 'gpu_ids', 'opt_path'}:
        return OTHERS['KAIR']
    if data.keys() & {'fast_matmul', 'amp_bf16'} or isinstance(losses, list):
        return OTHERS['traiNNer-redux']
    if data.keys() & {'bfloat16', 'use_amp'} or data.get('model_type') in ('default', 'image', 'otf', 'video'):
        return OTHERS['neosr']
    return None


def foreign_text(text: str) -> str | None:
    """`foreign` of a file that is no YAML."""
    if re.search(r'^\s*,?\s*"(netG|gpu_ids|opt_path)"\s*:', text, re.MULTILINE):  # JSON with comments
        return OTHERS['KAIR']
    return OTHERS['neosr'] if re.search(r'^\[(datasets\.\w+|network_g|train)\]', text, re.MULTILINE) else None  # TOML


def _rename(data: Any) -> None:
    for block in data.values() if isinstance(data, dict) else data if isinstance(data, list) else ():
        _rename(block)
    for name in ('type', 'model_type'):
        if isinstance(data, dict) and isinstance(data.get(name), str) and data[name] in NAMES:
            data[name] = NAMES[data[name]]


def _empty_to_null(data: dict[str, Any]) -> None:
    """An empty text in the place of a path or of a suffix."""
    for pattern in (('path',), ('val',), ('datasets', '*')):
        for _, block in matches(data, pattern):
            for name, value in block.items():
                if value == '' and name.startswith(EMPTY):
                    block[name] = None


def _drop_order_of_degradation(data: dict[str, Any]) -> list[str]:
    """`high_order_degradation` says whether LR images are made on the way, which the type of the data set says here."""
    if 'high_order_degradation' not in data:
        return []
    made = data.pop('high_order_degradation')
    for _, block in matches(data, ('datasets', 'train')):
        if isinstance(made, bool) and made != (block.get('type') == 'RealESRGANDataset'):
            wanted = 'RealESRGANDataset' if made else 'PairedImageDataset'
            raise UserError(f'high_order_degradation: {made} means `type: {wanted}` in datasets.train')
    return ['high_order_degradation']


def _say_relativistic(model_type: Any, train: dict[str, Any]) -> None:
    if isinstance(model_type, str) and model_type in RELATIVISTIC:
        for name, block in train.items():
            if isinstance(name, str) and name.startswith('gan') and name.endswith('_opt') and isinstance(block, dict):
                train[name] = {**block, 'relativistic': block.get('relativistic', RELATIVISTIC[model_type])}


def _drop_unused_artifact_loss(data: dict[str, Any], train: dict[str, Any]) -> None:
    """CAL-GAN's option file sets `artifacts_opt`, and the code that it was published with never applies it."""
    network_d = data.get('network_d')
    is_calgan = (
        isinstance(network_d, dict) and network_d.get('type') == 'MOD' and data.get('model_type') == 'ESRGANModel'
    )
    if is_calgan and train.pop('artifacts_opt', None):
        logger.warning(
            'train.artifacts_opt is dropped: CAL-GAN (MOD with ESRGANModel) was published with this key and trained '
            'without it. To train with it, set model_type: ESRGANArtifactsDisModel'
        )


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
        for _, block in matches(data, pattern):
            for name in [name for name, entry in block.items() if entry is None]:
                del block[name]
    for pattern in IGNORED:
        *blocks, last = pattern.split('.')
        for key, block in matches(data, tuple(blocks)):
            if last in block:
                del block[last]
                dropped.append('.'.join((*key, last)))
    return dropped


def matches(data: Any, pattern: Key, key: Key = ()) -> Iterator[tuple[Key, dict[str, Any]]]:
    if not isinstance(data, dict):
        return
    if not pattern:
        yield key, data
    for name in list(data) if pattern[:1] == ('*',) else [n for n in pattern[:1] if n in data]:
        yield from matches(data[name], pattern[1:], (*key, name))
