"""Who drives the result: what leaving out one annotator or one prompt would change."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from analysis.report.kit.escape import short_labels
from analysis.report.kit.section import Section, with_rows
from analysis.report.kit.style import BLUE, GRID, ORANGE, PAPER, Draft, name_rows, new_figure
from analysis.report.kit.table import Column, DataTable, signed
from analysis.report.subjects.claims import Claim
from analysis.stats import (
    Estimate,
    VoteCounts,
    influence,
)
from analysis.stats.annotator_results import InfluenceRow

INFLUENCE_SHOWN = 10


INFLUENCE_DRAWN = 8


@dataclass(frozen=True)
class Influence:
    """What leaving out one annotator or one prompt would change, the largest change first."""

    annotators: tuple[InfluenceRow, ...] = ()
    prompts: tuple[InfluenceRow, ...] = ()

    @property
    def drawn(self) -> tuple[InfluenceRow, ...]:
        """The rows in the figure."""
        return (*self.annotators[:INFLUENCE_DRAWN], *self.prompts[:INFLUENCE_DRAWN])


def find_influence(estimate: Estimate | None, counts: VoteCounts) -> Influence:
    """Leave out each annotator and each prompt; empty without an estimate."""
    if estimate is None:
        return Influence()

    def by(kind: Literal["annotator", "prompt"]) -> tuple[InfluenceRow, ...]:
        if kind not in counts.clusters:
            return ()
        return influence(estimate.fit, counts, estimate.uncertainty, by=kind)

    return Influence(by("annotator"), by("prompt"))


def influence_section(found: Influence, claims: tuple[Claim, ...]) -> Section:
    """Who drives the result; empty without clusters."""
    return Section(
        "influence",
        "Who drives the result",
        paragraphs=influence_words(found, claims),
        figures=(partial(draw_influence, found),) if found.drawn else (),
        tables=with_rows(influence_table(found)),
    )


def influence_words(found: Influence, claims: tuple[Claim, ...]) -> tuple[str, ...]:
    """Whether the order of two arms depends on one annotator or one prompt."""
    rows = (*found.annotators, *found.prompts)
    if not rows:
        return ()
    needed = [row for row in rows if not math.isfinite(row.change_in_se)]
    turning = [row for row in rows if row.changes_order and row not in needed]
    if needed:
        named = ", ".join(f"{row.kind} {row.cluster}" for row in needed[:5])
        return (f"Without any one of {len(needed)} (such as {named}) these votes would give no estimate at all.",)
    if not turning:
        return ("Leaving out any single annotator or prompt reverses the order of no pair of arms.",)
    named = "; ".join(f"{row.kind} {row.cluster} ({row.arm_a} and {row.arm_b})" for row in turning[:5])
    more = f" and {len(turning) - 5} more" if len(turning) > 5 else ""
    detected = {frozenset((claim.arm_a, claim.arm_b)) for claim in claims if claim.detected}
    touched = [row for row in turning if frozenset((row.arm_a, row.arm_b)) in detected]
    verdict = (
        f"{len(touched)} of these are pairs whose difference was detected."
        if touched
        else "None of these is a pair whose difference was detected."
    )
    if len(turning) == 1:
        verdict = f"The difference of this pair was {'' if touched else 'not '}detected."
        return (f"Leaving out a single one reverses the order of two arms in one case: {named}. {verdict}",)
    return (
        f"Leaving out a single one reverses the order of two arms in {len(turning)} cases: {named}{more}. {verdict}",
    )


def influence_table(found: Influence) -> DataTable:
    """The annotators and prompts whose absence moves a contrast most."""
    rows = (*found.annotators[:INFLUENCE_SHOWN], *found.prompts[:INFLUENCE_SHOWN])
    return DataTable.of(
        "influence",
        rows,
        caption="Leaving one out: the contrast that moves most",
        columns=(
            Column("cluster", "Left out", "text"),
            Column("kind", "Kind", "text"),
            Column("n_votes", "Votes", "count"),
            Column("arm_a", "Arm", "text"),
            Column("arm_b", "Against", "text"),
            Column("change_log_odds", "Change, log-odds", digits=3),
            Column("change_in_se", "Change, SE", digits=2),
            Column("changes_order", "Order reversed", "yes"),
        ),
    )


def draw_influence(found: Influence) -> Draft:
    """The eight most influential annotators and prompts; orange if leaving one out reverses an order."""
    both = (("annotator", found.annotators), ("prompt", found.prompts))
    groups = [(name, rows[:INFLUENCE_DRAWN]) for name, rows in both if rows]
    height = 0.95 + 0.24 * max(len(rows) for _, rows in groups)
    figure = new_figure(3.2 * len(groups), height)
    panels = figure.subplots(1, len(groups), sharex=True, squeeze=False)[0]
    for panel, (name, rows) in zip(panels, groups, strict=True):
        places = np.arange(len(rows))[::-1]
        # Without such a cluster no estimate exists at all: its bar runs to the edge and says so.
        known = [abs(row.change_in_se) for row in rows if math.isfinite(row.change_in_se)]
        edge = 1.3 * max((*known, 1.0))
        values = [abs(row.change_in_se) if math.isfinite(row.change_in_se) else edge for row in rows]
        panel.barh(places, values, height=0.6, color=[ORANGE if row.changes_order else BLUE for row in rows])
        for place, row in zip(places, rows, strict=True):
            if not math.isfinite(row.change_in_se):
                panel.text(0.03 * edge, place, "no estimate without it", va="center", color=PAPER, fontsize=8)
        name_rows(panel, places, short_labels(tuple(row.cluster for row in rows), width=16))
        panel.set_title(f"leaving out one {name}", loc="left")
        panel.set_xlabel("largest change, in standard errors")
        panel.spines["left"].set_visible(False)
        panel.axvline(1, color=GRID, linewidth=1)
        panel.set_xlim(left=0)
        panel.grid(axis="x")
    spoken = ". ".join(
        f"Leaving out {name} {rows[0].cluster} moves a contrast by "
        f"{signed(abs(rows[0].change_in_se), 2)} standard errors"
        for name, rows in groups
    )
    return Draft(
        name="influence",
        figure=figure,
        title="Who drives the result",
        alt=f"Bar charts of the most influential annotators and prompts. {spoken}.",
        caption=(
            "The contrast of arms that moves most when one annotator or one prompt is left out, in its own "
            "standard errors. Orange: the order of two arms is reversed."
        ),
    )
