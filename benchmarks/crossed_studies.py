"""Simulated studies in which annotators and prompts are crossed and both differ in taste; with their true win rates.

A vote of annotator a on prompt p, arm i on the left, arm j on the right: with probability `careless` a coin toss; else
a tie with the annotator's tie rate, else left with log-odds

    theta_i - theta_j + (u_ai - u_aj) + (v_pi - v_pj) + (w_api - w_apj) + position + b_a

u, v, w: tastes of the annotator (sd `sa`), the prompt (`sp`) and the two together (`sap`); b_a ~ N(0, side^2).
The truth is what infinitely many such annotators and prompts would give: the marginal win rate, ties as half a win, and
the Bradley-Terry strengths fitted to those rates with the pairs as often as the design shows them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from analysis.stats import VoteCounts, count_codes, count_table, fit_bradley_terry

Array: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class Scenario:
    """Numbers of one kind of study. `rare`: how many people, or prompts, the last arm is shown to."""

    name: str
    sa: float = 0.5
    sp: float = 0.5
    careless: float = 0.05
    annotators: int = 40
    prompts: int = 50
    votes_each: int = 50
    words: str = ""
    arms: int = 8
    side: float = 0.2
    position: float = 0.0
    tie_low: float = 0.05
    tie_high: float = 0.35
    spread: float = 0.6
    sap: float = 0.0
    taste: Literal["normal", "t", "bimodal"] = "normal"
    pairing: Literal["uniform", "adaptive", "baseline"] = "uniform"
    by_closeness: float = 2 / 3
    batches: int = 10
    loads: Literal["equal", "lognormal", "pareto"] = "equal"
    nested: int = 0
    repeats: int = 1
    rare_people: int = 0
    rare_prompts: int = 0
    rare_votes: int = 0


def _methods_study() -> tuple[Scenario, ...]:
    return (
        Scenario("S1"),
        Scenario("S2", sp=0.0),
        Scenario("S3", sa=0.0),
        Scenario("S4", sa=0.0, sp=0.0, careless=0.0, words="independent votes"),
        Scenario("S5", votes_each=200),
        Scenario("S6", annotators=10, votes_each=200),
        Scenario("S7", sa=0.25, sp=0.25),
        Scenario("S8", sa=0.8, sp=0.8),
        Scenario("S9", annotators=200),
        Scenario("S10", loads="lognormal", words="unequal loads"),
        Scenario("S11", pairing="adaptive", words="adaptive pairs"),
    )


def _other_truths() -> tuple[Scenario, ...]:
    return (
        Scenario("T1", arms=3, words="3 arms"),
        Scenario("T2", arms=20, words="20 arms"),
        Scenario("T3", annotators=60, loads="pareto", words="Pareto loads"),
        Scenario("T4", annotators=15, loads="pareto", words="Pareto loads"),
        Scenario("T5", pairing="adaptive", by_closeness=0.9, batches=20, words="90 % of pairs by closeness"),
        Scenario("T6", annotators=5, words="5 people"),
        Scenario("T7", prompts=8, words="8 prompts"),
        Scenario("T8", annotators=5, prompts=8, words="5 people, 8 prompts"),
        Scenario("T9", position=1.0, words="position effect 1.0"),
        Scenario("T10", careless=0.3, words="30 % careless"),
        Scenario("T11", tie_low=0.25, tie_high=0.55, words="40 % ties"),
        Scenario("T12", spread=4.0, words="arms at -4 to 4"),
        Scenario("T13", nested=10, words="people nested in 10 prompts"),
        Scenario("T14", taste="t", words="tastes t(2.5)"),
        Scenario("T15", taste="bimodal", words="bimodal tastes"),
        Scenario("T16", arms=2, words="2 arms"),
        Scenario("T17", arms=6, spread=0.0, words="6 equal arms"),
        Scenario("T18", pairing="baseline", words="pairs with a baseline only"),
        Scenario("T19", sap=0.5, repeats=5, words="taste of person and prompt, 5 votes on each prompt"),
        Scenario("T20", annotators=12, prompts=12, votes_each=12, words="12 x 12 x 12"),
        Scenario("T21", rare_people=5, words="an arm shown to 5 people"),
        Scenario("T22", rare_prompts=5, words="an arm shown on 5 prompts"),
        Scenario("T23", rare_people=5, rare_votes=200, words="an arm shown to 5 people of 200 votes"),
    )


def _few_prompts() -> tuple[Scenario, ...]:
    return tuple(Scenario(f"P{n}", annotators=30, prompts=n, words=f"30 people, {n} prompts") for n in (4, 5, 6, 8))


#: The scenarios of the methods study (S), other truths (T), few prompts (P).
SCENARIOS = (*_methods_study(), *_other_truths(), *_few_prompts())


def arm_names(k: int) -> tuple[str, ...]:
    """Names whose sorted order is their number."""
    return tuple(f"arm{i:03d}" for i in range(k))


def true_strengths(k: int, spread: float) -> Array:
    """Conditional strengths: evenly spread, the middle two equal."""
    theta = np.linspace(-spread, spread, k)
    if k > 2:
        theta[k // 2] = theta[k // 2 - 1]
    return np.asarray(theta - theta.mean())


def draw_tastes(s: Scenario, sd: float, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Tastes of standard deviation `sd`: normal, t with 2.5 degrees of freedom, or two camps."""
    if sd == 0:
        return np.zeros(shape)
    if s.taste == "t":
        return np.asarray(sd * rng.standard_t(2.5, shape) / np.sqrt(2.5 / 0.5))
    if s.taste == "bimodal":
        camps = 0.9 * rng.choice([-1.0, 1.0], shape)
        return np.asarray(sd * (camps + np.sqrt(1 - 0.81) * rng.standard_normal(shape)))
    return np.asarray(sd * rng.standard_normal(shape))


@cache
def marginal_truth(s: Scenario) -> tuple[Array, Array]:
    """Population strengths (K,), summing to zero, and win rates of i over j (K, K), ties half, sides balanced."""
    theta = true_strengths(s.arms, s.spread)
    if s.taste == "normal":
        nodes, weights = np.polynomial.hermite_e.hermegauss(101)
        nodes = nodes * np.sqrt(2 * (s.sa**2 + s.sp**2 + s.sap**2) + s.side**2)
    else:
        rng = np.random.default_rng(20_26)
        drawn = [draw_tastes(s, sd, (2, 1_000_000), rng) for sd in (s.sa, s.sp, s.sap)]
        nodes = sum((d[0] - d[1] for d in drawn), start=s.side * rng.standard_normal(1_000_000))
        # The two sides of a pair are alike, so the difference is symmetric: use each draw both ways round.
        nodes = np.quantile(np.concatenate([nodes, -nodes]), (np.arange(2000) + 0.5) / 2000)
        weights = np.ones(len(nodes))
    weights = weights / weights.sum()
    mean_tie = (s.tie_low + s.tie_high) / 2
    difference = theta[:, None] - theta[None, :]
    decided = sum(((expit(difference[..., None] + side + nodes)) * weights).sum(axis=-1) / 2 for side in _sides(s))
    rate = s.careless * 0.5 + (1 - s.careless) * (mean_tie / 2 + (1 - mean_tie) * decided)
    names = arm_names(s.arms)
    pairs = [(i, j) for i in range(s.arms) for j in range(i + 1, s.arms) if s.pairing != "baseline" or i == 0]
    rows = [(names[i], names[j], rate[i, j], 1 - rate[i, j]) for i, j in pairs]
    return fit_bradley_terry(count_table(rows)).log_strengths, rate


def _sides(s: Scenario) -> tuple[float, float]:
    return (s.position, -s.position)


def simulate(s: Scenario, rng: np.random.Generator) -> VoteCounts:
    """One study. Each annotator goes through the prompts in random order, again when through; pairs at random."""
    k = s.arms
    theta = true_strengths(k, s.spread)
    u, v = draw_tastes(s, s.sa, (s.annotators, k), rng), draw_tastes(s, s.sp, (s.prompts, k), rng)
    w = draw_tastes(s, s.sap, (s.annotators, s.prompts, k), rng) if s.sap else None
    b = s.position + rng.normal(0, s.side, s.annotators)
    tie_rate = rng.uniform(s.tie_low, s.tie_high, s.annotators)
    loads = _loads(s, rng)
    a = np.repeat(np.arange(s.annotators), loads)
    p = np.concatenate([_prompts_of(s, person, n, rng) for person, n in enumerate(loads)])

    def vote(at: Codes, i: Codes, j: Codes) -> Codes:
        aa, pp = a[at], p[at]
        eta = theta[i] - theta[j] + u[aa, i] - u[aa, j] + v[pp, i] - v[pp, j] + b[aa]
        if w is not None:
            eta = eta + w[aa, pp, i] - w[aa, pp, j]
        choice = np.where(rng.random(len(at)) < expit(eta), 0, 1)
        choice = np.where(rng.random(len(at)) < tie_rate[aa], 2, choice)
        toss = rng.random(len(at)) < s.careless
        return np.where(toss, rng.integers(0, 2, len(at)), choice)

    if s.pairing == "adaptive":
        return _adaptive(s, vote, a, p, rng)
    i, j = _pairs(s, a, p, rng)
    return _count(s, i, j, vote(np.arange(len(a)), i, j), a, p)


def _loads(s: Scenario, rng: np.random.Generator) -> Codes:
    """Votes of each annotator, in all as many as equal loads would give."""
    if s.loads == "equal":
        loads = np.full(s.annotators, s.votes_each)
        loads[: s.rare_people if s.rare_votes else 0] = s.rare_votes
        return loads
    share = rng.lognormal(0, 1, s.annotators) if s.loads == "lognormal" else rng.pareto(1.2, s.annotators) + 1
    drawn = np.maximum(np.round(share / share.sum() * s.annotators * s.votes_each), 1)
    return np.asarray(drawn, dtype=np.int64)


def _prompts_of(s: Scenario, person: int, n: int, rng: np.random.Generator) -> Codes:
    if s.nested:
        return np.full(n, person % s.nested)
    rounds = -(-n // (s.prompts * s.repeats))
    order = np.concatenate([rng.permutation(s.prompts) for _ in range(rounds)])
    return np.repeat(order, s.repeats)[:n]


def _pairs(s: Scenario, a: Codes, p: Codes, rng: np.random.Generator) -> tuple[Codes, Codes]:
    """Left and right arms: any two, or the baseline (arm 0) and another; the last arm only for those it is shown to."""
    n, k = len(a), s.arms
    if s.pairing == "baseline":
        other, swap = rng.integers(1, k, n), rng.random(n) < 0.5
        return np.where(swap, other, 0), np.where(swap, 0, other)
    i, j = _random_pairs(n, k, rng)
    if s.rare_people or s.rare_prompts:
        without = (a >= s.rare_people) if s.rare_people else (p >= s.rare_prompts)
        i_less, j_less = _random_pairs(n, k - 1, rng)
        i, j = np.where(without, i_less, i), np.where(without, j_less, j)
    return i, j


def _random_pairs(n: int, k: int, rng: np.random.Generator) -> tuple[Codes, Codes]:
    i = rng.integers(0, k, n)
    return i, (i + rng.integers(1, k, n)) % k


def _count(s: Scenario, i: Codes, j: Codes, outcome: Codes, a: Codes, p: Codes) -> VoteCounts:
    return count_codes(i, j, outcome, arms=arm_names(s.arms), annotator=a, prompt=p)


def _adaptive(
    s: Scenario, vote: Callable[[Codes, Codes, Codes], Codes], a: Codes, p: Codes, rng: np.random.Generator
) -> VoteCounts:
    """Votes in batches; after the first, a share of the pairs is drawn by closeness of the running strengths.

    Close pairs say most about the ranking; the rest stays uniform, as with the study server's floor.
    """
    k, n = s.arms, len(a)
    order = rng.permutation(n)
    i, j, outcome = (np.zeros(n, dtype=np.int64) for _ in range(3))
    done = np.zeros(0, dtype=np.int64)
    left, right = np.nonzero(~np.eye(k, dtype=bool))
    for batch in np.array_split(order, s.batches):
        i[batch], j[batch] = _random_pairs(len(batch), k, rng)
        if len(done):
            seen = count_codes(i[done], j[done], outcome[done], arms=arm_names(k))
            running = fit_bradley_terry(seen, penalty="ridge:1").log_strengths
            weight = expit(running[left] - running[right]) * expit(running[right] - running[left])
            weight = weight**4
            drawn = rng.choice(len(left), size=len(batch), p=weight / weight.sum())
            chosen = rng.random(len(batch)) < s.by_closeness
            i[batch] = np.where(chosen, left[drawn], i[batch])
            j[batch] = np.where(chosen, right[drawn], j[batch])
        outcome[batch] = vote(batch, i[batch], j[batch])
        done = np.concatenate([done, batch])
    return _count(s, i, j, outcome, a, p)
