"""Davidson's model of ties (Davidson 1970, JASA 65:317-328), optionally with a position effect.

P(i wins) : P(j wins) : P(tie) = pi_i : pi_j : nu sqrt(pi_i pi_j),    pi = exp(theta)
"""

from __future__ import annotations

from analysis.stats.counts import VoteCounts
from analysis.stats.fit import fit_model
from analysis.stats.results import PairwiseFit, Penalty


def fit_davidson(counts: VoteCounts, *, position_effect: bool = False, penalty: str | Penalty = "none") -> PairwiseFit:
    """Maximum likelihood strengths and nu; NoEstimateError also where there are no ties, or nothing else."""
    return fit_model(counts, model="davidson", position_effect=position_effect, penalty=penalty)
