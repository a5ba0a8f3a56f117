"""The terms of the log likelihood that one cell of the count table contributes, whatever the model."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.stats.results import Array


@dataclass(frozen=True)
class CellTerms:
    """By cell: log likelihood, scores (eta, tau) and negative second derivatives; None if the model has no tau."""

    log_likelihood: Array
    score_eta: Array
    score_tau: Array | None
    curve_eta: Array
    curve_eta_tau: Array | None
    curve_tau: Array | None
