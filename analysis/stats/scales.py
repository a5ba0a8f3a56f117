"""The scales of one strength: log-odds, win rate, Elo."""

from __future__ import annotations

import math

#: Elo points of one natural log-odds unit: 400 points are odds of 10 to 1.
ELO_PER_LOG_ODDS = 400.0 / math.log(10.0)
#: Elo of the average arm.
ELO_CENTRE = 1000.0


def elo(log_strength: float) -> float:
    """Elo rating of a strength whose average over arms is zero."""
    return ELO_CENTRE + ELO_PER_LOG_ODDS * log_strength


def win_probability(log_odds: float) -> float:
    """1 / (1 + exp(-x)), without overflow."""
    if log_odds >= 0:
        return 1.0 / (1.0 + math.exp(-log_odds))
    small = math.exp(log_odds)
    return small / (1.0 + small)


def log_odds(win_rate: float) -> float:
    """Natural log-odds of a rate strictly between 0 and 1."""
    return math.log(win_rate) - math.log1p(-win_rate)
