"""Which pictures have a place on the scale at all.

A picture has a finite damage when chains of votes lead from it to the reference and back: each vote is an edge from the
picture that differs less to the one that differs more, "not sure" an edge in both directions (Ford 1957, for paired
comparisons). Where everybody names a picture, its damage runs to infinity: it gets no number but a lower bound,

    d >= Phi^-1(p) / Q,   p: Clopper-Pearson lower bound of the share that names it in n of n clusters,

n the smaller number of people and prompts (votes of one person resemble each other). Threshold and lapses are taken as
0 there: with more of either the damage would be greater still.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.special import ndtri

from analysis.stats.jnd.model import Q
from analysis.triplets import TripletCodes
from analysis.triplets.codes import LEFT, NOT_SURE, RIGHT, TRAP

#: At this distance (in JND of the votes' own scale) votes hardly say anything: 99.997 % name the picture.
TOO_FAR = 6.0


@dataclass(frozen=True)
class NoPlace:
    """A picture without a number: why, and a lower bound of its damage where there is one."""

    picture: str
    reason: str
    lower_bound: float | None


def without_place(codes: TripletCodes, *, confidence: float = 0.95) -> tuple[NoPlace, ...]:
    """The compared pictures whose damage these votes do not determine, in the order of `codes.pictures`."""
    task = codes.where((codes.kind != TRAP) & (codes.left != codes.right))
    number = len(codes.pictures)
    up = np.concatenate([task.left[task.answer != LEFT], task.right[task.answer != RIGHT]])
    down = np.concatenate([task.right[task.answer != LEFT], task.left[task.answer != RIGHT]])
    graph = coo_array((np.ones(len(up)), (up, down)), shape=(number, number)).tocsr()
    strong = connected_components(graph, directed=True, connection="strong")[1]
    weak = connected_components(graph, directed=False)[1]
    seen = np.unique(np.concatenate([task.left, task.right]))
    found = []
    for k in seen[seen > 0]:
        name = codes.pictures[k]
        if weak[k] != weak[0]:
            found.append(NoPlace(name, "no chain of votes connects it with the reference", None))
        elif strong[k] != strong[0]:
            bound = named_bound(task, int(k), confidence=confidence)
            reason = (
                "every vote against pictures on the scale names it: it is too far above the threshold for these votes"
                if bound is not None
                else "its votes all go one way, so that its damage has no finite estimate"
            )
            found.append(NoPlace(name, reason, bound))
    return tuple(found)


def nothing_decided(codes: TripletCodes) -> bool:
    """Whether no task or bias vote of some presentation names either side: then its threshold has no estimate."""
    task = codes.where(codes.kind != TRAP)
    return any((task.answer[task.presentation == shown] == NOT_SURE).all() for shown in np.unique(task.presentation))


def named_bound(task: TripletCodes, k: int, *, confidence: float = 0.95) -> float | None:
    """Lower bound of picture k's damage where all of its votes against the reference name it; None elsewhere."""
    against = task.where(((task.left == k) & (task.right == 0)) | ((task.right == k) & (task.left == 0)))
    if not against.n_votes or not (against.answer == np.where(against.right == k, RIGHT, LEFT)).all():
        return None
    n = min(len(np.unique(against.person)), len(np.unique(against.prompt)))
    p = (1 - confidence) ** (1 / n)  # Clopper-Pearson for n of n
    return float(ndtri(p) / Q)


def drop_pictures(codes: TripletCodes, names: tuple[str, ...]) -> TripletCodes:
    """The votes that show none of these pictures, traps included only where they are not among them."""
    gone = np.isin(codes.pictures, names)
    return codes.where(~(gone[codes.left] | gone[codes.right]) | (codes.kind == TRAP))
