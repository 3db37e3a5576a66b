"""Option files of BasicSR, Real-ESRGAN and traiNNer-redux as option files of this project.

Most of BasicSR's and Real-ESRGAN's keys mean the same here (`load_options` reads their files); the rest is reported by
the tables below. The keys are those of https://github.com/XPixelGroup/BasicSR, https://github.com/xinntao/Real-ESRGAN
and https://github.com/the-database/traiNNer-redux.
"""

import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from aesop.errors import UserError
from aesop.options import load_options

Block = dict[str, Any]

MODEL_TYPES = {'SwinIRModel': 'SRModel', 'HATModel': 'SRModel', 'DATModel': 'SRModel', 'ATDModel': 'SRModel'}
DATASETS = {
    'pairedimagedataset': 'PairedImageDataset',
    'realesrganpaireddataset': 'PairedImageDataset',
    'singleimagedataset': 'SingleImageDataset',
    'realesrgandataset': 'RealESRGANDataset',
}
DISCRIMINATORS = {
    'unetdiscriminatorsn': {'type': 'UNetDiscriminatorSN', 'num_in_ch': 3},
    'vggstylediscriminator': {'type': 'VGGStyleDiscriminator', 'num_in_ch': 3},
}
HAT: Block = {'window_size': 16, 'compress_ratio': 3, 'squeeze_factor': 30, 'overlap_ratio': 0.5, 'mlp_ratio': 2}
# Networks by their names there, lower case: class of spandrel, what its scale is called, sizes that the name means.
SPANDREL: dict[str, tuple[str, str, Block]] = {
    'hat': ('HAT', 'upscale', {}),
    'hat_l': ('HAT', 'upscale', {**HAT, 'embed_dim': 180, 'depths': [6] * 12, 'num_heads': [6] * 12}),
    'hat_m': ('HAT', 'upscale', {**HAT, 'embed_dim': 180, 'depths': [6] * 6, 'num_heads': [6] * 6}),
    'hat_s': (
        'HAT',
        'upscale',
        {**HAT, 'compress_ratio': 24, 'embed_dim': 144, 'depths': [6] * 6, 'num_heads': [6] * 6},
    ),
    'dat': ('DAT', 'upscale', {}),
    'span': ('SPAN', 'upscale', {'num_in_ch': 3, 'num_out_ch': 3}),
    'realplksr': ('RealPLKSR', 'upscaling_factor', {}),
    'plksr': ('PLKSR', 'upscaling_factor', {}),
    'atd': ('ATD', 'upscale', {}),
    'omnisr': ('OmniSR', 'up_scale', {}),
    'rgt': ('RGT', 'upscale', {}),
    'mosr': ('MoSR', 'upscale', {}),
    'safmn': ('SAFMN', 'upscaling_factor', {}),
    'seemore': ('SeemoRe', 'scale', {}),
    'rcan': ('RCAN', 'scale', {}),
    'craft': ('CRAFT', 'upscale', {}),
    'fdat': ('FDAT', 'scale', {}),
    'grl': ('GRL', 'upscale', {}),
    'swin2sr': ('Swin2SR', 'upscale', {}),
    'ditn_real': ('DITN', 'upscale', {}),
}
OURS: dict[str, tuple[str, str, Block]] = {
    'esrgan': ('RRDBNet', 'scale', {'num_feat': 64, 'num_block': 23}),
    'esrgan_lite': ('RRDBNet', 'scale', {'num_feat': 32, 'num_block': 12}),
    'compact': ('SRVGGNetCompact', 'upscale', {'num_feat': 64, 'num_conv': 16}),
    'superultracompact': ('SRVGGNetCompact', 'upscale', {'num_feat': 24, 'num_conv': 8}),
    'ultracompact': ('SRVGGNetCompact', 'upscale', {'num_feat': 64, 'num_conv': 8}),
    'swinir_m': (
        'SwinIR',
        'upscale',
        {
            'img_size': 64,
            'window_size': 8,
            'depths': [6] * 6,
            'embed_dim': 180,
            'num_heads': [6] * 6,
            'mlp_ratio': 2,
            'upsampler': 'pixelshuffle',
        },
    ),
}
# Losses of traiNNer-redux's list: the key under `train`, and the block without what they share.
LOSSES: dict[str, tuple[str, Block]] = {
    'l1loss': ('pixel_opt', {'type': 'L1Loss'}),
    'mseloss': ('pixel_opt', {'type': 'MSELoss'}),
    'charbonnierloss': ('pixel_opt', {'type': 'CharbonnierLoss'}),
    'perceptualloss': ('perceptual_opt', {'type': 'PerceptualLoss'}),
    'ganloss': ('gan_opt', {'type': 'GANLoss'}),
    'ldlloss': ('artifacts_opt', {'type': 'L1Loss'}),
}
LOADER = (
    'name',
    'gt_size',
    'batch_size_per_gpu',
    'num_worker_per_gpu',
    'pin_memory',
)  # stay outside of what is wrapped
AUGMENTATIONS = ('mixup', 'cutmix', 'resizemix', 'cutblur')
DROPPED = {  # keys that need nothing here, and why
    'dist_params': 'the launcher (torchrun) sets up the process group',
    'datasets.*.prefetch_mode': 'batches are always fetched ahead',
    'datasets.*.num_prefetch_queue': 'batches are always fetched ahead',
    'datasets.*.phase': 'told by the name of the data set',
    'val.pbar': 'there is a progress bar where there is a terminal',
    'val.val_enabled': 'validation needs a data set val; remove it to have none',
    'val.metrics_enabled': 'metrics are measured where val.metrics names some',
    'logger.save_checkpoint_format': 'a training writes .pth; `aesop export` and `aesop publish` write safetensors',
    'logger.save_latest_freq': 'the newest state is always kept',
    'path.strict_resume': 'a state that does not fit is reported',
    'use_amp': None,  # told by runtime.precision
    'amp_bf16': None,
}


@dataclass
class Conversion:
    """The options for this project, and what to know of them.

    Attributes:
        changed: 'KEY -> what it is here'.
        without: keys that have no counterpart, and why.
        left: what `load_options` still finds wrong.
    """

    options: Block
    changed: list[str] = field(default_factory=list)
    without: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def text(self, source: str) -> str:
        """The option file, with what to know of it on top."""
        notes = [f'Converted from {source}.']
        for title, lines in (('Changed', self.changed), ('No counterpart', self.without), ('Left to do', self.left)):
            notes += [f'{title}:', *(f'  {line}' for line in lines)] if lines else []
        head = ''.join(f'# {line}\n' for note in notes for line in note.splitlines())
        return head + yaml.dump(self.options, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class _Dumper(yaml.SafeDumper):
    """Short lists on one line."""


_Dumper.add_representer(
    list, lambda dumper, items: dumper.represent_sequence(
        'tag:yaml.org,2002:seq', items, flow_style=not any(isinstance(item, dict) for item in items)
    )
)  # fmt: skip


def convert_file(path: str | Path) -> Conversion:
    """The conversion of a file; UserError where it cannot be read."""
    path = Path(path)
    try:
        data = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f'{path} cannot be read ({" ".join(str(error).split())})') from error
    if not isinstance(data, dict):
        raise UserError(f'{path} is no option file: a block of keys is missing')
    return convert(data)


def convert(data: Block) -> Conversion:
    """The options `data` of another program; `data` is left unchanged."""
    this = Conversion(_floats(deepcopy(data)))
    for step in (_drop, _networks, _model, _datasets, _training, _validation, _runtime, _drop_unknown):
        step(this)
    return this


def _floats(value: Any) -> Any:
    """YAML 1.1 takes `1e-4` for text; these programs write `!!float 1e-4`, or mean a number all the same."""
    if isinstance(value, dict):
        return {key: _floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_floats(item) for item in value]
    if isinstance(value, str) and re.fullmatch(r'[+-]?\d+(\.\d*)?[eE][+-]?\d+', value):
        return float(value)
    return value


def _drop(this: Conversion) -> None:
    for pattern, why in DROPPED.items():
        if why is None:
            continue
        *blocks, last = pattern.split('.')
        for place, block in _blocks(this.options, blocks):
            if last in block:
                del block[last]
                this.without.append(f'{".".join([*place, last])}: {why}')


def _blocks(block: Any, names: list[str], place: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Block]]:
    if not isinstance(block, dict):
        return []
    if not names:
        return [(place, block)]
    first, *rest = names
    found = list(block) if first == '*' else [name for name in [first] if name in block]
    return [pair for name in found for pair in _blocks(block[name], rest, (*place, str(name)))]


def _networks(this: Conversion) -> None:
    scale = this.options.get('scale', 4)
    for key, tables in (('network_g', (OURS, SPANDREL)), ('network_d', ())):
        block = this.options.get(key)
        if not isinstance(block, dict) or not isinstance(block.get('type'), str):
            continue
        name, rest = block['type'], {k: v for k, v in block.items() if k != 'type'}
        small = name.lower()
        new: Block | None = None
        if key == 'network_d':
            new = {**DISCRIMINATORS[small], **rest} if small in DISCRIMINATORS and name not in _CLASSES else None
        else:
            for table in tables:
                if small in table and name not in _CLASSES:
                    kind, scaled, sizes = table[small]
                    named = {'type': 'Spandrel', 'arch': kind} if table is SPANDREL else {'type': kind}
                    new = {**named, scaled: scale, **sizes, **rest}
                    break
        if new is not None and new != block:
            this.options[key] = new
            this.changed.append(
                f'{key}.type {name} -> {new.get("arch", new["type"])}'
                + (' of spandrel (pip install "aesop-sr[spandrel]")' if 'arch' in new else '')
            )


_CLASSES = {'RRDBNet', 'MSRResNet', 'SwinIR', 'SRVGGNetCompact', 'UNetDiscriminatorSN', 'VGGStyleDiscriminator', 'DRCT'}


def _model(this: Conversion) -> None:
    options = this.options
    kind = options.get('model_type')
    if kind in MODEL_TYPES:
        options['model_type'] = MODEL_TYPES[kind]
        this.changed.append(f'model_type {kind} -> {MODEL_TYPES[kind]} (networks pad to their windows themselves)')
    elif kind is None:
        otf = options.pop('high_order_degradation', False)
        if options.get('network_d'):
            kind = 'RealESRGANModel' if otf else 'SRGANModel'
        else:
            kind = 'RealESRNetModel' if otf else 'SRModel'
        this.options = {'name': options.pop('name', 'converted'), 'model_type': kind, **options}
        this.changed.append(f'model_type -> {kind}')


def _datasets(this: Conversion) -> None:
    scale = this.options.get('scale', 4)
    datasets = this.options.get('datasets')
    for name, block in datasets.items() if isinstance(datasets, dict) else ():
        if not isinstance(block, dict):
            continue
        place = f'datasets.{name}'
        kind = str(block.get('type', ''))
        if kind.lower() in DATASETS and kind != DATASETS[kind.lower()]:
            block['type'] = DATASETS[kind.lower()]
            this.changed.append(f'{place}.type {kind} -> {block["type"]}')
        if 'lq_size' in block:
            block['gt_size'] = block.pop('lq_size') * scale
            this.changed.append(f'{place}.lq_size -> gt_size {block["gt_size"]}')
        if 'accum_iter' in block:
            this.options.setdefault('train', {})['accumulate'] = block.pop('accum_iter')
            this.changed.append(f'{place}.accum_iter -> train.accumulate')
        _roots(this, place, block)
        _augmentations(this, place, block)


def _augmentations(this: Conversion, place: str, block: Block) -> None:
    """traiNNer-redux's mixture of augmentations is an AugmentedDataset around the data set."""
    mixture = {key: block.pop(key) for key in list(block) if key in ('use_moa', 'moa_augs', 'moa_probs', 'moa_debug')}
    if not mixture.get('use_moa'):
        return
    names = mixture.get('moa_augs', ['none', 'mixup', 'cutmix', 'resizemix', 'cutblur'])
    shares = mixture.get('moa_probs', [0.4, 0.084, 0.084, 0.084, 0.348])
    if len(names) != len(shares) or not sum(shares) > 0:
        this.without.append(f'{place}.moa_augs: moa_probs has to have a share for each, and not only zeros')
        return
    chances = {name: round(share / sum(shares), 4) for name, share in zip(names, shares)}
    for name in sorted(chances.keys() - {*AUGMENTATIONS, 'none'}):
        this.without.append(f'{place}.moa_augs {name}: this augmentation does not exist here')
    chances = {name: chance for name, chance in chances.items() if name in AUGMENTATIONS}
    inner = {key: value for key, value in block.items() if key not in LOADER}
    kept = {key: block[key] for key in LOADER if key in block}
    block.clear()
    block.update({**kept, 'type': 'AugmentedDataset', 'augmentations': chances, 'dataset': inner})
    this.changed.append(f'{place}.moa_augs, moa_probs -> AugmentedDataset')


def _roots(this: Conversion, place: str, block: Block) -> None:
    """A list of one folder is that folder; several are a MixedDataset."""
    lists = {key: block[key] for key in ('dataroot_gt', 'dataroot_lq') if isinstance(block.get(key), list)}
    counts = {len(roots) for roots in lists.values()}
    if counts == {1}:
        block.update({key: roots[0] for key, roots in lists.items()})
    elif len(counts) == 1 and counts != {0}:
        part = {key: value for key, value in block.items() if key not in (*LOADER, *lists)}
        parts = [{**part, **dict(zip(lists, roots))} for roots in zip(*lists.values())]
        kept = {key: block[key] for key in LOADER if key in block}
        block.clear()
        block.update({**kept, 'type': 'MixedDataset', 'parts': parts})
        this.changed.append(f'{place}: several folders -> MixedDataset')


def _training(this: Conversion) -> None:
    train = this.options.get('train')
    if not isinstance(train, dict):
        return
    losses = train.get('losses')
    if isinstance(losses, list):
        del train['losses']
        for loss in losses:
            _loss(this, train, loss if isinstance(loss, dict) else {'type': str(loss)})
    if 'grad_clip' in train and train.pop('grad_clip'):
        train['grad_clip_norm'] = 1.0
        this.changed.append('train.grad_clip -> grad_clip_norm 1.0')
    scheduler = train.get('scheduler')
    if isinstance(scheduler, dict):
        kind = str(scheduler.get('type', ''))
        if kind.lower() == 'cosineannealinglr':
            new = {'type': 'CosineAnnealingRestartLR', 'periods': [scheduler.get('T_max', train.get('total_iter'))]}
            train['scheduler'] = new | ({'eta_min': scheduler['eta_min']} if 'eta_min' in scheduler else {})
            this.changed.append('train.scheduler CosineAnnealingLR -> CosineAnnealingRestartLR of one period')
        elif kind.lower() == 'multisteplr' and kind != 'MultiStepLR':
            scheduler['type'] = 'MultiStepLR'


def _loss(this: Conversion, train: Block, loss: Block) -> None:
    name = str(loss.get('type', ''))
    rest = {key: value for key, value in loss.items() if key != 'type'}
    if name.lower() not in LOSSES:
        this.without.append(f'train.losses {name}: unknown loss; write it as a plugin (docs/plugins.md)')
        return
    key, block = LOSSES[name.lower()]
    if key == 'perceptual_opt' and 'loss_weight' in rest:
        rest['perceptual_weight'] = rest.pop('loss_weight')
    if key in train:
        train.setdefault('losses', {})[name.lower()] = {**block, **rest}
        key = f'losses.{name.lower()}'
    else:
        train[key] = {**block, **rest}
    this.changed.append(f'train.losses {name} -> train.{key}')


def _runtime(this: Conversion) -> None:
    options, runtime = this.options, {}
    if options.pop('use_amp', False):
        runtime['precision'] = 'bf16' if options.get('amp_bf16') else 'fp16'
    options.pop('amp_bf16', None)
    renamed: dict[str, tuple[str, Callable[[Any], Any]]] = {
        'use_channels_last': ('channels_last', bool),
        'use_compile': ('compile', bool),
        'fast_matmul': ('tf32', bool),
    }
    for key, (name, kind) in renamed.items():
        if key in options:
            runtime[name] = kind(options.pop(key))
    if runtime:
        options['runtime'] = {**options.get('runtime', {}), **runtime}
        this.changed.append('precision, memory layout and compilation -> runtime')


def _validation(this: Conversion) -> None:
    val = this.options.get('val')
    if isinstance(val, dict) and 'tile_size' in val:
        val['tile'] = val.pop('tile_size') or None
        this.changed.append(f'val.tile_size -> tile {val["tile"]}')


UNKNOWN = re.compile(r'unknown key|has no (such )?argument|would ignore it')


def _drop_unknown(this: Conversion) -> None:
    """Takes away what is not known here, until the rest is read; what is not accepted stays, and is reported."""
    for _ in range(50):
        try:
            load_options(this.options)
            return
        except UserError as error:
            problems = [problem.removeprefix('options: ') for problem in error.problems]
        gone = False
        for problem in problems:
            key, _, what = problem.partition(': ')
            if UNKNOWN.search(what) and _take(this.options, key.split('.')):
                this.without.append(f'{key}: {what}')
                gone = True
        if not gone:
            this.left = problems
            return


def _take(block: Any, key: list[str]) -> bool:
    """Removes the entry at `key`; False where there is none."""
    for name in key[:-1]:
        block = block.get(name) if isinstance(block, dict) else None
    return isinstance(block, dict) and block.pop(key[-1], block) is not block
