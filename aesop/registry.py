"""Names in option files -> classes. One registry per kind of component; classes register themselves on import."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar

from aesop.errors import UserError

T = TypeVar('T', bound=Callable[..., Any])


def did_you_mean(name: str, known: list[str]) -> str:
    """' Did you mean "x"?' with the known name closest to `name`, or '' if none is close."""
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    if not near and len(name) > 2:  # wrong case, or part of the name
        near = [k for k in known if name.lower() in k.lower() or k.lower() in name.lower()][:1]
    return f' Did you mean "{near[0]}"?' if near else ''


class NameTaken(ValueError):
    """Two components of one kind have the same name."""


class Registry:
    """The components of one kind by name. A lookup first imports the package that defines them.

    Args:
        kind: what a component is called in messages, e.g. 'network'.
        room: the package whose import registers them, e.g. 'aesop.archs'.
    """

    def __init__(self, kind: str, room: str) -> None:
        self.kind = kind
        self._room = room
        self._parts: dict[str, Any] = {}

    def register(self, *aliases: str) -> Callable[[T], T]:
        """Decorator: registers a class under its own name and under `aliases` (names in published option files)."""

        def add(part: T) -> T:
            for name in (part.__name__, *aliases):
                if name in self._parts:
                    raise NameTaken(f'a {self.kind} named "{name}" is already registered; rename one of the two')
                self._parts[name] = part
            return part

        return add

    def names(self) -> list[str]:
        importlib.import_module(self._room)
        return sorted(self._parts)

    def get(self, name: str) -> Any:
        """The component registered as `name`; otherwise a UserError that suggests the closest known name."""
        known = self.names()
        if name not in self._parts:
            hint = did_you_mean(str(name), known) or f' Known: {", ".join(known)}.'
            raise UserError(f'unknown {self.kind} "{name}".{hint}')
        return self._parts[name]

    def problems(self, block: Any) -> list[str]:
        """The problems of a `{type: ..., **arguments}` block, checked against the class's signature."""
        if not isinstance(block, Mapping) or not isinstance(block.get('type'), str):
            return [f'a {self.kind} needs a block with `type: NAME`, got {block!r}']
        try:
            parameters = inspect.signature(self.get(block['type'])).parameters.values()
        except UserError as error:
            return error.problems
        known = None if any(p.kind is p.VAR_KEYWORD for p in parameters) else [p.name for p in parameters]
        given = [key for key in block if key != 'type']
        wrong = [
            f'{block["type"]} has no argument "{key}".{did_you_mean(str(key), known)}'
            for key in given
            if known is not None and key not in known
        ]
        needed = [
            p.name for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        ]
        return wrong + [f'{block["type"]} needs the argument "{name}"' for name in needed if name not in given]

    def build(self, block: Mapping[str, Any], **extra: Any) -> Any:
        """Builds what `block` describes; `block` is left unchanged. `extra` are arguments supplied by the caller."""
        problems = self.problems({**extra, **block} if isinstance(block, Mapping) else block)
        if problems:
            raise UserError(problems)
        arguments = {**extra, **block}
        return self.get(arguments.pop('type'))(**arguments)


@dataclass(frozen=True)
class BlockOf:
    """Annotates an argument that takes a block of a registry, as in `Annotated[dict, BlockOf(ARCHS)]`.

    Attributes:
        default: the type of a block that has no `type`; None: `type` is required.
        also: keys allowed in the block in addition to the class's arguments.
        whole: whether all required arguments must be given; False: the outer part adds some of its own.
    """

    registry: 'Registry'
    default: str | None = None
    also: tuple[str, ...] = ()
    whole: bool = True


@dataclass(frozen=True)
class KeysOf:
    """Annotates an argument that takes a mapping of strings with these keys."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class MayBeZero:
    """Annotates a number that may be 0 although its default is positive; without it, 0 is refused."""


ARCHS = Registry('network', 'aesop.archs')
LOSSES = Registry('loss', 'aesop.losses')
MODELS = Registry('model', 'aesop.models')
DATASETS = Registry('dataset', 'aesop.data')
METRICS = Registry('metric', 'aesop.metrics')
OPTIMIZERS = Registry('optimiser', 'aesop.models.optimisers')
NetworkBlock = Annotated[dict[str, Any], BlockOf(ARCHS)]
CountOrZero = Annotated[int, MayBeZero()]
InnerDataset = Annotated[dict[str, Any], BlockOf(DATASETS, whole=False)]
