"""Simulated annotators: they judge pictures by the tiny domain's ground truth, or triplets by what differs, over HTTP.

Their votes test the platform, never a model; every vote is stored and exported as simulated.
"""

from __future__ import annotations

from qsched.simulation.annotators import Annotator, Population, choose, draw_annotators
from qsched.simulation.observers import ObserverPopulation, draw_observers
from qsched.simulation.panel import TripletPanel
from qsched.simulation.visit import VisitSummary, visit_study

__all__ = [
    "Annotator",
    "ObserverPopulation",
    "Population",
    "TripletPanel",
    "VisitSummary",
    "choose",
    "draw_annotators",
    "draw_observers",
    "visit_study",
]
