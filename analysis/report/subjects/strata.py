"""The same estimate in each category, question or study, and how the contrasts of arms differ between them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl

from analysis.report.kit.escape import short_label, short_labels
from analysis.report.kit.section import ROWS_SHOWN, Section, with_rows
from analysis.report.kit.style import BLUE, GRID, MUTED, Draft, name_rows, new_figure
from analysis.report.kit.table import Column, DataTable, Value, p_words
from analysis.report.subjects.claims import percent_words
from analysis.stats import (
    Estimate,
    EstimateSettings,
    QuadraticTest,
    VoteCounts,
    compare_strata,
    count_votes,
    estimate,
    omnibus_test,
)
from analysis.stats.errors import AnalysisError
from analysis.stats.results import StratumContrast
from analysis.votes import VotesTable
from qsched.records import InputError

CONTRASTS_SHOWN = 15
MOST_STRATA = 24

MOST_ARMS = 12


@dataclass(frozen=True)
class StratumEstimate:
    """One value of the `--by` column. `estimate` is None if none exists; `problem` then says why."""

    name: str
    n_votes: int
    estimate: Estimate | None
    problem: str | None


@dataclass(frozen=True)
class Strata:
    """Every stratum of the column `by`, the contrasts that were compared, and one test of whether strengths differ
    between strata at all; `note` says what was left out."""

    by: str
    strata: tuple[StratumEstimate, ...]
    contrasts: tuple[StratumContrast, ...] = ()
    omnibus: QuadraticTest | None = None
    note: str = ""


def find_strata(votes: VotesTable, by: str, settings: EstimateSettings, *, baseline: str | None) -> Strata:
    """Estimate each stratum of `votes`, and compare those that have an estimate."""
    names = votes.values(by)
    if not names:
        raise InputError(f"--by {by}: the votes have no column {by!r}, or it is empty.")
    unnamed = int(votes.frame.get_column(by).null_count())
    strata: list[StratumEstimate] = []
    counts_by_name: dict[str, VoteCounts] = {}
    for name in names:
        stratum = votes.with_frame(votes.frame.filter(pl.col(by) == name))
        counts = count_votes(stratum)
        found, problem = _try_estimate(counts, settings)
        strata.append(StratumEstimate(name, stratum.n_votes, found, problem))
        if found is not None:
            counts_by_name[name] = counts
    contrasts: tuple[StratumContrast, ...] = ()
    if len(counts_by_name) > 1:
        contrasts = compare_strata(counts_by_name, settings, arms=_pairs_with(baseline, counts_by_name))
    note = f"{unnamed} votes without a {by} are in no stratum." if unnamed else ""
    test = omnibus_test(counts_by_name, settings) if len(counts_by_name) > 1 else None
    return Strata(by, tuple(strata), contrasts, test, note)


def _pairs_with(baseline: str | None, strata: dict[str, VoteCounts]) -> list[tuple[str, str]] | None:
    """With a baseline only its contrasts are compared (fewer tests, more power); otherwise all (None)."""
    if baseline is None:
        return None
    others = sorted({arm for counts in strata.values() for arm in counts.arms} - {baseline})
    return [(arm, baseline) for arm in others]


def _try_estimate(counts: VoteCounts, settings: EstimateSettings) -> tuple[Estimate | None, str | None]:
    """The estimate, or None and the reason why there is none."""
    try:
        return estimate(counts, settings), None
    except AnalysisError as error:
        return None, str(error)


def strata_section(found: Strata | None, *, arms: tuple[str, ...], confidence: float) -> Section:
    """Empty if the votes were not divided. `arms` gives the order of the panels."""
    if found is None:
        return Section("strata", "By")
    table = strata_table(found.strata, by=found.by, note=found.note)
    estimated = any(stratum.estimate for stratum in found.strata)
    return Section(
        "strata",
        f"By {found.by}",
        paragraphs=_omnibus_words(found, 1 - confidence),
        figures=(partial(draw_strata, found.strata, arms, by=found.by, confidence=confidence),) if estimated else (),
        tables=with_rows(
            fits_table(found),
            table.first(ROWS_SHOWN, file="strata.csv"),
            strata_contrasts_table(found.contrasts, by=found.by),
        ),
        points=tuple(f"{s.name}: {s.problem}" for s in found.strata if s.problem),
        csv=tuple(
            each for each in (table, strata_contrasts_table(found.contrasts, by=found.by, limit=None)) if each.rows
        ),
    )


def _omnibus_words(found: Strata, alpha: float) -> tuple[str, ...]:
    if found.omnibus is None:
        return ()
    detected = found.omnibus.p < alpha
    return (
        f"One test of all strengths together: p {p_words(found.omnibus.p)}. "
        + (
            f"Strengths differ between the values of {found.by}; the table of differences says which."
            if detected
            else f"No difference of strengths between the values of {found.by} was detected; single differences in the "
            "tables below should be read with that in mind."
        ),
    )


def fits_table(found: Strata) -> DataTable:
    """Votes of each stratum, and whether the model fits them."""
    tests = [(s, None if s.estimate is None else s.estimate.model_fit) for s in found.strata]
    return DataTable(
        name="strata-fits",
        caption=f"Votes by {found.by}, and the test of the model's fit in each",
        columns=(
            Column(found.by, found.by.capitalize(), "text"),
            Column("n_votes", "Votes", "count"),
            Column("deviance", "Deviance", digits=1),
            Column("deviance_df", "Degrees of freedom", "count"),
            Column("p", "Test of fit, p", "p"),
        ),
        rows=tuple(
            (
                stratum.name,
                stratum.n_votes,
                None if fit is None else fit.deviance,
                None if fit is None else fit.deviance_df,
                None if fit is None or fit.test is None else fit.test.p,
            )
            for stratum, fit in tests
        ),
        note="A small p says that one strength for each arm does not fit; p is not adjusted for the number of rows.",
    )


def strata_table(strata: tuple[StratumEstimate, ...], *, by: str, note: str) -> DataTable:
    """Elo of each arm in each stratum."""
    rows: list[tuple[Value, ...]] = []
    for stratum in strata:
        if stratum.estimate is None:
            rows.append((stratum.name, stratum.n_votes, "no estimate", None, None, None))
            continue
        rows += [
            (stratum.name, stratum.n_votes, row.arm, row.elo, row.elo_low, row.elo_high)
            for row in stratum.estimate.strengths
        ]
    return DataTable(
        name="strata",
        caption=f"Elo of each arm by {by}",
        columns=(
            Column(by, by.capitalize(), "text"),
            Column("n_votes", "Votes", "count"),
            Column("arm", "Arm", "text"),
            Column("elo", "Elo", digits=1),
            Column("elo_low", "Low", digits=1),
            Column("elo_high", "High", digits=1),
        ),
        rows=tuple(rows),
        note=note,
    )


def strata_contrasts_table(
    contrasts: tuple[StratumContrast, ...], *, by: str, limit: int | None = CONTRASTS_SHOWN
) -> DataTable:
    """How contrasts of arms differ between strata, smallest p first."""
    rows = sorted(contrasts, key=lambda r: (r.p, r.stratum_a, r.stratum_b, r.arm_a, r.arm_b))
    shown = rows if limit is None else rows[:limit]
    return DataTable.of(
        "strata-contrasts",
        shown,
        caption=f"Difference of each contrast of arms between two values of {by}, in log-odds"
        + (
            f"; {len(shown)} with the smallest p, all {len(rows)} in strata-contrasts.csv"
            if len(shown) < len(rows)
            else ""
        ),
        columns=(
            Column("stratum_a", "In", "text"),
            Column("stratum_b", "Against", "text"),
            Column("arm_a", "Arm", "text"),
            Column("arm_b", "Against arm", "text"),
            Column("difference", "Difference", digits=3),
            Column("low", "Low", digits=3),
            Column("high", "High", digits=3),
            Column("p", "p", "p"),
            Column("p_holm", "p (Holm)", "p"),
        ),
    )


def draw_strata(strata: tuple[StratumEstimate, ...], arms: tuple[str, ...], *, by: str, confidence: float) -> Draft:
    """Panels in the order of `arms`; strata without an estimate are named and left empty."""
    shown = strata[:MOST_STRATA]
    arms_left_out = max(0, len(arms) - MOST_ARMS)
    arms = arms[:MOST_ARMS]
    columns = len(arms) if len(arms) < 3 else 2 if len(arms) == 4 else 3
    rows = -(-len(arms) // columns)
    names = short_labels(tuple(stratum.name for stratum in shown), width=18)
    figure = new_figure(6.2, rows * (0.85 + 0.2 * len(shown)) + 0.3)
    panels = figure.subplots(rows, columns, sharex=True, squeeze=False)
    places = np.arange(len(shown))[::-1]
    for number, (panel, arm) in enumerate(zip(panels.flat, arms, strict=False)):
        panel.axvline(1000, color=GRID, linewidth=1)
        drawn = []
        for place, stratum in zip(places, shown, strict=True):
            row = None
            if stratum.estimate is not None:
                row = next((r for r in stratum.estimate.strengths if r.arm == arm), None)
            if row is None:
                panel.text(
                    0.5,
                    place,
                    "no estimate",
                    transform=panel.get_yaxis_transform(),
                    ha="center",
                    va="center",
                    color=MUTED,
                    fontsize=8,
                )
                continue
            drawn.append((place, row.elo_low, row.elo_high, row.elo))
        if drawn:
            at, low, high, elo = zip(*drawn, strict=True)
            panel.hlines(at, low, high, color=BLUE, linewidth=1.6, zorder=2)
            panel.plot(elo, at, "o", color=BLUE, markersize=4)
        panel.set_title(short_label(arm, width=24), loc="left")
        if number % columns == 0:
            name_rows(panel, places, names)
        else:
            panel.set_yticks([])
        panel.tick_params(axis="x", labelbottom=True)
        panel.spines["left"].set_visible(False)
        panel.grid(axis="x")
        panel.set_ylim(-0.6, len(shown) - 0.4)
        panel.locator_params(axis="x", nbins=4)
    for panel in panels.flat[len(arms) :]:
        panel.set_visible(False)
    figure.supxlabel("Elo within the stratum (1000 = mean of the arms)", fontsize=8.5)
    left_out = len(strata) - len(shown)
    return Draft(
        name=f"by-{by}",
        figure=figure,
        title=f"Strength of each arm by {by}",
        alt=(
            f"{len(arms)} panels, one per arm, with {percent_words(confidence)} intervals of its Elo in {len(shown)} "
            f"strata of {by}. The numbers are in the table below the figure."
        ),
        caption=(
            f"Each {by} estimated on its own. An interval that leaves out the line in one panel and not in another "
            "is not evidence of a difference between the two: the table of contrasts tests that."
            + (f" {left_out} further strata are in winrates.json only." if left_out else "")
            + (f" The {MOST_ARMS} strongest arms; {arms_left_out} more are in strata.csv." if arms_left_out else "")
        ),
    )
