"""Which pairs are equivalent within a margin: two one-sided tests, adjusted over all pairs by Holm.

    p = max(P(T > (edge + d) / s), P(T > (edge - d) / s)),   edge: the margin on the log-odds scale

(Schuirmann 1987, J. Pharmacokin. Biopharm. 15:657-680.) p is small if the difference d is so far from both edges that
either would have given it rarely. An interval for all pairs at once is far stricter, because it also has to be right
about pairs that are not claimed. The margin is decided before the votes are seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.stats.contrasts import holm
from analysis.stats.results import Array, Estimate
from analysis.stats.scales import log_odds
from analysis.stats.spread import spread_of, t_tails
from qsched.records import InputError


@dataclass(frozen=True)
class EquivalenceRow:
    """One pair: p of the two one-sided tests, adjusted over all pairs, and whether equivalence is claimed."""

    arm_a: str
    arm_b: str
    p: float
    p_holm: float
    equivalent: bool


def equivalence_tests(result: Estimate, margin: float) -> tuple[EquivalenceRow, ...]:
    """For every pair in the order of `result.pairwise`; `margin` is a distance from an even win rate, such as 0.03."""
    if not 0 < margin < 0.5:
        raise InputError(f"The margin is {margin}; it must be between 0 and 0.5, such as 0.03.")
    edge = log_odds(0.5 + margin)
    arms = result.fit.arms
    first = [arms.index(row.arm_a) for row in result.pairwise]
    second = [arms.index(row.arm_b) for row in result.pairwise]
    difference = np.array([row.log_odds for row in result.pairwise])
    spread = spread_of(result.uncertainty, first, second)
    nearer = edge - np.abs(difference)
    p = np.maximum(_upper(nearer, spread.se, spread.df), _upper(nearer, spread.floor, np.full(len(nearer), np.inf)))
    adjusted = holm(p)
    alpha = 1 - result.settings.confidence
    return tuple(
        EquivalenceRow(row.arm_a, row.arm_b, float(one), float(all_pairs), bool(all_pairs <= alpha))
        for row, one, all_pairs in zip(result.pairwise, p, adjusted, strict=True)
    )


def _upper(distance: Array, se: Array, df: Array) -> Array:
    """P(T > distance / se); the farther edge always gives the smaller p."""
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(se > 0, distance / se, np.where(distance > 0, np.inf, -np.inf))
    half = t_tails(np.abs(t), df) / 2
    return np.asarray(np.where(t >= 0, half, 1 - half))
