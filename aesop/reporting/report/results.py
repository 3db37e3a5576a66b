"""Reads the results of `aesop test` from `results/<name>`."""

import json
import math
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

from aesop.data import build_dataset
from aesop.data.datasets.base import ImageDataset
from aesop.errors import UserError, error_context
from aesop.options import Options, load_options

Values = dict[str, float]  # by metric; without missing values and NaN


@dataclass
class Results:
    """Scores and images of a method.

    Attributes:
        means: mean scores, by dataset.
        images: scores, by dataset and image.
        missing: reasons for missing scores, by dataset and metric.
        left_out: reasons for missing images, by dataset and image.
        protocols: by dataset and metric.
        published: the column of the paper to compare with, e.g. `RRDB AESOP 128`.
        options: None if the folder has no `options.yml`.
    """

    folder: Path
    name: str
    means: dict[str, Values]
    images: dict[str, dict[str, Values]]
    missing: dict[str, dict[str, str]]
    left_out: dict[str, dict[str, str]]
    protocols: dict[str, dict[str, dict[str, Any]]]
    published: str | None
    options: Options | None

    def protocol(self, dataset: str, metric: str) -> dict[str, Any]:
        """The protocol of a metric; empty if it is not in the results."""
        return self.protocols.get(dataset, {}).get(metric, {})

    def pictures(self, dataset: str, image: str) -> dict[str, Path]:
        """The files written for an image, by display name: the name of the method, followed by the number of the
        solution if there are several."""
        suffix = self.options.val.image_suffix(self.options.name) if self.options else ''
        path = self.folder / 'visualization' / dataset / f'{image}{suffix}.png'
        if path.is_file():
            return {self.name: path}
        solutions = sorted(path.parent.glob(f'{escape(path.stem)}_sample[0-9][0-9][0-9][0-9][0-9].png'))
        return {f'{self.name} {int(solution.stem[-5:]) + 1}': solution for solution in solutions}

    def dataset(self, name: str) -> ImageDataset | None:
        """The dataset of this name, with images in [0, 1] and RGB; None if the options have none.

        Raises:
            UserError: its folders are missing.
        """
        if self.options is None:
            return None
        for key, block in self.options.datasets.items():
            if block.get('name', key) == name:
                plain = {k: v for k, v in block.items() if k not in ('mean', 'std', 'color')}
                # on_error: images that a test with --skip-bad left out are not an error
                with error_context(f'{self.folder}/options.yml: datasets.{key}'):
                    return build_dataset(plain, scale=self.options.scale, name=key, on_error='skip')
        return None


def read_results(folder: str | Path) -> Results:
    """Reads a folder `results/<name>`.

    Raises:
        UserError: the folder has no results.
    """
    folder = Path(folder)
    path = folder / 'metrics.json'
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        means = {name: _numbers(values) for name, values in content['datasets'].items()}
        images = {
            dataset: {image: _numbers(values) for image, values in entries.items()}
            for dataset, entries in content.get('images', {}).items()
        }
        protocols = dict(content.get('protocol', {}).get('metrics', {}))
        missing, left_out = (
            {dataset: dict(reasons) for dataset, reasons in content.get(key, {}).items()}
            for key in ('missing', 'left_out')
        )
        published = content.get('published')
    except OSError as error:
        raise UserError(f'{path} cannot be read ({error.strerror}); give folders written by `aesop test`') from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f'{path} is not a result of `aesop test` or is damaged ({error}); test again') from error
    options = load_options(folder / 'options.yml') if (folder / 'options.yml').is_file() else None
    name = content.get('name') or folder.resolve().name
    return Results(folder, name, means, images, missing, left_out, protocols, published, options)


def _numbers(values: dict[str, Any]) -> Values:
    """The values that are numbers; infinity (for identical images) may be stored as text."""
    numbers = {}
    for name, value in values.items():
        if isinstance(value, str) and value.lower() in ('inf', 'infinity'):
            value = math.inf
        if isinstance(value, int | float) and not math.isnan(value):
            numbers[name] = float(value)
    return numbers
