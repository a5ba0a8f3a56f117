"""One test for many quantities at once that clusters make dependent: Rao and Scott's second-order correction.

    Q = sum_m r_m^2 / v_m,   F = Q / tr(L),   L_mk = V_mk / sqrt(v_m v_k),   df1 = tr(L)^2 / tr(L^2)

r has covariance V, estimated by clusters; v is what independent votes would give. Q would be chi-square if V were the
diagonal of v; in truth it is a weighted sum of chi-squares, which F matches in mean and variance (Rao and Scott 1984,
Ann. Statist. 12:46-60; with F instead of chi-square: Thomas and Rao 1987, JASA 82:630-636). The inverse of V, which
Hotelling's test needs, does not exist with fewer clusters than quantities, and is unstable with few more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from analysis.stats.results import Array


@dataclass(frozen=True)
class QuadraticTest:
    """F with its degrees of freedom; `p` small: the quantities are not all zero."""

    statistic: float
    df1: float
    df2: float
    p: float


def quadratic_test(r: Array, covariance: Array, by_vote: Array, *, df: float, rank: int) -> QuadraticTest | None:
    """Test r = 0, (M,); `covariance` (M, M) by clusters, `by_vote` (M,) of independent votes, `df` of the clusters.

    `rank` of the quantities are free. None if no quantity can vary.
    """
    used = by_vote > 1e-9 * by_vote.max(initial=0.0)
    if not used.any():
        return None
    scale = np.sqrt(by_vote[used])
    weighted = covariance[np.ix_(used, used)] / scale[:, None] / scale[None, :]
    trace, squares = float(np.trace(weighted)), float((weighted**2).sum())
    if trace <= 0:
        return None
    if df > 1 and not np.isinf(df):
        # Few clusters scatter the off-diagonal entries; without that (unbiased for a Wishart matrix):
        squares = (squares - trace**2 / df) * df**2 / ((df - 1) * (df + 2))
    df1 = float(rank) if squares <= 0 else min(max(trace**2 / squares, 1.0), float(rank))
    statistic = float(((r[used] / scale) ** 2).sum()) / trace
    df2 = np.inf if np.isinf(df) else df * df1
    p = special.chdtrc(df1, statistic * df1) if np.isinf(df2) else special.fdtrc(df1, df2, statistic)
    return QuadraticTest(statistic, df1, float(df2), float(p))
