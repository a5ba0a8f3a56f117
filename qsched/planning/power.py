"""Power and detectable win rate by formula: the variance of a contrast when annotators and prompts differ in taste.

One arm differs from all the others, which are equal. A vote of annotator a on prompt p between arms i and j is a tie
with probability tau (half a win), else i wins with log-odds

    theta_i - theta_j + (u_ai - u_aj) + (v_pi - v_pj),     u ~ N(0, sa^2), v ~ N(0, sp^2) for each arm.

The win rate pi = tau/2 + (1 - tau) pbar is over all annotators and prompts (ties half), pbar = E[expit(theta + s z)],
s^2 = 2 sa^2 + 2 sp^2. For a vote y in {0, 1/2, 1}:

    sigma^2 = tau/4 + (1 - tau) pbar - pi^2                                variance
    C_a = (1 - tau)^2 Var_u( E_v[expit] ),  C_p = (1 - tau)^2 Var_v( E_u[expit] )   covariance of two votes that share
                                                                            the annotator, the prompt

With n votes on a single comparison, in equal shares from A annotators and on P prompts,

    Var(rate) = sigma^2 / n * deff,     deff = 1 + (n/A - 1) C_a / sigma^2 + (n/P - 1) C_p / sigma^2

(the design effect of Kish 1965, Survey Sampling, section 8.2, once for each kind of cluster; the crossed sum as in
Cameron, Gelbach and Miller 2011). With several comparisons c of n_c votes the Bradley-Terry contrast i - j weights
votes by h_c = d_ij' I^+ d_c, I = sum n_c pi_c (1 - pi_c) d_c d_c', and votes on different comparisons that share an
annotator or a prompt covary by Gamma_cc' = sqrt(C_c C_c') d_c'd_c' / 2. Then

    Var(log-odds) = sum_c n_c h_c^2 sigma_c^2 + sum_cc' h_c h_c' (m^a_cc' Gamma^a_cc' + m^p_cc' Gamma^p_cc')

(A is the effective number of annotators, (sum n_a)^2 / sum n_a^2, if their numbers of votes n_a differ), with m the
numbers of ordered pairs of distinct votes that share an annotator (comparisons at random within people) or a
prompt (all comparisons on each prompt). The test is the default of the report: |t| with min(A, P) - 1 degrees of
freedom; its power is that of the noncentral t at level alpha / M. For Holm's procedure that is its first step, a lower
bound.

Only numpy is needed: roots are found by bisection, the noncentral t by Gauss-Legendre quadrature; a test compares both
with scipy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from qsched.errors import InputError
from qsched.planning.plan import StudyPlan

Array = NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(61)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
_LEGENDRE_NODES, _LEGENDRE_WEIGHTS = np.polynomial.legendre.leggauss(300)
#: Beyond so many standard deviations a normal tail is zero for our purposes (1e-19).
_NEGLIGIBLE = 9.0


@dataclass(frozen=True)
class VoteMoments:
    """Of one vote at win rate `rate`: variance, covariances of two votes with the same annotator, the same prompt.

    `log_odds` is the conditional theta that gives this rate.
    """

    rate: float
    log_odds: float
    variance: float
    same_annotator: float
    same_prompt: float


@dataclass(frozen=True)
class ContrastVariance:
    """Variance of a contrast in log-odds, and what it would be if all votes were independent."""

    total: float
    independent: float


@dataclass(frozen=True)
class PlannedPower:
    """What the formula says of one true win rate.

    `se` is of the contrast in log-odds, `design_effect` its variance over that of independent votes, `df` of the t
    test, `level` two-sided after adjustment.
    """

    win_rate: float
    power: float
    power_if_independent: float
    se: float
    design_effect: float
    df: float
    level: float


def vote_moments(rate: float, *, tie_rate: float, annotator_sd: float, prompt_sd: float) -> VoteMoments:
    """Moments of a vote whose population win rate (ties half) is `rate`.

    Raises InputError if so many ties leave no room for the rate: it lies in (tau/2, 1 - tau/2).
    """
    if not tie_rate / 2 < rate < 1 - tie_rate / 2:
        raise InputError(
            f"The win rate {rate} cannot occur with {100 * tie_rate:.0f} % ties (half a win each): it must be between "
            f"{tie_rate / 2} and {1 - tie_rate / 2}. Give another win rate or fewer ties."
        )
    decided = (rate - tie_rate / 2) / (1 - tie_rate)
    sa, sp = math.sqrt(2) * annotator_sd, math.sqrt(2) * prompt_sd
    both = math.hypot(sa, sp)
    theta = find_root(lambda at: float(_expit(at + both * _NODES) @ _WEIGHTS) - decided, -60.0, 60.0)

    def variance_of_mean(own: float, other: float) -> float:
        """Var over one kind of taste of the mean over the other."""
        mean = _expit(theta + own * _NODES[:, None] + other * _NODES[None, :]) @ _WEIGHTS
        return float((mean - decided) ** 2 @ _WEIGHTS)

    scale = (1 - tie_rate) ** 2
    return VoteMoments(
        rate=rate,
        log_odds=theta,
        variance=tie_rate / 4 + (1 - tie_rate) * decided - rate**2,
        same_annotator=scale * variance_of_mean(sa, sp),
        same_prompt=scale * variance_of_mean(sp, sa),
    )


def contrast_variance(
    pairs: tuple[tuple[int, int], ...],
    votes_C: Array,
    *,
    contrast: tuple[int, int],
    ahead: int,
    annotators: float,
    prompts: int,
    even: VoteMoments,
    uneven: VoteMoments,
) -> ContrastVariance:
    """Variance of strength i - j in log-odds.

    `pairs` (C) are the comparisons by arm number, `votes_C` their votes. Arm `ahead` differs from all the others:
    comparisons with it have the moments `uneven`, the others `even`.
    """
    k = 1 + max(max(pair) for pair in pairs)
    d_CK = np.zeros((len(pairs), k))
    d_CK[np.arange(len(pairs)), [i for i, _ in pairs]] = 1.0
    d_CK[np.arange(len(pairs)), [j for _, j in pairs]] = -1.0
    moments = [uneven if ahead in pair else even for pair in pairs]
    weight = np.array([m.rate * (1 - m.rate) for m in moments])
    information = (d_CK * (votes_C * weight)[:, None]).T @ d_CK
    target = np.zeros(k)
    target[contrast[0]], target[contrast[1]] = 1.0, -1.0
    h_C = d_CK @ np.linalg.pinv(information) @ target
    independent = float(votes_C * h_C**2 @ np.array([m.variance for m in moments]))

    total = float(votes_C.sum())
    load = total / annotators
    shares = votes_C / total
    by_annotator = total * max(load - 1, 0.0) * np.outer(shares, shares)
    by_prompt = np.outer(votes_C, votes_C) / prompts
    by_prompt[np.diag_indices(len(pairs))] = votes_C * np.maximum(votes_C / prompts - 1, 0.0)
    alike = d_CK @ d_CK.T / 2
    shared = 0.0
    for covariance, number in (
        (np.array([m.same_annotator for m in moments]), by_annotator),
        (np.array([m.same_prompt for m in moments]), by_prompt),
    ):
        shared += float(h_C @ (number * alike * np.sqrt(np.outer(covariance, covariance))) @ h_C)
    return ContrastVariance(total=independent + shared, independent=independent)


def planned_power(plan: StudyPlan, win_rate: float) -> PlannedPower:
    """Power of one contrast: the arm that differs against one of the others, at population win rate `win_rate`."""
    tastes = {"tie_rate": plan.tie_rate, "annotator_sd": plan.annotator_sd, "prompt_sd": plan.prompt_sd}
    pairs = plan.pairs_of_arms
    variance = contrast_variance(
        pairs,
        np.full(len(pairs), float(plan.votes_per_comparison)),
        contrast=pairs[0],
        ahead=plan.ahead,
        annotators=plan.people,
        prompts=plan.prompts,
        even=vote_moments(0.5, **tastes),
        uneven=vote_moments(win_rate, **tastes),
    )
    level = (1 - plan.confidence) / plan.tests
    df = min(plan.people, plan.prompts) - 1.0
    log_odds = abs(math.log(win_rate / (1 - win_rate)))
    return PlannedPower(
        win_rate=win_rate,
        power=t_power(log_odds / math.sqrt(variance.total), df=df, level=level),
        power_if_independent=t_power(log_odds / math.sqrt(variance.independent), df=math.inf, level=level),
        se=math.sqrt(variance.total),
        design_effect=variance.total / variance.independent,
        df=df,
        level=level,
    )


def detectable_win_rate(plan: StudyPlan, *, power: float = 0.8) -> float | None:
    """The smallest win rate above one half that is found with `power`; None if not even the largest possible is."""
    return smallest_rate(lambda rate: planned_power(plan, rate).power, tie_rate=plan.tie_rate, power=power)


def smallest_rate(power_at: Callable[[float], float], *, tie_rate: float, power: float) -> float | None:
    """The smallest win rate at which `power_at`, which rises with the rate, reaches `power`; None if it never does."""
    if not 0 < power < 1:
        raise InputError(f"The power is {power}; it must be between 0 and 1, such as 0.8.")
    low, high = 0.5 + 1e-6, 1 - tie_rate / 2 - 1e-4
    if power_at(high) < power:
        return None
    if power_at(low) >= power:
        return low
    return find_root(lambda rate: power_at(rate) - power, low, high, steps=26)


def t_power(shift: float, *, df: float, level: float) -> float:
    """P(|T| beyond the two-sided critical value) of a noncentral t; normal for df = inf."""
    bound = t_bound(df=df, level=level)
    return t_tail(bound, df=df, shift=shift) + t_tail(bound, df=df, shift=-shift)


@lru_cache(maxsize=256)  # a search for a shift asks for the same bound again and again
def t_bound(*, df: float, level: float) -> float:
    """The critical value of the two-sided t test at `level`."""
    normal = NormalDist().inv_cdf(1 - level / 2)
    if math.isinf(df):
        return normal
    high = max(2 * normal, 10.0)
    while t_tail(high, df=df, shift=0.0) > level / 2:
        high *= 4
    return find_root(lambda bound: t_tail(bound, df=df, shift=0.0) - level / 2, 0.0, high)


def t_tail(bound: float, *, df: float, shift: float) -> float:
    """P(T > bound) of the noncentral t: the normal tail integrated over the chi distribution of the standard error."""
    if math.isinf(df):
        return math.erfc((bound - shift) / math.sqrt(2)) / 2
    low, high = max(0.0, 1 - 12 / math.sqrt(df)), 1 + 12 / math.sqrt(df)
    if bound > 0:  # beyond this point the normal tail is zero; for a large bound it is far inside (low, high)
        high = min(high, (shift + _NEGLIGIBLE) / bound)
    if high <= low:
        return 0.0
    s = low + (high - low) * (_LEGENDRE_NODES + 1) / 2
    log_density = math.log(2) + df / 2 * math.log(df / 2) - math.lgamma(df / 2) + (df - 1) * np.log(s) - df * s**2 / 2
    beyond = np.array([math.erfc((bound * value - shift) / math.sqrt(2)) / 2 for value in s])
    return float(_LEGENDRE_WEIGHTS @ (np.exp(log_density) * beyond) * (high - low) / 2)


def find_root(function: Callable[[float], float], low: float, high: float, *, steps: int = 60) -> float:
    """The point between `low` and `high` at which a monotone function changes sign, by bisection."""
    rising = function(high) > function(low)
    for _ in range(steps):
        middle = (low + high) / 2
        if (function(middle) > 0) == rising:
            high = middle
        else:
            low = middle
    return (low + high) / 2


def _expit(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -700, 700))))
