"""The tables of an estimate in each stratum and of what differs between strata."""

from __future__ import annotations

from analysis.report.findings import Findings
from analysis.report.kit.table import Column, Table, Value

CONTRASTS_SHOWN = 30


def strata_table(found: Findings) -> Table:
    """Elo of each arm in each stratum."""
    by = found.settings.by or "stratum"
    rows: list[tuple[Value, ...]] = []
    for stratum in found.strata:
        if stratum.estimate is None:
            rows.append((stratum.name, stratum.n_votes, "no estimate", None, None, None))
            continue
        rows += [
            (stratum.name, stratum.n_votes, row.arm, row.elo, row.elo_low, row.elo_high)
            for row in stratum.estimate.strengths
        ]
    return Table(
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
        note=found.strata_note,
    )


def strata_contrasts_table(found: Findings, *, limit: int | None = CONTRASTS_SHOWN) -> Table:
    """How contrasts of arms differ between strata, smallest p first."""
    rows = sorted(found.strata_contrasts, key=lambda r: (r.p, r.stratum_a, r.stratum_b, r.arm_a, r.arm_b))
    shown = rows if limit is None else rows[:limit]
    return Table.of(
        "strata-contrasts",
        shown,
        caption=f"Difference of each contrast of arms between two values of {found.settings.by}, in log-odds"
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
