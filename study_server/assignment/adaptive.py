"""Drawing a comparison with a known probability: the shares of the running batch over a floor of uniform sampling.

    q_c = floor / n + (1 - floor) share_c     over the n comparisons that are open to this person,

with the shares taken anew among those. Every open comparison keeps at least floor / n, and the probability of the one
drawn is exact: it is stored with the assignment. Pure functions; `ranking` says what a vote is worth.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Draw:
    """A comparison and the probability with which it was drawn among the open ones."""

    comparison_id: int
    probability: float


def selection_probabilities(opened: Sequence[int], shares: Mapping[int, float], *, floor: float) -> dict[int, float]:
    """Probability of each open comparison; sums to one. Shares of closed comparisons are handed to the open ones.

    Where the open comparisons have no share at all (nothing is known yet, or all that tells is closed), uniform.
    """
    known = sum(shares.get(number, 0.0) for number in opened)
    even = 1 / len(opened) if opened else 0.0
    if known <= 0:
        return dict.fromkeys(opened, even)
    # The share is divided first: (1 - floor) share / known can round to more than one where one comparison is open.
    return {number: floor * even + (1 - floor) * (shares.get(number, 0.0) / known) for number in opened}


def draw_comparison(
    opened: Sequence[int], shares: Mapping[int, float], *, floor: float, rng: random.Random
) -> Draw | None:
    """One open comparison at random by `selection_probabilities`; None where none is open."""
    if not opened:
        return None
    probabilities = selection_probabilities(opened, shares, floor=floor)
    (chosen,) = rng.choices(list(probabilities), weights=list(probabilities.values()))
    return Draw(chosen, probabilities[chosen])
