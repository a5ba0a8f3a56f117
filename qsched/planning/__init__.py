"""What a design can detect before a study: one formula for `qsched study check` and `analysis/power.py`."""

from __future__ import annotations

from qsched.planning.plan import StudyPlan
from qsched.planning.power import PlannedPower, detectable_win_rate, planned_power, t_power, t_tail, vote_moments
from qsched.planning.visibility import VisibleLoss, measured_losses, preferred_share
from qsched.planning.weakest import Assumptions, WeakestComparison, weakest_comparison

__all__ = [
    "Assumptions",
    "PlannedPower",
    "StudyPlan",
    "VisibleLoss",
    "WeakestComparison",
    "detectable_win_rate",
    "measured_losses",
    "planned_power",
    "preferred_share",
    "t_power",
    "t_tail",
    "vote_moments",
    "weakest_comparison",
]
