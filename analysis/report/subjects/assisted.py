"""Contrasts with the baseline, helped by a metric that is known for more prompts than people voted on (`--assist`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.report.kit.section import Section
from analysis.report.kit.table import Column, DataTable
from analysis.report.metrics import MetricValues, read_scores
from analysis.report.settings import ReportSettings
from analysis.report.subjects.claims import percent_words
from analysis.stats.metric_assisted import AssistedContrast, CodedVotes, assisted_contrasts
from analysis.stats.results import Array, Penalty
from analysis.votes import VotesTable
from analysis.votes.coded import codes
from analysis.votes.table import has_values
from qsched.records import InputError

#: With more prompts than these in the votes, the prompts' part of the variance is too small to be worth a metric.
MANY_PROMPTS = 300
OUTCOMES = {"left": 0, "right": 1, "tie": 2}


@dataclass(frozen=True)
class Assisted:
    """Contrasts with `baseline`, helped by `metric`, which is known for `n_others` prompts without votes."""

    metric: str
    baseline: str
    n_prompts: int
    n_others: int
    rows: tuple[AssistedContrast, ...]


def refuse_assist(settings: ReportSettings) -> None:
    """InputError for `--assist` without the options that it needs, or with a model that it does not know."""
    metric, baseline = settings.assist, settings.baseline
    if metric is None:
        return
    if baseline is None or settings.image_set is None:
        missing = "--baseline ARM" if baseline is None else "--image-set FOLDER, scored by `qsched score`"
        raise InputError(f"--assist {metric} needs {missing}: the metric of each arm is compared with the baseline's.")
    if settings.estimate.model != "bradley-terry" or settings.estimate.position_effect:
        raise InputError(f"--assist {metric} works with Bradley-Terry without a position effect; leave the other out.")
    if settings.estimate.penalty != Penalty():
        raise InputError(f"--assist {metric} works without a penalty on the estimates; leave --penalty out.")


def find_assisted(kept: VotesTable, settings: ReportSettings) -> Assisted | None:
    """None without `--assist`. InputError if the metric, or prompts without votes, are missing."""
    metric, baseline = settings.assist, settings.baseline
    if metric is None or baseline is None or settings.image_set is None:
        return None
    for name in ("annotator", "prompt_id"):
        if not has_values(kept.frame, name):
            raise InputError(f"--assist {metric}: the votes have no {name} ids, which its intervals need.")
    frame = kept.frame.filter(pl.col("choice").cast(pl.String).is_in(list(OUTCOMES)))
    arms = tuple(sorted({*frame["left_arm"].cast(pl.String).unique(), *frame["right_arm"].cast(pl.String).unique()}))
    place = {arm: index for index, arm in enumerate(arms)}
    prompts, prompt = codes(frame["prompt_id"])
    voted, others = _values(read_scores(settings.image_set), metric, arms, prompts)

    def arm_codes(name: str) -> pl.Series:
        return frame[name].cast(pl.String).replace_strict(place, return_dtype=pl.Int64)

    votes = CodedVotes(
        left=arm_codes("left_arm").to_numpy(),
        right=arm_codes("right_arm").to_numpy(),
        outcome=frame["choice"].cast(pl.String).replace_strict(OUTCOMES, return_dtype=pl.Int64).to_numpy(),
        annotator=codes(frame["annotator"])[1],
        prompt=prompt,
    )
    chosen = settings.estimate
    rows = assisted_contrasts(
        votes,
        arms,
        place[baseline],
        voted,
        others,
        ties=chosen.ties,
        confidence=chosen.confidence,
        seed=chosen.seed,
    )
    return Assisted(metric, baseline, len(prompts), len(others), rows)


def _values(scores: MetricValues, metric: str, arms: tuple[str, ...], prompts: tuple[str, ...]) -> tuple[Array, Array]:
    """The metric (more is better, mean over samples) of the voted prompts, (P, K), and of all others, (M, K)."""
    if metric not in scores.higher_is_better:
        raise InputError(
            f"--assist {metric!r}: the image set has no values of it, but of {', '.join(scores.higher_is_better)}."
        )
    sign = 1.0 if scores.higher_is_better[metric] else -1.0
    by: dict[str, dict[str, list[float]]] = {}
    for (prompt, arm, _), values in scores.values.items():
        if metric in values:
            by.setdefault(prompt, {}).setdefault(arm, []).append(sign * values[metric])
    whole = {prompt: [float(np.mean(each[arm])) for arm in arms] for prompt, each in by.items() if {*arms} <= {*each}}
    lacking = [prompt for prompt in prompts if prompt not in whole]
    if lacking:
        raise InputError(
            f"--assist {metric}: {len(lacking)} of {len(prompts)} prompts with votes (such as {lacking[0]!r}) have no "
            "value of it for every arm. A metric against the baseline has none for the baseline itself; choose one of "
            "single pictures, or run `qsched score` for all arms."
        )
    asked = set(prompts)
    others = [values for prompt, values in whole.items() if prompt not in asked]
    return np.array([whole[prompt] for prompt in prompts]), np.array(others).reshape(-1, len(arms))


def assisted_section(found: Assisted | None, *, confidence: float) -> Section:
    """The contrasts without and with the metric; empty without `--assist`."""
    title = "With the help of a metric"
    if found is None:
        return Section("assisted", title)
    return Section(
        "assisted",
        title,
        paragraphs=(
            f"{found.metric} is known for the {found.n_prompts:,} prompts with votes and for {found.n_others:,} prompts"
            " that nobody voted on. As far as it goes with the votes, each arm's difference from the baseline "
            f"({found.baseline}) is moved from the voted prompts to all of them. "
            "The interval holds whatever the metric is worth, if the voted prompts were drawn from all prompts at "
            "random; no vote is replaced.",
            _worth(found),
        ),
        tables=(_table(found, confidence),),
        csv=(_table(found, confidence),),
    )


def _worth(found: Assisted) -> str:
    times = sorted(row.times for row in found.rows)
    spread = f"{times[0]:.2f}" if len(times) == 1 else f"{times[0]:.2f} to {times[-1]:.2f}"
    few = (
        f"With {found.n_prompts:,} prompts little can be gained: a metric acts on the prompts' part of the error only."
    )
    return (
        f"Variance without the metric over variance with it: {spread}; below 1 it costs more than it gives. "
        "These intervals are by the sandwich formula, so they differ a little from the bootstrap's in other sections. "
        + (few if found.n_prompts > MANY_PROMPTS else "")
    ).strip()


def _table(found: Assisted, confidence: float) -> DataTable:
    return DataTable.of(
        "assisted",
        found.rows,
        caption=(
            f"Win rate against {found.baseline} with {percent_words(confidence)} intervals, without and with "
            f"{found.metric}"
        ),
        columns=(
            Column("arm", "Arm", "text"),
            Column("win_rate", "Win rate", "percent"),
            Column("low", "Low", "percent"),
            Column("high", "High", "percent"),
            Column("win_rate_assisted", "With the metric", "percent"),
            Column("low_assisted", "Low", "percent"),
            Column("high_assisted", "High", "percent"),
            Column("times", "Variance ratio"),
        ),
    )
