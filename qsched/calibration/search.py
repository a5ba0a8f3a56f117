"""The search strategies: each asks `evaluate` for JAQ values and leaves the choice to the caller.

    grid             every point of an even grid on all prompts
    coarse-to-fine   three levels of 7x7, each centred on the best so far, a third as wide
    race             9x9 (one axis: 9), then 5x5 on growing prompt subsets; a candidate that is worse than the
                     leader on the same prompts with the same noise is dropped, and at most a share goes on
    optuna           optuna's TPE (the extra `optuna`, imported late)

(1, 1) is always a candidate and always measured on all prompts. All are deterministic for a seed. A race ends
with the smooth optimum of what it saw, as one more candidate measured like the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from qsched.calibration.errors import CalibrationError
from qsched.calibration.families import Family, Point, around, as_point, even_grid, spread_points
from qsched.calibration.surface import fit_surface
from qsched.scoring.extra_packages import import_extra

# Default values per axis of the (first) grid; optuna runs the square of that number as trials.
DEFAULT_SIZES = {"race": 9, "coarse-to-fine": 7, "grid": 9, "optuna": 9}
STRATEGIES = tuple(DEFAULT_SIZES)

# Share of the prompts that a stage of the race has seen, and how many candidates go on from it at most.
STAGES = (0.2, 0.4, 1.0)
FIRST_KEEP = (24, 10)
REFINED_KEEP = (16, 8)
ELIMINATION_LEVEL = 0.05  # one-sided


class Objective(Protocol):
    """What a search sees of the evaluator: only what it itself asked for, whatever else a cache may know."""

    @property
    def n_prompts(self) -> int: ...

    def values(self, points: Sequence[Point], prompts: Sequence[int] | None = None) -> np.ndarray: ...

    def paired_gains(self) -> dict[Point, np.ndarray]: ...


def run_search(strategy: str, objective: Objective, family: Family, *, seed: int, size: int | None = None) -> None:
    """Measure candidates as the strategy says; `size` is the number of values per axis of the (first) grid."""
    size = checked_size(strategy, size)
    if strategy == "grid":
        search_grid(objective, family, size=size)
    elif strategy == "coarse-to-fine":
        search_coarse_to_fine(objective, family, size=size)
    elif strategy == "race":
        search_race(objective, family, seed=seed, size=size)
    else:
        search_optuna(objective, family, seed=seed, trials=size**2)


def checked_size(strategy: str, size: int | None) -> int:
    """The values per axis of a strategy; CalibrationError for an unknown strategy or fewer than 2."""
    if strategy not in DEFAULT_SIZES:
        raise CalibrationError(f"strategy {strategy!r} is unknown; choose one of {', '.join(STRATEGIES)}")
    if size is not None and size < 2:
        raise CalibrationError(f"a grid of {size} value(s) per axis has no extent; give --grid-size 2 or more")
    return DEFAULT_SIZES[strategy] if size is None else size


def planned_pictures(strategy: str, family: Family, n_prompts: int, *, size: int | None = None) -> int:
    """Upper bound of the (candidate, prompt) pictures that a strategy measures, (1, 1) included."""
    dimension, size = len(family.bounds), checked_size(strategy, size)
    if strategy == "grid":
        return (len(even_grid(family, size)) + 1) * n_prompts
    if strategy == "coarse-to-fine":
        return (3 * int(size**dimension) + 1) * n_prompts
    if strategy == "optuna":
        return int((size**2 + 1) * n_prompts)
    first = size ** min(dimension, 2)
    seen = _stage_sizes(n_prompts)
    total = n_prompts
    for count, keep in ((first, FIRST_KEEP), (5**dimension if dimension <= 2 else 32, REFINED_KEEP)):
        before = 0
        for stage, upto in enumerate(seen):
            going = count if stage == 0 else keep[min(stage, len(keep)) - 1]
            total += min(count, going) * (upto - before)
            before = upto
    return total + n_prompts


def search_grid(objective: Objective, family: Family, *, size: int) -> None:
    """Every point of the grid on every prompt."""
    objective.values([family.identity])
    objective.values(even_grid(family, size))


def search_coarse_to_fine(objective: Objective, family: Family, *, size: int, levels: int = 3) -> None:
    """A grid over the box, then grids of the same size around the best, each a third as wide."""
    objective.values([family.identity])
    widths = [high - low for low, high in family.bounds]
    points = even_grid(family, size)
    for level in range(levels):
        objective.values(points)
        best = leader(objective, among=None)
        spacing = [width / 3 ** (level + 1) / (size - 1) for width in widths]
        points = around(family, best, spacing, half_width=(size - 1) // 2, seed=level)


def search_race(objective: Objective, family: Family, *, seed: int, size: int) -> None:
    """A race over the whole box, a second one around its winner, and the smooth optimum at the end."""
    order = np.random.default_rng(seed).permutation(objective.n_prompts).tolist()
    objective.values([family.identity])
    survivors = _race(
        objective, spread_points(family, size ** min(len(family.bounds), 2), seed=seed), order, FIRST_KEEP
    )
    best = leader(objective, among=survivors)
    # Half the spacing of the first grid on one or two axes; the box of the Sobol set on more.
    spacing = [(high - low) / (size - 1) / 2 for low, high in family.bounds]
    refined = around(family, best, spacing, half_width=2, seed=seed + 1)
    known = set(objective.paired_gains())
    _race(objective, [point for point in refined if point not in known], order, REFINED_KEEP)
    surface = fit_surface(objective.paired_gains(), family)
    if surface is not None:
        objective.values([surface.optimum])


def search_optuna(objective: Objective, family: Family, *, seed: int, trials: int) -> None:
    """`trials` candidates on all prompts, proposed by TPE, (1, 1) first; for per-step families with many axes."""
    optuna = import_extra("optuna", "optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    stock = objective.values([family.identity]).mean()
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed, multivariate=True))
    study.enqueue_trial(dict(zip(family.axes, family.identity, strict=True)))

    def gain(trial: Any) -> float:
        axes = zip(family.axes, family.bounds, strict=True)
        point = as_point([trial.suggest_float(name, low, high) for name, (low, high) in axes])
        return float(objective.values([point]).mean() - stock)

    study.optimize(gain, n_trials=trials, show_progress_bar=False)


def leader(objective: Objective, *, among: Sequence[Point] | None) -> Point:
    """The candidate with the largest mean gain over (1, 1) of those measured on the most prompts."""
    gains = objective.paired_gains()
    allowed = gains if among is None else {point: gains[point] for point in among}
    most = max(len(values) for values in allowed.values())
    return max((p for p, v in allowed.items() if len(v) == most), key=lambda p: float(allowed[p].mean()))


def _race(objective: Objective, points: list[Point], order: list[int], keep: tuple[int, ...]) -> list[Point]:
    """The points that are still in when all prompts have been seen."""
    if not points:
        return []
    for stage, upto in enumerate(_stage_sizes(len(order))):
        values = objective.values(points, order[:upto])
        if upto < len(order):
            alive = not_worse(values)
            ranked = sorted(alive, key=lambda i: -float(values[i].mean()))
            points = [points[i] for i in ranked[: keep[min(stage, len(keep) - 1)]]]
    return points


def not_worse(values: np.ndarray, *, level: float = ELIMINATION_LEVEL) -> list[int]:
    """Rows of [candidates, prompts] that a one-sided paired t test against the best row does not reject."""
    from scipy.stats import t

    n = values.shape[1]
    best = int(values.mean(axis=1).argmax())
    if n < 2:
        return list(range(len(values)))
    behind = values[best] - values
    spread = behind.std(axis=1, ddof=1) / math.sqrt(n)
    critical = float(t.ppf(1 - level, n - 1))
    return [i for i in range(len(values)) if behind[i].mean() <= critical * spread[i]]


def _stage_sizes(n_prompts: int) -> list[int]:
    sizes = [min(n_prompts, max(3, math.ceil(share * n_prompts))) for share in STAGES]
    return sorted(set(sizes))
