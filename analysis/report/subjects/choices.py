"""The tables of what the analyst chose: votes left out, and the estimate under other choices."""

from __future__ import annotations

from analysis.report.findings import Findings
from analysis.report.kit.table import Column, Table, Value


def exclusions_table(found: Findings) -> Table:
    """Every rule that was on, with its count; first what was read, last what was kept."""
    report = found.exclusions
    rows: list[tuple[Value, ...]] = [("read", "", report.n_read, None)]
    rows += [(row.reason, row.rule, row.n_votes, row.n_annotators) for row in report.rows]
    rows.append(("kept", "", report.n_kept, found.n_annotators))
    return Table(
        name="exclusions",
        caption="Votes read, excluded under each rule in this order, and kept",
        columns=(
            Column("reason", "Step", "text"),
            Column("rule", "Rule", "text"),
            Column("n_votes", "Votes", "count"),
            Column("n_annotators", "Annotators", "count"),
        ),
        rows=tuple(rows),
    )


def variants_table(found: Findings) -> Table:
    """Log strengths under each other choice, one column an arm."""
    arms = tuple(row.arm for row in found.estimate.strengths) if found.estimate else found.arms
    return Table(
        name="sensitivity",
        caption="Log strength of each arm under other choices",
        columns=(
            Column("choice", "Choice", "text"),
            Column("n_votes", "Votes", "count"),
            *(Column(arm, arm, digits=3) for arm in arms),
        ),
        rows=tuple(
            (
                variant.name if variant.strengths is not None else f"{variant.name}: no estimate",
                variant.n_votes,
                *(None if variant.strengths is None else variant.strengths.get(arm) for arm in arms),
            )
            for variant in found.variants
        ),
    )
