"""The smallest win rate that a design can be expected to detect, when people and prompts differ in taste.

The same formula as `analysis/planning/formula.py`, where the equations and sources stand; the server cannot import the
analysis, and a test (tests/contracts/test_power_formula.py) holds the two beside each other. In short: a vote between
arms i and j is a tie with probability tau, else i wins with log-odds theta_i - theta_j plus the own tastes of annotator
and prompt (normal, sd sa and sp for each arm). Votes that share a person or a prompt covary; with n votes of a single
comparison from A people on P prompts the variance of its rate is sigma^2 / n times

    1 + (n/A - 1) C_a / sigma^2 + (n/P - 1) C_p / sigma^2,

and the Bradley-Terry contrast adds what the other comparisons tell. The test is two-sided at level (1 - confidence) / M
for M comparisons (Holm's first step), t with min(A, P) - 1 degrees of freedom.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Pair = tuple[str, str]

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(61)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
# The win rate at which comparisons are ranked by what they can show.
_TYPICAL = 0.55


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What nobody knows before a study: spread of tastes (sd, log-odds, each arm), share of ties; and the test."""

    annotator_sd: float = 0.5
    prompt_sd: float = 0.5
    tie_rate: float = 0.2
    confidence: float = 0.95
    power: float = 0.8


@dataclass(frozen=True, slots=True)
class Detectable:
    """The comparison that can show least, its detectable win rate (None: not even the largest), its design effect."""

    weakest: Pair
    win_rate: float | None
    design_effect: float


@dataclass(frozen=True, slots=True)
class _Moments:
    rate: float
    variance: float
    same_annotator: float
    same_prompt: float


def find_detectable(votes: Mapping[Pair, float], *, annotators: int, prompts: int, assumed: Assumptions) -> Detectable:
    """What the weakest comparison can show: `votes` by comparison, in equal shares from all people, on all prompts."""
    even = _moments(0.5, assumed)
    typical = _moments(min(_TYPICAL, 0.5 + (1 - assumed.tie_rate) / 4), assumed)
    found = {pair: _variance(votes, pair, annotators, prompts, even, typical) for pair in votes}
    weakest = max(found, key=lambda pair: found[pair][0])
    total, single = found[weakest]
    df = max(min(annotators, prompts) - 1, 1)
    bound = _root(lambda t: t_beyond(t, df=df, shift=0.0) - (1 - assumed.confidence) / len(votes) / 2, 0.0, 1e4)

    def shortfall(rate: float) -> float:
        variance, _ = _variance(votes, weakest, annotators, prompts, even, _moments(rate, assumed))
        shift = math.log(rate / (1 - rate)) / math.sqrt(variance)
        return assumed.power - t_beyond(bound, df=df, shift=shift) - t_beyond(bound, df=df, shift=-shift)

    low, high = 0.5 + 1e-6, 1 - assumed.tie_rate / 2 - 1e-4
    win_rate = None if shortfall(high) > 0 else _root(shortfall, low, high)
    return Detectable(weakest, win_rate, total / single)


def t_beyond(bound: float, *, df: float, shift: float) -> float:
    """P(T > bound) of the noncentral t: the normal integrated over the chi distribution of the standard error."""
    s = np.linspace(max(1e-9, 1 - 12 / math.sqrt(df)), 1 + 12 / math.sqrt(df), 2001)
    log_density = math.log(2) + df / 2 * math.log(df / 2) - math.lgamma(df / 2) + (df - 1) * np.log(s) - df * s**2 / 2
    beyond = np.array([math.erfc((bound * value - shift) / math.sqrt(2)) / 2 for value in s])
    simpson = np.ones(len(s))
    simpson[1:-1:2], simpson[2:-1:2] = 4.0, 2.0
    return float(simpson @ (np.exp(log_density) * beyond) * (s[1] - s[0]) / 3)


def _moments(rate: float, assumed: Assumptions) -> _Moments:
    """Variance of a vote at population win rate `rate`, and its covariance with one of the same person, prompt."""
    decided = (rate - assumed.tie_rate / 2) / (1 - assumed.tie_rate)
    sa, sp = math.sqrt(2) * assumed.annotator_sd, math.sqrt(2) * assumed.prompt_sd
    both = math.hypot(sa, sp)
    theta = _root(lambda at: float(_expit(at + both * _NODES) @ _WEIGHTS) - decided, -60.0, 60.0)

    def variance_of_mean(own: float, other: float) -> float:
        mean = _expit(theta + own * _NODES[:, None] + other * _NODES[None, :]) @ _WEIGHTS
        return float((mean - decided) ** 2 @ _WEIGHTS)

    scale = (1 - assumed.tie_rate) ** 2
    return _Moments(
        rate,
        assumed.tie_rate / 4 + (1 - assumed.tie_rate) * decided - rate**2,
        scale * variance_of_mean(sa, sp),
        scale * variance_of_mean(sp, sa),
    )


def _variance(
    votes: Mapping[Pair, float], contrast: Pair, annotators: int, prompts: int, even: _Moments, uneven: _Moments
) -> tuple[float, float]:
    """Variance of the contrast's log-odds, also with independent votes; its first arm differs from all the others."""
    place = {arm: number for number, arm in enumerate(sorted({arm for pair in votes for arm in pair}))}
    n_C = np.array(list(votes.values()), dtype=np.float64)
    d_CK = np.zeros((len(votes), len(place)))
    for row, (first, second) in enumerate(votes):
        d_CK[row, place[first]], d_CK[row, place[second]] = 1.0, -1.0
    moments = [uneven if contrast[0] in pair else even for pair in votes]
    information = (d_CK * (n_C * [m.rate * (1 - m.rate) for m in moments])[:, None]).T @ d_CK
    target = np.zeros(len(place))
    target[place[contrast[0]]], target[place[contrast[1]]] = 1.0, -1.0
    h_C = d_CK @ np.linalg.pinv(information) @ target
    single = float(n_C * h_C**2 @ np.array([m.variance for m in moments]))

    total = float(n_C.sum())
    shares = n_C / total
    by_annotator = total * max(total / annotators - 1, 0.0) * np.outer(shares, shares)
    by_prompt = np.outer(n_C, n_C) / prompts
    by_prompt[np.diag_indices(len(n_C))] = n_C * np.maximum(n_C / prompts - 1, 0.0)
    alike = d_CK @ d_CK.T / 2
    root_a, root_p = (np.sqrt([getattr(m, name) for m in moments]) for name in ("same_annotator", "same_prompt"))
    pooled = by_annotator * np.outer(root_a, root_a) + by_prompt * np.outer(root_p, root_p)
    return single + float(h_C @ (alike * pooled) @ h_C), single


def _expit(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -700, 700))))


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a monotone function changes its sign, by bisection."""
    rising = function(high) > function(low)
    for _ in range(60):
        middle = (low + high) / 2
        if (function(middle) > 0) == rising:
            high = middle
        else:
            low = middle
    return (low + high) / 2
