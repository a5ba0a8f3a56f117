"""An interval for a win rate that stays right however often one looks and whenever one stops.

A confidence sequence C_1, C_2, ... contains the mean m in all of its intervals at once with the stated confidence, so
a study may be watched and ended by what it shows (Darling and Robbins 1967, PNAS 58:66-68). This is the hedged
capital process of Waudby-Smith and Ramdas (2024, JRSS B 86:1-27, section 4.4) for values X_t in [0, 1]:

    K+_t(m) = prod (1 + a_t (X_t - m)),   a_t = min(l_t, 1/(2m))
    K-_t(m) = prod (1 - b_t (X_t - m)),   b_t = min(l_t, 1/(2(1-m)))
    l_t = sqrt(2 log(2/alpha) / (s_{t-1} t log(1 + t))),  s_t: the variance so far, with one prior value of 1/4
    C_t = {m: max(K+_t(m), K-_t(m)) / 2 < 1/alpha},       intersected over time

If the X_t have conditional mean m given the past, each K is a martingale at m, and Ville's inequality bounds the
chance that either ever reaches 2/alpha by alpha: no normal approximation, no number of looks fixed beforehand.

Votes of one annotator are not such a sequence: the second tells what the first already told. `anytime_win_rates` takes
one value an annotator instead, the mean score of all the votes on that pair (win 1, tie 1/2, loss 0), in the order in
which annotators gave their last vote. That needs annotators who are independent of one another and of the order in
which they finish; the mean is over annotators, each counted once, not over votes. Differences between prompts are not
counted: the result is for these prompts. An annotator who is still voting must not be in the table at a look.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.stats.results import Array
from analysis.votes.table import VotesTable
from qsched.records import InputError

#: Candidate means 0, 1/2000, ..., 1; bounds are rounded outward to the next of them.
_GRID = 2000
_BLOCK = 512


@dataclass(frozen=True)
class ConfidenceSequence:
    """Bounds after each value, shape (T,), and the plain mean so far; `confidence` is for all T at once."""

    mean: Array
    low: Array
    high: Array
    confidence: float

    def first_outside(self, value: float) -> int | None:
        """After how many values the sequence excluded `value` for good, or None."""
        outside = np.flatnonzero((self.low > value) | (self.high < value))
        return int(outside[0]) + 1 if len(outside) else None


@dataclass(frozen=True)
class AnytimeRate:
    """One pair of arms: mean over annotators of their win rate of `arm_a`, with the bounds at the last look.

    `decided_after`: the number of annotators after which an even rate was excluded, or None.
    """

    arm_a: str
    arm_b: str
    n_annotators: int
    n_votes: int
    win_rate: float
    low: float
    high: float
    decided_after: int | None
    sequence: ConfidenceSequence


def confidence_sequence(values: Array, *, confidence: float = 0.95) -> ConfidenceSequence:
    """Bounds for the mean of values in [0, 1] given in their order, shape (T,); InputError for others or none."""
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or len(x) == 0 or not ((x >= 0) & (x <= 1)).all():
        raise InputError("A confidence sequence needs at least one value, each between 0 and 1, in their order.")
    if not 0.5 <= confidence < 1:
        raise InputError(f"The confidence is {confidence}; it must be at least 0.5 and below 1, such as 0.95.")
    alpha = 1 - confidence
    t = np.arange(1, len(x) + 1)
    centre = (0.5 + np.cumsum(x)) / (t + 1)
    variance = (0.25 + np.cumsum((x - centre) ** 2)) / (t + 1)
    before = np.concatenate([[0.25], variance[:-1]])
    bet = np.sqrt(2 * math.log(2 / alpha) / (before * t * np.log1p(t)))
    m = np.arange(_GRID + 1) / _GRID
    most_up = 0.5 / np.maximum(m, 1e-12)
    most_down = 0.5 / np.maximum(1 - m, 1e-12)
    up, down = np.zeros(len(m)), np.zeros(len(m))
    limit = math.log(2 / alpha)
    alive = np.ones(len(m), dtype=bool)
    low, high = np.empty(len(x)), np.empty(len(x))
    for start in range(0, len(x), _BLOCK):
        part = slice(start, start + _BLOCK)
        d, bets = x[part, None] - m, bet[part, None]
        log_up = up + np.cumsum(np.log1p(np.minimum(bets, most_up) * d), axis=0)
        log_down = down + np.cumsum(np.log1p(-np.minimum(bets, most_down) * d), axis=0)
        out = np.logical_or.accumulate(np.maximum(log_up, log_down) >= limit, axis=0)
        inside = alive & ~out
        up, down, alive = log_up[-1], log_down[-1], inside[-1]
        some = inside.any(axis=1)
        first, last = inside.argmax(axis=1), _GRID - inside[:, ::-1].argmax(axis=1)
        # One step outward: the edge lies between the last mean that is in and the first that is out.
        low[part] = np.where(some, np.maximum(first - 1, 0) / _GRID, np.nan)
        high[part] = np.where(some, np.minimum(last + 1, _GRID) / _GRID, np.nan)
    return ConfidenceSequence(np.cumsum(x) / t, low, high, confidence)


def anytime_win_rates(votes: VotesTable | pl.DataFrame, *, confidence: float = 0.95) -> tuple[AnytimeRate, ...]:
    """One record a pair of arms that has votes, in the order of names; needs columns annotator and answered_at.

    The confidence is of each pair by itself. InputError where a column is missing or a vote has no time.
    """
    frame = votes.frame if isinstance(votes, VotesTable) else votes
    when = next((name for name in ("answered_at", "served_at") if name in frame.columns), None)
    if when is None or "annotator" not in frame.columns:
        raise InputError(
            "A confidence sequence follows annotators in time: the votes need the columns annotator and answered_at "
            f"(or served_at); they have {', '.join(frame.columns)}."
        )
    if frame[when].null_count():
        raise InputError(f"{frame[when].null_count()} votes have no {when}; their order is not known.")
    left, right = pl.col("left_arm").cast(pl.String), pl.col("right_arm").cast(pl.String)
    choice = pl.col("choice").cast(pl.String)
    score = pl.when(choice == "tie").then(0.5).when((choice == "left") == (left < right)).then(1.0).otherwise(0.0)
    finished = frame.group_by("annotator").agg(pl.col(when).max().alias("finished"))
    persons = (
        frame.filter(choice != "skip")
        .select(
            pl.min_horizontal(left, right).alias("a"),
            pl.max_horizontal(left, right).alias("b"),
            "annotator",
            score.alias("y"),
        )
        .group_by("a", "b", "annotator")
        .agg(pl.col("y").mean(), pl.len().alias("n"))
        .join(finished, on="annotator")
        .sort("a", "b", "finished", pl.col("annotator").cast(pl.String))
    )
    found = []
    for (a, b), part in persons.group_by("a", "b", maintain_order=True):
        sequence = confidence_sequence(part["y"].to_numpy(), confidence=confidence)
        found.append(
            AnytimeRate(
                arm_a=str(a),
                arm_b=str(b),
                n_annotators=part.height,
                n_votes=int(part["n"].sum()),
                win_rate=float(sequence.mean[-1]),
                low=float(sequence.low[-1]),
                high=float(sequence.high[-1]),
                decided_after=sequence.first_outside(0.5),
                sequence=sequence,
            )
        )
    return tuple(found)
