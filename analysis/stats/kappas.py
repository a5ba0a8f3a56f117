"""Cohen's kappa (1960, Educ. Psychol. Meas. 20:37-46) of each two annotators on the items that both judged.

    kappa = (p_o - p_e) / (1 - p_e),   p_o: share of shared items judged alike,   p_e = sum_v p_v q_v

p_v and q_v are the two annotators' shares of value v among the shared items. A study of thousands of annotators has
millions of such pairs, so they are counted and kept as arrays; a row is made only when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import overload

import numpy as np
from numpy.typing import NDArray

from analysis.stats.annotator_results import KappaRow
from analysis.stats.results import Array
from analysis.votes.coded import IntArray

#: Pairs of judgements are counted in blocks of about this many.
_AT_ONCE = 500_000


@dataclass(frozen=True)
class Kappas(Sequence[KappaRow]):
    """One row for each pair of annotators, as arrays; `first` and `second` are positions in `names`."""

    names: tuple[str, ...] = ()
    first: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    second: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    n_items: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    observed: Array = field(default_factory=lambda: np.zeros(0))
    kappa: Array = field(default_factory=lambda: np.zeros(0))

    def __len__(self) -> int:
        return len(self.first)

    @overload
    def __getitem__(self, at: int) -> KappaRow: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[KappaRow, ...]: ...
    def __getitem__(self, at: int | slice) -> KappaRow | tuple[KappaRow, ...]:
        if isinstance(at, slice):
            return tuple(self[i] for i in range(*at.indices(len(self))))
        a, b = self.names[self.first[at]], self.names[self.second[at]]
        kappa = float(self.kappa[at])
        known = None if np.isnan(kappa) else kappa
        return KappaRow(a, b, int(self.n_items[at]), float(self.observed[at]), known)

    def __iter__(self) -> Iterator[KappaRow]:
        return (self[i] for i in range(len(self)))

    @property
    def mean(self) -> float | None:
        """Mean kappa, weighted by shared items; None if no pair has a kappa."""
        known = ~np.isnan(self.kappa)
        weight = float(self.n_items[known].sum())
        return float((self.n_items[known] * self.kappa[known]).sum()) / weight if weight else None


def pairwise_kappas(
    annotator: IntArray, item: IntArray, value: IntArray, *, names: Sequence[str], values: int, least: int
) -> Kappas:
    """Kappas of all pairs with at least `least` shared items; one judgement for each annotator and item."""
    if not len(item):
        return Kappas(tuple(names))
    order = np.lexsort((annotator, item))
    a, v, at = annotator[order].astype(np.int64), value[order].astype(np.int64), item[order]
    last = np.searchsorted(at, at, side="right")
    # The judgements of an item are neighbours: each makes a pair with every later one.
    partners = last - np.arange(len(at)) - 1
    firsts, tables = [], []
    for rows in _blocks(a, partners):
        n = partners[rows]
        first = np.repeat(rows, n)
        later = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(n) - n, n)
        pair = a[first] * len(names) + a[later]
        often = _often(pair, least)
        key = pair[often] * values * values + v[first[often]] * values + v[later[often]]
        pair, table = _tables(key, values, least)
        firsts.append(pair)
        tables.append(table)
    table = np.concatenate(tables)
    n = table.sum(axis=(1, 2))
    observed = np.einsum("mvv->m", table) / n
    expected = (table.sum(axis=2) * table.sum(axis=1)).sum(axis=1) / n.astype(np.float64) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        kappa = np.where(expected < 1, (observed - expected) / (1 - expected), np.nan)
    first, second = np.divmod(np.concatenate(firsts), len(names))
    return Kappas(tuple(names), first, second, n, observed, kappa)


def _blocks(annotator: IntArray, partners: IntArray) -> Iterator[IntArray]:
    """Rows by their annotator, in blocks of about `_AT_ONCE` pairs that end with an annotator."""
    by_annotator = np.argsort(annotator, kind="stable")
    pairs = np.cumsum(partners[by_annotator])
    ends = np.flatnonzero(np.append(np.diff(annotator[by_annotator]), 1)) + 1
    block = pairs[ends - 1] // _AT_ONCE
    cuts = ends[np.append(np.diff(block) > 0, True)]
    yield from np.split(by_annotator, cuts[:-1])


def _often(pair: IntArray, least: int) -> NDArray[np.bool_]:
    """Which entries may belong to a pair that occurs `least` times: never fewer, and few others.

    In a large crowd most pairs share one or two items. They are counted by a hash into as many bins as fit a cache well
    and left out before the sort, which costs most.
    """
    if least < 2:
        return np.ones(len(pair), dtype=bool)
    bins = 1 << max(10, int(2 * len(pair)).bit_length())
    place = pair & (bins - 1)
    return np.asarray((np.bincount(place, minlength=bins) >= least)[place])


def _tables(key: IntArray, values: int, least: int) -> tuple[IntArray, IntArray]:
    """Of keys (pair, value of the first, value of the second): the pairs of `least` or more, and their tables."""
    key = np.sort(key)
    starts = np.flatnonzero(np.append(True, key[1:] != key[:-1])[: len(key)])
    count = np.diff(np.append(starts, len(key)))
    pair, joint = np.divmod(key[starts], values * values)
    begins = np.flatnonzero(np.append(True, pair[1:] != pair[:-1])[: len(pair)])
    n = np.add.reduceat(count, begins) if len(begins) else count
    row = np.repeat(np.arange(len(begins)), np.diff(np.append(begins, len(pair))))
    kept = (n >= least)[row]
    flat = np.zeros((int((n >= least).sum()), values * values), dtype=np.int64)
    flat[(np.cumsum(n >= least) - 1)[row[kept]], joint[kept]] = count[kept]
    return pair[begins][n >= least], flat.reshape(-1, values, values)
