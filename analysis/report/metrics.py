"""Automatic metrics against people: which of them name the picture that people prefer, and rank the arms as they do?

Metrics are those of `qsched score` (metrics.json and metrics_images.jsonl in the image set), one value per picture.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.report.subjects.pictures import ExamplePair, ImageSet, with_pictures
from analysis.stats import Estimate, annotator_rows
from analysis.stats.metric_agreement import (
    MetricAgreement,
    agreement_with_votes,
    ceiling,
    kendall_tau,
    paired_difference,
)
from analysis.stats.results import Array
from analysis.votes import VotesTable
from analysis.votes.coded import IntArray, codes
from analysis.votes.table import has_values
from qsched.locations import Location
from qsched.records import InputError

VALUES, TABLE = "metrics_images.jsonl", "metrics.json"
DRAWS = 2000
SHOWN = 3
LEAST_VOTES = 3
#: Keys of a line of metrics_images.jsonl that say which picture it is.
PLACE = ("image_id", "prompt_id", "arm", "sample_index")
JAQ = "jaq"


@dataclass(frozen=True)
class MetricRow:
    """One metric. `tau`: Kendall's tau of the arms' means and strengths, with an interval over prompts and votes.

    `behind`: agreement less that of the best metric on the votes that both know; None for the best itself. `same_best`:
    whether it puts the same arm first as people do.
    """

    metric: str
    higher_is_better: bool
    found: MetricAgreement
    left_out: int
    tau: float
    tau_low: float
    tau_high: float
    same_best: bool
    behind: float | None
    behind_low: float | None
    behind_high: float | None


@dataclass(frozen=True)
class MetricResults:
    """Rows, best agreement first; `ceiling` and `same`: what two people's answers on one pair of pictures allow."""

    rows: tuple[MetricRow, ...]
    n_decided: int
    same: float | None
    ceiling: float | None
    own: float | None
    worst: tuple[tuple[str, ExamplePair], ...]


@dataclass(frozen=True)
class MetricValues:
    """Values by (prompt, arm, sample), and the direction of each metric."""

    values: dict[tuple[str, str, int], dict[str, float]]
    higher_is_better: dict[str, bool]


def read_scores(folder: Location) -> MetricValues:
    """The results of `qsched score`; InputError if there are none, or if they cannot be read."""
    if not (folder / VALUES).is_file() or not (folder / TABLE).is_file():
        raise InputError(f"{folder} has no {VALUES} and {TABLE}; run `qsched score {folder}` first.")
    try:
        table: Any = json.loads((folder / TABLE).read_text("utf-8"))
        higher = {info["name"]: bool(info["higher_is_better"]) for info in table["scorers"]} | {JAQ: True}
        values: dict[tuple[str, str, int], dict[str, float]] = {}
        for line in (folder / VALUES).read_text("utf-8").splitlines():
            row = json.loads(line)
            key = (str(row["prompt_id"]), str(row["arm"]), int(row["sample_index"]))
            values[key] = {name: float(value) for name, value in row.items() if name in higher and value is not None}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{folder / VALUES} or {TABLE} cannot be read ({type(error).__name__}: {error}). Run `qsched score` again."
        ) from error
    named = {name for each in values.values() for name in each}
    return MetricValues(values, {name: up for name, up in higher.items() if name in named})


def compare_metrics(
    kept: VotesTable, estimate: Estimate, scores: MetricValues, image_set: ImageSet, *, confidence: float, seed: int = 0
) -> MetricResults:
    """Every metric against the decided votes of `kept`. InputError if no vote is about pictures with values."""
    frame = kept.frame
    if not has_values(frame, "prompt_id"):
        raise InputError("The votes have no prompt ids, so the pictures that they are about are not known.")
    decided = frame.filter(pl.col("choice").cast(pl.String).is_in(["left", "right"]))
    clusters = {name: codes(decided[name])[1] for name in ("annotator", "prompt_id") if has_values(decided, name)}
    left, right = _keys(decided, "left_arm"), _keys(decided, "right_arm")
    won_left = (decided["choice"].cast(pl.String) == "left").to_numpy()
    margins = {name: _margins(scores, name, up, left, right, won_left) for name, up in scores.higher_is_better.items()}
    known = {name: ~np.isnan(margin) for name, margin in margins.items()}
    usable = [name for name in margins if known[name].sum() >= 2]
    if not usable:
        raise InputError(
            "No vote is about two pictures that both have a value of some metric. Is it the right image set? Its arms "
            "and prompts must be those of the votes."
        )
    found = {
        name: agreement_with_votes(margins[name][known[name]], _within(clusters, known[name]), confidence=confidence)
        for name in usable
    }
    order = sorted(usable, key=lambda name: (-found[name].agreement.value, name))
    best = order[0]
    rows = []
    for name in order:
        behind: tuple[float | None, float | None, float | None] = (None, None, None)
        both = known[name] & known[best]
        if name != best and both.sum() >= 2:
            behind = paired_difference(
                margins[name][both], margins[best][both], _within(clusters, both), confidence=confidence
            )
        tau, low, high, same_best = _ranking(scores, name, estimate, confidence=confidence, seed=seed)
        rows.append(
            MetricRow(
                metric=name,
                higher_is_better=scores.higher_is_better[name],
                found=found[name],
                left_out=len(won_left) - int(known[name].sum()),
                tau=tau,
                tau_low=low,
                tau_high=high,
                same_best=same_best,
                behind=behind[0],
                behind_low=behind[1],
                behind_high=behind[2],
            )
        )
    same = _same_answers(decided)
    return MetricResults(
        rows=tuple(rows),
        n_decided=decided.height,
        same=same,
        ceiling=None if same is None else ceiling(same),
        own=_own_repeats(kept),
        worst=_disagreements(decided, scores, order, image_set),
    )


def _keys(frame: pl.DataFrame, side: str) -> list[tuple[str, str, int]]:
    sample = frame["sample_index"].fill_null(0).to_list() if "sample_index" in frame.columns else [0] * frame.height
    return list(
        zip(frame["prompt_id"].cast(pl.String).to_list(), frame[side].cast(pl.String).to_list(), sample, strict=True)
    )


def _margins(
    scores: MetricValues,
    name: str,
    higher: bool,
    left: list[tuple[str, str, int]],
    right: list[tuple[str, str, int]],
    won_left: Array,
) -> Array:
    """Of the winner less the loser, more is better; nan if a picture has no value (a baseline has no twin)."""
    a, b = (np.array([scores.values.get(key, {}).get(name, math.nan) for key in keys]) for keys in (left, right))
    return np.asarray(np.where(won_left, a - b, b - a) * (1 if higher else -1))


def _within(clusters: dict[str, IntArray], rows: NDArray[np.bool_]) -> dict[str, IntArray]:
    found = {}
    for name, code in clusters.items():
        _, dense = np.unique(code[rows], return_inverse=True)
        found[name] = dense.ravel().astype(np.int64)
    return found


def _ranking(
    scores: MetricValues, name: str, estimate: Estimate, *, confidence: float, seed: int
) -> tuple[float, float, float, bool]:
    """Kendall's tau of the arms' mean value with their strength, its interval, and whether the best arm is the same.

    Draws: strengths from their two-way covariance, means over resampled prompts. Only prompts on which all arms have a
    value count, so that no arm has easier ones.
    """
    arms = estimate.fit.arms
    table = _by_prompt(scores, name, arms)
    if table is None:
        return math.nan, math.nan, math.nan, False
    values, at = table
    sign = 1 if scores.higher_is_better[name] else -1
    theta = estimate.fit.log_strengths[at]
    mean = sign * values.mean(axis=0)
    rng = np.random.default_rng([seed, 7])
    covariance = estimate.uncertainty.covariance[np.ix_(at, at)]
    strengths = rng.multivariate_normal(theta, covariance, size=DRAWS, method="eigh")
    rows = rng.integers(0, len(values), size=(DRAWS, len(values)))
    means = sign * values[rows].mean(axis=1)
    draws = np.array([kendall_tau(s, m) for s, m in zip(strengths, means, strict=True)])
    draws = draws[~np.isnan(draws)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail]) if len(draws) else (math.nan, math.nan)
    same = int(np.argmax(theta)) == int(np.argmax(mean)) and bool((mean == mean.max()).sum() == 1)
    return kendall_tau(theta, mean), float(low), float(high), same


def _by_prompt(scores: MetricValues, name: str, arms: tuple[str, ...]) -> tuple[Array, list[int]] | None:
    """(prompts, arms) means over samples, and the arms (two or more) that have values at all."""
    by: dict[str, dict[str, list[float]]] = {}
    for (prompt, arm, _), values in scores.values.items():
        if name in values and arm in arms:
            by.setdefault(prompt, {}).setdefault(arm, []).append(values[name])
    present = [arm for arm in arms if any(arm in each for each in by.values())]
    rows = [
        [float(np.mean(each[arm])) for arm in present] for each in by.values() if all(arm in each for arm in present)
    ]
    if len(present) < 2 or len(rows) < 2:
        return None
    return np.array(rows), [arms.index(arm) for arm in present]


def _items(decided: pl.DataFrame) -> pl.DataFrame:
    """Decided votes of each item: prompt_id, sample_index, arm_a, arm_b, wins_a, wins_b."""
    left, right = (pl.col(name).cast(pl.String) for name in ("left_arm", "right_arm"))
    sample = pl.col("sample_index").fill_null(0) if "sample_index" in decided.columns else pl.lit(0)
    for_a = (pl.col("choice").cast(pl.String) == "left") == (left < right)
    return (
        decided.select(
            pl.col("prompt_id").cast(pl.String),
            sample.cast(pl.Int64).alias("sample_index"),
            pl.min_horizontal(left, right).alias("arm_a"),
            pl.max_horizontal(left, right).alias("arm_b"),
            for_a.alias("for_a"),
        )
        .group_by("prompt_id", "sample_index", "arm_a", "arm_b", maintain_order=True)
        .agg(
            pl.col("for_a").sum().cast(pl.Int64).alias("wins_a"),
            (~pl.col("for_a")).sum().cast(pl.Int64).alias("wins_b"),
        )
    )


def _same_answers(decided: pl.DataFrame) -> float | None:
    """The share of equal answers among all pairs of decided votes on one item; None if no item has two."""
    items = _items(decided)
    a, b = items["wins_a"].to_numpy(), items["wins_b"].to_numpy()
    pairs = (a + b) * (a + b - 1) / 2
    equal = a * (a - 1) / 2 + b * (b - 1) / 2
    return float(equal.sum() / pairs.sum()) if pairs.sum() else None


def _own_repeats(votes: VotesTable) -> float | None:
    """How often people repeat their own decided answer on a repeated pair; None without repeats."""
    rows = annotator_rows(votes) if has_values(votes.frame, "annotator") else ()
    n = sum(row.repeat_n for row in rows)
    return sum(row.repeat_same for row in rows) / n if n else None


def _disagreements(
    decided: pl.DataFrame, scores: MetricValues, order: list[str], image_set: ImageSet
) -> tuple[tuple[str, ExamplePair], ...]:
    """Of each metric: the items on which it is surest of the picture that most people did not prefer."""
    items = _items(decided).filter(pl.col("wins_a") + pl.col("wins_b") >= LEAST_VOTES)
    found: list[tuple[str, ExamplePair]] = []
    for name in order:
        sign = 1 if scores.higher_is_better[name] else -1
        wrong = []
        for item in items.iter_rows(named=True):
            values = [
                scores.values.get((item["prompt_id"], item[arm], item["sample_index"]), {}).get(name)
                for arm in ("arm_a", "arm_b")
            ]
            if values[0] is None or values[1] is None:
                continue
            margin = sign * (values[0] - values[1])
            share = item["wins_a"] / (item["wins_a"] + item["wins_b"]) - 0.5
            if margin * share < 0:
                wrong.append((abs(margin) * abs(share), item))
        wrong.sort(key=lambda each: (-each[0], each[1]["prompt_id"], each[1]["arm_a"], each[1]["arm_b"]))
        shown = [ExamplePair(prompt=None, ties=0, **item) for _, item in wrong[:SHOWN]]
        found += [(name, with_pictures(example, image_set)) for example in shown]
    return tuple(found)
