"""Before a study: what a design can detect, by formula and by simulation with the estimator that will be used."""

from __future__ import annotations

from analysis.planning.simulation import SimulatedPower, simulate_power
from qsched.planning import PlannedPower, StudyPlan, detectable_win_rate, planned_power

__all__ = ["PlannedPower", "SimulatedPower", "StudyPlan", "detectable_win_rate", "planned_power", "simulate_power"]
