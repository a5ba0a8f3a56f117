"""Counts of votes by cluster: by annotator, by prompt, and by both together; dense, or sparse where most are empty."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from analysis.stats.results import Array
from analysis.votes.coded import Coded, IntArray, codes

#: A dense array or a scipy csr array (scipy ships no types to say so).
Matrix: TypeAlias = Any
#: The annotator or prompt of each vote: coded, or the column from which the codes are made when they are needed.
Ids: TypeAlias = "Coded | pl.Series"
#: Votes of one annotator on one prompt. Only intersections of two votes or more are kept, for the others are votes.
INTERSECTION = "annotator x prompt"
#: Counts by cluster are kept as a sparse matrix above the first number of entries, and above the second if fewer than
#: this share of them can have votes, as with hundreds of arms.
_DENSE_ENTRIES, _EMPTY_ENTRIES, _FILLED = 20_000_000, 1_000_000, 0.02
#: The largest number that a vote's annotator, prompt and slot may make together.
_LARGEST_KEY = 2**63 - 1


@dataclass(frozen=True)
class ClusterCounts:
    """Counts of each cluster, shape (G, 3 C), dense or csr; columns as `VoteCounts.outcomes.ravel()`.

    `labels` are the clusters' names, in the order of the rows; none for the intersection of annotator and prompt.
    """

    name: str
    labels: tuple[str, ...]
    counts: Matrix

    @cached_property
    def votes(self) -> Array:
        """Votes of each cluster, shape (G,)."""
        return np.asarray(self.counts @ np.ones(self.counts.shape[1]), dtype=np.float64).ravel()

    def present(self) -> NDArray[np.bool_]:
        """Which clusters have votes, shape (G,)."""
        return self.votes > 0


def by_cluster(ids: Mapping[str, Ids], slots: Callable[[], IntArray], m: int) -> dict[str, ClusterCounts]:
    """The votes of each annotator and prompt by slot, of m; `slots` gives the slot of each vote."""
    slot = slots()
    coded = {name: codes(given) if isinstance(given, pl.Series) else given for name, given in ids.items()}
    clusters = {
        name: ClusterCounts(name, labels, cluster_table(code, slot, None, len(labels), m))
        for name, (labels, code) in coded.items()
    }
    if len(coded) == 2:
        both = _by_intersection(coded["annotator"], coded["prompt"], slot, m)
        if both is not None:
            clusters[INTERSECTION] = both
    return clusters


def cluster_table(code: IntArray, slot: IntArray, votes: Array | None, g: int, m: int) -> Matrix:
    """Counts (g, m) of rows with a cluster and a slot, of one vote each or of `votes`.

    Sparse if there are many, or if nearly all are empty, as with hundreds of arms.
    """
    most = _DENSE_ENTRIES if len(code) >= _FILLED * g * m else _EMPTY_ENTRIES
    if g * m <= most:
        return np.bincount(code * m + slot, votes, g * m).reshape(g, m).astype(np.float64)
    return _sparse_counts(code, slot, g, m, votes)


def _by_intersection(
    annotator: tuple[tuple[str, ...], IntArray], prompt: tuple[tuple[str, ...], IntArray], slot: IntArray, m: int
) -> ClusterCounts | None:
    """Counts by (annotator, prompt), or None if none has two votes: every intersection is then a single vote."""
    # Sorted by intersection, then slot: equal neighbours are votes of one annotator on one prompt.
    code = annotator[1] * len(prompt[0]) + prompt[1]
    bits = m.bit_length()
    if len(annotator[0]) * len(prompt[0]) << bits > _LARGEST_KEY:
        order = np.lexsort((slot, code))
        code, slot = code[order], slot[order]
    else:
        # In parallel, and faster than NumPy's sort on one core too.
        key = pl.Series((code << bits) | slot).sort().to_numpy()
        code, slot = key >> bits, key & ((1 << bits) - 1)
    same = code[1:] == code[:-1]
    if not same.any():
        return None
    several = np.zeros(len(code), dtype=bool)
    several[1:] |= same
    several[:-1] |= same
    code, slot = code[several], slot[several]
    place = np.concatenate([[0], np.cumsum(code[1:] != code[:-1])])
    return ClusterCounts(INTERSECTION, (), _sparse_counts(place, slot, int(place[-1]) + 1, m))


def _sparse_counts(
    code: IntArray, slot: IntArray, rows: int, columns: int, votes: Array | None = None
) -> sparse.csr_array:
    each = np.ones(len(code)) if votes is None else votes
    return sparse.csr_array(sparse.coo_array((each, (code, slot)), shape=(rows, columns)).tocsr())
