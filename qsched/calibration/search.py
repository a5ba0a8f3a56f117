"""The search strategies: each asks for JAQ values and leaves the choice to the caller.

    closed-form      least squares against full precision (closed_form.py); the only one that needs full precision
    race             9x9 (one axis: 9), then 5x5 around the best and around (1, 1), on growing prompt subsets; a
                     candidate that another beats is dropped, and a cap lets at most so many go on; then the optimum of
                     a smooth fit. Families with more axes start from the winner of the family inside them, by the local
                     quadratic models of COBYQA (scipy): constant, then linear, then per-step
    coarse-to-fine   three levels of 7x7, each centred on the best so far, a third as wide, and on (1, 1)
    grid             every point of an even grid on all prompts
    optuna           optuna's TPE (the extra `optuna`, imported late)

(1, 1) is always a candidate, always measured on all prompts, and a centre of every refinement, so no search ends below
its own start. All are deterministic for a seed. The default ranges grow where the best point touches their end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from qsched.calibration.equals import set_of_equals
from qsched.calibration.errors import CalibrationError
from qsched.calibration.evaluate import CandidateObjective, FamilyObjective
from qsched.calibration.families import CoefficientFamily, Point, around, as_point, even_grid
from qsched.calibration.surface import fit_surface
from qsched.scoring.extra_packages import import_extra

CLOSED_FORM = "closed-form"
# Default values per axis of the (first) grid; optuna runs the square of that number as trials.
DEFAULT_SIZES = {"race": 9, "coarse-to-fine": 7, "grid": 9, "optuna": 9}
STRATEGIES = (CLOSED_FORM, *DEFAULT_SIZES)

# Share of the prompts that a stage of the race has seen, and how many candidates go on from it at most.
STAGES = (0.2, 0.4, 1.0)
FIRST_KEEP = (24, 10)
REFINED_KEEP = (16, 8)
GROWTHS = 3  # of a range, at most, each time by half of its width at the start
LOCAL_POINTS_PER_AXIS = 12
LOCAL_RADII = (0.08, 0.002)  # first and last radius of the trust region


class Objective(Protocol):
    """What the search of a family sees: only what it itself asked for, whatever else a cache may know."""

    @property
    def n_prompts(self) -> int: ...

    def values(self, points: Sequence[Point], prompts: Sequence[int] | None = None) -> np.ndarray: ...

    def paired_gains(self) -> dict[Point, np.ndarray]: ...

    def table(self) -> tuple[list[Point], np.ndarray]: ...


def run_search(
    strategy: str,
    evaluator: CandidateObjective,
    family: CoefficientFamily,
    *,
    seed: int,
    size: int | None = None,
    grow: bool = False,
) -> CoefficientFamily:
    """Measure candidates as the strategy says; the family whose ranges hold all of them, which may have grown.

    size    values per axis of the (first) grid
    grow    let a range grow where the best point touches its end (race)
    """
    size = checked_size(strategy, size)
    if strategy == "race":
        return search_nested(evaluator, family, seed=seed, size=size, grow=grow)
    objective = FamilyObjective(evaluator, family)
    if strategy == "grid":
        search_grid(objective, family, size=size)
    elif strategy == "coarse-to-fine":
        search_coarse_to_fine(objective, family, size=size)
    else:
        search_optuna(objective, family, seed=seed, trials=size**2)
    return family


def checked_size(strategy: str, size: int | None) -> int:
    """The values per axis of a strategy; CalibrationError for an unknown strategy or fewer than 2."""
    if strategy not in DEFAULT_SIZES:
        raise CalibrationError(f"strategy {strategy!r} is unknown; choose one of {', '.join(STRATEGIES)}")
    if size is not None and size < 2:
        raise CalibrationError(f"a grid of {size} value(s) per axis has no extent; give --grid-size 2 or more")
    return DEFAULT_SIZES[strategy] if size is None else size


def planned_pictures(
    strategy: str, family: CoefficientFamily, n_prompts: int, *, size: int | None = None, grow: bool = False
) -> int:
    """Upper bound of the (candidate, prompt) pictures that a strategy measures, (1, 1) included."""
    dimension, size = len(family.bounds), checked_size(strategy, size)
    if strategy == "grid":
        return (len(even_grid(family, size)) + 1) * n_prompts
    if strategy == "coarse-to-fine":
        return (3 * int(size**dimension) + 2 * int(3**dimension) + 1) * n_prompts
    if strategy == "optuna":
        return int((size**2 + 1) * n_prompts)
    stages = nested_families(family)
    axes = len(stages[0].bounds)
    rounds = [(int(size**axes), FIRST_KEEP), (int(2 * 5**axes), REFINED_KEEP)]
    rounds += [(int(5**axes), REFINED_KEEP)] * (GROWTHS + 1 if grow else 0)
    local = sum(local_points(stage) for stage in stages[1:])
    return sum(_race_pictures(count, keep, n_prompts) for count, keep in rounds) + (2 + local) * n_prompts


def largest_size_within(nfe: int, family: CoefficientFamily, n_prompts: int, *, size: int) -> int:
    """The largest grid, up to `size` values per axis, whose first stage takes at most half of these NFE; at least 2."""
    later = family.steps - 1
    axes = len(nested_families(family)[0].bounds)
    first = _stage_sizes(n_prompts)[0]
    spare = (nfe - n_prompts - n_prompts * later) // 2
    while size > 2 and size**axes * first * later > spare:
        size -= 1
    return size


def nested_families(family: CoefficientFamily) -> list[CoefficientFamily]:
    """The families that a search of this one goes through, each inside the next; the last is this one."""
    stages = [family]
    for name in {"linear": ["constant"], "per-step": ["linear", "constant"]}.get(family.name, []):
        inner = replace(family, name=name)
        if len(inner.bounds) < len(stages[0].bounds):  # with one or two steps some are the same family
            stages.insert(0, inner)
    return stages


def search_grid(objective: Objective, family: CoefficientFamily, *, size: int) -> None:
    """Every point of the grid on every prompt."""
    objective.values([family.identity])
    objective.values(even_grid(family, size))


def search_coarse_to_fine(objective: Objective, family: CoefficientFamily, *, size: int, levels: int = 3) -> None:
    """A grid over the box, then grids of the same size around the best, each a third as wide, and a few at (1, 1)."""
    objective.values([family.identity])
    widths = [high - low for low, high in family.bounds]
    points = even_grid(family, size)
    for level in range(levels):
        objective.values(points)
        best = leader(objective, among=None)
        spacing = [width / 3 ** (level + 1) / (size - 1) for width in widths]
        points = around(family, best, spacing, half_width=(size - 1) // 2)
        if level < levels - 1 and best != family.identity:
            points = list(dict.fromkeys(points + around(family, family.identity, spacing, half_width=1)))


def search_nested(
    evaluator: CandidateObjective, family: CoefficientFamily, *, seed: int, size: int, grow: bool
) -> CoefficientFamily:
    """A race in the innermost family, then a local search in each richer one from the best point so far."""
    first, *richer = nested_families(family)
    objective = FamilyObjective(evaluator, first)
    first = search_race(objective, first, seed=seed, size=size, grow=grow)
    best = first.coefficients(leader(objective, among=None))
    stage = first
    for outer in richer:
        stage = replace(outer, box=first.box)
        objective = FamilyObjective(evaluator, stage)
        objective.values([stage.identity, stage.point_of(best)])
        search_local(objective, stage, stage.point_of(best))
        best = stage.coefficients(leader(objective, among=None))
    return stage


def search_race(
    objective: Objective, family: CoefficientFamily, *, seed: int, size: int, grow: bool = False
) -> CoefficientFamily:
    """A race over the whole box, another around its winner and (1, 1), wider ranges if need be, the smooth optimum."""
    order = np.random.default_rng(seed).permutation(objective.n_prompts).tolist()
    objective.values([family.identity])
    survivors = _race(objective, even_grid(family, size), order, FIRST_KEEP)
    best = leader(objective, among=survivors)
    start, growths = family.box, 0
    # Half the spacing of the first grid.
    spacing = [(high - low) / (size - 1) / 2 for low, high in family.bounds]
    refined = around(family, best, spacing, half_width=2)
    if best != family.identity:
        refined += around(family, family.identity, spacing, half_width=2)
    _race(objective, _new(objective, refined), order, REFINED_KEEP)
    reach = [(high - low) / 4 for low, high in family.bounds]  # two of them go to the end of a range that grew
    while grow and family.edges(best := leader(objective, among=None)) and growths < GROWTHS:
        growths += 1
        family = family.widened(best, start)
        _race(objective, _new(objective, around(family, best, reach, half_width=2)), order, REFINED_KEEP)
    if growths:
        refined = around(family, leader(objective, among=None), spacing, half_width=2)
        _race(objective, _new(objective, refined), order, REFINED_KEEP)
    surface = fit_surface(*objective.table(), family)
    if surface is not None:
        objective.values([surface.optimum])
    return family


def search_local(objective: Objective, family: CoefficientFamily, start: Point) -> None:
    """Local quadratic models on all prompts, from a start that was measured (COBYQA, Ragonneau 2022)."""
    from scipy.optimize import minimize

    low, high = np.array(family.bounds).T

    def loss(values: np.ndarray) -> float:
        return -float(objective.values([as_point(np.clip(values, low, high))]).mean())

    first, last = LOCAL_RADII
    minimize(
        loss,
        np.array(start),
        method="COBYQA",
        bounds=family.bounds,
        options={
            "maxfev": local_points(family),
            "initial_tr_radius": min(first, float((high - low).min()) / 4),
            "final_tr_radius": min(last, float((high - low).min()) / 8),
        },
    )


def local_points(family: CoefficientFamily) -> int:
    """Candidates that a local search of a family measures at most."""
    return LOCAL_POINTS_PER_AXIS * len(family.bounds)


def search_optuna(objective: Objective, family: CoefficientFamily, *, seed: int, trials: int) -> None:
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


def _new(objective: Objective, points: Sequence[Point]) -> list[Point]:
    known = objective.paired_gains()
    return [point for point in dict.fromkeys(points) if point not in known]


def _race(objective: Objective, points: list[Point], order: list[int], keep: tuple[int, ...]) -> list[Point]:
    """The points that are still in when all prompts have been seen."""
    if not points:
        return []
    for stage, upto in enumerate(_stage_sizes(len(order))):
        values = objective.values(points, order[:upto])
        if upto < len(order):
            # With few prompts hardly any candidate is beaten, and the cap decides who goes on.
            ranked = sorted(set_of_equals(values), key=lambda i: -float(values[i].mean()))
            points = [points[i] for i in ranked[: keep[min(stage, len(keep) - 1)]]]
    return points


def _stage_sizes(n_prompts: int) -> list[int]:
    sizes = [min(n_prompts, max(3, math.ceil(share * n_prompts))) for share in STAGES]
    return sorted(set(sizes))


def _race_pictures(count: int, keep: tuple[int, ...], n_prompts: int) -> int:
    total = before = 0
    for stage, upto in enumerate(_stage_sizes(n_prompts)):
        going = count if stage == 0 else keep[min(stage, len(keep)) - 1]
        total += min(count, going) * (upto - before)
        before = upto
    return total
