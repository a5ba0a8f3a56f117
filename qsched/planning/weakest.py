"""What a design whose comparisons have unequal numbers of votes can detect: its weakest comparison, by the formula."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qsched.planning.power import contrast_variance, smallest_rate, t_power, vote_moments

Pair = tuple[str, str]

#: The win rate at which comparisons are ranked by what they can show.
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
class WeakestComparison:
    """The comparison that can show least, its detectable win rate (None: not even the largest), its design effect."""

    pair: Pair
    win_rate: float | None
    design_effect: float


def weakest_comparison(
    votes: Mapping[Pair, float], *, annotators: int, prompts: int, assumed: Assumptions
) -> WeakestComparison:
    """What the weakest comparison can show: `votes` by comparison, in equal shares from all people, on all prompts.

    In each comparison the first arm is taken to differ from all the others. The level is divided by the number of
    comparisons (Holm's first step).
    """
    tastes = {"tie_rate": assumed.tie_rate, "annotator_sd": assumed.annotator_sd, "prompt_sd": assumed.prompt_sd}
    number = {arm: place for place, arm in enumerate(sorted({arm for pair in votes for arm in pair}))}
    pairs = tuple((number[first], number[second]) for first, second in votes)
    votes_C = np.array(list(votes.values()), dtype=np.float64)
    even = vote_moments(0.5, **tastes)

    def variance(contrast: tuple[int, int], rate: float) -> tuple[float, float]:
        result = contrast_variance(
            pairs,
            votes_C,
            contrast=contrast,
            ahead=contrast[0],
            annotators=annotators,
            prompts=prompts,
            even=even,
            uneven=vote_moments(rate, **tastes),
        )
        return result.total, result.independent

    typical = min(_TYPICAL, 0.5 + (1 - assumed.tie_rate) / 4)
    by_pair = {pair: variance(numbers, typical) for pair, numbers in zip(votes, pairs, strict=True)}
    weakest = max(by_pair, key=lambda pair: by_pair[pair][0])
    total, independent = by_pair[weakest]
    contrast = (number[weakest[0]], number[weakest[1]])
    df, level = float(max(min(annotators, prompts) - 1, 1)), (1 - assumed.confidence) / len(votes)

    def power_at(rate: float) -> float:
        shift = math.log(rate / (1 - rate)) / math.sqrt(variance(contrast, rate)[0])
        return t_power(shift, df=df, level=level)

    win_rate = smallest_rate(power_at, tie_rate=assumed.tie_rate, power=assumed.power)
    return WeakestComparison(weakest, win_rate, total / independent)
