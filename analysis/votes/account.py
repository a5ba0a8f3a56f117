"""counts.json, which `votes count` writes beside its tables: what was read, kept, and left out by which rule."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from analysis.votes.exclude import ExclusionReport, ExclusionRow, ExclusionRules
from qsched.records import InputError

NAME = "counts.json"
UNKNOWN = (
    "Which votes were counted is not known here: the folder has no counts.json, so exclusions, if there were any, were "
    "made before."
)


class LeftOut(BaseModel):
    """One rule and the votes that it left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reason: str
    rule: str
    n_votes: int = Field(ge=0)


class CountsAccount(BaseModel):
    """How many votes were read and kept, how many of those are simulated, and what was left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: str | None = None
    question: str | None = None
    sources: tuple[str, ...]
    n_read: int = Field(ge=0)
    n_kept: int = Field(ge=0)
    left_out: tuple[LeftOut, ...] = ()
    annotators: tuple[tuple[str, str], ...] = ()
    simulated: Literal["none", "all", "mixed"] = "none"
    n_simulated: int = Field(default=0, ge=0)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    rules: ExclusionRules | None = None

    def report(self) -> ExclusionReport:
        """As the exclusions of a report."""
        rows = tuple(ExclusionRow(row.reason, row.rule, row.n_votes, None) for row in self.left_out)
        rules = self.rules or ExclusionRules()
        return ExclusionReport(self.n_read, self.n_kept, rows, self.annotators, self.simulated, rules, self.notes)


def read_account(folder: str | Path, n_votes: int) -> CountsAccount:
    """The account of a folder of counts, or what is known without one. InputError if it is of other votes."""
    path = Path(folder) / NAME
    if not path.is_file():
        return CountsAccount(sources=(str(folder),), n_read=n_votes, n_kept=n_votes, notes=(UNKNOWN,))
    try:
        found = CountsAccount.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise InputError(f"{path} cannot be read as the account of counts: {error}") from error
    if found.n_kept != n_votes:
        raise InputError(
            f"{path} is about {found.n_kept:,} votes, and the tables beside it have {n_votes:,}. Make them together."
        )
    return found
