"""Likelihood-ratio bounds: the slow twin, the limits, and what clusters do to them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import optimize

from analysis.stats.jnd.fit import count_task, fit_jnd
from analysis.stats.jnd.likelihood import evaluate
from analysis.stats.jnd.newton import Maximum, maximise
from analysis.stats.jnd.profile import profile
from analysis.triplets import PLAIN, TripletCodes
from benchmarks.certificate_studies import REFERENCE, Comparison, plain_design, simulate_study
from qsched.simulation.observers import ObserverPopulation
from tests.analysis.stats.jnd.test_mapping import EVEN, study


def plain_votes(votes: int, *, seed: int = 3) -> TripletCodes:
    damage = {"arm": np.full(50, 0.4)}
    rng = np.random.default_rng(seed)
    return simulate_study(plain_design(["arm"], votes), damage=damage, people=50, population=EVEN, rng=rng).codes


def test_the_profile_is_what_a_general_optimiser_finds_without_our_derivatives():
    codes = study(EVEN, votes=150)
    fit = fit_jnd(codes, form="linear")
    place, value = fit.at("arm"), 0.6
    curve = profile(codes, fit, place)
    counted = count_task(codes, fit.layout)
    others = [k for k in range(fit.layout.n) if k != place]

    def loss(rest: np.ndarray) -> float:
        theta = np.empty(fit.layout.n)
        theta[others], theta[place] = rest, value
        return -evaluate(theta, fit.layout, counted, lapse=fit.lapse, nodes=1).log_likelihood

    found = optimize.minimize(loss, fit.theta[others], method="Powell", options={"xtol": 1e-9, "ftol": 1e-14})
    twin = math.sqrt(2 * (fit.log_likelihood + found.fun) / curve.nu)
    assert curve.root(value) == pytest.approx(twin, abs=2e-4)


def test_the_bound_is_where_r_is_the_quantile_and_the_estimate_lies_between():
    codes = study(EVEN, votes=150)
    fit = fit_jnd(codes, form="linear")
    curve = profile(codes, fit, fit.at("arm"))
    low, high = curve.bound(-1.7), curve.bound(1.7)
    assert low < fit.damage("arm") < high
    assert curve.root(high) == pytest.approx(1.7, abs=2e-3) and curve.root(low) == pytest.approx(-1.7, abs=2e-3)
    assert curve.bound(0.0) == fit.damage("arm") and curve.root(fit.damage("arm")) == pytest.approx(0, abs=1e-3)


def test_with_many_plain_votes_it_is_the_bound_of_the_standard_error():
    codes = plain_votes(20_000)
    fit = fit_jnd(codes)
    assert profile(codes, fit, 0).bound(1.7) == pytest.approx(fit.damage("arm") + 1.7 * fit.se(0), abs=2e-3)


def test_a_search_that_does_not_end_never_brings_a_bound_nearer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it stopped the likelihood is too small, so the values there would look ruled out."""
    codes = study(EVEN, votes=150)
    fit = fit_jnd(codes, form="linear")
    place = fit.at("arm")
    bound = profile(codes, fit, place).bound(1.7)
    middle = (fit.theta[place] + bound) / 2

    def stops_early(at: Any, start: np.ndarray, *, bounds: tuple[np.ndarray, np.ndarray], votes: int) -> Maximum:
        found = maximise(at, start, bounds=bounds, votes=votes)
        if not middle < bounds[0][place] < bound:
            return found
        theta = np.clip(start + 1.0, *bounds)
        return replace(found, theta=theta, value=at(theta), converged=False)

    monkeypatch.setattr("analysis.stats.jnd.profile.maximise", stops_early)
    assert profile(codes, fit, place).bound(1.7) >= bound - 2e-3


def test_votes_that_resemble_each_other_widen_the_bound_as_they_widen_the_error():
    """Every vote three times by the same person on the same prompt: three times the votes, and nothing learned."""
    codes = plain_votes(600)
    thrice = codes.where(np.repeat(np.arange(codes.n_votes), 3))
    one, three = fit_jnd(codes), fit_jnd(thrice)
    assert three.damage("arm") == pytest.approx(one.damage("arm"), abs=0.01)
    assert profile(thrice, three, 0).nu == pytest.approx(3 * profile(codes, one, 0).nu, rel=0.35)
    assert profile(thrice, three, 0).bound(1.7) == pytest.approx(profile(codes, one, 0).bound(1.7), abs=0.03)


def test_there_is_no_bound_where_no_gain_however_small_is_ruled_out():
    """A handful of plain votes for the map: boosted votes alone never bound plain JND."""
    rng = np.random.default_rng(1)
    made = simulate_study(
        [
            Comparison(REFERENCE, "arm", 1, 400),
            Comparison(REFERENCE, "rung", 1, 400),
            Comparison(REFERENCE, "rung", PLAIN, 4),
        ],
        damage={"arm": np.full(50, 0.25), "rung": np.full(50, 0.5)},
        people=40,
        population=ObserverPopulation(gain=4.0),
        rng=rng,
    ).codes
    fit = fit_jnd(made, form="linear")
    assert profile(made, fit, fit.at("arm")).bound(2.0) == math.inf
