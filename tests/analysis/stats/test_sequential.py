"""Looking early: bounds for all pairs and all looks, rules to stop, and equivalence within a margin."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import polars as pl
import pytest
from scipy import stats
from scipy.special import expit

from analysis.stats import (
    EstimateSettings,
    anytime_win_rates,
    count_codes,
    equivalence_tests,
    estimate,
    look_at,
    verdict_of,
)
from analysis.stats.scales import log_odds
from analysis.stats.sequential import anytime_bound
from qsched.records import InputError
from tests.analysis.conftest import counts_of, draw_study


def growing_study(seed: int, *, prompts: int, arms: int = 6, people: int = 50, each: int = 40, better: float = 0.0):
    """Votes in the order of time, people overlapping; arm 0 is better by `better`, the others are equal."""
    rng = np.random.default_rng(seed)
    a = np.repeat(np.arange(people), each)
    order = np.argsort(np.repeat(rng.permutation(people) * 1.0, each) + rng.uniform(0, 6, len(a)))
    a, p = a[order], rng.integers(0, prompts, len(a))
    i = rng.integers(0, arms, len(a))
    j = (i + rng.integers(1, arms, len(a))) % arms
    u, v = rng.normal(0, 0.5, (people, arms)), rng.normal(0, 0.5, (prompts, arms))
    eta = u[a, i] - u[a, j] + v[p, i] - v[p, j] + better * ((i == 0) * 1.0 - (j == 0) * 1.0)
    choice = np.where(rng.random(len(a)) < 0.2, 2, np.where(rng.random(len(a)) < expit(eta), 0, 1))
    return i, j, choice, a, p


def ever_decided(seed: int, *, prompts: int, looks: int = 12) -> tuple[bool, bool]:
    """Whether some of 15 equal pairs was ever decided: by the anytime bounds, by the report's own intervals."""
    i, j, choice, a, p = growing_study(seed, prompts=prompts)
    names = [f"a{x}" for x in range(6)]
    by_bounds = by_intervals = False
    for n in np.linspace(0, len(i), looks + 1).astype(int)[1:]:
        look = look_at(count_codes(i[:n], j[:n], choice[:n], arms=names, annotator=a[:n], prompt=p[:n]))
        if look is not None:
            by_bounds |= bool(((look.low > 0) | (look.high < 0)).any())
            by_intervals |= bool((np.abs(look.difference) > 1.96 * look.se).any())
    return by_bounds, by_intervals


@pytest.mark.slow
@pytest.mark.parametrize("prompts", [50, 8])
def test_of_fifteen_equal_pairs_none_is_ever_decided_in_95_per_cent_of_the_studies(prompts: int):
    decided = np.array([ever_decided(seed, prompts=prompts) for seed in range(40)])
    assert decided[:, 0].mean() <= 0.1
    assert decided[:, 1].mean() > 0.5, "intervals that are looked at again and again are wrong most of the time"


def test_the_bound_holds_for_a_brownian_motion_and_is_tightest_where_it_is_tuned():
    rng = np.random.default_rng(0)
    information = np.geomspace(1, 2000, 400)
    steps = rng.standard_normal((2000, 400)) * np.sqrt(np.diff(information, prepend=0))
    errors = np.cumsum(steps, axis=1) / information
    se = 1 / np.sqrt(information)
    held = (np.abs(errors) <= anytime_bound(se, alpha=0.05) * se).all(axis=1).mean()
    assert 0.95 <= held <= 0.99
    fixed = (np.abs(errors) <= stats.norm.ppf(0.975) * se).all(axis=1).mean()
    assert fixed < 0.8
    wide = anytime_bound(np.array([0.03, 0.15, 3.0]), alpha=0.05)
    assert wide[1] < min(wide[0], wide[2]) and wide[1] < 3.4


def frame_of(seed: int, better: float, **more: int) -> pl.DataFrame:
    i, j, choice, a, p = growing_study(seed, prompts=40, arms=3, better=better, **more)
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    frame = pl.DataFrame(
        {
            "left_arm": [f"arm{x}" for x in i],
            "right_arm": [f"arm{x}" for x in j],
            "choice": [("left", "right", "tie")[c] for c in choice],
            "annotator": [f"p{x:02d}" for x in a],
            "prompt_id": [f"q{x:02d}" for x in p],
            "answered_at": [start + dt.timedelta(seconds=s) for s in range(len(i))],
        }
    )
    return frame.sample(fraction=1.0, shuffle=True, seed=1)


def test_a_clear_difference_is_found_early_and_unfinished_people_count():
    frame = frame_of(5, 1.2)
    rows = {(row.arm_a, row.arm_b): row for row in anytime_win_rates(frame)}
    clear, even = rows["arm0", "arm1"], rows["arm1", "arm2"]
    assert clear.verdict == "superior" and clear.low > 0.5
    assert clear.decided_after is not None and 3 <= clear.decided_after < clear.n_annotators == 50
    assert even.verdict == "open" and even.decided_after is None and even.low < 0.5 < even.high
    # Half of the votes: most people are in the middle of their work, all their votes count.
    half = anytime_win_rates(frame.sort("answered_at").head(frame.height // 2))
    assert half[0].n_votes == frame.height // 2


def test_bounds_are_wider_than_those_of_a_single_look():
    frame = frame_of(5, 0.5)
    rows = anytime_win_rates(frame, looks=3)
    result = estimate(
        counts_of(
            {
                "left": frame["left_arm"].to_list(),
                "right": frame["right_arm"].to_list(),
                "choice": frame["choice"].to_list(),
                "annotator": frame["annotator"].to_list(),
                "prompt": frame["prompt_id"].to_list(),
            }
        ),
        EstimateSettings(method="sandwich"),
    )
    for row, pair in zip(rows, result.pairwise, strict=True):
        assert row.win_rate == pytest.approx(pair.win_probability)
        assert row.low < pair.win_probability_low and row.high > pair.win_probability_high


def test_rules_to_stop():
    assert verdict_of(0.5, 0.1, 0.9, 0.1, alpha=0.05) == "superior"
    assert verdict_of(0.02, -0.08, 0.1, 0.03, alpha=0.05, margin=0.03) == "equivalent"
    assert verdict_of(0.02, -0.08, 0.1, 0.03, alpha=0.05) == "open"
    # At the planned end the bound would still be far wider than the margin, and the difference is nothing.
    assert verdict_of(0.0, -0.8, 0.8, 0.25, alpha=0.05, margin=0.03, growth=1.2) == "futile"
    assert verdict_of(0.0, -0.8, 0.8, 0.25, alpha=0.05, margin=0.03, growth=400.0) == "open"
    assert verdict_of(0.6, -0.1, 1.3, 0.2, alpha=0.05, growth=3.0) == "open"


def test_the_chance_behind_futility_equals_a_simulation():
    d, se, growth, alpha, margin = 0.25, 0.15, 2.0, 0.05 / 3, 0.1
    rng = np.random.default_rng(0)
    end = se / math.sqrt(growth)
    later = d + rng.standard_normal(200_000) * math.sqrt(se**2 - end**2)
    half = float(anytime_bound(np.array([end]), alpha=alpha)[0]) * end
    edge = log_odds(0.5 + margin)
    chance = ((np.abs(later) > half) | (np.abs(later) < edge - half)).mean()
    assert (verdict_of(d, d - 1, d + 1, se, alpha=alpha, margin=margin, growth=growth) == "futile") == (chance < 0.1)


def test_equivalence_by_two_one_sided_tests_equals_their_definition_and_claims_more_than_intervals_for_all():
    study = draw_study(seed=2, arms=4, annotators=60, prompts=40, each=200, taste=0.1)
    result = estimate(counts_of(study), EstimateSettings(method="sandwich"))
    margin = 0.12
    edge = log_odds(0.5 + margin)
    for row, pair in zip(equivalence_tests(result, margin), result.pairwise, strict=True):
        t_low, t_high = (pair.log_odds + edge) / pair.se, (edge - pair.log_odds) / pair.se
        assert row.p == pytest.approx(max(stats.t.sf(t_low, pair.df), stats.t.sf(t_high, pair.df)), rel=0.35, abs=1e-6)
        assert row.p_holm >= row.p and row.equivalent == (row.p_holm <= 0.05)
    even = [(row.arm_a, row.arm_b) for row in equivalence_tests(result, 0.45)]
    assert even == [(row.arm_a, row.arm_b) for row in result.pairwise]
    with pytest.raises(InputError, match=r"between 0 and 0\.5"):
        equivalence_tests(result, 0.5)


@pytest.mark.slow
def test_pairs_at_the_margin_are_claimed_no_more_often_than_stated():
    claimed = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        n, people, prompts = 3000, 40, 50
        a, p = rng.integers(0, people, n), rng.integers(0, prompts, n)
        u, v = rng.normal(0, 0.3, people), rng.normal(0, 0.3, prompts)
        choice = np.where(rng.random(n) < expit(log_odds(0.55) + u[a] + v[p]), 0, 1)
        counts = count_codes(np.zeros(n, int), np.ones(n, int), choice, arms=["a", "b"], annotator=a, prompt=p)
        (row,) = equivalence_tests(estimate(counts, EstimateSettings(method="sandwich")), 0.045)
        claimed += row.equivalent
    assert claimed <= 8


def test_what_has_no_order_or_no_annotators_is_refused():
    frame = frame_of(1, 0.0, people=8)
    with pytest.raises(InputError, match="annotator and answered_at"):
        anytime_win_rates(frame.drop("answered_at"))
    with pytest.raises(InputError, match="annotator and answered_at"):
        anytime_win_rates(frame.drop("annotator"))
    with pytest.raises(InputError, match="1 votes have no answered_at"):
        first = pl.int_range(pl.len()) == 0
        anytime_win_rates(frame.with_columns(pl.when(first).then(None).otherwise("answered_at").alias("answered_at")))
    with pytest.raises(InputError, match="confidence is 95"):
        anytime_win_rates(frame, confidence=95)


def test_votes_without_an_estimate_have_no_bounds():
    frame = frame_of(1, 0.0, people=8).with_columns(pl.lit("left").alias("choice"), pl.lit("arm0").alias("left_arm"))
    assert anytime_win_rates(frame.filter(pl.col("right_arm") != "arm0")) == ()
