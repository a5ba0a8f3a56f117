"""The lapse rate of each presentation, from its traps alone.

A trap shows the reference against picture k, with P(a) = (1 - l) H_a + l/3 for answer a. H is what an attentive person
says: the model's own probability where task votes place k on the scale, else certain to be right. Task votes have no
say in l: a free lapse rate explains any misfit of the ladder and multiplies the scale. Bias items say nothing about l
that they do not already say about the threshold; they enter the task likelihood. A quarter of a vote is added to each
wrong answer and half a vote to the right one, so that l is never 0 with certainty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.stats.jnd.likelihood import TripletCounts, count_triplets
from analysis.stats.jnd.model import Array, Codes, ParameterLayout, Patterns, nodes_of, terms
from analysis.triplets import TripletCodes

MOST = 0.95


@dataclass(frozen=True)
class TrapCounts:
    """Counted trap votes. `inside` are their patterns in the numbers of theta (0 where `on_scale` is false).

    `group` says which lapse rate each presentation uses (-1: none could be estimated).
    """

    counted: TripletCounts
    answer: Codes
    inside: Patterns
    on_scale: NDArray[np.bool_]
    group: Codes
    n_groups: int
    notes: tuple[str, ...]


def count_traps(codes: TripletCodes, *, place: Codes, layout: ParameterLayout) -> TrapCounts:
    """`codes` are trap votes, `place` (pictures,) the number of each picture in theta, 0 where no task vote has it."""
    counted = count_triplets(codes, by_prompt=False)
    found = counted.patterns
    trapped = sorted(set(codes.presentation.tolist()))
    group = np.full(2, -1, dtype=np.int64)
    group[trapped] = np.arange(len(trapped))
    notes = []
    for shown in layout.presentations:
        if group[shown] < 0 and trapped:
            group[shown] = 0
            notes.append(
                f"There are no {('plain', 'boosted')[shown]} traps: the other presentation's lapse rate is used."
            )
    if not trapped:
        notes.append("There are no traps: lapses were taken to be zero, which makes damages too small.")
    known = np.isin(found.presentation, layout.presentations)
    on_scale = known & (place[np.maximum(found.left, found.right)] > 0)
    shown_at = np.where(known, found.presentation, layout.presentations[0])
    inside = Patterns(shown_at, np.where(on_scale, place[found.left], 0), np.where(on_scale, place[found.right], 0))
    return TrapCounts(counted, codes.answer, inside, on_scale, group, len(trapped), tuple(notes))


def attentive(theta: Array, layout: ParameterLayout, traps: TrapCounts, *, nodes: int) -> Array:
    """H (C, 3) of every trap pattern, averaged over prompts."""
    certain = np.zeros((len(traps.on_scale), 3))
    certain[np.arange(len(certain)), np.where(traps.counted.patterns.right > 0, 2, 0)] = 1.0
    if not traps.on_scale.any():
        return certain
    z, weight = nodes_of(nodes)
    modelled = terms(theta, layout, traps.inside, lapse=np.zeros(2), z=z).attentive
    return np.where(traps.on_scale[:, None], np.einsum("cna,n->ca", modelled, weight), certain)


def lapse_scores(lapse: Array, h: Array, traps: TrapCounts) -> tuple[Array, Array]:
    """d log P / d l of every trap pattern and answer (C, 3), and the score of each lapse rate (G,)."""
    shown = traps.counted.patterns.presentation
    rate = lapse[shown][:, None]
    p = np.maximum((1 - rate) * h + rate / 3, 1e-12)
    slope = (1 / 3 - h) / p
    by_pattern = (traps.counted.counts[0] * slope).sum(axis=1)
    score = np.bincount(traps.group[shown], weights=by_pattern, minlength=traps.n_groups).astype(np.float64)
    for shown_at in np.unique(shown):
        right, wrong = 1 - 2 * lapse[shown_at] / 3, max(lapse[shown_at] / 3, 1e-12)
        score[traps.group[shown_at]] += 0.5 * (-2 / 3) / right + 0.5 * (1 / 3) / wrong
    return slope, score


def estimate_lapses(theta: Array, layout: ParameterLayout, traps: TrapCounts, *, nodes: int) -> Array:
    """Lapse rate by presentation (2,), where the score of its traps is zero: 3/2 of the share not right where attentive
    people are certain to be right, else by bisection."""
    if traps.n_groups == 0:
        return np.zeros(2)
    h = attentive(theta, layout, traps, nodes=nodes)
    if not traps.on_scale.any():
        shown, votes = traps.counted.patterns.presentation, traps.counted.counts[0]
        right = np.bincount(traps.group[shown], weights=(votes * h).sum(axis=1), minlength=traps.n_groups)
        seen = np.bincount(traps.group[shown], weights=votes.sum(axis=1), minlength=traps.n_groups)
        return spread_out(np.minimum(1.5 * (seen - right + 0.5) / (seen + 1), MOST), traps)
    low, high = np.zeros(traps.n_groups), np.full(traps.n_groups, MOST)
    for _ in range(50):
        middle = (low + high) / 2
        _, score = lapse_scores(spread_out(middle, traps), h, traps)
        low, high = np.where(score > 0, middle, low), np.where(score > 0, high, middle)
    return spread_out((low + high) / 2, traps)


def spread_out(rates: Array, traps: TrapCounts) -> Array:
    """Rates by group (G,) as rates by presentation (2,); 0 where there is none."""
    return np.array([rates[g] if g >= 0 else 0.0 for g in traps.group])
