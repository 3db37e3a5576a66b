"""Trajectories of L_pix and L_AESOP during training, from a run's `train.jsonl` (the paper's Figure 9)."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from aesop.errors import UserError
from aesop.options import load_options
from aesop.reporting.figures import COLUMN, drawing, look, write_csv, write_figure

TERMS = {  # option block -> names of its loss in the log, and its label in the figure
    'pixel_opt': (('l_g_pix', 'l_pix'), r'$L_{pix}$'),
    'aesop_opt': (('l_g_aesop', 'l_aesop'), r'$L_{AESOP}$'),
}
Curve = dict[int, float]  # iteration -> value


def read_losses(run: str | Path) -> dict[str, Curve]:
    """The weighted loss terms in `train.jsonl` of a folder `experiments/<name>`.

    Raises:
        UserError: the folder has no such file, or it contains no losses.
    """
    path = Path(run) / 'train.jsonl'
    losses: dict[str, Curve] = {}
    if path.is_file():
        for entry in map(json.loads, path.read_text(encoding='utf-8').splitlines()):
            for name, value in entry['losses'].items():
                losses.setdefault(name, {})[entry['iter']] = float(value)  # NaN is stored as text
    if not losses:
        raise UserError(f'{run}: no training losses (train.jsonl) in this folder; give experiments/<name>')
    return losses


def trajectories(run: str | Path) -> dict[str, Curve]:
    """L_pix and L_AESOP of a run, unweighted and, if the weight is not 1, weighted; by label.

    Raises:
        UserError: the run logged neither, or its folder is incomplete.
    """
    losses = read_losses(run)
    options = load_options(Path(run) / 'options.yml')
    curves = {}
    for key, (names, label) in TERMS.items():
        name = next((name for name in names if name in losses), None)
        block = getattr(options.training, key)
        if name is None or block is None:
            continue
        weight = block.get('loss_weight', 1.0)
        if weight > 0:
            curves[label] = {i: value / weight for i, value in losses[name].items()}
        if weight != 1:
            curves[f'{weight:g} {label}'] = losses[name]
    if not curves:
        raise UserError(f'{run}: neither a pixel loss nor L_AESOP was logged, only {", ".join(losses)}')
    return curves


def running_mean(values: Sequence[float], window: int) -> list[float]:
    """The running mean over the last `window` values (fewer at the start)."""
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    return [
        (sums[i + 1] - sums[max(0, i + 1 - window)]) / min(i + 1, window) for i in range(len(values))
    ]  # fmt: skip


def draw_trajectories(runs: Mapping[str, Mapping[str, Curve]], stem: str | Path, smooth: int = 1) -> list[Path]:
    """Draws the curves of all runs over the iterations, on a logarithmic scale.

    Args:
        runs: the results of :func:`trajectories`, by the name of the run.
        stem: writes `<stem>.png`, `.pdf` and `.csv`.
        smooth: length of the running mean, in logged values; the individual values are drawn faintly.
    """
    rows = []
    with drawing() as pyplot:
        figure, axis = pyplot.subplots(figsize=(COLUMN, 2.4), layout='constrained')
        number = 0
        for run, curves in runs.items():
            for name, curve in curves.items():
                iterations, values = list(curve), list(curve.values())
                means = running_mean(values, smooth)
                rows += [(run, name.replace('$', ''), *row) for row in zip(iterations, values, means)]
                how = look(number)
                label = f'{name} ({run})' if len(runs) > 1 else name
                axis.plot(iterations, means, label=label, **how, markevery=max(1, len(values) // 8))
                if smooth > 1:
                    axis.plot(iterations, values, color=how['color'], linewidth=0.6, alpha=0.3)
                number += 1
        axis.set_yscale('log')
        axis.set(xlabel='iteration', ylabel='loss')
        figure.legend(loc='outside lower center', ncols=1 if number < 4 else 2)
        written = write_figure(figure, stem)
    return [*written, write_csv(stem, ('run', 'loss', 'iteration', 'value', 'mean'), rows)]
