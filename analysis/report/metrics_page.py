"""The page and the table of metrics against people: metrics-people.html, .csv and .tex."""

from __future__ import annotations

import math
from pathlib import Path

from analysis.report.kit.escape import visible_text
from analysis.report.kit.table import Column, DataTable, percent, signed, table_csv, table_latex
from analysis.report.metrics import MetricResults, MetricRow
from qsched.pages import Table, render_page

TEMPLATE = Path(__file__).with_name("metrics.html.j2")


def metrics_table(results: MetricResults, *, confidence: float) -> DataTable:
    """The table that a paper on metrics could print."""
    columns = (
        Column("metric", "Metric", "text"),
        Column("n_votes", "Votes", "count"),
        Column("agreement", "Agreement", "percent"),
        Column("agreement_low", "Low", "percent"),
        Column("agreement_high", "High", "percent"),
        Column("auc", "AUC", digits=3),
        Column("auc_low", "Low", digits=3),
        Column("auc_high", "High", digits=3),
        Column("behind", "Behind the best", "percent"),
        Column("behind_low", "Low", "percent"),
        Column("behind_high", "High", "percent"),
        Column("tau", "Kendall's tau of arms", digits=2),
        Column("tau_low", "Low", digits=2),
        Column("tau_high", "High", digits=2),
        Column("same_best", "Same best arm", "yes"),
    )
    rows = tuple(
        (
            row.metric,
            row.found.n_votes,
            row.found.agreement.value,
            row.found.agreement.low,
            row.found.agreement.high,
            row.found.auc.value,
            row.found.auc.low,
            row.found.auc.high,
            row.behind,
            row.behind_low,
            row.behind_high,
            row.tau,
            row.tau_low,
            row.tau_high,
            row.same_best,
        )
        for row in results.rows
    )
    caption = (
        f"Metrics against people's decided votes, with {100 * confidence:g} % intervals over annotators and prompts"
    )
    return DataTable("metrics", caption, columns, rows)


def metrics_files(
    results: MetricResults, *, title: str, simulated: int, command: str, confidence: float
) -> dict[str, str]:
    """metrics-people.html, .csv, .tex by name."""
    table = metrics_table(results, confidence=confidence)
    page = render_page(
        TEMPLATE,
        title=visible_text(title),
        findings=tuple(_findings(results)),
        simulated=simulated,
        table=Table(
            (
                "metric",
                "votes",
                "agreement",
                "interval",
                "AUC",
                "interval",
                "behind the best",
                "tau of arms",
                "same best",
            ),
            tuple(_cells(row) for row in results.rows),
            caption=table.caption,
        ),
        worst=results.worst,
        command=command,
    )
    return {
        "metrics-people.html": page,
        "metrics-people.csv": table_csv(table),
        "metrics-people.tex": table_latex(table),
    }


def _cells(row: MetricRow) -> tuple[str, ...]:
    agreed, auc = row.found.agreement, row.found.auc
    behind = ""
    if row.behind is not None:
        behind = f"{signed(100 * row.behind, 1)} points"
        if row.behind_low is not None and row.behind_high is not None:
            behind += f" ({signed(100 * row.behind_low, 1)} to {signed(100 * row.behind_high, 1)})"
    return (
        visible_text(row.metric),
        f"{row.found.n_votes:,}",
        percent(agreed.value),
        "" if agreed.low is None or agreed.high is None else f"{percent(agreed.low)} to {percent(agreed.high)}",
        f"{auc.value:.3f}",
        "" if auc.low is None or auc.high is None else f"{auc.low:.3f} to {auc.high:.3f}",
        behind,
        "" if math.isnan(row.tau) else f"{signed(row.tau, 2)} ({signed(row.tau_low, 2)} to {signed(row.tau_high, 2)})",
        "yes" if row.same_best else "no",
    )


def _findings(results: MetricResults) -> list[str]:
    """What may be said."""
    best = results.rows[0]
    agreed = best.found.agreement
    words = [f"{results.n_decided:,} decided votes; ties say nothing of who won and are left out."]
    if results.same is not None and results.ceiling is not None:
        words.append(
            f"Two people give the same answer on one pair of pictures in {percent(results.same)} of cases. So no "
            f"metric of the pictures can agree with single votes in more than about {percent(results.ceiling)}."
        )
    else:
        words.append("No pair of pictures was judged twice, so the ceiling of any metric is not known.")
    if results.own is not None:
        words.append(f"People repeat their own answer on a repeated pair in {percent(results.own)} of cases.")
    chance = agreed.low is not None and agreed.low > 0.5
    words.append(
        f"{visible_text(best.metric)} agrees most, with {percent(agreed.value)} of the votes"
        + ("." if chance else "; this is not shown to be better than chance.")
    )
    left_out = [f"{visible_text(row.metric)} ({row.left_out:,})" for row in results.rows if row.left_out]
    if left_out:
        words.append(
            f"Votes that a metric says nothing about, because a picture has no value (a baseline has no twin): "
            f"{', '.join(left_out)}."
        )
    return words
