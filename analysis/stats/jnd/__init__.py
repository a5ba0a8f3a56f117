"""Visible loss on a scale in just noticeable differences (JND), from triplet votes."""

from __future__ import annotations

from analysis.stats.jnd.fit import NODES, JndFit, fit_jnd

__all__ = ["NODES", "JndFit", "fit_jnd"]
