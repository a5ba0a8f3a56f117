"""The model with covariates, fitted beside the reported one."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.report.settings import ReportSettings
from analysis.stats import CovariateFit, fit_covariates
from analysis.stats.errors import AnalysisError
from analysis.votes import VotesTable


@dataclass(frozen=True)
class Adjusted:
    """The fit with covariates, or the reason why these votes give none."""

    fit: CovariateFit | None
    problem: str | None


def adjusted(kept: VotesTable, settings: ReportSettings) -> Adjusted | None:
    """Fit the kept votes with the covariates of the settings; None where no covariate was asked for."""
    if not settings.covariates:
        return None
    try:
        return Adjusted(fit_covariates(kept, settings.covariates, settings=settings.estimate), None)
    except AnalysisError as error:
        return Adjusted(None, str(error))
