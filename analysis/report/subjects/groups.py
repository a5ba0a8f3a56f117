"""Estimates inside groups of arms, if no estimate joins all arms: each group by itself, and marked so.

A group is a strongly connected component of the graph of wins (Ford 1957). Within it strengths are finite; between
groups the votes say nothing, or only who is above.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from analysis.report.kit.section import Section
from analysis.report.kit.table import Column, DataTable
from analysis.report.subjects.claims import percent_words
from analysis.stats import Estimate, Existence

NAMES_SHOWN = 4


@dataclass(frozen=True)
class ArmGroup:
    """Arms that have an estimate among themselves, with their own votes only."""

    arms: tuple[str, ...]
    estimate: Estimate


def find_groups(
    existence: Existence | None, estimated: tuple[str, ...], estimate_of: Callable[[tuple[str, ...]], Estimate | None]
) -> tuple[ArmGroup, ...]:
    """The groups of two or more arms that the report's estimate (of the arms `estimated`) does not have."""
    if existence is None:
        return ()
    groups = []
    for arms in existence.components:
        if len(arms) < 2 or set(arms) <= set(estimated):
            continue
        found = estimate_of(tuple(arms))
        if found is not None:
            groups.append(ArmGroup(tuple(arms), found))
    return tuple(groups)


def groups_section(groups: tuple[ArmGroup, ...]) -> Section:
    """A table of strengths for each group; empty without groups."""
    title = "Estimates within groups of arms"
    if not groups:
        return Section("groups", title)
    return Section(
        "groups",
        title,
        paragraphs=(
            "No estimate joins all arms, but the arms of each group below have one among themselves, from the votes "
            "of their own pairs. Strengths sum to zero within a group: numbers of different groups cannot be compared.",
        ),
        tables=tuple(_table(number, group) for number, group in enumerate(groups, start=1)),
    )


def _table(number: int, group: ArmGroup) -> DataTable:
    estimate = group.estimate
    names = ", ".join(group.arms[:NAMES_SHOWN]) + (", …" if len(group.arms) > NAMES_SHOWN else "")
    return DataTable.of(
        f"group-{number}",
        estimate.strengths,
        caption=(
            f"Group {number} ({names}), {estimate.n_votes:,} votes: strengths within the group, with "
            f"{percent_words(estimate.settings.confidence)} intervals"
        ),
        columns=(
            Column("arm", "Arm", "text"),
            Column("log_strength", "Log strength", digits=3),
            Column("low", "Low", digits=3),
            Column("high", "High", digits=3),
            Column("elo", "Elo in the group", digits=1),
            Column("n_votes", "Votes", "count"),
        ),
        note=" ".join(estimate.warnings),
    )
