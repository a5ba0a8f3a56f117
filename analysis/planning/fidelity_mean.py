"""What the clause "mean difference under L JND" costs: plain votes, boosted votes with a known map, and both together.

A clause is shown with probability `power` when its standard error is (L - D) / (t + z), with t the one-sided quantile
with min(people, prompts) - 1 degrees of freedom and z that of the power. The error comes from single votes, by the
expected information of the three-outcome probit with its threshold unknown, and from people and prompts:

    se^2 = [I^-1]_DD / n + D^2 (v^2 / A + w^2 / P),      v, w: spread of people and of prompts (sd of the log)

so that a few people or prompts may never be enough. Boosted votes of an arm at gain g, the map unknown: the votes are
spread over comparisons so that the variance of D - L through the map (`analysis.stats.jnd.mapping`) is smallest; that
is c-optimality, found by the multiplicative algorithm w <- w sqrt(c' M^-1 I M^-1 c). The cost of checking that the map
is straight is the same with the exponent as what is estimated: it is paid once for all arms that share the map.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.stats.jnd.model import Array, MapForm, ParameterLayout, Patterns, Q, terms
from analysis.triplets import BOOSTED, PLAIN

RUNGS = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5)
#: The standard error of the exponent with which its 95 % interval is as wide as from 0.8 to 1.25.
EXPONENT_SE = 0.11
_ROUNDS = 800


@dataclass(frozen=True, kw_only=True)
class PriceAssumptions:
    """What a price rests on: a guessed damage, the observers, the sizes and the seconds."""

    damage: float = 0.25
    gain: float = 2.2
    people: int = 40
    prompts: int = 100
    people_sd: float = 0.3
    prompt_sd: float = 0.5
    threshold: float = 0.3
    lapse: float = 0.05
    confidence: float = 0.95
    power: float = 0.8
    plain_seconds: float = 12.0
    boosted_seconds: float = 6.0
    person_seconds: float = 180.0
    traps: int = 10

    @property
    def quantiles(self) -> float:
        """t + z of the module's docstring."""
        t = stats.t.ppf(self.confidence, max(1, min(self.people, self.prompts) - 1))
        return float(t + stats.norm.ppf(self.power))

    @property
    def spread(self) -> float:
        """Spread of people and prompts together, which the pooled model integrates vote by vote."""
        return math.hypot(self.people_sd, self.prompt_sd)

    def hours(self, *, plain: float, boosted: float) -> float:
        """Person-hours of so many votes, with traps of each presentation and the time to bring a person in."""
        seconds = self.people * self.person_seconds
        for votes, each in ((plain, self.plain_seconds), (boosted, self.boosted_seconds)):
            seconds += (votes + self.people * self.traps * (votes > 0)) * each
        return seconds / 3600


@dataclass(frozen=True)
class Price:
    """Votes of a design; None where no number of votes is enough, with the reason."""

    design: str
    plain: float | None
    boosted: float | None
    reason: str = ""

    @property
    def votes(self) -> int | None:
        """All votes, rounded up."""
        return None if self.plain is None or self.boosted is None else math.ceil(self.plain + self.boosted - 1e-9)


def plain_price(limit: float, a: PriceAssumptions) -> Price:
    """Plain triplet votes of one arm against the reference."""
    votes, reason = _direct(a.damage, limit, a, scale=1.0)
    return Price("plain", votes, None if votes is None else 0.0, reason)


def known_map_price(limit: float, a: PriceAssumptions) -> Price:
    """Boosted votes alone, the map known from elsewhere: the least that boosting could cost."""
    votes, reason = _direct(a.damage, limit, a, scale=a.gain)
    return Price("boosted, map known", None if votes is None else 0.0, votes, reason)


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


def _direct(damage: float, limit: float, a: PriceAssumptions, *, scale: float) -> tuple[float | None, str]:
    if damage >= limit:
        return None, f"the guessed damage {damage:g} is not below the limit {limit:g}"
    wanted = ((limit - damage) / a.quantiles) ** 2
    floor = damage**2 * (a.people_sd**2 / a.people + a.prompt_sd**2 / a.prompts)
    if floor >= wanted:
        return None, f"{a.people} people and {a.prompts} prompts are too few, however many votes they give"
    layout = ParameterLayout(1, (PLAIN,), False, "none", False, a.spread)
    information = _information(layout, [(PLAIN, 0, 1)], np.array([damage * scale, a.threshold]), a)[0]
    variance = float(np.linalg.inv(information)[0, 0]) / scale**2
    return variance / (wanted - floor), ""


def mixed_price(limit: float, a: PriceAssumptions, *, arms: int = 1) -> Price:
    """Boosted votes with the map estimated in the same study and shared by `arms` arms alike; votes in all."""
    name = f"mixed, {arms} arm{'s' if arms > 1 else ''}, all votes"
    if a.damage >= limit:
        return Price(name, None, None, f"the guessed damage {a.damage:g} is not below the limit {limit:g}")
    layout, candidates, information = _ladder(a, arms, "linear")
    directions = np.zeros((arms, layout.n))
    directions[:, :arms] = np.eye(arms)
    directions[:, layout.log_gain] = a.damage - limit
    shares, variance = _best(information, directions)
    floor = a.damage**2 * (a.people_sd**2 / a.people + a.prompt_sd**2 / a.prompts)
    wanted = ((limit - a.damage) / a.quantiles) ** 2 - floor
    if wanted <= 0:
        return Price(name, None, None, f"{a.people} people and {a.prompts} prompts are too few")
    votes = variance / wanted
    plain = sum(share for share, (shown, _, _) in zip(shares, candidates, strict=True) if shown == PLAIN)
    return Price(name, votes * plain, votes * (1 - plain))


def map_check_price(a: PriceAssumptions) -> Price:
    """Votes that tell whether the map is straight: the exponent to a standard error of 0.11, once for all arms."""
    layout, candidates, information = _ladder(a, 0, "power")
    direction = np.zeros((1, layout.n))
    direction[0, layout.exponent] = 1.0
    shares, variance = _best(information, direction)
    votes = variance / EXPONENT_SE**2
    plain = sum(share for share, (shown, _, _) in zip(shares, candidates, strict=True) if shown == PLAIN)
    return Price("check that the map is straight", votes * plain, votes * (1 - plain))


def _ladder(a: PriceAssumptions, arms: int, form: MapForm) -> tuple[ParameterLayout, list[tuple[int, int, int]], Array]:
    """Comparisons to choose from: all but the arms' own plain votes and arms against arms."""
    damages = [a.damage] * arms + list(RUNGS)
    layout = ParameterLayout(len(damages), (PLAIN, BOOSTED), False, form, False, a.spread)
    theta = layout.start()
    theta[: len(damages)] = damages
    theta[len(damages) : len(damages) + 2] = a.threshold
    theta[layout.log_gain] = math.log(a.gain)
    number = len(damages) + 1

    def is_arm(k: int) -> bool:
        return 1 <= k <= arms

    candidates = [
        (shown, i, j)
        for shown in (PLAIN, BOOSTED)
        for i in range(number)
        for j in range(i + 1, number)
        if not (is_arm(i) and is_arm(j)) and not (shown == PLAIN and (is_arm(i) or is_arm(j)))
    ]
    return layout, candidates, _information(layout, candidates, theta, a)


def _information(
    layout: ParameterLayout, candidates: list[tuple[int, int, int]], theta: Array, a: PriceAssumptions
) -> Array:
    """Expected information of one vote of each comparison, (C, m, m)."""
    shown, i, j = (np.array(column, dtype=np.int64) for column in zip(*candidates, strict=True))
    at = terms(theta, layout, Patterns(shown, i, j), lapse=np.full(2, a.lapse), z=np.zeros(1))
    p, slope = at.probability[:, 0], at.derivative[:, 0]
    return np.asarray(np.einsum("ca,cai,caj->cij", p, slope, slope), dtype=np.float64)


def _best(information: Array, directions: Array) -> tuple[Array, float]:
    """Shares of votes that make the mean variance along the directions smallest, and the largest of these variances
    for one vote in all."""
    shares = np.full(len(information), 1 / len(information))
    ridge = 1e-10 * np.eye(information.shape[1])
    for _ in range(_ROUNDS):
        solved = np.linalg.solve(np.tensordot(shares, information, axes=1) + ridge, directions.T)
        gains = np.einsum("ik,cij,jk->c", solved, information, solved, optimize=True)
        shares = shares * np.sqrt(gains)
        shares /= shares.sum()
    solved = np.linalg.solve(np.tensordot(shares, information, axes=1) + ridge, directions.T)
    return shares, float(np.einsum("ki,ik->k", directions, solved).max())
