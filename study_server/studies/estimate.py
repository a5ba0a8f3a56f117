"""What a design will take and what it can show, before anyone is asked. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from study_server.studies.comparisons import PlannedPair
from study_server.studies.design import StudyDesign

# Two-sided 5 % level and 80 % power.
Z_LEVEL, Z_POWER = 1.959964, 0.841621


@dataclass(frozen=True, slots=True)
class StudyEstimate:
    """Counts, hours and money of a study; `detectable_win_rate` is the smallest one seen with 80 % power."""

    comparisons: int
    pairs: int
    valid_votes: int
    trials_per_annotator: int
    annotators: int
    minutes_per_annotator: float
    hours: float
    cost: float | None
    currency: str | None
    votes_per_comparison: int
    detectable_win_rate: float


def estimate_study(design: StudyDesign, pairs: Sequence[PlannedPair]) -> StudyEstimate:
    """Estimate from the planned pairs.

    The detectable win rate takes votes as independent and untied: p = 1/2 + (z_0.975 + z_0.8) / (2 sqrt(n)) with n
    votes in the smallest comparison. People and prompts differ, so the truth needs more; `analysis/power.py`
    takes that into account.
    """
    task = [pair for pair in pairs if pair.pool == "task"]
    practice = sum(pair.pool == "practice" for pair in pairs)
    sizes: dict[tuple[str, str], int] = {}
    for pair in task:
        key = (pair.first_arm, pair.second_arm)
        sizes[key] = sizes.get(key, 0) + 1
    votes = len(task) * design.votes_per_pair
    each = min(design.pairs_per_annotator or len(task), len(task))
    # An annotator judges a pair once, so at least votes_per_pair people are needed.
    annotators = max(math.ceil(votes / each), design.votes_per_pair)
    extras = design.warmup + design.gold_shown + design.instructed + round(design.repeat_rate * each)
    trials = each + extras + practice
    minutes = trials * design.seconds_per_vote / 60
    hours = annotators * minutes / 60
    smallest = min(sizes.values()) * design.votes_per_pair
    pay = design.pay
    return StudyEstimate(
        comparisons=len(sizes), pairs=len(task), valid_votes=votes, trials_per_annotator=trials,
        annotators=annotators, minutes_per_annotator=minutes, hours=hours,
        cost=None if pay is None else hours * pay.per_hour * (1 + pay.platform_fee),
        currency=None if pay is None else pay.currency, votes_per_comparison=smallest,
        detectable_win_rate=min(1.0, 0.5 + (Z_LEVEL + Z_POWER) / (2 * math.sqrt(smallest))),
    )  # fmt: skip
