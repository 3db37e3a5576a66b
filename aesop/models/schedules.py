"""Learning-rate schedules as pure functions of the step, so that a resumed run needs no scheduler state.

Each factory takes the arguments of its option block and returns `rate(base_lr, t)`, where t counts the finished
iterations (t = 0 at the first).
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

Schedule = Callable[[float, int], float]


def multi_step(milestones: Sequence[int], gamma: float = 0.1) -> Schedule:
    """The rate is multiplied by `gamma` at every milestone."""
    steps = sorted(milestones)
    return lambda lr, t: lr * gamma ** bisect_right(steps, t)


def multi_step_restart(
    milestones: Sequence[int],
    gamma: float = 0.1,
    restarts: Sequence[int] = (0,),
    restart_weights: Sequence[float] = (1,),
) -> Schedule:
    """`multi_step` that goes back to `restart_weights[k]` times the base rate at `restarts[k]`."""
    steps = sorted(milestones)

    def rate(lr: float, t: int) -> float:
        k = bisect_right(restarts, t) - 1
        if k < 0:
            return lr * gamma ** bisect_right(steps, t)
        # a restart overrides a milestone at the same iteration
        return lr * restart_weights[k] * gamma ** (bisect_right(steps, t) - bisect_right(steps, restarts[k]))

    return rate


def cosine_restart(periods: Sequence[int], restart_weights: Sequence[float] = (1,), eta_min: float = 0.0) -> Schedule:
    """Half a cosine from `restart_weights[k]` times the base rate down to `eta_min`, over each of the `periods`.

    Loshchilov and Hutter, SGDR, ICLR 2017, Eq. 5. The end of a period still belongs to it; after the last period the
    rate stays constant.
    """
    ends = list(accumulate(periods))
    weights = list(restart_weights) * (len(periods) if len(restart_weights) == 1 else 1)

    def rate(lr: float, t: int) -> float:
        t = min(t, ends[-1])
        k = bisect_left(ends, t)
        phase = (t - (ends[k] - periods[k])) / periods[k]
        return eta_min + weights[k] * 0.5 * (lr - eta_min) * (1 + math.cos(math.pi * phase))

    return rate


SCHEDULES = {
    'MultiStepLR': multi_step,
    'MultiStepRestartLR': multi_step_restart,
    'CosineAnnealingRestartLR': cosine_restart,
}


def build_schedule(block: Mapping[str, Any] | None, warmup_iter: int = -1) -> Schedule:
    """The schedule of a `scheduler` block (None: constant), with a linear warm-up over the first `warmup_iter`."""
    if block is None:
        schedule: Schedule = lambda lr, t: lr  # noqa: E731
    else:
        arguments = dict(block)
        schedule = SCHEDULES[arguments.pop('type')](**arguments)
    return lambda lr, t: lr / warmup_iter * (t + 1) if t + 1 < warmup_iter else schedule(lr, t)
