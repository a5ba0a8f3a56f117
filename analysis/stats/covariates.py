"""Covariates: strengths adjusted for what differs between the two pictures, or that change with something else.

    difference  eta = theta_i - theta_j + beta (x_left - x_right) / s                 columns NAME_left, NAME_right
    number      eta = theta_i - theta_j + (gamma_i - gamma_j) (x - mean) / s          a number in every vote
    levels      eta = theta_i - theta_j + gamma_il - gamma_jl                         2 to 12 words, such as a device

gamma sums to zero over the arms, and for levels over the levels too. s is the standard deviation over the votes;
response_ms goes in as its natural logarithm. So theta holds for equal pictures (difference), at the mean (number) or
as the plain average over levels: "style control" is a difference. A property of the whole vote cannot move eta by
itself, for eta only knows left from right: it can only make arms gain or lose, which is what gamma says.

Covariances are sandwiches of the kind that the settings name (two-way by default), also where the report bootstraps:
with a measured covariate nearly every vote is a cell of its own, and 1,000 refits would take minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl

from analysis.stats.contrasts import holm
from analysis.stats.counts import VoteCounts, count_frame
from analysis.stats.fit import fit_model
from analysis.stats.results import Array, EstimateSettings, IntervalKind
from analysis.stats.spread import spread_of
from analysis.stats.uncertainty import uncertainty_of
from analysis.votes.coded import codes
from analysis.votes.covariates import covariate_columns
from analysis.votes.screened import screened_frame
from analysis.votes.table import VotesTable
from qsched.records import InputError

Kind = Literal["difference", "number", "levels"]
MOST_LEVELS = 12
VOTES_A_PARAMETER = 10
_LOGARITHM = ("response_ms",)


@dataclass(frozen=True)
class Covariate:
    """How one covariate went into the model: in units of `sd` around `mean` (of logarithms: `log`), or by `levels`."""

    name: str
    kind: Kind
    mean: float | None
    sd: float | None
    log: bool
    levels: tuple[str, ...]


@dataclass(frozen=True)
class CovariateTerm:
    """One coefficient in log-odds: of the left side (difference), or of an `arm` (and `level`) against the average."""

    covariate: str
    arm: str | None
    level: str | None
    coefficient: float
    se: float
    low: float
    high: float
    p: float
    p_holm: float


@dataclass(frozen=True)
class AdjustedStrength:
    """An arm's strength in the model with covariates, beside that of the same votes and model without them."""

    arm: str
    log_strength: float
    se: float
    low: float
    high: float
    without: float


@dataclass(frozen=True)
class CovariateFit:
    """The model with covariates. `n_left_out` votes have no value of a covariate; Holm runs over all `terms`."""

    covariates: tuple[Covariate, ...]
    terms: tuple[CovariateTerm, ...]
    strengths: tuple[AdjustedStrength, ...]
    n_votes: int
    n_left_out: int
    intervals: IntervalKind
    degrees_of_freedom: float
    log_likelihood: float
    warnings: tuple[str, ...]


def fit_covariates(
    votes: VotesTable | pl.DataFrame, names: Sequence[str], *, settings: EstimateSettings | None = None
) -> CovariateFit:
    """Fit the model of the settings with covariates `names`.

    Raises InputError for a column that is missing or constant or has too many words, and for fewer than ten votes a
    parameter; NoEstimateError if a covariate cannot be distinguished from the strengths.
    """
    settings = EstimateSettings() if settings is None else settings
    frame = screened_frame(votes)
    if not names:
        raise InputError("No covariate was named.")
    if len(set(names)) != len(names):
        raise InputError(f"A covariate is named twice: {', '.join(names)}.")
    found = {name: covariate_columns(name, frame.columns, source="the table of votes") for name in names}
    for name, each in found.items():
        if any(frame[column].null_count() == frame.height for column in each):
            raise InputError(f"--covariate {name}: no vote has a value of it.")
    columns = [column for each in found.values() for column in each]
    kept = frame.drop_nulls(columns)
    coded, values = zip(*(_code(kept, name, found[name]) for name in names), strict=True)
    values_of = {f"value:{name}": value for name, value in zip(names, values, strict=True)}
    counts = count_frame(kept.with_columns(**values_of), covariates=tuple(values_of))
    _refuse_few(coded, counts, settings)
    design, maps = _interactions(coded, counts)
    fit = fit_model(
        design,
        model=settings.model,
        ties=settings.ties,
        position_effect=settings.position_effect,
        penalty=settings.penalty,
    )
    plain = fit_model(
        replace(counts, covariates=np.zeros((counts.n_cells, 0)), covariate_names=()),
        model=settings.model,
        ties=settings.ties,
        position_effect=settings.position_effect,
        penalty=settings.penalty,
    )
    # All reported numbers are linear in the parameters: strengths first, then the terms of each covariate.
    k, start = counts.n_arms, counts.n_arms + int(fit.has_position)
    rows = np.zeros((k + len(maps), len(fit.parameters)))
    rows[:k, :k] = np.eye(k)
    rows[k:, start : start + maps.shape[1]] = maps
    value = rows @ fit.parameters
    unc = uncertainty_of(fit, design, intervals=settings.intervals, method="sandwich", rows=rows)
    spread = spread_of(unc, list(range(len(rows))))
    se, half, p = spread.shown, spread.half_width(settings.confidence), spread.p_value(value)
    adjusted = holm(p[k:])
    labels = [label for each in coded for label in _labels(each, counts.arms)]
    return CovariateFit(
        covariates=tuple(coded),
        terms=tuple(
            CovariateTerm(
                *label,
                coefficient=float(value[i]),
                se=float(se[i]),
                low=float(value[i] - half[i]),
                high=float(value[i] + half[i]),
                p=float(p[i]),
                p_holm=float(adjusted[i - k]),
            )
            for i, label in enumerate(labels, start=k)
        ),
        strengths=tuple(
            AdjustedStrength(
                arm=counts.arms[i],
                log_strength=float(value[i]),
                se=float(se[i]),
                low=float(value[i] - half[i]),
                high=float(value[i] + half[i]),
                without=float(plain.log_strengths[i]),
            )
            for i in sorted(range(k), key=lambda i: (-value[i], counts.arms[i]))
        ),
        n_votes=kept.height,
        n_left_out=frame.height - kept.height,
        intervals=unc.kind,
        degrees_of_freedom=unc.df,
        log_likelihood=fit.log_likelihood,
        warnings=unc.warnings,
    )


def _code(frame: pl.DataFrame, name: str, columns: tuple[str, ...]) -> tuple[Covariate, Array]:
    """One number per vote: standardised, or the code of its level."""
    if frame.height == 0:
        raise InputError(f"--covariate {name}: no vote has a value of it and of the other covariates.")
    if len(columns) == 2:
        left, right = (_numbers(frame[column], name) for column in columns)
        return _standardised(left - right, name, "difference", log=False)
    series = frame[columns[0]]
    if series.dtype.is_numeric():
        x = _numbers(series, name)
        if name in _LOGARITHM and x.min() <= 0:
            raise InputError(f"--covariate {name}: a value is {x.min():g}, and its logarithm is taken. Exclude it.")
        return _standardised(np.log(x) if name in _LOGARITHM else x, name, "number", log=name in _LOGARITHM)
    if series.dtype.is_temporal():
        raise InputError(f"--covariate {name}: this is a time. Make a number or a word of it first, such as the hour.")
    levels, code = codes(series)
    if len(levels) == 1:
        raise InputError(f"--covariate {name}: every vote has the value {levels[0]!r}; it can explain nothing.")
    if len(levels) > MOST_LEVELS:
        raise InputError(
            f"--covariate {name}: it has {len(levels)} different words, at most {MOST_LEVELS} can be estimated. "
            "Join them into fewer, or give a number."
        )
    return Covariate(name, "levels", None, None, False, levels), code.astype(np.float64)


def _numbers(series: pl.Series, name: str) -> Array:
    if not series.dtype.is_numeric():
        raise InputError(f"--covariate {name}: column {series.name!r} holds words; a number a side is wanted.")
    values = series.cast(pl.Float64).to_numpy()
    if not np.isfinite(values).all():
        raise InputError(f"--covariate {name}: column {series.name!r} has values that are infinite or not a number.")
    return np.asarray(values)


def _standardised(x: Array, name: str, kind: Kind, *, log: bool) -> tuple[Covariate, Array]:
    # A difference keeps its zero: equal pictures are what the strengths are adjusted to.
    mean, sd = (0.0 if kind == "difference" else float(x.mean())), float(x.std())
    if sd <= 1e-12 * max(1.0, float(np.abs(x).max())):
        words = "difference of the two sides" if kind == "difference" else "value"
        raise InputError(f"--covariate {name}: every vote has the same {words}; it can explain nothing.")
    return Covariate(name, kind, mean, sd, log, ()), (x - mean) / sd


def _refuse_few(coded: Sequence[Covariate], counts: VoteCounts, settings: EstimateSettings) -> None:
    k = counts.n_arms
    free = k - 1 + int(settings.position_effect) + int(settings.model != "bradley-terry")
    for each in coded:
        free += {"difference": 1, "number": k - 1, "levels": (k - 1) * (len(each.levels) - 1)}[each.kind]
    votes = counts.without_ties().n_votes if settings.ties == "drop" else counts.n_votes
    if votes < VOTES_A_PARAMETER * free:
        raise InputError(
            f"{votes:,.0f} votes are too few for {free} parameters ({k} arms, "
            f"--covariate {', '.join(each.name for each in coded)}): at least {VOTES_A_PARAMETER} a parameter are "
            "wanted. Leave a covariate out, or join its levels."
        )


def _interactions(coded: Sequence[Covariate], counts: VoteCounts) -> tuple[VoteCounts, Array]:
    """The counts with the columns of the design, and the map (terms, columns) from coefficients to the terms shown."""
    k, c = counts.n_arms, counts.n_cells
    side = np.zeros((c, k))
    side[np.arange(c), counts.left] = 1.0
    side[np.arange(c), counts.right] = -1.0
    # Free coefficients are those of all arms but the last, whose own is minus their sum.
    side = side[:, : k - 1] - side[:, k - 1 :]
    all_arms: Array = np.vstack([np.eye(k - 1), -np.ones((1, k - 1))])
    blocks: list[Array] = []
    maps: list[Array] = []
    names: list[str] = []
    block: Array
    back: Array
    for index, each in enumerate(coded):
        z = counts.covariates[:, index]
        if each.kind == "difference":
            block, back = z[:, None], np.eye(1)
        elif each.kind == "number":
            block, back = np.asarray(side * z[:, None]), all_arms
        else:
            m = len(each.levels)
            all_levels: Array = np.vstack([np.eye(m - 1), -np.ones((1, m - 1))])
            at_level = all_levels[z.astype(np.int64)]
            block = (at_level[:, :, None] * side[:, None, :]).reshape(c, -1)
            back = np.asarray(np.kron(all_levels, all_arms), dtype=np.float64)
        blocks.append(block)
        maps.append(back)
        names += [each.name if block.shape[1] == 1 else f"{each.name} {i + 1}" for i in range(block.shape[1])]
    joined = np.zeros((sum(len(m) for m in maps), sum(m.shape[1] for m in maps)))
    row = column = 0
    for back in maps:
        joined[row : row + len(back), column : column + back.shape[1]] = back
        row, column = row + len(back), column + back.shape[1]
    return replace(counts, covariates=np.hstack(blocks), covariate_names=tuple(names)), joined


def _labels(each: Covariate, arms: tuple[str, ...]) -> list[tuple[str, str | None, str | None]]:
    if each.kind == "difference":
        return [(each.name, None, None)]
    if each.kind == "number":
        return [(each.name, arm, None) for arm in arms]
    return [(each.name, arm, level) for level in each.levels for arm in arms]
