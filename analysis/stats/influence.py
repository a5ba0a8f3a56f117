"""Who drives the result: the strengths are fitted again without each annotator, and without each prompt."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from scipy import sparse

from analysis.stats.annotator_results import InfluenceRow
from analysis.stats.counts import VoteCounts
from analysis.stats.covariance import cluster_scores, prepare
from analysis.stats.refits import refit
from analysis.stats.results import PairwiseFit, Uncertainty
from analysis.stats.spread import spread_of
from qsched.records import InputError

#: Above this many entries (clusters times slots) one Newton step replaces the refit.
_EXACT_ENTRIES = 4_000_000


def influence(
    fit: PairwiseFit, counts: VoteCounts, uncertainty: Uncertainty, *, by: Literal["annotator", "prompt"]
) -> tuple[InfluenceRow, ...]:
    """One row per cluster, the largest change first: the contrast of arms that moves most, in its standard errors.

    `method` is "exact" (refitted without the cluster) or "one-step" (the linear part, for very large tables).
    A change of infinity means that without this cluster the votes determine no finite estimate.
    """
    if by not in counts.clusters:
        raise InputError(f"The votes have no {by} ids, so no {by} can be left out.")
    ready = prepare(fit, counts)
    part = ready.counts.clusters[by]
    present = part.present()
    labels = [label for label, has in zip(part.labels, present.tolist(), strict=True) if has]
    k = len(fit.arms)
    exact = len(labels) * 3 * ready.counts.n_cells <= _EXACT_ENTRIES
    if exact:
        table = part.counts.toarray() if sparse.issparse(part.counts) else np.asarray(part.counts)
        without = np.maximum(ready.counts.outcomes.ravel() - table[present], 0.0)
        beta, _, ok = refit(ready, without.reshape(len(labels), -1, 3))
        change = beta - fit.parameters
        change[~ok] = np.inf
    else:
        change = -cluster_scores(ready, by) @ ready.bread
    first, second = (index.astype(np.int64) for index in np.triu_indices(k, 1))
    se = spread_of(uncertainty, first, second).shown
    difference = fit.log_strengths[first] - fit.log_strengths[second]
    votes = part.votes[present]
    rows = []
    for label, moved, n in zip(labels, change, votes, strict=True):
        finite = bool(np.isfinite(moved).all())
        shift = moved[first] - moved[second] if finite else np.full(len(first), math.inf)
        scaled = np.divide(np.abs(shift), se, out=np.full(len(se), math.inf), where=se > 0)
        top = int(np.argmax(scaled))
        rows.append(
            InfluenceRow(
                kind=by,
                cluster=label,
                n_votes=round(float(n)),
                arm_a=fit.arms[first[top]],
                arm_b=fit.arms[second[top]],
                change_log_odds=float(shift[top]),
                change_in_se=float(scaled[top]),
                changes_order=finite and bool(((difference + shift) * difference < 0).any()),
                method="exact" if exact else "one-step",
            )
        )
    return tuple(sorted(rows, key=lambda row: (-row.change_in_se, row.cluster)))
