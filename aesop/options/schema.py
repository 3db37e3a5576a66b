"""Every key of an option file: its type, its default and what it does. docs/options.md is written from here."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from types import NoneType
from typing import Annotated, Any, ClassVar, Literal, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationInfo,
    create_model,
    model_serializer,
    model_validator,
)
from pydantic.fields import FieldInfo

from aesop.errors import UserError
from aesop.options.yaml_file import FLOAT, TAG
from aesop.registry import ARCHS, DATASETS, LOSSES, METRICS, MODELS, OPTIMIZERS


class Block(BaseModel):
    """A block of fixed keys. `~` stands for the default where the key takes no null."""

    model_config = ConfigDict(strict=True, frozen=True, extra='forbid', allow_inf_nan=False)

    @model_validator(mode='before')
    @classmethod
    def _null_is_the_default(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        fields = cls.model_fields
        refuses = {name for name in fields if NoneType not in get_args(fields[name].annotation)}
        if cls.model_config.get('extra') == 'forbid':  # a key that is taken away may be one that nobody knows
            refuses |= data.keys() - fields.keys()
        return {name: value for name, value in data.items() if value is not None or name not in refuses}

    @model_serializer(mode='wrap')
    def _without_empty_keys(self, handler: Any) -> dict[str, Any]:
        fields = type(self).model_fields
        empty = {name for name, field in fields.items() if field.default is None}
        return {name: value for name, value in handler(self).items() if value is not None or name not in empty}


class Part(Block, Mapping[str, Any], extra='allow'):
    """A block that names a class by `type`; the keys that are not fields here are that class's arguments.

    As a mapping it holds what was written, for `build_network` and the like.
    """

    registry: ClassVar[Any] = None  # that of the classes, where there are several

    type: str = Field(description='Name of the class.')

    def __getitem__(self, name: str) -> Any:
        if name in self.model_fields_set or name in (self.model_extra or {}):
            return getattr(self, name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]
        extra = self.model_extra or {}
        return iter([*(name for name in type(self).model_fields if name in self.model_fields_set), *extra])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mapping) and dict(self) == dict(other)

    __hash__ = None

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return {**self, **other}

    @model_serializer(mode='plain')
    def plain(self) -> dict[str, Any]:
        """What was written, as plain data."""
        return _plain(self)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value  # old files say `!!float 5e3`


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value  # e.g. `name: 123`


def _ordered(pair: list[float]) -> list[float]:
    if pair[0] > pair[1]:
        raise ValueError('must be [low, high]')
    return pair


def _dataset_name(name: str) -> str:
    if name != 'train' and not name.startswith(('val', 'test')):
        raise ValueError('a data set is called train, val, val_2, test_1, ...')
    return name


def _file_name(name: str) -> str:
    parts = name.split('/')
    if '\\' in name or any(part.strip() in ('', '.', '..') or len(part.encode()) > 200 for part in parts):
        raise ValueError('becomes the name of a folder or file, and must stay below it: no "..", "\\", leading "/"')
    return name


def _names(names: Any) -> Any:
    return [names] if isinstance(names, str) else names


Count = Annotated[int, Field(ge=0, le=10**9), BeforeValidator(_whole)]
Positive = Annotated[int, Field(ge=1, le=10**9), BeforeValidator(_whole)]
Scale = Annotated[int, Field(ge=1, le=64), BeforeValidator(_whole)]
Weight = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
FileName = Annotated[str, BeforeValidator(_text), AfterValidator(_file_name)]
Three = Annotated[list[Probability], Field(min_length=3, max_length=3)]
Range = Annotated[list[Weight], Field(min_length=2, max_length=2), AfterValidator(_ordered)]


NOT_SET: Any = None  # the default of keys that no run can do without: `Options.require` names those that are missing


class Network(Part):
    """A network of `aesop.archs` by its type; its other keys are the network's arguments."""

    registry = ARCHS


class Loss(Part):
    """A loss of `aesop.losses` by its type; its other keys are the loss's arguments."""

    registry = LOSSES

    of: list[str] | None = Field(
        default=None,
        description='Quantities that the loss reads, in the order of its arguments; default: those that its arguments '
        'are called.',
    )


def loss_key(name: str, description: str, of: Sequence[str] | None = None, adversarial: bool = False) -> Any:
    """A train key that holds a loss.

    Args:
        name: what its term is logged as, after `l_` or `l_g_`.
        of: the quantities that it reads where the block does not say.
        adversarial: it judges a discriminator's predictions; `of` is what the discriminator sees, fake and real.
    """
    extra: dict[str, Any] = {'loss': name, 'of': of and list(of), 'adversarial': adversarial}
    return Field(None, description=description, json_schema_extra=extra)


def about_loss(field: FieldInfo) -> dict[str, Any]:
    """What `loss_key` says of a train key; empty where the key holds no loss."""
    extra = field.json_schema_extra
    return extra if isinstance(extra, dict) and 'loss' in extra else {}


class Metric(Part):
    """A metric of `aesop.metrics` by its type; its other keys are the metric's arguments."""

    registry = METRICS

    over: Literal['mean', 'worst', 'best'] = Field(
        default='mean', description='Which value counts of several solutions of an image (val.solutions).'
    )


class Dataset(Part):
    """A data set of `aesop.data` by its type; the keys that are not listed here are its arguments."""

    registry = DATASETS

    name: FileName | None = Field(default=None, description='What it is called in logs, results and folders.')
    batch_size_per_gpu: Positive = Field(default=1, description='Images a batch, on each GPU.')
    num_worker_per_gpu: Annotated[Count, Field(le=1024)] = Field(
        default=0, description='Processes that read data, for each GPU; 0 reads in the main one.'
    )
    pin_memory: bool = Field(default=True, description='Copy batches to the GPU from pinned memory.')
    metrics: dict[str, Metric] = Field(
        default_factory=dict, description='Metrics of this data set, in place of `val.metrics`.'
    )


class Optimizer(Part):
    """An optimiser of `torch.optim` or of pytorch-optimizer by its name; the keys not listed here are its arguments."""

    registry = OPTIMIZERS

    lr: Weight = Field(description='Learning rate.')


def _a_weight_each(weights: list[float], about: ValidationInfo) -> list[float]:
    for name in ('periods', 'restarts'):
        steps = about.data.get(name)
        if steps and len(weights) != len(steps) and (name == 'restarts' or len(weights) > 1):
            raise ValueError(f'has {len(weights)} values for {len(steps)} {name}')
    return weights


Weights = Annotated[list[Weight], AfterValidator(_a_weight_each)]


class MultiStepLR(Part, extra='forbid'):
    """The rate falls by `gamma` at every milestone."""

    type: Literal['MultiStepLR']  # pyright: ignore[reportIncompatibleVariableOverride]  (it is frozen)
    milestones: list[Count] = Field(description='Iterations at which the rate falls.')
    gamma: Weight = Field(default=0.1, description='Factor of the fall.')


class MultiStepRestartLR(Part, extra='forbid'):
    """Like MultiStepLR, and back to a share of the first rate at every restart."""

    type: Literal['MultiStepRestartLR']  # pyright: ignore[reportIncompatibleVariableOverride]  (it is frozen)
    milestones: list[Count] = Field(description='Iterations at which the rate falls.')
    gamma: Weight = Field(default=0.1, description='Factor of the fall.')
    restarts: list[Count] = Field(default=[0], description='Iterations at which the rate starts again.')
    restart_weights: Weights = Field(default=[1.0], description='Share of the first rate at each restart.')


class CosineAnnealingRestartLR(Part, extra='forbid'):
    """Half a cosine from a share of the first rate down to `eta_min`, over each period."""

    type: Literal['CosineAnnealingRestartLR']  # pyright: ignore[reportIncompatibleVariableOverride]  (it is frozen)
    periods: Annotated[list[Positive], Field(min_length=1)] = Field(description='Iterations of each period.')
    restart_weights: Weights = Field(default=[1.0], description='Share of the first rate at the start of each period.')
    eta_min: Weight = Field(default=0.0, description='Rate at the end of a period.')


Scheduler = Annotated[MultiStepLR | MultiStepRestartLR | CosineAnnealingRestartLR, Field(discriminator='type')]


class Paths(Block):
    """Weights to start from, and where a run lives."""

    resume_state: str | None = Field(default=None, description='State file to go on from.')
    ignore_resume_networks: Annotated[list[str], BeforeValidator(_names)] = Field(
        default=[],
        description='Networks that keep their pretrained weights when resume_state is resumed, e.g. network_d.',
    )
    experiments_root: str | None = Field(default=None, description='Folder of the runs; default: experiments.')

    def weights(self, which: str) -> tuple[str | None, str, bool]:
        """The file that network `which`, e.g. 'g', starts from, the key in it, and whether every tensor must fit."""
        keys = ('pretrain_network', 'param_key', 'strict_load')
        file, key, strict = (getattr(self, f'{name}_{which}') for name in keys)
        return file, key, strict


class Train(Block):
    """How the networks are trained."""

    total_iter: Positive = Field(default=NOT_SET, description='Iterations of the whole run.')
    warmup_iter: Annotated[int, Field(ge=-1, le=10**9), BeforeValidator(_whole)] = Field(
        default=-1, description='Iterations of a linear warm-up of the learning rates; -1: none.'
    )
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0, description='Decay of the moving average of the generator; 0: no average.'
    )
    optim_g: Optimizer = Field(default=NOT_SET, description='Optimiser of the generator (or auto-encoder).')
    scheduler: Scheduler | None = Field(default=None, description='Schedule of the learning rates; default: constant.')
    accumulate: Positive = Field(
        default=1,
        description='Micro-batches of batch_size_per_gpu samples an iteration; their gradients are averaged. '
        'Relativistic means and BatchNorm see one micro-batch at a time.',
    )
    grad_clip_norm: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="Longest gradient that an optimiser takes: the 2-norm over all of its network's parameters.",
    )
    max_skips: Positive = Field(
        default=10,
        description='Iterations in a row that may be skipped because a loss or gradient is not finite; then the run '
        'goes back to its last good state, and the second time it stops.',
    )
    losses: dict[str, Loss] = Field(
        default_factory=dict, description='Further losses of the generator, by the names they are logged under.'
    )

    def has_loss(self) -> bool:
        keys = (key for key, field in type(self).model_fields.items() if about_loss(field))
        return bool(self.losses) or any(getattr(self, key) is not None for key in keys)


class Runtime(Block):
    """How the networks run. What they compute stays the same, up to rounding."""

    precision: Literal['fp32', 'bf16', 'fp16', 'auto'] = Field(
        default='fp32',
        description='Numbers that the networks compute in during training; losses, weights, averages and the layers '
        'that make images and logits stay in fp32. fp16 scales the losses, and is for GPUs. auto: bf16 (fp16 on GPUs '
        'without it) where the device makes its products faster, tried out at the start, else fp32; a resumed run '
        'keeps what was chosen.',
    )
    channels_last: Literal['auto'] | bool = Field(
        default='auto',
        description='Keep images and weights channel by channel of a pixel in memory; auto: where it pays.',
    )
    fast_blocks: bool = Field(
        default=True, description='Dense blocks and window attention in their faster forms; false: as they are defined.'
    )
    compile: Literal['max'] | bool = Field(
        default=False,
        description="true compiles the networks' repeated blocks, max whole networks, with CUDA graphs. For GPUs; the "
        'first step takes a minute or more. TORCHINDUCTOR_CACHE_DIR keeps what was compiled for the next run.',
    )
    tf32: bool | None = Field(
        default=None, description="On a GPU, fp32 products rounded to TF32; ~: PyTorch's way, in convolutions alone."
    )
    cudnn_benchmark: bool = Field(
        default=True, description='On a GPU, try out which convolution algorithm is the fastest.'
    )
    sync_bn: bool = Field(default=False, description='On several GPUs, BatchNorm over the batches of all.')


class Val(Block):
    """Validation during training; for test runs all but `val_freq` and `val_start_iter` count too."""

    val_freq: Positive = Field(default=5000, description='Iterations between two validations.')
    val_start_iter: Count = Field(default=0, description='First iteration that is validated.')
    patience: Positive | None = Field(
        default=None,
        description='End the run after this many validations in a row without a better first metric on the first set; '
        'default: never.',
    )
    save_img: bool = Field(default=False, description='Write the images.')
    suffix: FileName | None = Field(
        default=None,
        description='Added to the names of the images. `{name}` in it is the name of the run: with `"{name}"` images '
        'are called as by BasicSR.',
    )
    precision: Literal['fp32', 'bf16', 'fp16', 'auto'] = Field(
        default='fp32', description='Numbers that the network computes in; auto as in runtime.precision.'
    )
    tile: Positive | None = Field(
        default=None,
        description='Side, in LR pixels, of the tiles that images are predicted in; default: whole images.',
    )
    tile_overlap: Count = Field(
        default=32, description='LR pixels around a tile that its prediction sees and cuts off.'
    )
    solutions: Positive = Field(
        default=1,
        description='Predictions of each image, with other references and noise; metrics are averaged over them.',
    )
    metrics: dict[str, Metric] = Field(
        default_factory=dict, description='Metrics, by the names they are reported under.'
    )

    def image_suffix(self, run: str) -> str:
        """What follows the names of the images of a run: '' or '_suffix'."""
        suffix = (self.suffix or '').replace('{name}', run.replace('/', '_'))
        return f'_{suffix}' if suffix else ''


class Wandb(Block):
    """Logging to Weights & Biases; one log line says so where the package `wandb` is not installed."""

    project: str | None = Field(default=None, description='Project; default: no logging there.')
    resume_id: str | None = Field(default=None, description='Run to go on with.')


class Logger(Block):
    """What is logged and kept during training."""

    print_freq: Positive = Field(default=100, description='Iterations between two log lines.')
    save_checkpoint_freq: Positive = Field(default=5000, description='Iterations between two checkpoints.')
    save_checkpoint_minutes: Annotated[float, Field(gt=0)] | None = Field(
        default=30, description='Minutes between two states beside those; ~: none.'
    )
    keep_last: Positive | None = Field(default=3, description='How many state files are kept; ~: all.')
    use_tb_logger: bool = Field(default=True, description='Write TensorBoard logs.')
    wandb: Wandb | None = Field(default=None, description='Weights & Biases.')


class DistParams(Block):
    """Training on several ranks."""

    timeout: Positive = Field(
        default=600,
        description='Seconds without progress on any rank after which a run hangs: it ends and names the rank.',
    )


class Options(Block):
    """A whole option file. Read-only."""

    name: FileName = Field(default=NOT_SET, description='Name of the run and of its folder.')
    model_type: str = Field(default=NOT_SET, description='What is trained, and how: a model of `aesop.models`.')
    scale: Scale = Field(default=NOT_SET, description='Upscaling factor.')
    num_gpu: Literal['auto'] | Annotated[int, Field(ge=0)] = Field(
        default='auto', description='GPUs to use: auto (all), 0 (the CPU) or how many.'
    )
    manual_seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(default=0, description='Seed of every random choice.')
    find_unused_parameters: bool = Field(
        default=False, description='On several ranks: let parameters of the generator go without gradient.'
    )
    published: str | None = Field(
        default=None, description='Column of the paper that a test run is compared with, e.g. `RRDB AESOP 128`.'
    )
    base: str | list[str] | None = Field(
        default=None, description='Option files that this one completes, relative to it; what this one says wins.'
    )
    plugins: list[Annotated[str, Field(pattern=r'^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$')]] = Field(
        default=[],
        description='Python modules to import first: they register your own networks, losses, data sets, ...',
    )
    datasets: dict[Annotated[str, AfterValidator(_dataset_name)], Dataset] = Field(
        default_factory=dict, description='Data sets: train, and any number of val... and test...'
    )
    network_g: Network = Field(default=NOT_SET, description='Generator, or the auto-encoder.')
    path: Paths = Field(default=Paths(), description='Weights and folders.')
    train: Train | None = Field(default=None, description='Training; without it the model only predicts.')
    runtime: Runtime = Field(default=Runtime(), description='Precision, memory layout, compilation.')
    val: Val = Field(default=Val(), description='Validation.')
    logger: Logger = Field(default=Logger(), description='Logging.')
    dist_params: DistParams = Field(default=DistParams(), description='Several ranks.')

    # What the real-world models degrade the sharpened ground truth by; a trailing 2 means the second stage.
    gt_size: Positive | None = Field(
        default=None, description='Side of the final training patch after degradation, HR pixels.'
    )
    queue_size: Positive | None = Field(default=None, description='Pairs in the pool that mixes degradations.')
    gt_usm: bool | None = Field(default=None, description='Sharpen the ground truth that is degraded.')
    resize_prob: Three | None = Field(default=None, description='Probabilities of resizing up, down and not at all.')
    resize_prob2: Three | None = Field(default=None, description='As resize_prob.')
    resize_range: Range | None = Field(default=None, description='Lowest and highest resize factor.')
    resize_range2: Range | None = Field(default=None, description='As resize_range.')
    gaussian_noise_prob: Probability | None = Field(
        default=None, description='Probability of Gaussian noise, else Poisson.'
    )
    gaussian_noise_prob2: Probability | None = Field(default=None, description='As gaussian_noise_prob.')
    noise_range: Range | None = Field(default=None, description='Sigma of the Gaussian noise, of 255.')
    noise_range2: Range | None = Field(default=None, description='As noise_range.')
    poisson_scale_range: Range | None = Field(default=None, description='Scale of the Poisson noise.')
    poisson_scale_range2: Range | None = Field(default=None, description='As poisson_scale_range.')
    gray_noise_prob: Probability | None = Field(default=None, description='Probability that the noise has no colour.')
    gray_noise_prob2: Probability | None = Field(default=None, description='As gray_noise_prob.')
    jpeg_range: Range | None = Field(default=None, description='Lowest and highest JPEG quality.')
    jpeg_range2: Range | None = Field(default=None, description='As jpeg_range.')
    second_blur_prob: Probability | None = Field(default=None, description='Probability of the second blur.')

    _where: dict[str, str] = PrivateAttr(default_factory=dict)
    _step_memory: tuple[int, int] | None = PrivateAttr(None)

    def __eq__(self, other: object) -> bool:
        """Whether both say the same, wherever it was written."""
        return isinstance(other, Options) and self.to_dict() == other.to_dict()

    __hash__ = None

    def set_sources(self, sources: Mapping[str, str]) -> None:
        """Notes where each value was written, for `sources` and `located`."""
        self._where.update(sources)

    def note_step_memory(self, weights: int, kept: int) -> None:
        """Notes the bytes that a training step takes at least: those of weights with all that training keeps beside
        them, and those that the backward pass needs. The checks of the options find out."""
        self._step_memory = weights, kept

    @property
    def step_memory(self) -> tuple[int, int] | None:
        """What `note_step_memory` was told; None where that could not be found out."""
        return self._step_memory

    @property
    def sources(self) -> dict[str, str]:
        """Key path -> where its value was written: 'FILE:LINE', 'override', 'options' (a dict) or 'default'."""
        return {'.'.join(key): self._where.get('.'.join(key), 'default') for key in _keys(self.to_dict()) if key}

    def to_dict(self) -> dict[str, Any]:
        """The resolved options, defaults included, as plain data that loads again to equal options."""
        return self.model_dump(warnings=False)  # of NOT_SET, which is no text, number or block

    def to_yaml(self) -> str:
        """`to_dict` as the text of an option file."""
        return dump_yaml(self.to_dict())

    def located(self, problem: str) -> str:
        """A sentence that begins with a key, after the file and the line where that key stands; others as they are."""
        key = problem.partition(':')[0]
        return f'{self.nearest(key)}: {problem}' if key.partition('.')[0] in type(self).model_fields else problem

    @property
    def training(self) -> Any:
        """`train` of a training run: a `Train` that has the keys of the model too."""
        if self.train is None:
            raise UserError(f'{self.nearest("train")}: train: is missing; a train run needs it')
        return self.train

    def model(self) -> Any:
        """The class that `model_type` names; without one, that with the most kinds of networks, to check against."""
        named = [self.model_type] if self.model_type in MODELS.names() else MODELS.names()
        return max((MODELS.get(name) for name in named), key=lambda model: len(model.networks))

    def require(self, mode: Literal['train', 'test']) -> None:
        """UserError with everything that a run of `mode` lacks."""
        problems = [
            f'{self.nearest(key)}: {key}: is missing; a {mode} run needs it'
            for key in self.model().needed(mode)
            if self.value(key) is None
        ]
        if mode == 'test' and not any(name.startswith(('val', 'test')) for name in self.datasets):
            problems.append(f'{self.nearest("datasets")}: datasets: a test run needs a data set, e.g. datasets.test_1')
        adversarial = 'train.gan_opt' in self.model().needed('train')  # which is a loss
        if mode == 'train' and self.train and not adversarial and not self.train.has_loss():
            problems.append(f'{self.nearest("train")}: train: has no loss; name one, e.g. pixel_opt')
        if problems:
            raise UserError(problems)

    def value(self, key: str) -> Any:
        """What stands at `key`, e.g. 'datasets.train.gt_size'; None where nothing does."""
        value: Any = self.to_dict()
        for name in key.split('.'):
            value = (value or {}).get(name)
        return value

    def nearest(self, key: str) -> str:
        while key and key not in self._where:
            key = key.rpartition('.')[0]
        return self._where.get(key, 'options')


@cache
def assemble(models: tuple[Any, ...], described: tuple[tuple[str, str], ...]) -> type[Options]:
    """The schema of an option file: the keys that all files have, and those that these model classes declare.

    Args:
        models: classes with a `Train` block and with `parts`, those of `net_g` that may start from their own weights.
        described: (name, description) of the networks: 'g' is `network_g`, with `path.pretrain_network_g` and so on.
    """
    networks = dict(described)
    trains = list(dict.fromkeys(model.Train for model in models))
    bases = tuple(t for t in trains if not any(other is not t and issubclass(other, t) for other in trains))
    given = {name for base in bases for name in base.model_fields}
    keys = [item for model in models for item in model.network_keys(networks).items()]
    more: dict[str, Any] = {key: field for key, field in keys if key not in given}
    train = create_model('Train', __base__=bases, __doc__=Train.__doc__, **more)
    starts: dict[str, Any] = {}
    for name in dict.fromkeys([*networks, *(part for model in models for part in model.parts)]):
        what = networks.get(name, f'{name} of the generator')
        starts |= {
            f'pretrain_network_{name}': (str | None, Field(None, description=f'Weights to start from: {what}.')),
            f'param_key_{name}': (str, Field('params', description='Which of that file: params or params_ema.')),
            f'strict_load_{name}': (bool, Field(True, description='Whether every tensor must be there and fit.')),
        }
    paths = create_model('Paths', __base__=Paths, __doc__=Paths.__doc__, **starts)
    blocks: dict[str, Any] = {
        f'network_{name}': (Network | None, Field(None, description=f'{what[:1].upper()}{what[1:]}.'))
        for name, what in networks.items()
    }
    blocks['path'] = (paths, Field(paths(), description='Weights and folders.'))
    blocks['train'] = (train | None, Field(None, description='Training; without it the model only predicts.'))
    return create_model(
        'Options',
        __base__=Options,
        __doc__=Options.__doc__,
        **blocks,
    )


def _keys(data: Any, key: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The keys of all blocks and values in `data`; a list is one value."""
    below = [k for name, value in data.items() for k in _keys(value, (*key, name))] if isinstance(data, dict) else []
    return [key, *below]


class _Dumper(yaml.SafeDumper):
    """Quotes text that the loader here would take for a number."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_implicit_resolver(TAG + 'float', FLOAT, list('-+.0123456789'))


def dump_yaml(data: Any, **style: Any) -> str:
    """The text of plain data, in the given order."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**6, **style)
