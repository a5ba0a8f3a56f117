"""The settings of a report: one frozen object, built from the command line, printed in every output."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from analysis.report.kit.escape import visible_text
from analysis.report.subjects.certificate import ReadCertificate
from analysis.stats import EstimateSettings
from analysis.votes import ExclusionRules
from qsched.locations import Location
from qsched.records import InputError
from qsched.records.stopping import Looks

Format = Literal["svg", "png", "pdf"]
FORMATS: tuple[Format, ...] = ("svg", "png", "pdf")
# Columns that `--by` takes. Categories divide the votes of one estimate; studies and questions are outside it.
STRATA: tuple[str, ...] = ("category", "question", "study")


@dataclass(frozen=True)
class ReportSettings:
    """Every choice of one run.

    `by`: a column of STRATA, "none", or None: by category if the votes have 2 to 12 categories.
    `equivalence_margin`: a distance from an even win rate (0.03 = 47 % to 53 %) below which a difference does not
    matter to the user; None: equivalence is never claimed. `covariates`: names for a second model next to the
    reported one. `assist`: a metric of the image set that helps the contrasts with the baseline. `wording`: the
    question as annotators read it. `looks`: what the planned looks of a study with a stopping rule decided;
    `looks_beside`: those found beside the votes, used if they are of the chosen study and question.
    `command`: the line that made the report.
    """

    title: str = "Preference study"
    question: str | None = None
    wording: str = ""
    study: str | None = None
    baseline: str | None = None
    by: str | None = None
    equivalence_margin: float | None = None
    covariates: tuple[str, ...] = ()
    sequential: bool = False
    assist: str | None = None
    estimate: EstimateSettings = field(default_factory=EstimateSettings)
    rules: ExclusionRules = field(default_factory=ExclusionRules)
    image_set: Location | None = None
    simulation: dict[str, object] | None = None
    certificate: ReadCertificate | None = None
    looks: Looks | None = None
    looks_beside: tuple[Looks, ...] = ()
    formats: tuple[Format, ...] = FORMATS
    command: str = ""

    def __post_init__(self) -> None:
        if not visible_text(self.title).strip():
            raise InputError(
                f"The title {self.title!r} has no visible character. Give one with --title, or leave the option out."
            )

    @property
    def alpha(self) -> float:
        """The share of false alarms that is accepted."""
        return 1.0 - self.estimate.confidence
