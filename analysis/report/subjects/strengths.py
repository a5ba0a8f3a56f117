"""The arms' strengths: table, forest plot, strengths relative to a baseline, and how wide the intervals are."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from typing import Any

import numpy as np

from analysis.report.kit.escape import short_labels
from analysis.report.kit.section import Section
from analysis.report.kit.style import BLUE, GRID, INK, MOST_ARMS, MUTED, Draft, name_rows, new_figure
from analysis.report.kit.table import Column, DataTable, signed
from analysis.report.subjects.claims import percent_words, share_words
from analysis.stats import Estimate, StrengthRow, elo, rebase, win_probability


def strengths_section(estimate: Estimate | None, *, baseline: str | None) -> Section:
    """Strengths on the Elo scale, and relative to the baseline if one was named."""
    if estimate is None:
        return Section(
            "strengths",
            "Strengths",
            paragraphs=("No strengths are given, because no finite, unique estimate exists. See the box at the top.",),
            csv=(strengths_csv_table(None),),
        )
    table = strengths_table(estimate)
    return Section(
        "strengths",
        "Strengths",
        figures=(partial(draw_strengths, estimate),),
        tables=(table, *(() if baseline is None else (baseline_table(estimate, baseline),))),
        csv=(strengths_csv_table(estimate),),
        latex=(table,),
    )


def intervals_section(estimate: Estimate | None) -> Section:
    """The reported intervals next to those that take votes as independent."""
    title = "How sure: these intervals and vote-level ones"
    if estimate is None:
        return Section("intervals", title)
    unsure = estimate.uncertainty
    clusters = ", ".join(f"{n:,} {name}s" for name, n in unsure.n_clusters.items())
    text = f"The intervals of this report are of the kind “{unsure.kind}”"
    text += f" ({clusters})." if clusters else "."
    if unsure.ignores:
        text += f" They ignore {unsure.ignores.rstrip('.')}."
    return Section(
        "intervals",
        title,
        paragraphs=(text, *unsure.warnings, *unsure.notes),
        tables=(intervals_table(estimate),),
    )


def strengths_table(estimate: Estimate) -> DataTable:
    """Arms, best first: strength, its interval against the mean and the one for comparing arms, Elo, ranks."""
    percent = percent_words(estimate.settings.confidence)
    return DataTable.of(
        "strengths",
        estimate.strengths,
        caption=f"Strength of each arm with {percent} intervals, strongest estimate first",
        columns=(
            Column("arm", "Arm", "text"),
            Column("log_strength", "Log strength", digits=3),
            Column("se", "SE", digits=3),
            Column("low", "Low", digits=3),
            Column("high", "High", digits=3),
            Column("quasi_low", "Low (comparing)", digits=3),
            Column("quasi_high", "High (comparing)", digits=3),
            Column("elo", "Elo", digits=1),
            Column("elo_low", "Elo low", digits=1),
            Column("elo_high", "Elo high", digits=1),
            Column("rank_low", "Best rank", "count"),
            Column("rank_high", "Worst rank", "count"),
            Column("chance_best", "P(best)", "p"),
            Column("n_votes", "Votes", "count"),
        ),
        note=" ".join(
            (
                "Low and high: of the strength against the mean of all arms, so an arm with few votes widens them all. "
                + (
                    "Low and high (comparing): for comparing arms with each other, as drawn above; an arm with few "
                    "votes widens its own alone."
                    if comparing(estimate)
                    else "Intervals for comparing arms with each other do not exist here (see the figure)."
                ),
                "Best and worst rank: no comparison that holds for all arms at once excludes a rank between them. "
                "P(best): share of draws of all strengths in which the arm is first (winrates.json has every rank).",
                *estimate.uncertainty.warnings,
            )
        ),
    ).without_empty()


def strengths_csv_table(estimate: Estimate | None) -> DataTable:
    """The contents of `strengths.csv`: every column of a strength; no rows without an estimate."""
    columns = tuple(Column(item.name, "") for item in fields(StrengthRow))
    return DataTable.of("strengths", () if estimate is None else estimate.strengths, caption="", columns=columns)


def intervals_table(estimate: Estimate) -> DataTable:
    """The reported interval of each arm next to the one that takes votes as independent."""
    kind, percent = estimate.uncertainty.kind, percent_words(estimate.settings.confidence)
    return DataTable.of(
        "intervals",
        estimate.strengths,
        caption=f"Width of the {percent} intervals of log strength: {kind} and vote level",
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


def baseline_table(estimate: Estimate, baseline: str) -> DataTable:
    """Strengths measured from one arm."""
    return DataTable(
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
            Column("elo", "Elo", digits=1),
            Column("elo_low", "Elo low", digits=1),
            Column("elo_high", "Elo high", digits=1),
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
                row.elo,
                row.elo_low,
                row.elo_high,
            )
            for row in rebase(estimate, baseline)
            if row.arm != baseline
        ),
        note=(
            f"Win rate: the model's win rate of the arm against {baseline} ({share_words(estimate)}). Elo here: "
            f"{baseline} has 1000, without an interval; in the other tables 1000 is the mean of the arms."
        ),
    )


def draw_strengths(estimate: Estimate) -> Draft:
    """Arms from strongest to weakest on the Elo scale, log-odds above, with intervals for comparing the arms."""
    left_out = max(0, len(estimate.strengths) - MOST_ARMS)
    rows = tuple(estimate.strengths)[:MOST_ARMS]
    labels = short_labels(tuple(row.arm for row in rows))
    height = 1.15 + (0.34 if len(rows) <= 10 else 0.23) * len(rows)
    figure = new_figure(5.6, height)
    axes = figure.add_subplot()
    places = np.arange(len(rows))[::-1]
    low, high = zip(*map(drawn_bounds, rows), strict=True)
    axes.hlines(places, low, high, color=BLUE, linewidth=1.8, zorder=2)
    ends = np.tile(places, 2)
    axes.vlines([*low, *high], ends - 0.13, ends + 0.13, color=BLUE, linewidth=1.4, capstyle="projecting", zorder=2)
    axes.plot([row.elo for row in rows], places, "o", color=BLUE, markersize=5)
    axes.axvline(elo(0.0), color=GRID, linewidth=1, zorder=0)
    name_rows(axes, places, labels)
    axes.set_ylim(-0.65, len(rows) - 0.4)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("Elo (1000 = mean of the arms)")
    axes.grid(axis="x")
    top = axes.secondary_xaxis("top", functions=(_log_strength_of, _elo_of))
    top.set_xlabel("log strength (natural logarithm of the odds)", color=MUTED)
    top.tick_params(colors=MUTED, labelcolor=MUTED)
    percent = percent_words(estimate.settings.confidence)
    handle = axes.plot([], [], color=BLUE, linewidth=1.8, marker="o", markersize=5)[0]
    which = "for comparing arms" if comparing(estimate) else "against the mean of all arms"
    name = f"{percent} interval {which} ({estimate.uncertainty.kind})"
    figure.legend([handle], [name], loc="outside lower center", labelcolor=INK)
    spoken = "; ".join(
        f"{label} {signed(row.elo, 0)}, from {signed(drawn_bounds(row)[0], 0)} to {signed(drawn_bounds(row)[1], 0)}"
        for label, row in zip(labels, rows, strict=True)
    )
    return Draft(
        name="strengths",
        figure=figure,
        title=f"Strength of each arm, with intervals {which}",
        alt=f"Forest plot on the Elo scale, {percent} intervals {which}. {spoken}.",
        caption=(
            "Strength of each arm on the Elo scale (below) and as a natural logarithm of odds (above), relative to "
            f"the mean of all arms. {bars_words(estimate)} Two arms whose intervals overlap may still "
            "differ, and arms whose intervals "
            "do not overlap may not: the differences above, not this figure, say which were detected."
            + (f" The {MOST_ARMS} strongest arms; {left_out} more are in strengths.csv." if left_out else "")
        ),
    )


def comparing(estimate: Estimate) -> bool:
    """Whether the arms have intervals for comparing them with each other."""
    return all(row.quasi_low is not None for row in estimate.strengths)


def drawn_bounds(row: StrengthRow) -> tuple[float, float]:
    """On the Elo scale: the interval for comparing arms, or the one against the mean if there is none."""
    if row.quasi_low is None or row.quasi_high is None:
        return row.elo_low, row.elo_high
    return elo(row.quasi_low), elo(row.quasi_high)


def bars_words(estimate: Estimate) -> str:
    """What the bars are, and why."""
    if comparing(estimate):
        return (
            "The bars are intervals for comparing arms with each other (quasi-variances, Firth and de Menezes 2004): "
            "an arm that few people judged has a long bar and does not lengthen the others. The table also has the "
            "intervals against the mean of all arms."
        )
    return (
        "The bars are intervals against the mean of all arms: here no interval of one arm alone serves all "
        "comparisons, because an arm's errors are nearly those of another (its quasi-variance would be negative)."
    )


def _elo_of(log_strength: Any) -> Any:
    # matplotlib passes arrays; the scale is linear, so two points determine it.
    return elo(0.0) + (elo(1.0) - elo(0.0)) * np.asarray(log_strength)


def _log_strength_of(rating: Any) -> Any:
    return (np.asarray(rating) - elo(0.0)) / (elo(1.0) - elo(0.0))
