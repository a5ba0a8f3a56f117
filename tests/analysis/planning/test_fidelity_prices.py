"""Prices of fidelity clauses: the formula beside simulated studies, the optimum beside its theorem."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import optimize, stats

from analysis.planning.fidelity_mean import known_map_price, plain_price, preference_votes
from analysis.planning.fidelity_mixed import (
    _best_against_nearest,
    _information,
    _ladder,
    _patterns,
    best_shares,
    mixed_price,
    nearest_state,
)
from analysis.planning.fidelity_price import PriceAssumptions
from analysis.planning.fidelity_share import share_price
from analysis.stats.jnd import fit_jnd
from analysis.stats.jnd.model import terms
from analysis.stats.jnd.share import share_bound
from analysis.triplets import BOOSTED
from benchmarks.certificate_studies import plain_design, simulate_study
from qsched.simulation.observers import ObserverPopulation, draw_damage

A = PriceAssumptions()


def test_preference_votes_grow_with_taste_and_fall_with_the_slope():
    even = preference_votes(0.5, A, taste_sd=0.0)
    assert even is not None and 370 < even < 410
    assert preference_votes(0.5, A, taste_sd=1.0) == pytest.approx(2 * even, rel=0.03)
    assert preference_votes(0.5, A, taste_sd=0.5, slope=0.5) == pytest.approx(5 * even, rel=0.05)
    assert preference_votes(0.2, A, taste_sd=0.0) is None


@pytest.mark.slow
def test_the_plain_price_shows_the_clause_as_often_as_it_says():
    votes = plain_price(0.5, A).votes
    assert votes is not None and 300 < votes < 450
    shown, studies = 0, 200
    for number in range(studies):
        rng = np.random.default_rng([1, number])
        made = simulate_study(
            plain_design(["arm"], votes),
            damage={"arm": draw_damage("lognormal", 0.25, 100, rng=rng)},
            people=40,
            population=ObserverPopulation(),
            rng=rng,
        )
        fit = fit_jnd(made.codes, people_sd=A.registered_spread)
        shown += fit.damage("arm") + stats.t.ppf(0.95, fit.df) * fit.se(0) < 0.5
    assert shown / studies == pytest.approx(0.8, abs=0.1)  # 3.5 Monte Carlo standard errors


def test_plain_votes_are_priced_under_the_spread_that_the_clause_assumes():
    wide, default = (plain_price(0.5, replace(A, registered_prompt_sd=sd)).votes for sd in (0.8, 0.5))
    assert wide is not None and default is not None and 1.05 < wide / default < 1.2
    assert plain_price(0.5, A).votes == default, "what a registration assumes if it says nothing"


def test_a_few_people_are_never_enough_and_the_price_says_so():
    few = plain_price(0.5, replace(A, damage=0.45, people=4, prompts=300))
    assert few.votes is None and "too few, however many votes" in few.reason
    assert "not below the limit" in plain_price(0.5, replace(A, damage=0.6)).reason


def test_prices_keep_their_order():
    strong = replace(A, gain=4.0)
    one, eight = mixed_price(0.5, strong).votes, mixed_price(0.5, strong, arms=8).votes
    plain, known = plain_price(0.5, strong).votes, known_map_price(0.5, strong).votes
    assert one is not None and eight is not None and plain is not None and known is not None
    assert known < one < plain, "an unknown map eats up most of what boosting saves, for one arm"
    assert one > plain / 2, "half of the plain votes is out of reach: docs/certificate.md"
    assert eight < 8 * plain / 2.5, "eight arms that share a map need less than 2/5"
    alike = replace(strong, people_sd=0.0, prompt_sd=0.0, registered_prompt_sd=0.0)
    even, third = plain_price(0.5, alike).votes, mixed_price(0.5, alike, arms=8).votes
    assert even is not None and third is not None and third < 8 * even / 4


def test_no_move_towards_a_single_comparison_makes_the_check_of_the_map_better():
    """The variance is convex in the shares, so a design that no such move improves is the best of all."""
    a = replace(A, gain=4.0)
    layout, theta, candidates = _ladder(a, 0, "power")
    information = _information(layout, candidates, theta, a)
    direction = np.zeros(layout.n)
    direction[layout.exponent] = 1.0
    shares, variance = best_shares(information, direction)

    def at(weights: np.ndarray) -> float:
        matrix = np.tensordot(weights, information, axes=1) + 1e-10 * np.eye(layout.n)
        return float(direction @ np.linalg.solve(matrix, direction))

    assert at(shares) == pytest.approx(variance)
    moved = [at(0.98 * shares + 0.02 * np.eye(len(candidates))[c]) for c in range(len(candidates))]
    assert min(moved) > 0.995 * variance


def test_no_state_with_the_limits_damage_looks_more_like_the_truth_and_no_design_tells_more():
    """The price of a mixed design is a saddle point: the shares against the nearest state of affairs."""
    a = replace(A, gain=4.0)
    layout, theta, candidates = _ladder(a, 1, "linear")
    shares, information = _best_against_nearest(layout, theta, candidates, 0.5, a, arms=1)
    patterns = _patterns(candidates)

    def each(state: np.ndarray) -> np.ndarray:
        p, q = (
            terms(at, layout, patterns, lapse=np.full(2, a.lapse), z=np.zeros(1)).probability[:, 0]
            for at in (theta, state)
        )
        return (p * np.log(p / q)).sum(axis=1)

    def state(rest: np.ndarray) -> np.ndarray:
        return np.concatenate([[0.5], rest])

    found = optimize.minimize(lambda rest: 1e3 * shares @ each(state(rest)), theta[1:], method="BFGS")
    assert found.fun / 1e3 == pytest.approx(information, rel=0.01), "a general optimiser finds no nearer state"
    rng = np.random.default_rng(1)
    for _ in range(12):
        other = 0.9 * shares + 0.1 * rng.dirichlet(np.full(len(shares), 0.2))
        assert other @ nearest_state(layout, theta, patterns, other, 0.5, a, start=theta)[1] < 1.005 * information


def test_the_share_plan_is_shown_as_often_as_it_says():
    plan = share_price(0.95, replace(A, prompts=200), presentation=BOOSTED)
    assert not plan.reason and plan.probability >= 0.8 and plan.votes <= 5000
    assert share_bound(0, 200, pi=plan.pi) >= 0.95
    few = share_price(0.95, replace(A, prompts=40), presentation=BOOSTED)
    assert "40 prompts" in few.reason


def test_the_command_prints_and_writes(script, tmp_path: Path):
    code, out, err = script("price", "--share", "0.9", "--json", tmp_path / "price.json")
    assert code == 0, err
    assert "mean under 0.5 JND" in out and "prompts under 1 JND" in out
    document = json.loads((tmp_path / "price.json").read_text(encoding="utf-8"))
    assert document["mean"][0]["votes"] == plain_price(0.5, replace(A, prompts=200)).votes
