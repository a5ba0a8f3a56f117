"""A metric on the JND scale: it finds the truth, its score is the likelihood's slope, and its bounds cover."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.stats.errors import AnalysisError
from analysis.stats.jnd import metric_scale
from analysis.stats.jnd.metric_scale import MetricVotes, fit_metric
from analysis.stats.jnd.variance import Clusters
from qsched.simulation.observers import ObserverPopulation, answer_triplets, draw_observers

A, B, SPREAD = 20.0, 1.2, 0.4


def draw_votes(seed: int, *, people: int = 40, prompts: int = 80, votes: int = 6, useless: bool = False) -> MetricVotes:
    """Plain votes of the reference against one picture a prompt, whose damage follows the metric."""
    rng = np.random.default_rng(seed)
    population = ObserverPopulation()
    observers = draw_observers(people, population=population, rng=rng)
    x = np.exp(rng.normal(np.log(0.06), 0.7, prompts))
    damage = A * x**B * np.exp(SPREAD * rng.standard_normal(prompts) - SPREAD**2 / 2)
    picture = np.repeat(np.arange(prompts), votes)
    person = rng.integers(0, people, len(picture))
    answer = answer_triplets(
        observers,
        person=person,
        left=np.zeros(len(picture)),
        right=damage[picture],
        boosted=np.zeros(len(picture), dtype=bool),
        gain=np.ones(len(picture)),
        population=population,
        rng=rng,
    )
    both = np.unique(person * prompts + picture, return_inverse=True)[1]
    clusters = Clusters(person, picture, both, people, prompts, int(both.max()) + 1)
    return MetricVotes(answer, picture, rng.permutation(x) if useless else x, clusters)


def test_the_truth_lies_within_the_bounds_and_the_error_is_that_of_the_estimates():
    u, errors, claimed = np.log(0.05), [], []
    for seed in range(6):
        fit = fit_metric(draw_votes(seed), lapse=0.05, people_sd=0.3, confidence=0.95)
        slope = np.array([1.0, fit.b * u, 0, 0])
        errors.append(fit.theta[0] + fit.b * u - (np.log(A) + B * u))
        claimed.append(float(np.sqrt(slope @ fit.covariance @ slope)))
    assert abs(np.mean(errors)) < 0.3
    assert max(np.abs(errors) / claimed) < 3
    assert 0.1 < np.mean(claimed) < 0.6


def test_the_score_is_the_slope_of_the_likelihood_and_of_a_slow_twin():
    votes = draw_votes(1, prompts=12, votes=3)
    theta = np.array([2.8, 0.1, 0.25, -1.0])
    fixed = {"lapse": 0.05, "people_sd": 0.3}
    value, scores = metric_scale._likelihood(theta, votes, **fixed)
    for k in range(4):
        step = np.zeros(4)
        step[k] = 1e-5
        above, below = (metric_scale._likelihood(theta + sign * step, votes, **fixed)[0] for sign in (1, -1))
        assert scores[:, k].sum() == pytest.approx((above - below) / 2e-5, rel=1e-5, abs=1e-6)
    assert value == pytest.approx(slow_likelihood(theta, votes, **fixed), abs=1e-9)


def slow_likelihood(theta, votes, *, lapse, people_sd):
    from math import erf, exp, log, sqrt

    from analysis.stats.jnd.model import Q

    def phi(value):
        return (1 + erf(value / sqrt(2))) / 2

    u_nodes, u_weights = np.polynomial.hermite_e.hermegauss(15)
    z_nodes, z_weights = np.polynomial.hermite_e.hermegauss(5)
    u_weights, z_weights = u_weights / u_weights.sum(), z_weights / z_weights.sum()
    total = 0.0
    for g, x in enumerate(votes.x):
        sum_u = 0.0
        for u, weight in zip(u_nodes, u_weights, strict=True):
            s = exp(theta[3])
            damage = exp(theta[0] + exp(theta[1]) * log(x) + s * u - s * s / 2)
            product = 1.0
            for v in np.flatnonzero(votes.picture == g):
                p = 0.0
                for z, w in zip(z_nodes, z_weights, strict=True):
                    eta = Q * damage * exp(people_sd * z - people_sd**2 / 2)
                    named, other = phi(eta - theta[2]), phi(-eta - theta[2])
                    p += w * (named, 1 - named - other, other)[2 - votes.answer[v]]
                product *= (1 - lapse) * p + lapse / 3
            sum_u += weight * product
        total += log(sum_u)
    return total


def test_a_metric_that_says_nothing_describes_the_votes_worse():
    useful = fit_metric(draw_votes(2), lapse=0.05, people_sd=0.3, confidence=0.95)
    try:
        useless = fit_metric(draw_votes(2, useless=True), lapse=0.05, people_sd=0.3, confidence=0.95).log_likelihood
    except AnalysisError:
        return
    assert useless < useful.log_likelihood - 5


def test_votes_without_a_scale_are_refused():
    votes = draw_votes(3)
    same = MetricVotes(np.full_like(votes.answer, 2), votes.picture, votes.x, votes.clusters)
    with pytest.raises(AnalysisError, match="all votes agree"):
        fit_metric(same, lapse=0.05, people_sd=0.3, confidence=0.95)
    with pytest.raises(AnalysisError, match="pictures"):
        fit_metric(draw_votes(3, prompts=5), lapse=0.05, people_sd=0.3, confidence=0.95)
