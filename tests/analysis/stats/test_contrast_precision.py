"""Few clusters behind one contrast, all pairs at once, quasi-variances, chances of ranks."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from analysis.stats import (
    EstimateSettings,
    VoteCounts,
    count_arrays,
    estimate,
    fit_bradley_terry,
    pair_contrasts,
    rebase,
    uncertainty_of,
)
from analysis.stats.quasi_variance import quasi_variances
from analysis.stats.rank_chances import rank_chances
from analysis.stats.sequential import anytime_half_width
from analysis.stats.simultaneous import joint_level
from analysis.stats.small_samples import with_known_votes
from analysis.stats.spread import Spread, spread_of, t_quantile
from tests.analysis.conftest import counts_of, draw_study

SANDWICH = EstimateSettings(method="sandwich")


def with_late_arm(study: dict[str, list[str]], votes: int, annotator: str | None = None) -> VoteCounts:
    """The study with `votes` more about an arm that nobody else saw, won by either side in turn."""
    more = {name: list(values) for name, values in study.items()}
    for number in range(votes):
        more["left"].append("late")
        more["right"].append(f"arm{number % 3}")
        more["choice"].append("left" if number % 2 else "right")
        more["annotator"].append(annotator or f"ann{number % 3:02d}")
        more["prompt"].append(f"pr{number % 15:02d}")
    return counts_of(more)


def test_three_votes_for_a_new_arm_leave_the_quasi_intervals_and_contrasts_of_the_others_alone():
    study = draw_study(annotators=30, each=50)
    before, after = estimate(counts_of(study), SANDWICH), estimate(with_late_arm(study, 3), SANDWICH)
    rows = {row.arm: row for row in after.strengths}
    for row in before.strengths:
        new = rows[row.arm]
        assert new.high - new.low > 1.5 * (row.high - row.low), "strengths that sum to zero have it in all of them"
        assert new.quasi_high - new.quasi_low == pytest.approx(row.quasi_high - row.quasi_low, rel=0.1)
    assert rows["late"].quasi_se > 5 * rows["arm0"].quasi_se
    pairs = {(row.arm_a, row.arm_b): row for row in after.pairwise}
    for pair in before.pairwise:
        assert pairs[pair.arm_a, pair.arm_b].high == pytest.approx(pair.high, abs=0.03)
    relative = {row.arm: row for row in rebase(after, "arm0")}
    assert relative["arm1"].high - relative["arm1"].low == pytest.approx(
        pairs["arm0", "arm1"].high - pairs["arm0", "arm1"].low
    )


def test_an_arm_that_few_people_judged_has_their_degrees_of_freedom():
    study = draw_study(annotators=40, prompts=50, each=40)
    keep = [
        i
        for i, who in enumerate(study["annotator"])
        if who < "ann05" or "arm3" not in (study["left"][i], study["right"][i])
    ]
    result = estimate(counts_of({name: [values[i] for i in keep] for name, values in study.items()}), SANDWICH)
    df = {(row.arm_a, row.arm_b): row.df for row in result.pairwise}
    # Five people, of whose tastes only a part of the variance comes.
    assert 2 < df["arm0", "arm3"] < 20 < 40 < df["arm0", "arm1"]


def test_degrees_of_freedom_grow_with_the_share_of_the_variance_that_is_the_votes_own_noise():
    df, votes = np.full((3, 3), 4.0), np.full((3, 3), 1.0)
    mixed = with_known_votes(df, np.full((3, 3), 4 / 3), votes, arms=3)
    assert mixed[0, 1] == pytest.approx(8), "a quarter of the variance is of people and prompts"
    assert with_known_votes(df, np.full((3, 3), 1e6), votes, arms=3)[0, 1] == pytest.approx(4)
    chance = np.full((3, 3), 4 / 3)
    chance[0, 1] = chance[1, 0] = 0.5
    assert with_known_votes(df, chance, votes, arms=3)[0, 1] < 20, "one that is small by chance has the share of all"
    own = np.array([[0.0, 100.0, 1.01], [100.0, 0.0, 1.01], [1.01, 1.01, 0.0]])
    assert with_known_votes(df, own, votes, arms=3)[0, 1] == pytest.approx(4, rel=0.01), "and a larger one its own"


def test_terms_of_covariates_leave_the_degrees_of_freedom_of_the_strengths_alone():
    """A difference of a strength and a term means nothing, and has the term's unit."""
    counts = counts_of(draw_study(annotators=6, each=40))
    fit = fit_bradley_terry(counts)
    plain = uncertainty_of(fit, counts, method="sandwich")
    k = len(fit.arms)
    rows = np.vstack([np.eye(k, len(fit.parameters)), 1000 * np.eye(1, len(fit.parameters))])
    mapped = uncertainty_of(fit, counts, method="sandwich", rows=rows)
    assert mapped.precision.df[:k, :k] == pytest.approx(plain.precision.df[:k, :k])


def test_an_arm_that_a_single_annotator_judged_is_named():
    result = estimate(with_late_arm(draw_study(annotators=20), 20, annotator="ann00"), SANDWICH)
    (words,) = [line for line in result.warnings if "single annotator" in line]
    assert "about late " in words
    assert not any("single" in line for line in estimate(counts_of(draw_study()), SANDWICH).warnings)


def test_equal_loads_have_the_plain_number_of_clusters_less_one():
    arms = [("a", "b"), ("b", "c"), ("c", "a")]
    rng = np.random.default_rng(5)
    left, right, choice, annotator = [], [], [], []
    for person in range(12):
        for a, b in arms * 4:
            left.append(a)
            right.append(b)
            choice.append("left" if rng.random() < 0.5 else "right")
            annotator.append(f"p{person:02d}")
    result = estimate(
        count_arrays(left, right, choice, annotator=annotator),
        EstimateSettings(intervals="annotator", method="sandwich"),
    )
    assert [row.df for row in result.pairwise] == pytest.approx([11.0] * 3)
    plain = dataclasses.replace(result.uncertainty, precision=None)
    assert spread_of(result.uncertainty, [0], [1]).se == pytest.approx(spread_of(plain, [0], [1]).se)


def test_all_pairs_at_once_hold_as_often_as_stated_with_few_clusters():
    """Standard errors from nu draws of a normal vector, as a sandwich of nu clusters gives them."""
    k, nu = 6, 5
    first, second = (index.astype(np.int64) for index in np.triu_indices(k, 1))
    counts = counts_of(draw_study(arms=k, annotators=30, each=40))
    unc = uncertainty_of(fit_bradley_terry(counts), counts, method="sandwich")
    values, vectors = np.linalg.eigh(unc.covariance[:k, :k])
    root = vectors * np.sqrt(np.maximum(values, 0))
    rng = np.random.default_rng(0)
    held = 0
    level = None
    for _ in range(1500):
        errors, clusters = root @ rng.standard_normal(k), rng.standard_normal((nu, k)) @ root.T
        spread = spread_of(dataclasses.replace(unc, precision=None, floor=None, df=float(nu)), first, second)
        if level is None:
            level = joint_level(unc, first, second, spread, confidence=0.95, seed=1).alpha
        se = np.sqrt(((clusters[:, first] - clusters[:, second]) ** 2).mean(axis=0))
        half = dataclasses.replace(spread, se=se).half_width_at(level, 0.0)
        held += bool((np.abs(errors[first] - errors[second]) <= half).all())
    assert held / 1500 == pytest.approx(0.95, abs=0.02)


def test_with_many_clusters_the_level_is_that_of_the_largest_normal_difference():
    k = 5
    first, second = (index.astype(np.int64) for index in np.triu_indices(k, 1))
    counts = counts_of(draw_study(arms=k))
    unc = uncertainty_of(fit_bradley_terry(counts), counts, intervals="vote", method="sandwich")
    unc = dataclasses.replace(unc, covariance=np.eye(k), precision=None)
    level = joint_level(unc, first, second, spread_of(unc, first, second), confidence=0.95, seed=0)
    # Tukey's studentised range for 5 means and infinite degrees of freedom: 3.858.
    assert level.normal == pytest.approx(3.858 / np.sqrt(2), abs=0.04)
    assert unc.df == np.inf and 0.05 / 10 < level.alpha < 0.05


def test_three_hundred_arms_take_sidaks_level_at_once():
    k = 120
    first, second = (index.astype(np.int64) for index in np.triu_indices(k, 1))
    counts = counts_of(draw_study())
    unc = uncertainty_of(fit_bradley_terry(counts), counts, intervals="vote", method="sandwich")
    unc = dataclasses.replace(unc, covariance=np.eye(k), precision=None)
    level = joint_level(unc, first, second, spread_of(unc, first, second), confidence=0.95, seed=0)
    assert (1 - level.alpha) ** len(first) == pytest.approx(0.95)
    wide = pair_contrasts(np.zeros(k), unc)
    assert wide.high_all[0] == pytest.approx(level.normal * np.sqrt(2))


@given(st.integers(0, 10_000), st.integers(3, 7))
@settings(max_examples=20, deadline=None)
def test_quasi_variances_minimise_the_squared_differences_of_logarithms(seed: int, k: int):
    rng = np.random.default_rng(seed)
    half = rng.normal(size=(k, k))
    v = np.diag(rng.uniform(0.5, 2, k)) + 0.05 * half @ half.T
    pairs = np.diag(v)[:, None] + np.diag(v)[None, :] - 2 * v
    first, second = np.triu_indices(k, 1)

    def loss(logs: np.ndarray) -> float:
        q = np.exp(logs)
        return float(((np.log(q[first] + q[second]) - np.log(pairs[first, second])) ** 2).sum())

    found = quasi_variances(pairs)
    twin = minimize(loss, np.log(np.diag(v)), method="BFGS", options={"gtol": 1e-9})
    assert loss(np.log(np.maximum(found.q, 1e-300))) <= twin.fun + 1e-8
    worst = np.abs(np.sqrt((found.q[first] + found.q[second]) / pairs[first, second]) - 1).max()
    assert found.error == pytest.approx(worst)


def test_quasi_variances_of_independent_arms_are_their_variances():
    own = np.array([1.0, 4.0, 0.25, 2.0])
    assert quasi_variances(own[:, None] + own[None, :]).q == pytest.approx(own, rel=1e-6)
    assert quasi_variances(np.array([[0.0, 3.0], [3.0, 0.0]])).q == pytest.approx([1.5, 1.5])


def test_chances_of_ranks_equal_a_loop_and_favour_the_stronger():
    counts = counts_of(draw_study(annotators=30, each=40))
    result = estimate(counts, SANDWICH)
    chances = rank_chances(result.fit.log_strengths, result.uncertainty, seed=3)
    assert chances.sum(axis=0) == pytest.approx(1) and chances.sum(axis=1) == pytest.approx(1)
    rng = np.random.default_rng(8)
    nu = np.median([row.df for row in result.pairwise])
    root = np.linalg.cholesky(result.uncertainty.covariance + 1e-12 * np.eye(4))
    times = np.zeros((4, 4))
    for _ in range(4000):
        drawn = result.fit.log_strengths + root @ rng.standard_normal(4) / np.sqrt(rng.chisquare(nu) / nu)
        for place, arm in enumerate(sorted(range(4), key=lambda i: -drawn[i])):
            times[arm, place] += 1
    assert chances == pytest.approx(times / 4000, abs=0.03)
    best, worst = result.strengths[0], result.strengths[-1]
    assert best.chance_best > 0.5 > worst.chance_best and worst.rank_chances[-1] > 0.5


def test_two_equal_arms_are_best_with_even_chances():
    counts = count_arrays(
        ["a", "b"] * 60, ["b", "a"] * 60, ["left"] * 120, annotator=[f"p{i // 2 % 20}" for i in range(120)]
    )
    result = estimate(counts, EstimateSettings(intervals="annotator", method="sandwich"))
    assert result.strengths[0].chance_best == pytest.approx(0.5, abs=0.03)


def test_a_quasi_variance_that_would_be_negative_is_said_not_to_exist():
    # v = q_i + q_j with q = (-0.2, 1.2, 0.9): nothing that is positive gives these three.
    pairs = np.array([[0.0, 1.0, 0.7], [1.0, 0.0, 2.1], [0.7, 2.1, 0.0]])
    assert not quasi_variances(pairs).exist
    assert quasi_variances(np.array([[0.0, 1.4, 1.1], [1.4, 0.0, 2.1], [1.1, 2.1, 0.0]])).exist


def test_only_clusters_count_where_the_tail_hangs_on_the_degrees_of_freedom():
    spread = Spread(np.array([1.0]), np.array([0.5]), np.array([40.0]), np.array([4.0]))
    assert spread.half_width(0.95) == pytest.approx(t_quantile(0.05, np.array([40.0])))
    assert spread.half_width_at(0.005, 2.8) == pytest.approx(t_quantile(0.005, np.array([4.0])))
    wide = Spread(np.array([1.0]), np.array([0.5]), np.array([4.0]))
    assert anytime_half_width(spread, 0.05) == pytest.approx(anytime_half_width(wide, 0.05))
