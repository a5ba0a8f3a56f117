"""Intervals that stay right for all pairs at once, however often one looks and whenever one stops.

At a look the votes so far give every pair of arms a difference d with a two-way standard error s, as in the report. The
errors of a growing study are, in the scale of its information I = 1 / s^2, those of a Brownian motion, also where I
stops growing because no new prompts come. Robbins' normal mixture (1970, Ann. Math. Statist. 41:1397-1409) bounds the
whole path: with probability 1 - a, at every look,

    |d - truth| <= b s,   b = sqrt((1 + r / I) log((1 + I / r) / a^2))

r sets where the bound is tightest (here at s = 0.15), a = (1 - confidence) / number of pairs. s is itself estimated
from few clusters, so b is replaced by Student's t at the same tail probability, with the pair's own degrees of freedom
(`analysis.stats.small_samples`), and never less than b vote-level errors are taken.

That counts differences between annotators and between prompts, and votes of people who are still voting. The normal
approximation is that of every interval in the report (asymptotic confidence sequences: Waudby-Smith, Arbour, Sinha,
Kennedy and Ramdas 2024, Ann. Statist. 52:2613-2640).

Rules to stop a pair: "superior" if an even win rate is excluded; "equivalent" if the whole interval is within the
margin; "futile" if it will hardly be either at the planned end: the difference at the end is normal around today's with
variance s^2 - s_end^2, and the chance of excluding an even rate or of lying within the margin is below 10 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from scipy import special

from analysis.stats.counts import VoteCounts, count_frame
from analysis.stats.errors import AnalysisError
from analysis.stats.fit import fit_bradley_terry
from analysis.stats.results import Array
from analysis.stats.scales import log_odds, win_probability
from analysis.stats.spread import Spread, spread_of
from analysis.stats.uncertainty import cluster_sizes, uncertainty_of
from analysis.votes.screened import screened_frame
from analysis.votes.table import VotesTable
from qsched.records import InputError

Verdict = Literal["superior", "equivalent", "futile", "open"]
#: The bound is tightest at this standard error (log-odds).
TUNED_TO = 0.15
FUTILE_BELOW = 0.1
#: How many looks the history has; each is a fit.
LOOKS = 40


@dataclass(frozen=True)
class AnytimeRate:
    """One pair of arms at the last look: the model's win rate of `arm_a` with bounds for all pairs and all looks.

    `decided_after`: the annotators who had voted when an even rate was first excluded, or None.
    """

    arm_a: str
    arm_b: str
    n_annotators: int
    n_votes: int
    win_rate: float
    low: float
    high: float
    verdict: Verdict
    decided_after: int | None


@dataclass(frozen=True)
class LookBounds:
    """Log-odds of all pairs i < j of the arms with bounds, (M,), after so many votes of so many annotators."""

    n_votes: int
    n_annotators: int
    difference: Array
    low: Array
    high: Array
    se: Array


def anytime_bound(se: Array, *, alpha: float) -> Array:
    """Robbins' mixture bound b of |d - truth| / se that holds at all looks with probability 1 - alpha."""
    weight = (TUNED_TO**-2) / (1 - 2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha)))
    with np.errstate(divide="ignore"):
        information = 1 / np.maximum(se, 1e-12) ** 2
    return np.asarray(np.sqrt((1 + weight / information) * np.log((1 + information / weight) / alpha**2)))


def look_at(counts: VoteCounts, *, confidence: float = 0.95) -> LookBounds | None:
    """The bounds of one look; None if the votes so far have no estimate. Needs counts by annotator."""
    k = counts.n_arms
    first, second = (index.astype(np.int64) for index in np.triu_indices(k, 1))
    try:
        fit = fit_bradley_terry(counts)
        spread = spread_of(uncertainty_of(fit, counts, method="sandwich"), first, second)
    except AnalysisError:
        return None
    difference = fit.log_strengths[first] - fit.log_strengths[second]
    half = anytime_half_width(spread, (1 - confidence) / len(first))
    sizes = cluster_sizes(counts)
    return LookBounds(
        n_votes=round(counts.n_votes),
        n_annotators=sizes["annotator"],
        difference=difference,
        low=difference - half,
        high=difference + half,
        se=spread.shown,
    )


def anytime_against(
    counts: VoteCounts, baseline: str, *, of: int, confidence: float = 0.95
) -> dict[str, tuple[float, float, float]]:
    """Win rates of the arms against `baseline`, with bounds for all `of` arms and all looks; empty without an estimate.

    `of` is how many arms the study has beside the baseline, also those that have no votes yet.
    """
    if baseline not in counts.arms:
        return {}
    base = counts.arms.index(baseline)
    others = [number for number in range(counts.n_arms) if number != base]
    try:
        fit = fit_bradley_terry(counts)
        spread = spread_of(uncertainty_of(fit, counts, method="sandwich"), others, [base] * len(others))
    except AnalysisError:
        return {}
    difference = fit.log_strengths[others] - fit.log_strengths[base]
    half = anytime_half_width(spread, (1 - confidence) / of)
    rows = zip(others, difference.tolist(), half.tolist(), strict=True)
    return {
        counts.arms[number]: (win_probability(d), win_probability(d - h), win_probability(d + h))
        for number, d, h in rows
    }


def anytime_half_width(spread: Spread, alpha: float) -> Array:
    """Half of each interval that holds at every look with probability 1 - alpha."""
    b = anytime_bound(spread.shown, alpha=alpha)
    df = spread.far_df
    normal = np.isinf(df)
    wide = np.where(normal, b, -special.stdtrit(np.where(normal, 1.0, df), special.ndtr(-b)))
    return np.asarray(np.maximum(wide * spread.se, b * spread.floor))


def verdict_of(
    difference: float,
    low: float,
    high: float,
    se: float,
    *,
    alpha: float,
    margin: float | None = None,
    growth: float | None = None,
) -> Verdict:
    """The rule that stops a pair. `margin`: win rate from even; `growth`: planned votes over votes so far."""
    if low > 0 or high < 0:
        return "superior"
    edge = None if margin is None else log_odds(0.5 + margin)
    if edge is not None and -edge < low and high < edge:
        return "equivalent"
    if growth is None:
        return "open"
    # At best the variance shrinks as the votes grow; prompts that do not grow in number would leave more.
    end = se / math.sqrt(max(growth, 1.0))
    still = math.sqrt(max(se**2 - end**2, 1e-18))
    half = float(anytime_bound(np.array([end]), alpha=alpha)[0]) * end
    chance = float(special.ndtr((difference - half) / still) + special.ndtr((-half - difference) / still))
    if edge is not None and edge > half:
        room = edge - half
        chance += float(special.ndtr((room - difference) / still) - special.ndtr((-room - difference) / still))
    return "futile" if chance < FUTILE_BELOW else "open"


def anytime_win_rates(
    votes: VotesTable | pl.DataFrame,
    *,
    confidence: float = 0.95,
    margin: float | None = None,
    planned_votes: int | None = None,
    looks: int = LOOKS,
) -> tuple[AnytimeRate, ...]:
    """One record for each pair of arms, by name; needs columns annotator and answered_at (or served_at).

    The confidence is for all pairs and all looks together. Without an estimate at the last look: no records. Raises
    InputError if a column is missing or a vote has no time.
    """
    frame = _in_order(votes)
    if not 0.5 <= confidence < 1:
        raise InputError(f"The confidence is {confidence}; it must be at least 0.5 and below 1, such as 0.95.")
    last = look_at(count_frame(frame), confidence=confidence)
    if last is None:
        return ()
    arms = count_frame(frame).arms
    first, second = np.triu_indices(len(arms), 1)
    decided = _first_exclusions(frame, arms, confidence=confidence, looks=looks)
    growth = None if planned_votes is None else planned_votes / last.n_votes
    alpha = (1 - confidence) / len(first)
    found = []
    for m, (i, j) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
        d, low, high = float(last.difference[m]), float(last.low[m]), float(last.high[m])
        verdict = verdict_of(d, low, high, float(last.se[m]), alpha=alpha, margin=margin, growth=growth)
        found.append(
            AnytimeRate(
                arm_a=arms[i],
                arm_b=arms[j],
                n_annotators=last.n_annotators,
                n_votes=last.n_votes,
                win_rate=win_probability(d),
                low=win_probability(low),
                high=win_probability(high),
                verdict=verdict,
                decided_after=decided.get((arms[i], arms[j]), last.n_annotators if verdict == "superior" else None),
            )
        )
    return tuple(found)


def _in_order(votes: VotesTable | pl.DataFrame) -> pl.DataFrame:
    frame = screened_frame(votes, skips=True)
    when = next((name for name in ("answered_at", "served_at") if name in frame.columns), None)
    if when is None or "annotator" not in frame.columns:
        raise InputError(
            "Looking early follows votes in time: the votes need the columns annotator and answered_at "
            f"(or served_at); they have {', '.join(frame.columns)}."
        )
    if frame[when].null_count():
        raise InputError(f"{frame[when].null_count()} votes have no {when}, so their order is unknown.")
    return frame.filter(pl.col("choice").cast(pl.String) != "skip").sort(when, maintain_order=True)


def _first_exclusions(
    frame: pl.DataFrame, arms: tuple[str, ...], *, confidence: float, looks: int
) -> dict[tuple[str, str], int]:
    """Of pairs that excluded an even rate at an earlier look: the annotators who had voted then."""
    found: dict[tuple[str, str], int] = {}
    for n in np.unique(np.linspace(0, frame.height, looks + 1).astype(int)[1:-1]).tolist():
        counts = count_frame(frame.head(n))
        # With fewer arms there would be fewer pairs to hold for: looks begin when every arm has votes.
        look = look_at(counts, confidence=confidence) if counts.arms == arms else None
        if look is None:
            continue
        first, second = np.triu_indices(len(arms), 1)
        for m in np.flatnonzero((look.low > 0) | (look.high < 0)).tolist():
            found.setdefault((arms[first[m]], arms[second[m]]), look.n_annotators)
    return found
