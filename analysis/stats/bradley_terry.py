"""The Bradley-Terry model (Bradley and Terry 1952, Biometrika 39:324-345), optionally with a position effect.

P(i beats j, i on the left) = 1 / (1 + exp(-(theta_i - theta_j + delta)))
"""

from __future__ import annotations

from analysis.stats.counts import VoteCounts
from analysis.stats.fit import fit_model
from analysis.stats.results import PairwiseFit, Penalty, Ties


def fit_bradley_terry(
    counts: VoteCounts,
    *,
    ties: Ties = "half",
    position_effect: bool = False,
    penalty: str | Penalty = "none",
) -> PairwiseFit:
    """Maximum likelihood strengths (natural log-odds, summing to zero).

    `ties`: half a win for each side, or dropped. `position_effect`: fit delta (Davidson and Beaver 1977).
    `penalty`: none, firth, ridge:X or gamma:A (see `analysis.stats.penalty`).
    Raises NoEstimateError, with the arms named, where the estimate is infinite or not unique.
    """
    return fit_model(counts, model="bradley-terry", ties=ties, position_effect=position_effect, penalty=penalty)
