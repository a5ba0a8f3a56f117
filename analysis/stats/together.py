"""Votes of one annotator on one prompt, as sums of products: what the two-way variance needs of them, in a small table.

V_both is a sum over the intersections g of annotator and prompt, each with n_ga votes of kind a (left arm, right arm,
choice) and the score s_a of such a vote:

    sum_g (sum_a n_ga s_a) (sum_b n_gb s_b)'  =  sum_ab (sum_g n_ga n_gb) s_a s_b'

The products sum_g n_ga n_gb have as many entries as there are two kinds of votes, however many votes were given.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse

from analysis.stats.results import Array


@dataclass(frozen=True)
class Together:
    """`products` (3 C, 3 C) csr, slots as in `VoteCounts.outcomes.ravel()`.

    `number`, `decided`: intersections, and those with a vote that is not a tie; `of_pairs`, `decided_of_pairs` (K, K):
    the same of those with votes on two arms.
    """

    products: Any
    number: float
    decided: float
    of_pairs: Array
    decided_of_pairs: Array

    def without_ties(self) -> Together:
        """Of the votes that are not ties."""
        keep = sparse.diags_array(np.tile([1.0, 1.0, 0.0], self.products.shape[0] // 3))
        products = sparse.csr_array(keep @ self.products @ keep)
        return replace(self, products=products, number=self.decided, of_pairs=self.decided_of_pairs)

    def meat(self, scores: Any) -> Array:
        """sum_g u_g u_g' of the scores (3 C, P) of one vote of each kind."""
        found = scores.T @ (self.products @ scores)
        return np.asarray(found.toarray() if sparse.issparse(found) else found)
