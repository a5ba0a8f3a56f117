"""The tables of the arms' strengths."""

from __future__ import annotations

from dataclasses import fields

from analysis.report.kit.table import Column, Table
from analysis.report.subjects.claims import percent_words, share_words
from analysis.stats import Estimate, StrengthRow, rebase, win_probability


def strengths_table(estimate: Estimate) -> Table:
    """Arms, best first: strength, Elo, both intervals, ranks."""
    percent = percent_words(estimate.settings.confidence)
    return Table.of(
        "strengths",
        estimate.strengths,
        caption=f"Strength of each arm with {percent} intervals, strongest estimate first",
        columns=(
            Column("arm", "Arm", "text"),
            Column("log_strength", "Log strength", digits=3),
            Column("se", "SE", digits=3),
            Column("low", "Low", digits=3),
            Column("high", "High", digits=3),
            Column("elo", "Elo", digits=1),
            Column("elo_low", "Elo low", digits=1),
            Column("elo_high", "Elo high", digits=1),
            Column("rank_low", "Best rank", "count"),
            Column("rank_high", "Worst rank", "count"),
            Column("n_votes", "Votes", "count"),
        ),
        note=" ".join(
            (
                "Best and worst rank: no comparison that holds for all arms at once excludes a rank between them.",
                *estimate.uncertainty.warnings,
            )
        ),
    )


def strengths_csv_table(estimate: Estimate | None) -> Table:
    """What `strengths.csv` holds: every column of a strength; no rows where there is no estimate."""
    columns = tuple(Column(item.name, "") for item in fields(StrengthRow))
    return Table.of("strengths", () if estimate is None else estimate.strengths, caption="", columns=columns)


def intervals_table(estimate: Estimate) -> Table:
    """The default interval of each arm beside the one that takes votes as independent."""
    kind, percent = estimate.uncertainty.kind, percent_words(estimate.settings.confidence)
    return Table.of(
        "intervals",
        estimate.strengths,
        caption=f"Width of the {percent} intervals of log strength: {kind} beside vote level",
        columns=(
            Column("arm", "Arm", "text"),
            Column("low", f"Low ({kind})", digits=3),
            Column("high", f"High ({kind})", digits=3),
            Column("low_vote", "Low (votes independent)", digits=3),
            Column("high_vote", "High (votes independent)", digits=3),
            Column("design_effect", "Design effect", digits=2),
        ),
        note=(
            "Design effect: variance over the variance if every vote were independent. 2 means that the study "
            "knows what an independent study of half its size would know."
        ),
    )


def baseline_table(estimate: Estimate, baseline: str) -> Table:
    """Strengths measured from one arm."""
    return Table(
        name="baseline",
        caption=f"Strength relative to {baseline}, with {percent_words(estimate.settings.confidence)} intervals",
        columns=(
            Column("arm", "Arm", "text"),
            Column("log_odds", "Log-odds", digits=3),
            Column("low", "Low", digits=3),
            Column("high", "High", digits=3),
            Column("win_rate", "Win rate", "percent"),
            Column("win_low", "Low", "percent"),
            Column("win_high", "High", "percent"),
        ),
        rows=tuple(
            (
                row.arm,
                row.log_strength,
                row.low,
                row.high,
                win_probability(row.log_strength),
                win_probability(row.low),
                win_probability(row.high),
            )
            for row in rebase(estimate, baseline)
            if row.arm != baseline
        ),
        note=f"Win rate: the model's win rate of the arm against {baseline} ({share_words(estimate)}).",
    )
