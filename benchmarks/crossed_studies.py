"""Simulated studies in which annotators and prompts are crossed and both differ in taste; with their true win rates.

A vote of annotator a on prompt p, arm i on the left, arm j on the right: with probability `careless` a coin toss; else
a tie with the annotator's tie rate, else left with log-odds
    theta_i - theta_j + (u_ai - u_aj) + (v_pi - v_pj) + b_a,   u ~ N(0, sa^2), v ~ N(0, sp^2), b ~ N(0, side^2).
The truth is what infinitely many such annotators and prompts would give: the marginal rate by Gauss-Hermite quadrature,
ties as half a win, and the Bradley-Terry strengths fitted to those rates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from analysis.stats import VoteCounts, count_codes, count_table, fit_bradley_terry


@dataclass(frozen=True)
class Scenario:
    """Numbers of one kind of study."""

    name: str
    sa: float
    sp: float
    careless: float
    annotators: int
    prompts: int
    votes_each: int
    arms: int = 8
    side: float = 0.2
    tie_low: float = 0.05
    tie_high: float = 0.35
    spread: float = 0.6
    pairing: Literal["uniform", "adaptive"] = "uniform"
    loads: Literal["equal", "unequal"] = "equal"


#: The scenarios of the methods study, in its order, then two that it did not try.
SCENARIOS = (
    Scenario("S1", 0.5, 0.5, 0.05, 40, 50, 50),
    Scenario("S2", 0.5, 0.0, 0.05, 40, 50, 50),
    Scenario("S3", 0.0, 0.5, 0.05, 40, 50, 50),
    Scenario("S4", 0.0, 0.0, 0.00, 40, 50, 50),
    Scenario("S5", 0.5, 0.5, 0.05, 40, 50, 200),
    Scenario("S6", 0.5, 0.5, 0.05, 10, 50, 200),
    Scenario("S7", 0.25, 0.25, 0.05, 40, 50, 50),
    Scenario("S8", 0.8, 0.8, 0.05, 40, 50, 50),
    Scenario("S9", 0.5, 0.5, 0.05, 200, 50, 50),
    Scenario("S10 unequal loads", 0.5, 0.5, 0.05, 40, 50, 50, loads="unequal"),
    Scenario("S11 adaptive pairs", 0.5, 0.5, 0.05, 40, 50, 50, pairing="adaptive"),
)


def arm_names(k: int) -> tuple[str, ...]:
    """Names whose sorted order is their number."""
    return tuple(f"arm{i:03d}" for i in range(k))


def true_strengths(k: int, spread: float) -> NDArray[np.float64]:
    """Conditional strengths: evenly spread, the middle two equal."""
    theta = np.linspace(-spread, spread, k)
    theta[k // 2] = theta[k // 2 - 1]
    return np.asarray(theta - theta.mean())


def marginal_truth(s: Scenario) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Population strengths (K,), summing to zero, and win rates of i over j (K, K), ties half."""
    theta = true_strengths(s.arms, s.spread)
    nodes, weights = np.polynomial.hermite_e.hermegauss(101)
    weights = weights / weights.sum()
    sd = np.sqrt(2 * s.sa**2 + 2 * s.sp**2 + s.side**2)
    mean_tie = (s.tie_low + s.tie_high) / 2 if s.tie_high > 0 else 0.0
    difference = theta[:, None] - theta[None, :]
    decided = (expit(difference[..., None] + sd * nodes) * weights).sum(axis=-1)
    rate = s.careless * 0.5 + (1 - s.careless) * (mean_tie / 2 + (1 - mean_tie) * decided)
    names = arm_names(s.arms)
    rows = [(names[i], names[j], rate[i, j], 1 - rate[i, j]) for i in range(s.arms) for j in range(i + 1, s.arms)]
    return fit_bradley_terry(count_table(rows)).log_strengths, rate


def simulate(s: Scenario, rng: np.random.Generator) -> VoteCounts:
    """One study. Each annotator goes through the prompts in random order, again when through; pairs at random."""
    k = s.arms
    theta = true_strengths(k, s.spread)
    loads = np.full(s.annotators, s.votes_each)
    if s.loads == "unequal":
        # A heavy tail, as open links give: most stay for a few votes, some for very many.
        share = rng.lognormal(0.0, 1.0, s.annotators)
        loads = np.maximum(3, np.round(share / share.mean() * s.votes_each)).astype(np.int64)
    u = rng.normal(0, s.sa, (s.annotators, k))
    v = rng.normal(0, s.sp, (s.prompts, k))
    b = rng.normal(0, s.side, s.annotators)
    tie_rate = rng.uniform(s.tie_low, s.tie_high, s.annotators)
    a = np.repeat(np.arange(s.annotators), loads)
    p = np.concatenate([_prompt_order(n, s.prompts, rng) for n in loads])
    n = len(a)

    def vote(at: NDArray[np.int64], i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.int64]:
        aa, pp = a[at], p[at]
        eta = theta[i] - theta[j] + u[aa, i] - u[aa, j] + v[pp, i] - v[pp, j] + b[aa]
        choice = np.where(rng.random(len(at)) < expit(eta), 0, 1)
        choice = np.where(rng.random(len(at)) < tie_rate[aa], 2, choice)
        toss = rng.random(len(at)) < s.careless
        return np.where(toss, rng.integers(0, 2, len(at)), choice)

    if s.pairing == "uniform":
        i, j = _random_pairs(n, k, rng)
        return _count(s, i, j, vote(np.arange(n), i, j), a, p)
    return _adaptive(s, vote, a, p, rng)


def _count(s: Scenario, i, j, outcome, a, p) -> VoteCounts:  # type: ignore[no-untyped-def]
    return count_codes(i, j, outcome, arms=arm_names(s.arms), annotator=a, prompt=p)


def _prompt_order(n: int, prompts: int, rng: np.random.Generator) -> NDArray[np.int64]:
    rounds = -(-n // prompts)
    return np.concatenate([rng.permutation(prompts) for _ in range(rounds)])[:n]


def _random_pairs(n: int, k: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    i = rng.integers(0, k, n)
    return i, (i + rng.integers(1, k, n)) % k


def _adaptive(s: Scenario, vote, a, p, rng: np.random.Generator) -> VoteCounts:  # type: ignore[no-untyped-def]
    """Votes in ten batches; after the first, two thirds of the pairs are drawn by closeness of the running strengths.

    Close pairs tell most about the ranking; a third stays uniform, as the study server's floor does.
    """
    k, n = s.arms, len(a)
    order = rng.permutation(n)
    i, j, outcome = (np.zeros(n, dtype=np.int64) for _ in range(3))
    done = np.zeros(0, dtype=np.int64)
    left, right = np.nonzero(~np.eye(k, dtype=bool))
    for batch in np.array_split(order, 10):
        i[batch], j[batch] = _random_pairs(len(batch), k, rng)
        if len(done):
            seen = count_codes(i[done], j[done], outcome[done], arms=arm_names(k))
            running = fit_bradley_terry(seen, penalty="ridge:1").log_strengths
            weight = expit(running[left] - running[right]) * expit(running[right] - running[left])
            weight = weight**4
            drawn = rng.choice(len(left), size=len(batch), p=weight / weight.sum())
            chosen = rng.random(len(batch)) < 2 / 3
            i[batch] = np.where(chosen, left[drawn], i[batch])
            j[batch] = np.where(chosen, right[drawn], j[batch])
        outcome[batch] = vote(batch, i[batch], j[batch])
        done = np.concatenate([done, batch])
    return _count(s, i, j, outcome, a, p)
