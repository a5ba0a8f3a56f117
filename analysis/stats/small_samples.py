"""Few clusters behind one contrast: its own variance correction and its own degrees of freedom.

The error of a contrast is a sum over clusters, c'(beta_hat - beta) = sum_g z_g, with z_g = c'B u_g (B: the bread,
u_g: the sum of the scores of cluster g's votes), and the sandwich estimates its variance by sum_g z_g^2. How good that
is depends on how many clusters carry *this* contrast: an arm that five of forty annotators judged has five. Under a
working model in which z_g has variance w_g,

    w_g = c'B A_g B c + s^2 |A_g B c|^2

(A_g: the information of cluster g's votes; the first term is votes that are independent, the second a taste of
standard deviation s that each cluster has for each arm; s^2 by the method of moments), the residuals are
z_g - p_g sum_h z_h with p_g = c'B A_g B c / c'B c, a quadratic form with known mean and variance. Its mean gives the
factor that makes the estimate unbiased (Bell and McCaffrey 2002, Survey Methodology 28:169-181), mean and variance
together Satterthwaite's degrees of freedom; a working model with random effects is that of Imbens and Kolesar (2016,
Rev. Econ. Statist. 98:701-712). For G clusters of equal votes the factor is G / (G - 1), and there are G - 1 degrees of
freedom.

In a two-way variance the parts by annotator and by prompt get their own factors, and the degrees of freedom are the
smaller of the two, df, over the root of the share of the variance that is not the votes' own noise
(`with_known_votes`). (Satterthwaite's formula for the sum of the parts covered 97 to 99 % of small studies: the floor
of `spread` already protects those in which the votes' own noise is most of the variance. df alone covered 97.5 to 98 %
of them.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from analysis.stats.covariance import FittedDesign, cluster_scores
from analysis.stats.likelihood import information_and_slope
from analysis.stats.results import Array

#: Matrices of clusters, (G, P, P), are worked on in blocks of about this many entries.
_BLOCK_ENTRIES = 4_000_000
#: Above this many parameters, or entries of (cells, P, P), contrasts take what the arms' own have.
_MOST_PARAMETERS = 64
_MOST_ENTRIES = 20_000_000
#: The factor, with one degree of freedom, of a contrast that hardly more than one cluster carries.
MOST_FACTOR = 4.0
#: Of the excess over independent votes in a variance: below it, intervals are those of independent votes anyway.
LEAST_SHARE = 0.01


@dataclass(frozen=True)
class Correction:
    """By parameter (diagonal) and by difference of two (off it): factor of the variance, degrees of freedom."""

    factor: Array
    df: Array


@dataclass(frozen=True)
class ShareSums:
    """Sums over clusters of products of the two parts of w_g, by contrast: `s[j, k]` = sum_g w1^j w2^k."""

    s10: Array
    s01: Array
    s20: Array
    s11: Array
    s02: Array
    s30: Array
    s21: Array
    s12: Array

    @staticmethod
    def of(w1: Array, w2: Array) -> ShareSums:
        """Sums over the first axis."""
        w11, w12 = w1 * w1, w1 * w2
        products = ((w1, w1), (w1, w2), (w2, w2), (w11, w1), (w11, w2), (w12, w2))
        sums = (np.einsum("g...,g...->...", one, other) for one, other in products)
        return ShareSums(w1.sum(axis=0), w2.sum(axis=0), *sums)

    def as_tables(self, r: int) -> ShareSums:
        """Sums of the upper triangle of (r, r), row by row, as symmetric tables."""
        one, other = np.triu_indices(r)
        place = np.empty((r, r), dtype=np.int64)
        place[one, other] = place[other, one] = np.arange(len(one))
        return ShareSums(*(getattr(self, name)[place] for name in self.__dataclass_fields__))

    def __add__(self, other: ShareSums) -> ShareSums:
        return ShareSums(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))


def correction_of(sums: ShareSums, votes: Array | float, taste: Array | float) -> Correction:
    """Factor and degrees of freedom for clusters of variance w_g = votes w1_g + taste w2_g and shares p_g ~ w1_g.

    With s = sum p^2 and W = sum w, the quadratic form sum_g (z_g - p_g sum_h z_h)^2 has mean W - 2 sum pw + s W and
    variance 2 {sum w^2 (1 + 2s - 4p) + s^2 W^2 + 2 W sum p^2 w - 4 s W sum pw + 2 (sum pw)^2}.
    """
    a, b = votes, taste
    with np.errstate(divide="ignore", invalid="ignore"):
        total = a * sums.s10 + b * sums.s01
        s = sums.s20 / sums.s10**2
        pw = (a * sums.s20 + b * sums.s11) / sums.s10 / total
        ppw = (a * sums.s30 + b * sums.s21) / sums.s10**2 / total
        ww = (a * a * sums.s20 + 2 * a * b * sums.s11 + b * b * sums.s02) / total**2
        pww = (a * a * sums.s30 + 2 * a * b * sums.s21 + b * b * sums.s12) / sums.s10 / total**2
        mean = 1 - 2 * pw + s
        half_variance = ww * (1 + 2 * s) - 4 * pww + s * s + 2 * ppw - 4 * s * pw + 2 * pw**2
        df = mean**2 / half_variance
    known = np.isfinite(df) & (mean > 1 / MOST_FACTOR)
    return Correction(np.where(known, 1 / np.where(known, mean, 1), MOST_FACTOR), np.where(known, np.maximum(df, 1), 1))


def correction(ready: FittedDesign, name: str, by_vote: Array, rows: Array | None = None) -> Correction:
    """Corrections of the variance by clusters `name`, of the parameters or of `rows` (R, P) times the parameters.

    `by_vote` (P, P): the covariance that takes votes as independent; it scales the first part of w_g.
    """
    p = ready.design.n_parameters
    # A column turns the sum of a cluster's scores into its part in one parameter.
    to_rows = ready.bread if rows is None else ready.bread @ rows.T
    own = by_vote if rows is None else rows @ by_vote @ rows.T
    if p > _MOST_PARAMETERS or ready.counts.n_cells * p * p > _MOST_ENTRIES:
        singles = _sums_of_singles(ready, name, to_rows)
        single = correction_of(singles, np.diagonal(own) / singles.s10, 0.0)
        return Correction(
            np.maximum(single.factor[:, None], single.factor[None, :]),
            np.minimum(single.df[:, None], single.df[None, :]),
        )
    sums = _sums(ready, name, to_rows)
    taste = _taste(ready, name, by_vote, sums if rows is None else _sums(ready, name, ready.bread))
    return correction_of(sums, pair_variances(own) / sums.s10, taste)


def with_known_votes(df: Array, variance: Array, by_vote: Array, *, arms: int) -> Array:
    """Degrees of freedom (R, R) of two-way variances of which a part, that of independent votes, is known well.

    df counts clusters, as if all of the variance were estimated from them. Of a variance V = V_votes + E only the
    excess E is; with V_votes known Satterthwaite's formula gives df (V / E)^2. But E is itself a noisy difference,
    small by chance where the interval is already too narrow. So its share E / V is that of the contrast or that of all
    contrasts together, whichever is larger, and df (V / E)^(1/2) is taken: the powers 2 and 1 of a contrast's own share
    covered 90 to 93 % where few clusters carry most of the variance (docs/log.md).
    """
    # Not a position effect's or a tie parameter's difference from a strength, which means nothing.
    index = np.triu_indices(arms, 1) if arms > 1 else np.diag_indices(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        own = np.where(variance > 0, 1 - by_vote / variance, 1.0)
    whole = float(variance[index].sum())
    shared = 1 - float(by_vote[index].sum()) / whole if whole > 0 else 1.0
    return np.asarray(df / np.sqrt(np.clip(np.maximum(own, shared), LEAST_SHARE, 1.0)))


def pair_variances(covariance: Array) -> Array:
    """(..., R, R) -> variances of the parameters (diagonal) and of their differences (off it)."""
    own = np.diagonal(covariance, axis1=-2, axis2=-1)
    table = own[..., :, None] + own[..., None, :] - 2 * covariance
    index = np.arange(own.shape[-1])
    table[..., index, index] = own
    return np.asarray(table)


def _taste(ready: FittedDesign, name: str, by_vote: Array, sums: ShareSums) -> float:
    """s^2, from what the clusters' squares exceed those of independent votes, over all arms alike."""
    u_GP = cluster_scores(ready, name)
    k = ready.design.k
    observed = np.diagonal(ready.bread @ (u_GP.T @ u_GP) @ ready.bread)[:k]
    expected = np.diagonal(by_vote)[:k]
    first, second, squares = (np.diagonal(part)[:k] for part in (sums.s10, sums.s01, sums.s20))
    shrunk = np.maximum(1 - squares / first**2, 1 / MOST_FACTOR)
    with np.errstate(divide="ignore", invalid="ignore"):
        excess, unit = (observed / shrunk - expected) / expected, second / expected
    known = np.isfinite(excess) & np.isfinite(unit)
    whole = float(unit[known].sum())
    return max(0.0, float(excess[known].sum()) / whole) if whole > 0 else 0.0


def _votes_by_cell(ready: FittedDesign, name: str) -> Array:
    """Votes of each cluster in each cell, (G, C), dense or csr, clusters without votes left out."""
    part = ready.counts.clusters[name]
    table = part.counts
    if sparse.issparse(table):
        c = ready.counts.n_cells
        join = sparse.kron(sparse.eye_array(c, format="csr"), np.ones((3, 1)), format="csr")
        kept: Array = sparse.csr_array(table @ join)[np.flatnonzero(part.present())]
        return kept
    return np.asarray(table[:, 0::3] + table[:, 1::3] + table[:, 2::3])[part.present()]


def _information_of_votes(ready: FittedDesign) -> Array:
    """Expected information of one vote in each cell about (eta, tau), (C, d, d)."""
    eta, tau = ready.design.eta(ready.fit.parameters), ready.design.tau(ready.fit.parameters)
    return np.asarray(information_and_slope(ready.fit.model, eta, None if tau is None else float(tau[0]))[0])


def _sums(ready: FittedDesign, name: str, to_rows: Array) -> ShareSums:
    votes_GC, p = _votes_by_cell(ready, name), ready.design.n_parameters
    x = ready.design.x.toarray() if sparse.issparse(ready.design.x) else np.asarray(ready.design.x)
    m = _information_of_votes(ready)
    by_cell = np.zeros((len(x), m.shape[1], p))
    by_cell[:, 0, : x.shape[1]] = x
    by_cell[:, 1:, -1] = 1.0
    information_CPP = np.einsum("cdp,cde,ceq->cpq", by_cell, m, by_cell, optimize=True)
    # Both parts of w_g come from what is linear in a cluster's votes, so it is worked out by cell, not by cluster.
    spread_CPR = information_CPP @ to_rows
    r = to_rows.shape[1]
    one, other = np.triu_indices(r)
    first_CT = pair_variances(to_rows.T @ spread_CPR)[:, one, other]
    spread = spread_CPR.reshape(len(x), -1)
    size = max(1, _BLOCK_ENTRIES // (p * r))
    total: ShareSums | None = None
    for start in range(0, votes_GC.shape[0], size):
        votes = votes_GC[start : start + size]
        w1 = np.asarray(votes @ first_CT)
        spread_GPR = np.asarray(votes @ spread).reshape(-1, p, r)
        w2 = pair_variances(np.swapaxes(spread_GPR, -1, -2) @ spread_GPR)[:, one, other]
        part = ShareSums.of(np.maximum(w1, 0.0), np.maximum(w2, 0.0))
        total = part if total is None else total + part
    assert total is not None, "a fit has votes"
    return total.as_tables(r)


def _sums_of_singles(ready: FittedDesign, name: str, to_rows: Array) -> ShareSums:
    """For many parameters: of each parameter alone, and of independent votes alone."""
    votes_GC = _votes_by_cell(ready, name)
    m = _information_of_votes(ready)
    along = np.asarray(ready.design.x @ to_rows[: ready.design.n_linear])
    square = m[:, 0, 0, None] * along**2
    if ready.design.has_tau:
        square += 2 * m[:, 0, 1, None] * along * to_rows[-1] + m[:, 1, 1, None] * to_rows[-1] ** 2
    size = max(1, _BLOCK_ENTRIES // square.shape[1])
    total: ShareSums | None = None
    for start in range(0, votes_GC.shape[0], size):
        w1 = np.asarray(votes_GC[start : start + size] @ square)
        part = ShareSums.of(w1, np.zeros_like(w1))
        total = part if total is None else total + part
    assert total is not None, "a fit has votes"
    return total
