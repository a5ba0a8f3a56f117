"""Choose what is random (annotators, prompts, votes) and how to find its covariance (bootstrap, sandwich).

The default, two-way, is V_annotator + V_prompt - V_both (both: the votes of one annotator on one prompt, mostly a
single one) with t quantiles: of the usual intervals the one whose coverage holds when annotators and prompts differ in
taste (docs/coverage.md). Every contrast has its own degrees of freedom (`analysis.stats.small_samples`): the smaller of
annotators - 1 and prompts - 1 if all of them carry it alike, fewer for an arm that few judged or if a few annotators
gave most votes.
`df` is that of a contrast carried by all votes alike, by Kish's effective number of clusters (sum n)^2 / sum n^2 (1965,
Survey Sampling, section 8.2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from analysis.stats.bootstrap import Unit, resample
from analysis.stats.cluster_counts import INTERSECTION
from analysis.stats.counts import VoteCounts
from analysis.stats.covariance import (
    FittedDesign,
    meat_by_cluster,
    meat_by_intersection,
    meat_by_vote,
    mend,
    prepare,
    sandwich,
)
from analysis.stats.results import Array, IntervalKind, Method, PairwiseFit, Precision, Uncertainty
from analysis.stats.small_samples import MOST_FACTOR, correction, pair_variances, with_known_votes
from analysis.votes.coded import IntArray
from qsched.records import InputError

FEW_CLUSTERS = 15
NO_VARIATION = (
    "The votes about some arms do not vary (all of them are ties), so that no spread can be estimated from them: "
    "intervals are at least those of the likelihood's information."
)
#: A variance below this share of the other is rounding.
_NOTHING = 1e-10

IGNORES: dict[IntervalKind, str] = {
    "two-way": "",
    "annotator": "differences between prompts: the result is for these prompts only",
    "prompt": "differences between annotators: the result is for these annotators only",
    "vote": "differences between annotators and between prompts: usually far too narrow",
    "model": "differences between annotators and between prompts, and any misfit of the model: usually far too narrow",
}


def uncertainty_of(
    fit: PairwiseFit,
    counts: VoteCounts,
    *,
    intervals: IntervalKind = "two-way",
    method: Method = "bootstrap",
    resamples: int = 1000,
    seed: int = 0,
    rows: Array | None = None,
) -> Uncertainty:
    """Covariance of the fit's parameters, or of `rows` (R, P) times them, of which the first are the arms' strengths.

    If an id is missing or has a single value, two-way becomes one-way and a note says so. Raises InputError for a
    one-way interval by an id that the votes do not have.
    """
    if intervals not in IGNORES:
        raise InputError(f"Intervals {intervals!r} are not known. Choose {', '.join(IGNORES)}.")
    if method not in ("bootstrap", "sandwich"):
        raise InputError(f"Method {method!r} is not known. Choose bootstrap or sandwich.")
    sizes = cluster_sizes(counts)
    kind, warnings, notes = settle_kind(intervals, sizes)
    effective = effective_clusters(counts)
    warnings = (*warnings, *_unequal(kind, sizes, effective))
    if kind == "model":
        covariance = fit.covariance if rows is None else rows @ fit.covariance @ rows.T
        return Uncertainty(
            kind, method, covariance, math.inf, sizes, ignores=IGNORES[kind], warnings=warnings, notes=notes
        )
    ready = prepare(fit, counts)
    units: tuple[Unit, ...] = ("annotator", "prompt", "vote") if kind == "two-way" else (kind,)
    found = {unit: _part(ready, unit, kind, method, resamples=resamples, seed=seed) for unit in units}
    parts = {unit: part.covariance for unit, part in found.items()}
    warnings = (*warnings, *(words for part in found.values() for words in part.warnings))
    notes = (*notes, *(words for part in found.values() for words in part.notes))
    total = parts["annotator"] + parts["prompt"] - parts["vote"] if kind == "two-way" else parts[units[0]]
    total, truncated = mend(total)
    by_vote, degenerate = vote_covariance(ready)
    if degenerate:
        warnings = (*warnings, NO_VARIATION)
    if truncated:
        notes = (
            *notes,
            "The two-way covariance had negative eigenvalues, set to zero (Cameron, Gelbach and Miller 2011).",
        )
    if rows is not None:
        total = rows @ total @ rows.T
    precision, thin = _precision(ready, parts, total, by_vote, rows)
    return Uncertainty(
        kind=kind,
        method=method,
        covariance=total,
        df=_degrees(kind, effective),
        n_clusters=sizes,
        resamples=resamples if method == "bootstrap" else None,
        precision=precision,
        floor=_mapped(by_vote, rows) if kind != "vote" or degenerate else None,
        draws=found[units[0]].draws if len(units) == 1 else None,
        truncated=truncated,
        ignores=IGNORES[kind],
        warnings=(*warnings, *thin),
        notes=notes,
    )


def _mapped(covariance: Array, rows: Array | None) -> Array:
    return covariance if rows is None else np.asarray(rows @ covariance @ rows.T)


def _precision(
    ready: FittedDesign, parts: dict[Unit, Array], total: Array, by_vote: Array, rows: Array | None
) -> tuple[Precision, tuple[str, ...]]:
    """Variance and degrees of freedom of each contrast; words about arms that a single cluster judged."""
    variance = pair_variances(total)
    df = np.full(variance.shape, np.inf)
    warnings = []
    for name in ("annotator", "prompt"):
        if name not in parts:
            continue
        part = parts["annotator" if name == "annotator" else "prompt"]
        g = int(ready.counts.clusters[name].present().sum())
        own = correction(ready, name, by_vote, rows)
        # The covariance already has the factor G / (G - 1) of clusters that carry every contrast alike.
        variance += (own.factor * (g - 1) / g - 1) * pair_variances(_mapped(part, rows))
        df = np.minimum(df, own.df)
        if rows is None and g > 1:
            k = len(ready.fit.arms)
            few = np.flatnonzero((own.factor[:k, :k] + np.diag(np.full(k, np.inf)) >= MOST_FACTOR).all(axis=1))
            if len(few):
                named = ", ".join(ready.fit.arms[i] for i in few[:12])
                warnings.append(
                    f"Nearly all votes about {named} come from a single {name}: how much {name}s differ about it "
                    "cannot be estimated, and its intervals are too narrow."
                )
    known = df
    if "annotator" in parts and "prompt" in parts:
        known = with_known_votes(df, variance, pair_variances(_mapped(by_vote, rows)), arms=len(ready.fit.arms))
    return Precision(variance, known, df), tuple(warnings)


@dataclass(frozen=True)
class _Part:
    """The covariance by one kind of unit, with the refits if there were any."""

    covariance: Array
    draws: Array | None = None
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _part(ready: FittedDesign, unit: Unit, kind: IntervalKind, method: Method, *, resamples: int, seed: int) -> _Part:
    covariance = sandwich(ready, _meat(ready, unit, kind))
    if method == "sandwich":
        return _Part(covariance)
    drawn = resample(ready, unit=unit, resamples=resamples, seed=seed)
    warnings: list[str] = []
    notes: list[str] = []
    if drawn.without_estimate:
        warnings.append(f"{drawn.without_estimate} of {resamples} resamples by {unit} had no estimate; left out.")
    n = 0 if unit == "vote" else int(ready.counts.clusters[unit].present().sum())
    if drawn.n_units < n:
        notes.append(f"The {n:,} {unit}s were resampled as {drawn.n_units:,} random groups (Wolter 2007).")
    return _Part(covariance + drawn.correction(), drawn.draws, tuple(warnings), tuple(notes))


def _meat(ready: FittedDesign, unit: Unit, kind: IntervalKind) -> Array:
    if unit != "vote":
        return meat_by_cluster(ready, unit)
    return meat_by_intersection(ready) if kind == "two-way" else meat_by_vote(ready)


def vote_level(fit: PairwiseFit, counts: VoteCounts) -> Uncertainty:
    """The interval that takes every vote as independent, by sandwich; printed beside the default."""
    covariance, _ = vote_covariance(prepare(fit, counts))
    return Uncertainty("vote", "sandwich", covariance, math.inf, cluster_sizes(counts), ignores=IGNORES["vote"])


def vote_covariance(ready: FittedDesign) -> tuple[Array, bool]:
    """The covariance that takes every vote as independent, which no interval of votes goes below.

    Where the votes about some pair do not vary around the fit (all of them ties), a sandwich is zero and means nothing:
    then the inverse information of the likelihood, and True.
    """
    by_vote, information = sandwich(ready, meat_by_vote(ready)), ready.bread
    first, second = np.triu_indices(len(ready.fit.arms), 1)
    degenerate = _variance_of(by_vote, first, second) <= _NOTHING * _variance_of(information, first, second)
    return (information, True) if degenerate.any() else (by_vote, False)


def _variance_of(covariance: Array, first: IntArray, second: IntArray) -> Array:
    return np.asarray(covariance[first, first] + covariance[second, second] - 2 * covariance[first, second])


def cluster_sizes(counts: VoteCounts) -> dict[str, int]:
    """Number of clusters that have votes, by name."""
    return {name: int(part.present().sum()) for name, part in counts.clusters.items() if name != INTERSECTION}


def effective_clusters(counts: VoteCounts) -> dict[str, float]:
    """Kish's effective number of clusters by name: (sum n)^2 / sum n^2 over their votes."""
    found = {}
    for name, part in counts.clusters.items():
        if name != INTERSECTION:
            found[name] = float(part.votes.sum() ** 2 / (part.votes**2).sum())
    return found


def _unequal(kind: IntervalKind, sizes: dict[str, int], effective: dict[str, float]) -> tuple[str, ...]:
    """Words where unequal loads leave few effective clusters although there are enough by number."""
    return tuple(
        f"The {sizes[name]} {name}s have very unequal numbers of votes and count as {effective[name]:.1f} equal ones: "
        f"with fewer than {FEW_CLUSTERS} the interval is rough, even with t quantiles."
        for name in ("annotator", "prompt")
        if kind in ("two-way", name) and effective[name] < FEW_CLUSTERS <= sizes[name]
    )


def settle_kind(wanted: IntervalKind, sizes: dict[str, int]) -> tuple[IntervalKind, tuple[str, ...], tuple[str, ...]]:
    """The kind that the ids allow, with warnings and notes about what it leaves out."""
    warnings: list[str] = []
    notes: list[str] = []
    kind = wanted
    if wanted in ("annotator", "prompt") and wanted not in sizes:
        raise InputError(f"Intervals by {wanted} need a column of {wanted} ids, which the votes do not have.")
    if wanted == "two-way":
        usable = [name for name in ("annotator", "prompt") if sizes.get(name, 0) > 1]
        for name in ("annotator", "prompt"):
            if name not in sizes:
                notes.append(f"The votes have no {name} ids: the interval ignores differences between {name}s.")
            elif sizes[name] == 1:
                warnings.append(f"There is a single {name}: the interval ignores differences between {name}s.")
        if len(usable) == 1:
            kind = "annotator" if usable[0] == "annotator" else "prompt"
        elif not usable:
            kind = "vote"
            known = "No more than one annotator and one prompt is" if sizes else "Neither annotators nor prompts are"
            warnings.append(
                f"{known} known: votes are taken as independent, which usually makes intervals far too narrow."
            )
    for name in ("annotator", "prompt"):
        if kind in ("two-way", name) and sizes[name] < FEW_CLUSTERS:
            warnings.append(
                f"Only {sizes[name]} {name}s: with fewer than {FEW_CLUSTERS} the interval is rough, "
                f"even with t quantiles."
            )
    return kind, tuple(warnings), tuple(notes)


def _degrees(kind: IntervalKind, effective: dict[str, float]) -> float:
    """t degrees of freedom: the smaller effective number of clusters less one (at least one); normal for votes."""
    if kind == "two-way":
        return max(min(effective["annotator"], effective["prompt"]) - 1, 1.0)
    return max(effective[kind] - 1, 1.0) if kind in ("annotator", "prompt") else math.inf
