"""Power by simulation: studies drawn from the plan, analysed by the estimator and the default two-way intervals.

The model of votes is that of `qsched.planning.power`, whose approximations (first order, equal numbers, a t
distribution of known degrees of freedom) are what this checks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import special
from scipy.special import expit

from analysis.stats import Estimate, EstimateSettings, VoteCounts, count_codes, estimate, holm
from analysis.stats.errors import NoEstimateError
from analysis.votes.coded import IntArray
from qsched.planning import StudyPlan, vote_moments
from qsched.planning.power import find_root
from qsched.records import InputError

#: Of log loads; beyond it the same few people judge everything.
_MOST_SPREAD = 12.0


@dataclass(frozen=True)
class SimulatedPower:
    """Share of simulated studies that found the difference; `error` is its Monte Carlo standard error.

    `mean_se`: mean reported standard error (log-odds); `true_se`: standard deviation of the estimates. `coverage`:
    share of pointwise intervals that hold the truth. `no_estimate` studies count as not having found it.
    """

    win_rate: float
    power: float
    error: float
    studies: int
    no_estimate: int
    mean_se: float
    true_se: float
    coverage: float


def simulate_power(
    plan: StudyPlan, win_rate: float, *, studies: int = 400, seed: int = 0, resamples: int = 1000
) -> SimulatedPower:
    """Simulate `studies` studies of `plan` in which one arm has `win_rate` against each of the others."""
    if studies < 2:
        raise InputError(f"studies is {studies}; at least 2 are needed for an error of the simulation.")
    truth = math.log(win_rate / (1 - win_rate))
    theta = vote_moments(
        win_rate, tie_rate=plan.tie_rate, annotator_sd=plan.annotator_sd, prompt_sd=plan.prompt_sd
    ).log_odds
    found, covered, values, errors = [], [], [], []
    for number in range(studies):
        counts = draw_study(plan, theta, np.random.default_rng([seed, number]))
        try:
            result = estimate(counts, EstimateSettings(confidence=plan.confidence, resamples=resamples, seed=number))
        except NoEstimateError:
            continue
        row = next(row for row in result.pairwise if (row.arm_a, row.arm_b) == (_name(0), _name(1)))
        sign = 1.0 if plan.ahead == 0 else -1.0
        found.append(adjusted_p(plan, result) < 1 - plan.confidence)
        covered.append(row.low <= sign * truth <= row.high)
        values.append(row.log_odds)
        errors.append(row.se)
    if len(values) < 2:
        raise InputError(f"{len(values)} of {studies} simulated studies had an estimate; plan more votes.")
    power = sum(found) / studies
    return SimulatedPower(
        win_rate=win_rate,
        power=power,
        error=math.sqrt(max(power * (1 - power), 1 / studies) / studies),
        studies=studies,
        no_estimate=studies - len(values),
        mean_se=float(np.mean(errors)),
        true_se=float(np.std(values, ddof=1)),
        coverage=float(np.mean(covered)),
    )


def adjusted_p(plan: StudyPlan, result: Estimate) -> float:
    """The p-value of the tested contrast, adjusted over the comparisons of the plan."""
    by_arms = {(row.arm_a, row.arm_b): row.p for row in result.pairwise}
    p = np.array([by_arms[_name(i), _name(j)] for i, j in plan.pairs_of_arms])
    if plan.adjust == "holm":
        return float(holm(p)[0])
    return float(min(1.0, p[0] * plan.tests))


def draw_study(plan: StudyPlan, theta: float, rng: np.random.Generator) -> VoteCounts:
    """One study: pairs in random order, annotators in turn (equal loads, nobody twice on a pair), sides at random.

    With `plan.effective_annotators` each pair draws its annotators with chances from a lognormal distribution that has
    this effective number of people.
    The arm `plan.ahead` has conditional strength `theta`, the others zero.
    """
    pairs = np.array(plan.pairs_of_arms)
    v = plan.votes_per_pair
    prompt_M, pair_M = (grid.ravel() for grid in np.meshgrid(np.arange(plan.prompts), np.arange(len(pairs))))
    order = rng.permutation(len(prompt_M))
    prompt, pair = np.repeat(prompt_M[order], v), np.repeat(pair_M[order], v)
    n = len(prompt)
    annotator = rng.permutation(plan.annotators)[np.arange(n) % plan.annotators]
    if plan.effective_annotators is not None:
        annotator = _unequal(plan, load_spread(plan), len(order), rng)
    u = rng.normal(0, plan.annotator_sd, (plan.annotators, plan.arms))
    w = rng.normal(0, plan.prompt_sd, (plan.prompts, plan.arms))
    taste = u[annotator] + w[prompt]
    taste[:, plan.ahead] += theta
    swapped = rng.random(n) < 0.5
    first, second = pairs[pair, 0], pairs[pair, 1]
    left, right = np.where(swapped, second, first), np.where(swapped, first, second)
    rows = np.arange(n)
    wins = rng.random(n) < expit(taste[rows, left] - taste[rows, right])
    outcome = np.where(rng.random(n) < plan.tie_rate, 2, np.where(wins, 0, 1))
    return count_codes(
        left, right, outcome, arms=tuple(_name(arm) for arm in range(plan.arms)), annotator=annotator, prompt=prompt
    )


@cache
def load_spread(plan: StudyPlan) -> float:
    """The spread of log loads at which annotators give as unequal numbers of votes as the plan says.

    Found by bisection on one draw: nobody judges a pair twice, so the effective number depends on the design.
    Raises InputError if the design cannot be so unequal.
    """
    pairs = len(plan.pairs_of_arms) * plan.prompts

    def effective(spread: float) -> float:
        chosen = _unequal(plan, spread, pairs, np.random.default_rng(0))
        loads = np.bincount(chosen, minlength=plan.annotators).astype(np.float64)
        return float(loads.sum() ** 2 / (loads**2).sum())

    if effective(_MOST_SPREAD) > plan.people:
        raise InputError(
            f"effective_annotators is {plan.people:g}: with {plan.votes_per_pair} different annotators on each pair "
            f"the effective number is at least {math.ceil(effective(_MOST_SPREAD))}. Give at least that."
        )
    return find_root(lambda spread: effective(spread) - plan.people, 0.0, _MOST_SPREAD, steps=16)


def _unequal(plan: StudyPlan, spread: float, pairs: int, rng: np.random.Generator) -> IntArray:
    """Different annotators for each pair: the largest of log weight + Gumbel noise (sampling by weight)."""
    weights = spread * special.ndtri((np.arange(plan.annotators) + 0.5) / plan.annotators)
    keys = weights + rng.gumbel(size=(pairs, plan.annotators))
    return np.argsort(-keys, axis=1)[:, : plan.votes_per_pair].ravel().astype(np.int64)


def _name(arm: int) -> str:
    return f"arm{arm:03d}"
