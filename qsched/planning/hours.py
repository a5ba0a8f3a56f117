"""The least human time for a wanted precision: how many people, and how many votes of each, on so many prompts.

By the formula of `qsched.planning.power` the variance of a contrast (log-odds) of N votes by A people on P prompts is

    V = q_a / A + q_p / P + c / N,

linear in the three reciprocals, so that the person-time A s0 + N s (s0: bringing one person in; s: one vote) that
meets a wanted V is least at

    T = (sqrt(q_a s0) + sqrt(c s))^2 / (V - q_p / P),     N / A = sqrt(c s0 / (q_a s)).

First people, then prompts (which cost no human time), and only then votes. No number of votes meets V if
q_a / A + q_p / P is above it: those are the floors of so many people and so many prompts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from qsched.errors import InputError
from qsched.planning.plan import StudyPlan
from qsched.planning.power import contrast_variance, find_root, t_bound, t_power, vote_moments

#: Numbers at which the formula is taken apart; every person and prompt has many votes there.
_FEW, _MANY, _VOTES = 100, 200, 1e8
_ROUNDS = 30
_MOST_PEOPLE = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Effort:
    """Seconds of one vote, seconds to bring one person in (consent, instructions, practice), most votes of a person."""

    vote: float
    arrival: float
    most_votes: int | None = None

    def __post_init__(self) -> None:
        for name in ("vote", "arrival"):
            if not 0 < getattr(self, name) < 1e5:
                raise InputError(f"{name} is {getattr(self, name)} seconds; it must be above 0, such as 8.")
        if self.most_votes is not None and self.most_votes < 1:
            raise InputError(f"most_votes is {self.most_votes}; a person gives at least one vote.")


@dataclass(frozen=True)
class VarianceLaw:
    """V = by_people / A + by_prompts / P + by_votes / N, in log-odds; `level` two-sided after adjustment."""

    by_people: float
    by_prompts: float
    by_votes: float
    level: float


@dataclass(frozen=True)
class Target:
    """What is wanted: a half-width in win rate around `rate`, or `rate` found with `power`."""

    rate: float = 0.5
    half_width: float | None = None
    power: float | None = None

    def __post_init__(self) -> None:
        if (self.half_width is None) == (self.power is None):
            raise InputError("Give either a half-width of the interval, or a win rate to be found with a power.")
        if self.half_width is not None and not 0 < self.half_width < 0.5:
            raise InputError(f"The half-width is {self.half_width}; it must be between 0 and 0.5, such as 0.03.")
        if self.power is not None and not (0.5 < self.rate < 1 and 0 < self.power < 1):
            raise InputError(
                f"A win rate of {self.rate} with power {self.power}: the rate must be between 0.5 and 1 and the power "
                "between 0 and 1."
            )

    def variance(self, df: float, level: float) -> float:
        """The variance of the contrast in log-odds that meets it, with a t of `df` degrees of freedom."""
        if self.half_width is not None:
            half = self.half_width / (self.rate * (1 - self.rate))
            return (half / t_bound(df=df, level=level)) ** 2
        shift = _shift_found(self.power or 0.0, df=df, level=level)
        return (math.log(self.rate / (1 - self.rate)) / shift) ** 2


@lru_cache(maxsize=256)  # every number of prompts is priced with these few degrees of freedom
def _shift_found(power: float, *, df: float, level: float) -> float:
    """The distance from the null, in standard errors, that the two-sided t test finds with `power`."""
    return find_root(lambda at: t_power(at, df=df, level=level) - power, 0.0, 200.0, steps=50)


@dataclass(frozen=True)
class LeastTime:
    """The cheapest study on `prompts` prompts: `hours` of people's time; None everywhere if so many cannot meet it.

    `floor`: the half-width in win rate that these prompts never get below, however many people and votes.
    """

    prompts: int
    people: int | None
    votes: int | None
    hours: float | None
    floor: float

    @property
    def votes_each(self) -> float | None:
        return None if self.people is None or self.votes is None else self.votes / self.people


def variance_law(plan: StudyPlan, rate: float) -> VarianceLaw:
    """The three coefficients of a design; people, prompts and votes per pair of `plan` do not matter."""
    tastes = {"tie_rate": plan.tie_rate, "annotator_sd": plan.annotator_sd, "prompt_sd": plan.prompt_sd}
    even, uneven = vote_moments(0.5, **tastes), vote_moments(rate, **tastes)
    pairs = plan.pairs_of_arms

    def variance(people: int, prompts: int, votes: float) -> float:
        return contrast_variance(
            pairs,
            np.full(len(pairs), votes / len(pairs)),
            contrast=pairs[0],
            ahead=plan.ahead,
            annotators=people,
            prompts=prompts,
            even=even,
            uneven=uneven,
        ).total

    step = 1 / _FEW - 1 / _MANY
    start = variance(_FEW, _FEW, _VOTES)
    by_people = (start - variance(_MANY, _FEW, _VOTES)) / step
    by_prompts = (start - variance(_FEW, _MANY, _VOTES)) / step
    by_votes = (variance(_FEW, _FEW, 1e5) - variance(_FEW, _FEW, 2e5)) / (1e-5 - 5e-6)
    return VarianceLaw(by_people, by_prompts, by_votes, (1 - plan.confidence) / plan.tests)


def least_time(plan: StudyPlan, target: Target, effort: Effort, *, prompts: int) -> LeastTime:
    """People and votes of the cheapest study of `plan`'s arms, comparisons, tastes and test on `prompts` prompts."""
    law = variance_law(plan, target.rate)
    people = _MOST_PEOPLE
    found: tuple[int, int] | None = None
    for _ in range(_ROUNDS):
        df = float(max(min(people, prompts) - 1, 1))
        left = target.variance(df, law.level) - law.by_prompts / prompts
        if left <= 0:
            found = None
            break
        wanted = _cheapest(law, left, effort)
        if found is not None and wanted <= found:
            break
        found, people = wanted, wanted[0]
    floor = _floor(law, prompts, target.rate)
    if found is None:
        return LeastTime(prompts, None, None, None, floor)
    return LeastTime(prompts, *found, (found[0] * effort.arrival + found[1] * effort.vote) / 3600, floor)


def _cheapest(law: VarianceLaw, variance: float, effort: Effort) -> tuple[int, int]:
    """People and votes that meet by_people / A + by_votes / N = variance in the least time."""
    each = math.sqrt(law.by_votes * effort.arrival / (law.by_people * effort.vote)) if law.by_people > 0 else math.inf
    each = max(1.0, min(each, effort.most_votes or math.inf, law.by_votes / variance))
    people = max(2, math.ceil((law.by_people + law.by_votes / each) / variance))
    left = variance - law.by_people / people
    return people, max(people, math.ceil(law.by_votes / left))


def _floor(law: VarianceLaw, prompts: int, rate: float) -> float:
    """Half-width in win rate with endless people and votes."""
    df = float(max(prompts - 1, 1))
    return t_bound(df=df, level=law.level) * math.sqrt(law.by_prompts / prompts) * rate * (1 - rate)


def people_floor(plan: StudyPlan, target: Target, *, people: int) -> float:
    """The half-width in win rate that `people` never get below, however many prompts and votes."""
    law = variance_law(plan, target.rate)
    swapped = replace(law, by_prompts=law.by_people)
    return _floor(swapped, people, target.rate)
