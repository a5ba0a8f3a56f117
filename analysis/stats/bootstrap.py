"""Bootstrap of the whole fit on reweighted count tables: by vote, by annotator or by prompt, all resamples at once.

A resample gives each cluster a weight: its table is weights (B, G) times counts by cluster (G, 3 C). The weights are
Exp(1), scaled to mean one (Rubin 1981, Ann. Statist. 9:130-134): no cluster drops out, so if the estimate exists at all
it exists in every resample.

More than 4,000 clusters are drawn at random into 4,000 groups of equal size (one more or less), which are then weighed
as clusters are: the random-group method (Wolter 2007, Introduction to Variance Estimation, ch. 2). The variance's
expectation is the same, and the sandwich below has every cluster of its own; time and memory stay those of 4,000.

Each resample is refitted (`analysis.stats.refits`). The covariance of the refits is taken around their linear part,
whose covariance is known exactly (Efron 1990, JASA 85:79-89): V = sandwich + cov(refits) - cov(linear parts). That
removes most of the simulation noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from analysis.stats.cluster_counts import ClusterCounts, Matrix
from analysis.stats.counts import VoteCounts
from analysis.stats.covariance import FittedDesign
from analysis.stats.errors import AnalysisError
from analysis.stats.fit import make_design
from analysis.stats.refits import refit
from analysis.stats.results import Array
from qsched.records import InputError

Unit = Literal["vote", "annotator", "prompt"]

#: Resamples are worked on in blocks of about this many table entries.
_BLOCK_ENTRIES = 500_000
#: More clusters than these are drawn into this many random groups.
_MOST_UNITS = 4000
#: Weights are drawn in pieces of about this many. Not smaller: on a busy machine the threads of BLAS wait for one
#: another in every product, and twenty products instead of three took 10 s instead of 0.5.
_WEIGHTS_AT_ONCE = 8_000_000
#: Below this many entries the matrix that folds a table is dense.
_DENSE_FOLD = 1_000_000
_UNIT_STREAM = {"vote": 0, "annotator": 1, "prompt": 2}


@dataclass(frozen=True)
class Resampling:
    """Refits (B, P) and their linear parts (B, P); `without_estimate` resamples had no fit.

    `n_units` were weighed: votes, clusters, or random groups of clusters.
    """

    unit: Unit
    draws: Array
    linear: Array
    n_units: int
    without_estimate: int

    @property
    def factor(self) -> float:
        """Makes the variance of Dirichlet weights that of independent units: (G+1)/(G-1)."""
        return (self.n_units + 1) / (self.n_units - 1)

    def correction(self) -> Array:
        """cov(refits) - cov(linear parts), on the scale of the sandwich."""
        return self.factor * (np.cov(self.draws, rowvar=False) - np.cov(self.linear, rowvar=False))


def resample(ready: FittedDesign, *, unit: Unit, resamples: int, seed: int) -> Resampling:
    """Refit `resamples` reweighted tables; the same seed gives the same draws."""
    if resamples < 50:
        raise InputError(f"{resamples} resamples are too few for a covariance; use 200 or more (default 1000).")
    rng = np.random.default_rng([seed, _UNIT_STREAM[unit]])
    present = None if unit == "vote" else np.flatnonzero(ready.counts.clusters[unit].present())
    ready = _folded(ready, unit)
    draws, linear, failed = [], [], 0
    if present is None:
        units = max(round(ready.counts.n_votes), 2)
        tables = _tables_by_vote(ready.counts.outcomes.ravel(), resamples, rng)
    else:
        by_unit = _by_unit(ready.counts.clusters[unit].counts, present, rng)
        units = by_unit.shape[0]
        tables = _tables_by_unit(by_unit, resamples, rng)
    for table in tables:
        outcomes = table.reshape(len(table), *ready.counts.outcomes.shape)
        beta, first, ok = refit(ready, outcomes)
        draws.append(beta[ok])
        linear.append(first[ok])
        failed += int((~ok).sum())
    kept = np.concatenate(draws)
    if failed > resamples // 20:
        raise AnalysisError(
            f"{failed} of {resamples} resamples by {unit} have no finite estimate: too few votes for this bootstrap. "
            "Use --method sandwich, or a penalty."
        )
    return Resampling(unit, kept, np.concatenate(linear), units, failed)


def _folded(ready: FittedDesign, unit: Unit) -> FittedDesign:
    """The same likelihood on a smaller table, if the model allows: ties as halves, both sides of a pair in one cell.

    Not for single votes: a tie is one vote there, and half a win twice would vary less. `outcomes` are then (M, 2).
    """
    fit, counts = ready.fit, ready.counts
    if unit == "vote" or fit.model != "bradley-terry":
        return ready
    k, c = counts.n_arms, counts.n_cells
    left, right = counts.left, counts.right
    position, covariates, place = counts.position, counts.covariates, np.arange(c)
    swapped = np.zeros(c, dtype=np.int64)
    if not fit.has_position and not fit.covariates:
        pairs, place = np.unique(np.minimum(left, right) * k + np.maximum(left, right), return_inverse=True)
        place, swapped = place.ravel(), (left > right).astype(np.int64)
        left, right = pairs // k, pairs % k
        position, covariates = np.zeros(len(pairs)), np.zeros((len(pairs), 0))
    m, base, slot = len(left), place * 2, np.arange(c) * 3
    rows = np.concatenate([slot, slot + 1, slot + 2, slot + 2])
    columns = np.concatenate([base + swapped, base + 1 - swapped, base, base + 1])
    share = np.concatenate([np.ones(2 * c), np.full(2 * c, 0.5)])
    fold = sparse.csr_array(sparse.coo_array((share, (rows, columns)), shape=(3 * c, 2 * m)))
    part = counts.clusters[unit]
    by_cluster = part.counts
    if not sparse.issparse(by_cluster) and fold.shape[0] * fold.shape[1] <= _DENSE_FOLD:
        fold = fold.toarray()
    folded = VoteCounts(
        arms=counts.arms,
        left=left,
        right=right,
        position=position,
        covariates=covariates,
        outcomes=np.asarray(counts.outcomes.ravel() @ fold, dtype=np.float64).reshape(-1, 2),
        covariate_names=counts.covariate_names,
        clusters={unit: ClusterCounts(unit, part.labels, by_cluster @ fold)},
    )
    design = make_design(folded, model=fit.model, position_effect=fit.has_position)
    return replace(ready, counts=folded, design=design)


def _tables_by_vote(flat: Array, resamples: int, rng: np.random.Generator) -> Iterator[Array]:
    """Blocks of reweighted tables (b, slots) of single votes."""
    total = float(flat.sum())
    filled = np.flatnonzero(flat > 0)
    for size in _sizes(resamples, max(1, _BLOCK_ENTRIES // max(len(flat), 1))):
        table = np.zeros((size, len(flat)))
        drawn = rng.standard_gamma(flat[filled], size=(size, len(filled)))
        drawn *= total / drawn.sum(axis=1, keepdims=True)
        table[:, filled] = drawn
        yield table


def _by_unit(by_cluster: Matrix, present: NDArray[np.int64], rng: np.random.Generator) -> Matrix:
    """Counts (G, slots) of what is weighed: the clusters that have votes, or random groups of them."""
    g = len(present)
    if g <= _MOST_UNITS:
        return by_cluster if g == by_cluster.shape[0] else by_cluster[present]
    group = rng.permutation(g) % _MOST_UNITS
    member = sparse.csr_array((np.ones(g), (group, present)), shape=(_MOST_UNITS, by_cluster.shape[0]))
    grouped = member @ by_cluster
    return sparse.csr_array(grouped) if sparse.issparse(grouped) else np.asarray(grouped)


def _tables_by_unit(by_unit: Matrix, resamples: int, rng: np.random.Generator) -> Iterator[Array]:
    """Blocks of reweighted tables (b, slots)."""
    g, slots = by_unit.shape
    turned = sparse.csr_array(by_unit.T) if sparse.issparse(by_unit) else None
    for size in _sizes(resamples, max(1, _BLOCK_ENTRIES // max(slots, 1))):
        # As products with a sparse matrix come, and as `refit` reads them: all resamples of a slot side by side.
        table = np.empty((size, slots), order="C" if turned is None else "F")
        rows = max(1, min(size, _WEIGHTS_AT_ONCE // g))
        for start in range(0, size, rows):
            end = min(start + rows, size)
            drawn_BG = rng.standard_exponential((end - start, g))
            drawn_BG *= g / drawn_BG.sum(axis=1, keepdims=True)
            table[start:end] = drawn_BG @ by_unit if turned is None else (turned @ drawn_BG.T).T
        yield table


def _sizes(total: int, block: int) -> Iterator[int]:
    for start in range(0, total, block):
        yield min(block, total - start)
