"""Does the model fit: residuals of pairs, the clustered test of fit, one test for all strata."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit

from analysis.stats import (
    EstimateSettings,
    VoteCounts,
    count_codes,
    count_table,
    estimate,
    fit_bradley_terry,
    fit_model,
    model_fit,
    omnibus_test,
    prepare,
)
from analysis.stats.quadratic_test import quadratic_test
from analysis.stats.results import Model
from tests.analysis.conftest import counts_of, draw_study


def draw(
    seed: int, *, cycle: float = 0.0, each: int = 50, strata: int = 1, change: float = 0.0, k: int = 6
) -> list[VoteCounts]:
    """A crossed study, tastes sd .5: arms 1, 2, 3 beat one another in a circle; the last stratum of prompts swaps two
    arms by `change`."""
    rng = np.random.default_rng(seed)
    people, prompts = 40, 48
    a = np.repeat(np.arange(people), each)
    p = rng.integers(0, prompts, len(a))
    i = rng.integers(0, k, len(a))
    j = (i + rng.integers(1, k, len(a))) % k
    circle = np.zeros((k, k))
    for x, y in ((1, 2), (2, 3), (3, 1)):
        circle[x, y], circle[y, x] = cycle, -cycle
    theta = np.tile(np.linspace(-0.6, 0.6, k), (strata, 1))
    theta[-1, :2] += change * np.array([1.0, -1.0])
    u, v = rng.normal(0, 0.5, (people, k)), rng.normal(0, 0.5, (prompts, k))
    s = p % strata
    eta = theta[s, i] - theta[s, j] + u[a, i] - u[a, j] + v[p, i] - v[p, j] + circle[i, j]
    choice = np.where(rng.random(len(a)) < 0.2, 2, np.where(rng.random(len(a)) < expit(eta), 0, 1))
    names = [f"arm{x}" for x in range(k)]
    return [
        count_codes(i[at], j[at], choice[at], arms=names, annotator=a[at], prompt=p[at])
        for at in (np.flatnonzero(s == x) for x in range(strata))
    ]


def p_values(n: int, **design: float) -> np.ndarray:
    found = []
    for seed in range(n):
        (counts,) = draw(seed, **design)  # keyword arguments of one function
        test = model_fit(fit_bradley_terry(counts), counts).test
        assert test is not None
        found.append(test.p)
    return np.array(found)


@pytest.mark.slow
def test_false_alarms_are_no_more_than_five_per_cent_and_a_planted_circle_is_found():
    assert (p_values(150) < 0.05).mean() <= 0.06
    assert (p_values(20, cycle=0.8, each=150) < 0.05).mean() >= 0.9


def test_a_circle_is_said_in_words_with_its_pair_and_an_ordinary_study_says_nothing():
    (counts,) = draw(3, cycle=1.2, each=150)
    result = estimate(counts, EstimateSettings(method="sandwich"))
    (words,) = [line for line in result.warnings if "projection" in line]
    worst = result.model_fit.residuals[0]
    assert {worst.arm_a, worst.arm_b} <= {"arm1", "arm2", "arm3"} and worst.p_holm < 0.05
    assert worst.arm_a in words and worst.arm_b in words
    quiet = estimate(counts_of(draw_study(seed=1)), EstimateSettings(method="sandwich"))
    assert not any("projection" in line for line in quiet.warnings)


@pytest.mark.parametrize("model", ["bradley-terry", "davidson", "rao-kupper"])
def test_residuals_equal_a_loop_and_sum_to_zero_for_every_arm(model: Model):
    study = draw_study(seed=4, arms=4)
    counts = counts_of(study)
    fit = fit_model(counts, model=model)
    found = model_fit(fit, counts)
    theta = dict(zip(fit.arms, fit.log_strengths, strict=True))
    excess = {(row.arm_a, row.arm_b): row.excess * row.n_votes for row in found.residuals}
    if model == "bradley-terry":
        twin = dict.fromkeys(excess, 0.0)
        for left, right, choice in zip(study["left"], study["right"], study["choice"], strict=True):
            a, b = min(left, right), max(left, right)
            score = {"tie": 0.5}.get(choice, float((choice == "left") == (left == a)))
            twin[a, b] += score - expit(theta[a] - theta[b])
        assert excess == pytest.approx(twin, abs=1e-9)
    for arm in fit.arms:
        balance = sum(value * ((arm == a) - (arm == b)) for (a, b), value in excess.items())
        assert balance == pytest.approx(0, abs=1e-6)


def test_with_independent_votes_errors_are_those_of_the_likelihood():
    """Of one pair's own parameter: variance of its score given the strengths, by the partitioned information."""
    rng = np.random.default_rng(2)
    rows = [(f"a{i}", f"a{j}", *rng.multinomial(400, [0.5, 0.5])) for i in range(4) for j in range(i + 1, 4)]
    counts = count_table(rows)
    fit = fit_bradley_terry(counts)
    found = model_fit(fit, counts, intervals="vote")
    p = expit(fit.log_strengths[counts.left] - fit.log_strengths[counts.right])
    w = counts.outcomes.sum(axis=1) * p * (1 - p)
    x = np.zeros((6, 4))
    x[range(6), counts.left], x[range(6), counts.right] = 1, -1
    left_over = np.diag(w) - (w[:, None] * x) @ prepare(fit, counts).bread @ (w[:, None] * x).T
    errors = {(row.arm_a, row.arm_b): row.se * row.n_votes for row in found.residuals}
    for cell in range(6):
        pair = counts.arms[counts.left[cell]], counts.arms[counts.right[cell]]
        assert errors[pair] == pytest.approx(np.sqrt(left_over[cell, cell]), rel=0.1)
    assert found.deviance_df == 3 and found.test is not None
    # The deviance and the test agree when votes are independent.
    assert found.test.p == pytest.approx(stats.chi2.sf(found.deviance, 3), abs=0.05)


def test_two_or_three_pairs_without_a_circle_have_no_test():
    found = model_fit(*_two(count_table([("a", "b", 5, 4), ("b", "c", 5, 4)])))
    assert found.test is None and "no more pairs" in found.why and found.words() == ""


def _two(counts: VoteCounts):
    return fit_bradley_terry(counts), counts


def test_many_arms_have_a_deviance_and_say_why_there_is_no_test(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("analysis.stats.goodness_of_fit.MOST_ARMS", 3)
    counts = counts_of(draw_study())
    found = model_fit(fit_bradley_terry(counts), counts)
    assert found.test is None and found.residuals == () and "not 4" in found.why and found.deviance > 0


def test_the_quadratic_test_of_a_diagonal_covariance_is_chi_square():
    r, v = np.array([1.0, -2.0, 0.5]), np.array([1.0, 2.0, 0.5])
    found = quadratic_test(r, np.diag(v), v, df=np.inf, rank=3)
    assert found is not None
    assert found.p == pytest.approx(stats.chi2.sf((r**2 / v).sum(), 3))
    assert quadratic_test(np.zeros(2), np.zeros((2, 2)), np.zeros(2), df=5, rank=2) is None


@pytest.mark.slow
def test_strata_that_differ_are_found_at_once_and_others_are_not():
    def p(seed: int, change: float) -> float:
        strata = dict(zip("xyz", draw(seed, strata=3, change=change, each=90), strict=True))
        found = omnibus_test(strata)
        assert found is not None
        return found.p

    assert np.mean([p(seed, 0.0) < 0.05 for seed in range(60)]) <= 0.1
    assert np.mean([p(seed, 1.0) < 0.05 for seed in range(12)]) >= 0.9


def test_strata_without_two_shared_arms_have_no_test():
    one = count_table([("a", "b", 5, 4)])
    assert omnibus_test({"x": one, "y": count_table([("a", "c", 5, 4)])}) is None
    assert omnibus_test({"x": one}) is None
