"""What a design can detect before a study: one formula for `qsched study check` and `analysis/power.py`."""

from __future__ import annotations

from qsched.planning.group_sequential import wang_tsiatis_bounds
from qsched.planning.hours import Effort, LeastTime, Target, least_time, people_floor, variance_law
from qsched.planning.plan import StudyPlan
from qsched.planning.power import PlannedPower, detectable_win_rate, planned_power, t_power, t_tail, vote_moments
from qsched.planning.visibility import VisibleLoss, measured_losses, preferred_share
from qsched.planning.weakest import Assumptions, WeakestComparison, weakest_comparison

__all__ = [
    "Assumptions",
    "Effort",
    "LeastTime",
    "PlannedPower",
    "StudyPlan",
    "Target",
    "VisibleLoss",
    "WeakestComparison",
    "detectable_win_rate",
    "least_time",
    "measured_losses",
    "people_floor",
    "planned_power",
    "preferred_share",
    "t_power",
    "t_tail",
    "variance_law",
    "vote_moments",
    "wang_tsiatis_bounds",
    "weakest_comparison",
]
