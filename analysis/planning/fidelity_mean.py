"""What the clause "mean difference under L JND" costs: plain votes, and boosted votes with a known map.

A clause is shown with probability `power` when its standard error is (L - D) / (t + z), with t the one-sided quantile
with min(people, prompts) - 1 degrees of freedom and z that of the power. The error comes from single votes, by the
expected information of the three-outcome probit with its threshold unknown, and from people and prompts:

    se^2 = [I^-1]_DD / n + D^2 (v^2 / A + w^2 / P),      v, w: spread of people and of prompts (sd of the log)

so that a few people or prompts may never be enough. Boosted votes with an unknown map: `fidelity_mixed`.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from analysis.planning.fidelity_price import Price, PriceAssumptions, not_below, too_few
from analysis.stats.jnd.model import ParameterLayout, Patterns, Q, terms
from analysis.triplets import BOOSTED, PLAIN


def plain_price(limit: float, a: PriceAssumptions) -> Price:
    """Plain triplet votes of one arm against the reference."""
    return _direct("plain", limit, a, presentation=PLAIN)


def known_map_price(limit: float, a: PriceAssumptions) -> Price:
    """Boosted votes alone, the map known from elsewhere: the least that boosting could cost."""
    return _direct("boosted, map known", limit, a, presentation=BOOSTED)


def preference_votes(limit: float, a: PriceAssumptions, *, taste_sd: float, slope: float = 1.0) -> int | None:
    """Preference votes that would answer the same question, for comparison; None where the damage is not below.

    Assumed, not known: the better picture is preferred with Phi(slope Q d / sqrt(1 + taste_sd^2)), ties split, with the
    same lapses; votes are independent.
    """
    if a.damage >= limit:
        return None
    scale = slope * Q / math.sqrt(1 + taste_sd**2)
    p = (1 - a.lapse) * float(stats.norm.cdf(scale * a.damage)) + a.lapse / 2
    by_damage = (1 - a.lapse) * scale * float(stats.norm.pdf(scale * a.damage))
    return math.ceil(p * (1 - p) / by_damage**2 * (a.quantiles / (limit - a.damage)) ** 2)


def _direct(design: str, limit: float, a: PriceAssumptions, *, presentation: int) -> Price:
    if a.damage >= limit:
        return not_below(design, a, limit)
    wanted = ((limit - a.damage) / a.quantiles) ** 2 - a.floor
    if wanted <= 0:
        return too_few(design, a)
    scale, spread = (a.gain, a.spread) if presentation == BOOSTED else (1.0, a.registered_spread)
    layout = ParameterLayout(1, (PLAIN,), False, "none", False, spread)
    one = Patterns(*(np.array([k], dtype=np.int64) for k in (PLAIN, 0, 1)))
    at = terms(np.array([a.damage * scale, a.threshold]), layout, one, lapse=np.full(2, a.lapse), z=np.zeros(1))
    information = np.einsum("a,ai,aj->ij", at.probability[0, 0], at.derivative[0, 0], at.derivative[0, 0])
    votes = float(np.linalg.inv(information)[0, 0]) / scale**2 / wanted
    return Price(design, 0.0, votes) if presentation == BOOSTED else Price(design, votes, 0.0)
