"""The errors of the analysis: what the votes cannot tell, and what was asked for wrongly.

QschedError
+-- InputError / RowError       votes or options that break their contract (qsched.records)
+-- AnalysisError               the votes are well formed and still give no answer
    +-- NoEstimateError         no finite, unique estimate exists: carries the diagnosis
    +-- NotConvergedError       the iteration stopped before its gradient was small
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qsched.records import InputError, QschedError, RowError

if TYPE_CHECKING:
    from analysis.stats.results import Existence

__all__ = ["AnalysisError", "InputError", "NoEstimateError", "NotConvergedError", "RowError"]


class AnalysisError(QschedError):
    """Well-formed votes that do not determine what was asked."""


class NoEstimateError(AnalysisError):
    """The model has no finite, unique estimate for these votes; `diagnosis` says why and names the arms."""

    def __init__(self, diagnosis: Existence) -> None:
        super().__init__(" ".join((*diagnosis.problems, *diagnosis.remedies)))
        self.diagnosis = diagnosis


class NotConvergedError(AnalysisError):
    """Newton's iteration stopped with a gradient above its tolerance."""

    def __init__(self, *, iterations: int, gradient: float, tolerance: float) -> None:
        super().__init__(
            f"The fit stopped after {iterations} iterations with a largest gradient of {gradient:.3g} "
            f"(allowed: {tolerance:.3g}). Check covariates for extreme values, or use a ridge penalty."
        )
        self.iterations = iterations
        self.gradient = gradient
