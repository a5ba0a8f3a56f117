"""Simulated annotators: they judge pictures by the tiny domain's ground truth and vote over real HTTP.

Their votes test the platform, never a model; every vote is stored and exported as simulated.
"""

from __future__ import annotations

from qsched.simulation.annotators import Annotator, Population, choose, draw_annotators
from qsched.simulation.visit import VisitSummary, visit_study

__all__ = ["Annotator", "Population", "VisitSummary", "choose", "draw_annotators", "visit_study"]
