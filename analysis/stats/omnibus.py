"""Do strengths differ at all between strata (categories, questions)? One test before any single contrast is read.

    d_s = theta_s - mean of theta,   the mean weighted by 1 / v of each arm and stratum;   all d_s = 0?

Every stratum is fitted by itself. The linear parts of the strengths are summed by annotator and by prompt over all
strata, so that annotators who judged several of them are accounted for, and the d_s are tested together
(`analysis.stats.quadratic_test`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from analysis.stats.counts import VoteCounts
from analysis.stats.covariance import FittedDesign, meat_by_intersection, sandwich
from analysis.stats.quadratic_test import QuadraticTest, quadratic_test
from analysis.stats.results import Array, EstimateSettings
from analysis.stats.strata import prepare_stratum
from analysis.stats.uncertainty import effective_clusters, settle_kind, vote_covariance


def omnibus_test(strata: Mapping[str, VoteCounts], settings: EstimateSettings | None = None) -> QuadraticTest | None:
    """Test that the arms which all strata have differ alike in each; None with fewer than two strata or shared arms.

    Raises NoEstimateError for a stratum without an estimate (leave it out).
    """
    settings = EstimateSettings() if settings is None else settings
    ready = [prepare_stratum(counts, settings) for counts in strata.values()]
    shared = sorted(set.intersection(*(set(each.fit.arms) for each in ready))) if ready else []
    if len(ready) < 2 or len(shared) < 2:
        return None
    k = len(shared)
    columns = [_strengths_among(each, shared) for each in ready]
    theta = np.concatenate([each.fit.parameters @ c for each, c in zip(ready, columns, strict=True)])
    own = np.concatenate(
        [np.einsum("pk,pq,qk->k", c, vote_covariance(each)[0], c) for each, c in zip(ready, columns, strict=True)]
    )
    weights = (1 / np.maximum(own, 1e-300)).reshape(len(ready), k)
    share = weights / weights.sum(axis=0)
    # Departures from the weighted mean over strata, arm by arm.
    mean = np.hstack([np.diag(share[s]) for s in range(len(ready))])
    departures = np.eye(len(theta)) - np.vstack([mean] * len(ready))
    covariance, df = _covariance(ready, columns, settings)
    by_vote = np.einsum("ij,j,ij->i", departures, own, departures)
    rank = (len(ready) - 1) * (k - 1)
    return quadratic_test(departures @ theta, departures @ covariance @ departures.T, by_vote, df=df, rank=rank)


def _strengths_among(ready: FittedDesign, arms: list[str]) -> Array:
    """(P, k): strengths of these arms against their own mean."""
    columns = np.zeros((ready.design.n_parameters, len(arms)))
    columns[[ready.fit.arms.index(arm) for arm in arms], range(len(arms))] = 1.0
    return np.asarray(columns - columns.mean(axis=1, keepdims=True))


def _covariance(ready: list[FittedDesign], columns: list[Array], settings: EstimateSettings) -> tuple[Array, float]:
    """Covariance of the stacked strengths (S k, S k), and the degrees of freedom of its clusters."""
    names = [name for name in ("annotator", "prompt") if all(name in each.counts.clusters for each in ready)]
    stacked = {name: _by_label(ready, columns, name) for name in names}
    kind = settle_kind(settings.intervals, {name: len(rows) for name, rows in stacked.items()})[0]
    if kind in ("vote", "model"):
        return _blocks([c.T @ vote_covariance(each)[0] @ c for each, c in zip(ready, columns, strict=True)]), np.inf
    used = ("annotator", "prompt") if kind == "two-way" else (kind,)
    total = sum(
        (rows.T @ rows for name, rows in stacked.items() if name in used),
        start=np.zeros((columns[0].shape[1] * len(ready),) * 2),
    )
    if kind == "two-way":
        # The votes of one annotator on one prompt are counted twice. Between strata that share both (questions on
        # one pair) that part is not known; leaving it in makes the test cautious.
        both = [c.T @ sandwich(each, meat_by_intersection(each)) @ c for each, c in zip(ready, columns, strict=True)]
        total = total - _blocks(both)
    effective = [effective_clusters(each.counts)[name] for each in ready for name in used]
    return np.asarray(total), max(min(effective) - 1, 1.0)


def _by_label(ready: list[FittedDesign], columns: list[Array], name: str) -> Array:
    """Linear parts of the stacked strengths by cluster, over the clusters of all strata, (G, S k).

    Each stratum's own have the root of its factor G / (G - 1).
    """
    k = columns[0].shape[1]
    place: dict[str, int] = {}
    parts = []
    for each, c in zip(ready, columns, strict=True):
        part = each.counts.clusters[name]
        present = np.flatnonzero(part.present())
        g = len(present)
        linear = np.asarray(part.counts @ (each.scores @ (each.bread @ c)))[present] * np.sqrt(g / max(g - 1, 1))
        parts.append(([place.setdefault(part.labels[g], len(place)) for g in present.tolist()], linear))
    stacked = np.zeros((len(place), k * len(ready)))
    for s, (rows, linear) in enumerate(parts):
        stacked[rows, s * k : (s + 1) * k] = linear
    return stacked


def _blocks(parts: list[Array]) -> Array:
    k = len(parts[0])
    whole = np.zeros((k * len(parts),) * 2)
    for s, part in enumerate(parts):
        whole[s * k : (s + 1) * k, s * k : (s + 1) * k] = part
    return whole
