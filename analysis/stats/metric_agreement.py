"""How well a number per picture predicts votes between two pictures, with intervals over annotators and prompts.

For a decided vote i let s_i be the metric of the winner less that of the loser (turned so that more is better).

    agreement  a = mean of 1[s_i > 0] + 1[s_i = 0] / 2
    AUC        u = mean over pairs of votes of 1[s_i + s_j > 0] + 1[s_i + s_j = 0] / 2

a asks whether the metric names the winner; u also whether large margins go with clear votes: it is the area under the
ROC curve of the margin, each vote seen from both sides (the Wilcoxon-Mann-Whitney statistic; 1/2 is chance). Both are
means of influences, to first order e_i = x_i - mean(x), x_i = 1[s_i > 0] + ..., or 2 (mean_j 1[s_i + s_j > 0] - u), so
that the two-way variance of Cameron, Gelbach and Miller (2011) is

    V = (sum_g e_g^2 G/(G-1) over annotators + the same over prompts - sum of e^2 by annotator and prompt) / n^2,

not below that of independent votes; t with min(G) - 1 degrees of freedom.

No metric of pictures can agree with single votes beyond the votes' own noise. With r the share of equal answers of two
people on one pair of pictures, E[(p - 1/2)^2] = (r - 1/2) / 2, so that by Jensen's inequality

    E[max(p, 1 - p)] <= 1/2 + sqrt((r - 1/2) / 2)                             (`ceiling`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from analysis.stats.results import Array
from analysis.stats.spread import t_quantile
from analysis.votes.coded import IntArray


@dataclass(frozen=True)
class Mean:
    """A mean of dependent values with its interval; `low` and `high` None with fewer than two clusters of a kind."""

    value: float
    se: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class MetricAgreement:
    """Of one metric with the decided votes whose two pictures both have a value."""

    n_votes: int
    agreement: Mean
    auc: Mean


def agreement_with_votes(margin: Array, clusters: dict[str, IntArray], *, confidence: float) -> MetricAgreement:
    """`margin`: s of each vote; `clusters`: codes of annotators and prompts, those that are known."""
    right = (margin > 0) + (margin == 0) / 2
    return MetricAgreement(
        n_votes=len(margin),
        agreement=clustered_mean(right, right - right.mean(), clusters, confidence=confidence),
        auc=_auc(margin, clusters, confidence),
    )


def _auc(margin: Array, clusters: dict[str, IntArray], confidence: float) -> Mean:
    ordered = np.sort(margin)
    n = len(margin)
    # Of each vote: the share of votes whose margin is above the negative of its own.
    above = n - np.searchsorted(ordered, -margin, side="right")
    equal = n - np.searchsorted(ordered, -margin, side="left") - above
    share = (above + equal / 2) / n
    return clustered_mean(share, 2 * (share - share.mean()), clusters, confidence=confidence)


def clustered_mean(values: Array, influence: Array, clusters: dict[str, IntArray], *, confidence: float) -> Mean:
    """The mean of `values` and the two-way interval from `influence`; one-way or by vote if ids are missing."""
    n = len(values)
    value = float(values.mean())
    sizes = {name: int(codes.max(initial=-1)) + 1 for name, codes in clusters.items()}
    if n < 2 or any(size < 2 for size in sizes.values()):
        return Mean(value, None, None, None)
    by_vote = float((influence**2).sum())
    total = sum(_sum_of_squares(influence, codes) * sizes[name] / (sizes[name] - 1) for name, codes in clusters.items())
    if len(clusters) == 2:
        one, two = clusters.values()
        total -= _sum_of_squares(influence, one * (int(two.max()) + 1) + two)
    elif not clusters:
        total = by_vote
    se = math.sqrt(max(total, by_vote)) / n
    df = min((size - 1 for size in sizes.values()), default=n - 1)
    half = float(t_quantile(1 - confidence, np.array([float(df)]))[0]) * se
    return Mean(value, se, max(value - half, 0.0), min(value + half, 1.0))


def _sum_of_squares(influence: Array, codes: IntArray) -> float:
    _, dense = np.unique(codes, return_inverse=True)
    return float((np.bincount(dense.ravel(), influence) ** 2).sum())


def paired_difference(
    first: Array, second: Array, clusters: dict[str, IntArray], *, confidence: float
) -> tuple[float, float | None, float | None]:
    """Agreement of one metric less that of another on the same votes, with its interval."""
    right = [(margin > 0) + (margin == 0) / 2 for margin in (first, second)]
    difference = right[0] - right[1]
    found = clustered_mean(difference, difference - difference.mean(), clusters, confidence=confidence)
    if found.se is None or found.low is None or found.high is None:
        return found.value, None, None
    half = found.se * float(t_quantile(1 - confidence, np.array([float(_df(clusters, len(first)))]))[0])
    return found.value, found.value - half, found.value + half


def _df(clusters: dict[str, IntArray], n: int) -> int:
    return min((int(codes.max()) for codes in clusters.values()), default=n - 1)


def ceiling(same: float) -> float:
    """The most that a metric of pictures can agree with single votes if two people agree in the share `same`."""
    return 0.5 + math.sqrt(max(same - 0.5, 0.0) / 2)


def kendall_tau(first: Array, second: Array) -> float:
    """Kendall's tau-b of two short lists; nan if one is constant."""
    i, j = np.triu_indices(len(first), 1)
    a, b = np.sign(first[i] - first[j]), np.sign(second[i] - second[j])
    norm = math.sqrt(float((a != 0).sum()) * float((b != 0).sum()))
    return float((a * b).sum()) / norm if norm else math.nan
