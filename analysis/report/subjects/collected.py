"""What was collected: when, and how many votes each annotator, prompt, pair of pictures and pair of arms has."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from analysis.report.kit.section import Section, with_rows
from analysis.report.kit.table import Column, DataTable
from analysis.stats import VoteCounts
from analysis.votes.table import has_values


@dataclass(frozen=True)
class VotesOfEach:
    """How many there are of one kind (annotators, prompts ...), and the votes of each: least, median and most."""

    of: str
    n: int
    least: int
    median: float
    most: int


@dataclass(frozen=True)
class Collected:
    """Votes per annotator, prompt and pair; `first` and `last` vote; None if the votes have no times."""

    spreads: tuple[VotesOfEach, ...]
    first: datetime | None
    last: datetime | None


def find_collected(kept: pl.DataFrame) -> Collected:
    """Of the votes that are analysed."""
    arms = [pl.min_horizontal(*_sides()).alias("arm_a"), pl.max_horizontal(*_sides()).alias("arm_b")]
    sample = [pl.col("sample_index")] if "sample_index" in kept.columns else []
    kinds: list[tuple[str, list[pl.Expr]]] = [("Pair of arms", arms)]
    if has_values(kept, "prompt_id"):
        kinds.insert(0, ("Pair of pictures (item)", [pl.col("prompt_id"), *sample, *arms]))
        kinds.insert(0, ("Prompt", [pl.col("prompt_id")]))
    if has_values(kept, "annotator"):
        kinds.insert(0, ("Annotator", [pl.col("annotator")]))
    time = next((name for name in ("answered_at", "served_at") if has_values(kept, name)), None)
    first, last = (None, None) if time is None else kept.select(pl.min(time).alias("a"), pl.max(time).alias("b")).row(0)
    return Collected(tuple(_votes_of_each(kept, of, by) for of, by in kinds), first, last)


def collected_of_counts(counts: VoteCounts) -> Collected:
    """Of counted votes: nothing of items and dates."""
    pair = np.minimum(counts.left, counts.right) * counts.n_arms + np.maximum(counts.left, counts.right)
    of_pairs = np.bincount(pair, counts.outcomes.sum(axis=1))
    numbers = {
        name.capitalize(): counts.clusters[name].votes for name in ("annotator", "prompt") if name in counts.clusters
    }
    spreads = tuple(
        VotesOfEach(of, len(n), int(n.min()), float(np.median(n)), int(n.max()))
        for of, n in {**numbers, "Pair of arms": of_pairs[of_pairs > 0]}.items()
    )
    return Collected(spreads, None, None)


def _sides() -> tuple[pl.Expr, pl.Expr]:
    """The arms by their codes: both columns may have codes of their own, so by name."""
    return pl.col("left_arm").cast(pl.String), pl.col("right_arm").cast(pl.String)


def _votes_of_each(kept: pl.DataFrame, of: str, by: list[pl.Expr]) -> VotesOfEach:
    # Counted by the columns' own codes first, so that names are compared once for each combination.
    keys = [name for name in ("annotator", "prompt_id", "sample_index", "left_arm", "right_arm") if _used(name, by)]
    counted = kept.group_by(keys).agg(pl.len().cast(pl.Int64).alias("n"))
    n = counted.group_by(by).agg(pl.col("n").sum())["n"].to_numpy()
    return VotesOfEach(of, len(n), int(n.min()), float(np.median(n)), int(n.max()))


def _used(name: str, by: list[pl.Expr]) -> bool:
    return any(name in expression.meta.root_names() for expression in by)


def collected_section(found: Collected, *, wording: str) -> Section:
    """Numbers of votes, dates, and the question in the words that annotators read."""
    paragraphs = []
    if wording:
        paragraphs.append(f"The question, as annotators read it: “{wording}”")
    if found.first is not None and found.last is not None:
        paragraphs.append(_dates(found.first, found.last))
    return Section(
        "collected",
        "What was collected",
        paragraphs=tuple(paragraphs),
        tables=with_rows(collected_table(found)),
    )


def _dates(first: datetime, last: datetime) -> str:
    days = (f"{first:%Y-%m-%d}", f"{last:%Y-%m-%d}")
    when = f"on {days[0]}" if days[0] == days[1] else f"from {days[0]} to {days[1]}"
    return f"The votes were given {when} (UTC)."


def collected_table(found: Collected) -> DataTable:
    """Votes of each annotator, prompt, item and pair of arms."""
    return DataTable.of(
        "collected",
        found.spreads,
        caption="Votes analysed for each",
        columns=(
            Column("of", "Each", "text"),
            Column("n", "Number", "count"),
            Column("least", "Fewest votes", "count"),
            Column("median", "Median", digits=1),
            Column("most", "Most votes", "count"),
        ),
    )
