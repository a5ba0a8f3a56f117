"""Does a difference between two arms differ between strata (categories, questions, backbones)?

Each stratum is fitted by itself. The difference of two contrasts has one linear part by cluster, summed over the strata
in which the cluster (annotator, prompt) occurs, so shared annotators are accounted for:

    d = (theta_i - theta_j in stratum 1) - (the same in stratum 2),   V_g = sum_g (I_1g - I_2g)^2 * factor

I_sg: the sum of cluster g's scores in stratum s times that fit's inverse information, at the contrast. Factor and
degrees of freedom are the more cautious of the two strata's own (`analysis.stats.small_samples`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from analysis.stats.contrasts import holm
from analysis.stats.counts import VoteCounts
from analysis.stats.covariance import (
    FittedDesign,
    meat_by_intersection,
    prepare,
    sandwich,
)
from analysis.stats.fit import fit_model
from analysis.stats.results import Array, EstimateSettings, StratumContrast
from analysis.stats.small_samples import Correction, correction
from analysis.stats.spread import Spread
from analysis.stats.uncertainty import settle_kind, vote_covariance
from analysis.votes.coded import IntArray
from qsched.records import InputError


def compare_strata(
    strata: Mapping[str, VoteCounts],
    settings: EstimateSettings | None = None,
    *,
    arms: Sequence[tuple[str, str]] | None = None,
) -> tuple[StratumContrast, ...]:
    """Every pair of strata by every pair of arms (or those named) that both strata have; sandwich, two-way by default.

    Holm's adjustment runs over all of them. Raises NoEstimateError for a stratum without an estimate (leave it out),
    InputError for fewer than two strata.
    """
    settings = EstimateSettings() if settings is None else settings
    if len(strata) < 2:
        raise InputError(f"There is {len(strata)} stratum; at least two are needed for a comparison.")
    ready = _strata(strata, settings)
    found: list[tuple[str, str, str, str, float, Spread]] = []
    for one, two in combinations(ready, 2):
        shared = set(ready[one].design.fit.arms) & set(ready[two].design.fit.arms)
        pairs = [pair for pair in (arms or combinations(sorted(shared), 2)) if set(pair) <= shared]
        if pairs:
            values, spread = _differences(ready[one], ready[two], pairs, settings)
            for m, (a, b) in enumerate(pairs):
                single = Spread(spread.se[m : m + 1], spread.floor[m : m + 1], spread.df[m : m + 1])
                found.append((one, two, a, b, float(values[m]), single))
    p = np.array([spread.p_value(np.array([value]))[0] for *_, value, spread in found])
    adjusted = holm(p) if len(p) else p
    rows = []
    for (one, two, a, b, value, spread), p_one, p_all in zip(found, p, adjusted, strict=True):
        half = float(spread.half_width(settings.confidence)[0])
        rows.append(
            StratumContrast(
                stratum_a=one,
                stratum_b=two,
                arm_a=a,
                arm_b=b,
                difference=value,
                se=float(spread.shown[0]),
                low=value - half,
                high=value + half,
                p=float(p_one),
                p_holm=float(p_all),
            )
        )
    return tuple(rows)


def prepare_stratum(counts: VoteCounts, settings: EstimateSettings) -> FittedDesign:
    """The fit of one stratum by the settings, with its scores."""
    fit = fit_model(
        counts,
        model=settings.model,
        ties=settings.ties,
        position_effect=settings.position_effect,
        penalty=settings.penalty,
    )
    return prepare(fit, counts)


@dataclass(frozen=True)
class _FittedStratum:
    """A fitted stratum and what every comparison with it needs: its vote-level covariance and, by kind of cluster, the
    corrections, the places of its clusters among those of all strata, and each cluster's part in the parameters."""

    design: FittedDesign
    by_vote: Array
    small: dict[str, Correction]
    rows: dict[str, IntArray]
    parts: dict[str, Array]


def _strata(strata: Mapping[str, VoteCounts], settings: EstimateSettings) -> dict[str, _FittedStratum]:
    """Every stratum fitted; its clusters are numbered in the order of all strata's labels."""
    designs = {name: prepare_stratum(counts, settings) for name, counts in strata.items()}
    numbers = {
        kind: {label: place for place, label in enumerate(dict.fromkeys(_all_labels(designs.values(), kind)))}
        for kind in ("annotator", "prompt")
    }
    found = {}
    for name, design in designs.items():
        kinds = [kind for kind in numbers if kind in design.counts.clusters]
        by_vote = vote_covariance(design)[0]
        found[name] = _FittedStratum(
            design=design,
            by_vote=by_vote,
            small={kind: correction(design, kind, by_vote) for kind in kinds},
            rows={kind: np.array([numbers[kind][label] for label in _labels(design, kind)]) for kind in kinds},
            parts={kind: _parts(design, kind) for kind in kinds},
        )
    return found


def _all_labels(designs: Iterable[FittedDesign], kind: str) -> Iterator[str]:
    return (label for design in designs if kind in design.counts.clusters for label in _labels(design, kind))


def _labels(design: FittedDesign, kind: str) -> list[str]:
    """The clusters that have votes in this stratum."""
    part = design.counts.clusters[kind]
    return [label for label, has in zip(part.labels, part.present().tolist(), strict=True) if has]


def _parts(design: FittedDesign, kind: str) -> Array:
    """Linear parts of the parameters by cluster, (G, P)."""
    part = design.counts.clusters[kind]
    return np.asarray(part.counts @ (design.scores @ design.bread))[part.present()]


def _contrasts(ready: FittedDesign, pairs: Sequence[tuple[str, str]]) -> Array:
    """Contrast vectors as columns, (P, M)."""
    columns = np.zeros((ready.design.n_parameters, len(pairs)))
    for m, (a, b) in enumerate(pairs):
        columns[ready.fit.arms.index(a), m], columns[ready.fit.arms.index(b), m] = 1.0, -1.0
    return columns


def _differences(
    one: _FittedStratum, two: _FittedStratum, pairs: Sequence[tuple[str, str]], settings: EstimateSettings
) -> tuple[Array, Spread]:
    sides = [(stratum, _contrasts(stratum.design, pairs)) for stratum in (one, two)]
    values = one.design.fit.parameters @ sides[0][1] - two.design.fit.parameters @ sides[1][1]
    parts = [np.einsum("pm,pq,qm->m", c, stratum.by_vote, c) for stratum, c in sides]
    by_vote = np.sqrt(parts[0] + parts[1])
    shared = {name: _by_cluster(sides, name) for name in one.rows if name in two.rows}
    kind = settle_kind(settings.intervals, {name: len(part) for name, part in shared.items()})[0]
    if kind in ("vote", "model"):
        return values, Spread(by_vote, np.zeros(len(pairs)), np.full(len(pairs), np.inf))
    small = {name: _correction(sides, name, pairs) for name in shared}
    variance = {name: (part**2).sum(axis=0) * small[name].factor for name, part in shared.items()}
    if kind in ("annotator", "prompt"):
        own_se = np.sqrt(variance[kind])
        # What clusters of both strata have in common cancels, so that less than the vote-level error may be true; not
        # nothing, though.
        floor = np.where(own_se <= 1e-6 * by_vote, by_vote, 0.0)
        return values, Spread(own_se, floor, small[kind].df)
    if all(_overlap(one, two, name) for name in ("annotator", "prompt")):
        # Strata that share annotators and prompts (several questions on one pair): what an annotator's look at one
        # prompt adds is in both terms and is not known here. The larger one-way variance is used.
        total = np.maximum(variance["annotator"], variance["prompt"])
    else:
        both = [
            np.einsum("pm,pq,qm->m", c, sandwich(stratum.design, meat_by_intersection(stratum.design)), c)
            for stratum, c in sides
        ]
        total = np.maximum(variance["annotator"] + variance["prompt"] - (both[0] + both[1]), 0.0)
    return values, Spread(np.sqrt(total), by_vote, np.minimum(small["annotator"].df, small["prompt"].df))


def _correction(sides: list[tuple[_FittedStratum, Array]], name: str, pairs: Sequence[tuple[str, str]]) -> Correction:
    """The larger factor and the fewer degrees of freedom of the two strata, by contrast."""
    found = []
    for stratum, _ in sides:
        arms = stratum.design.fit.arms
        at = tuple(np.array([[arms.index(arm) for arm in pair] for pair in pairs]).T)
        found.append((stratum.small[name].factor[at], stratum.small[name].df[at]))
    return Correction(np.maximum(found[0][0], found[1][0]), np.minimum(found[0][1], found[1][1]))


def _by_cluster(sides: list[tuple[_FittedStratum, Array]], name: str) -> Array:
    """Linear parts of the differences by cluster, over the clusters of both strata, shape (G, M)."""
    (one, first), (two, second) = sides
    rows = np.union1d(one.rows[name], two.rows[name])
    total = np.zeros((len(rows), first.shape[1]))
    total[np.searchsorted(rows, one.rows[name])] += one.parts[name] @ first
    total[np.searchsorted(rows, two.rows[name])] -= two.parts[name] @ second
    return total


def _overlap(one: _FittedStratum, two: _FittedStratum, name: str) -> bool:
    return bool(set(one.design.counts.clusters[name].labels) & set(two.design.counts.clusters[name].labels))
