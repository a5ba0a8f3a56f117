"""The confidence sequence: coverage under optional stopping, its definition, and the order of annotators."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from analysis.stats import anytime_win_rates, confidence_sequence
from qsched.records import InputError


def ever_wrong(draw, mean: float, *, runs: int, length: int) -> float:
    """Share of runs in which the true mean is outside at some look: the most unlucky stopping rule there is."""
    wrong = 0
    for run in range(runs):
        sequence = confidence_sequence(draw(np.random.default_rng([11, run]), length))
        wrong += bool(((sequence.low > mean) | (sequence.high < mean)).any())
    return wrong / runs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mean"), [("coin", 0.5), ("skewed coin", 0.9), ("halves and ties", 0.6), ("annotator means", 0.55)]
)
def test_the_true_mean_is_ever_outside_in_no_more_than_five_per_cent_of_the_studies(name: str, mean: float):
    draws = {
        "coin": lambda rng, n: (rng.random(n) < 0.5).astype(float),
        "skewed coin": lambda rng, n: (rng.random(n) < 0.9).astype(float),
        "halves and ties": lambda rng, n: rng.choice([0.0, 0.5, 1.0], n, p=[0.3, 0.2, 0.5]),
        "annotator means": lambda rng, n: rng.binomial(20, rng.beta(5.5, 4.5, n)) / 20,
    }
    share = ever_wrong(draws[name], mean, runs=300, length=400)
    assert share <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 300)


def test_the_usual_interval_looked_at_as_often_is_wrong_far_more_often():
    wrong = 0
    for run in range(200):
        x = (np.random.default_rng([11, run]).random(400) < 0.5).astype(float)
        t = np.arange(1, 401)
        mean = np.cumsum(x) / t
        wrong += bool((np.abs(mean - 0.5)[20:] > 1.96 * np.sqrt(0.25 / t)[20:]).any())
    assert wrong / 200 > 0.15


def test_it_narrows_and_finds_a_real_preference():
    x = (np.random.default_rng(3).random(2000) < 0.6).astype(float)
    found = confidence_sequence(x)
    assert (np.diff(found.low) >= 0).all() and (np.diff(found.high) <= 0).all()
    assert found.low[-1] > 0.5 and found.first_outside(0.5) < 2000
    assert found.high[-1] - found.low[-1] < 0.12


def test_bounds_equal_a_loop_over_the_definition():
    x = np.random.default_rng(5).random(60).round(2)
    found = confidence_sequence(x, confidence=0.9)
    alpha, inside = 0.1, set(range(2001))
    up, down = dict.fromkeys(inside, 1.0), dict.fromkeys(inside, 1.0)
    total, squares, variance = 0.0, 0.0, 0.25
    for t, value in enumerate(x, start=1):
        bet = math.sqrt(2 * math.log(2 / alpha) / (variance * t * math.log(1 + t)))
        for g in up:
            m = g / 2000
            up[g] *= 1 + min(bet, 0.5 / m if m else math.inf) * (value - m)
            down[g] *= 1 - min(bet, 0.5 / (1 - m) if m < 1 else math.inf) * (value - m)
            if max(up[g], down[g]) / 2 >= 1 / alpha:
                inside.discard(g)
        total += value
        squares += (value - (0.5 + total) / (t + 1)) ** 2
        variance = (0.25 + squares) / (t + 1)
        assert found.low[t - 1] == pytest.approx(max(min(inside) - 1, 0) / 2000)
        assert found.high[t - 1] == pytest.approx(min(max(inside) + 1, 2000) / 2000)


def frame_of(rows: list[tuple[str, str, str, str, int]]) -> pl.DataFrame:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    names = ("left_arm", "right_arm", "choice", "annotator")
    frame = pl.DataFrame({name: [row[i] for row in rows] for i, name in enumerate(names)})
    return frame.with_columns(answered_at=pl.Series([start + timedelta(minutes=row[4]) for row in rows]))


def test_each_annotator_counts_once_when_the_last_vote_is_in():
    rows = [
        ("a", "b", "left", "early", 1),
        ("b", "a", "tie", "early", 2),
        ("b", "a", "left", "late", 0),
        ("a", "c", "left", "late", 9),
        ("a", "b", "skip", "early", 3),
    ]
    ab, ac = anytime_win_rates(frame_of(rows))
    assert (ab.arm_a, ab.arm_b, ab.n_annotators, ab.n_votes) == ("a", "b", 2, 3)
    # "late" began first but finished last: the sequence starts with "early", whose mean is (1 + 1/2) / 2.
    assert ab.sequence.mean.tolist() == pytest.approx([0.75, 0.375])
    assert ac.win_rate == 1.0 and ac.decided_after is None and ac.low < 0.5


def test_what_has_no_order_or_no_annotators_is_refused():
    frame = frame_of([("a", "b", "left", "x", 1)])
    with pytest.raises(InputError, match="answered_at"):
        anytime_win_rates(frame.drop("answered_at"))
    with pytest.raises(InputError, match="annotator"):
        anytime_win_rates(frame.drop("annotator"))
    with pytest.raises(InputError, match="1 votes have no answered_at"):
        anytime_win_rates(frame.with_columns(answered_at=pl.lit(None, pl.Datetime("us", "UTC"))))
    with pytest.raises(InputError, match="between 0 and 1"):
        confidence_sequence(np.array([1.5]))
