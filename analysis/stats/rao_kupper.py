"""Rao and Kupper's model of ties (Rao and Kupper 1967, JASA 62:194-204), optionally with a position effect.

    P(i wins) = pi_i / (pi_i + kappa pi_j),  P(tie) = (kappa^2 - 1) P(i wins) P(j wins),    kappa > 1

A difference smaller than the threshold log(kappa) is not noticed and gives a tie.
"""

from __future__ import annotations

from analysis.stats.counts import VoteCounts
from analysis.stats.fit import fit_model
from analysis.stats.results import PairwiseFit, Penalty


def fit_rao_kupper(
    counts: VoteCounts, *, position_effect: bool = False, penalty: str | Penalty = "none"
) -> PairwiseFit:
    """Maximum likelihood strengths and kappa; NoEstimateError also where there are no ties, or nothing else."""
    return fit_model(counts, model="rao-kupper", position_effect=position_effect, penalty=penalty)
