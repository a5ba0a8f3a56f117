"""The same estimate in each category, question or study, and how the contrasts of arms differ between them."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from analysis.report.settings import ReportSettings
from analysis.stats import Estimate, VoteCounts, compare_strata, count_votes, estimate
from analysis.stats.errors import AnalysisError
from analysis.stats.results import StratumContrast
from analysis.votes import VotesTable
from qsched.records import InputError


@dataclass(frozen=True)
class Stratum:
    """One value of the `--by` column. `estimate` is None where none exists; `problem` then says why."""

    name: str
    n_votes: int
    estimate: Estimate | None
    problem: str | None


def strata_of(
    votes: VotesTable, settings: ReportSettings
) -> tuple[tuple[Stratum, ...], tuple[StratumContrast, ...], str]:
    """Estimate each stratum of `votes`, and compare those that have an estimate; the note says what was left out."""
    if settings.by is None:
        return (), (), ""
    names = votes.values(settings.by)
    if not names:
        raise InputError(f"--by {settings.by}: the votes have no column {settings.by!r}, or it is empty.")
    unnamed = int(votes.frame.get_column(settings.by).null_count())
    note = f"{unnamed} votes without a {settings.by} are in no stratum." if unnamed else ""
    strata: list[Stratum] = []
    counts_by_name: dict[str, VoteCounts] = {}
    for name in names:
        frame = votes.frame.filter(pl.col(settings.by) == name)
        counts = count_votes(frame)
        found, problem = try_estimate(counts, settings)
        strata.append(Stratum(name, frame.height, found, problem))
        if found is not None:
            counts_by_name[name] = counts
    contrasts: tuple[StratumContrast, ...] = ()
    if len(counts_by_name) > 1:
        pairs = _pairs_with(settings.baseline, counts_by_name)
        contrasts = compare_strata(counts_by_name, settings.estimate, arms=pairs)
    return tuple(strata), contrasts, note


def _pairs_with(baseline: str | None, strata: dict[str, VoteCounts]) -> list[tuple[str, str]] | None:
    """With a baseline only its contrasts are compared (fewer tests, more power); otherwise all (None)."""
    if baseline is None:
        return None
    others = sorted({arm for counts in strata.values() for arm in counts.arms} - {baseline})
    return [(arm, baseline) for arm in others]


def try_estimate(counts: VoteCounts, settings: ReportSettings) -> tuple[Estimate | None, str | None]:
    """The estimate, or None and the reason why there is none."""
    try:
        return estimate(counts, settings.estimate), None
    except AnalysisError as error:
        return None, str(error)
