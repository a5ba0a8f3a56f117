"""People who look only where the difference is obvious: a refusal, and how many random votes a clause would bear."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from analysis.certificate.result import ClauseResult
from analysis.stats.errors import AnalysisError
from analysis.stats.jnd.attention import STRONG, STRONG_VOTES, Attention, examine_attention
from analysis.stats.jnd.scale import score_pictures
from analysis.triplets import TripletCodes
from qsched.records.registration import Registration

NAMES = ("plain", "boosted")
#: Votes cast at random up to which a bound is tried, and how exactly the share is found.
MOST_RANDOM, EXACTLY = 0.6, 0.01


def refuse_inattentive(
    result: ClauseResult, codes: TripletCodes, plan: Registration, presentations: Sequence[int]
) -> ClauseResult:
    """The verdict on a clause that rests on votes of these presentations: "not shown" if some people seem to answer
    weak triplets without looking. The chances are among its numbers."""
    numbers, notes = dict(result.numbers), list(result.notes)
    refused: list[str] = []
    for shown_at in presentations:
        name, some = NAMES[shown_at], codes.where(codes.presentation == shown_at)
        found = _examined(some, plan)
        if found is None:
            if result.shown and some.n_votes:
                notes.append(f"The {name} votes carry no scale, so it was not examined whether people looked.")
            continue
        numbers |= {f"{name}_attention_random": found.random, f"{name}_attention_unsure": found.unsure}
        if found.alarm:
            refused.append(f"Refused. In {found.votes:,} {name} votes of {found.people} people, {found.words}.")
        elif result.shown and found.strong < STRONG_VOTES:
            notes.append(
                f"People gave {found.strong:.1f} {name} votes each on differences of {STRONG} JND or more; with fewer "
                f"than {STRONG_VOTES}, some who look only where the difference is obvious may not be noticed."
            )
    shown, needs = (False, None) if refused else (result.shown, result.needs)
    return replace(result, shown=shown, needs=needs, numbers=numbers, notes=(*notes, *refused))


def _examined(codes: TripletCodes, plan: Registration) -> Attention | None:
    """None where the votes of one presentation carry no scale to compare people by."""
    try:
        scale = score_pictures(codes, people_sd=math.hypot(plan.people_sd, plan.prompt_sd))
    except AnalysisError:
        return None
    if scale.fit is None or scale.codes is None:
        return None
    rng = np.random.default_rng(0)
    return examine_attention(scale.codes, scale.fit, people_sd=plan.people_sd, prompt_sd=plan.prompt_sd, rng=rng)


def random_share_borne(is_shown: Callable[[float], bool]) -> float:
    """The largest share of votes cast at random, off the traps, at which the clause would still be shown."""
    low, high = 0.0, MOST_RANDOM
    if is_shown(high):
        return high
    while high - low > EXACTLY:
        middle = (low + high) / 2
        low, high = (middle, high) if is_shown(middle) else (low, middle)
    return low
