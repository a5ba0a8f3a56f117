"""Who counts: practice, skips and people who fail the traps are left out, each with a count under its reason."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from analysis.triplets.table import TripletTable
from qsched.records import InputError


@dataclass(frozen=True, kw_only=True)
class TrapRule:
    """A person counts with at least `share` right of at least `least` traps. Fixed before the study.

    Screening moves the scale more than any choice of model, so the rule is part of the registration. `least` = 0 lets
    people without traps count.
    """

    share: float = 0.7
    least: int = 10

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise InputError(f"The share of traps is {self.share}; it must be between 0 and 1.")
        if self.least < 0:
            raise InputError(f"The least number of traps is {self.least}; it is 0 or more.")


@dataclass(frozen=True)
class ScreenedTriplets:
    """What is left, and what was left out: `excluded` has (reason, votes, people) in the order of the rules.

    A person may have done only plain or only boosted triplets: traps of both count together.
    """

    table: TripletTable
    rule: TrapRule
    n_read: int
    excluded: tuple[tuple[str, int, int], ...]
    n_traps: int
    n_traps_right: int


def screen(table: TripletTable, rule: TrapRule | None = None) -> ScreenedTriplets:
    """Apply, in this order: kinds that are not votes on the scale, skips, too few traps, too many traps wrong.

    Raises InputError where nobody is left.
    """
    rule = rule or TrapRule()
    frame, excluded = table.frame, []

    def drop(keep: pl.Expr, reason: str) -> None:
        nonlocal frame
        gone = frame.filter(~keep)
        people = gone["annotator"].n_unique() if gone.height else 0
        excluded.append((reason, gone.height, people))
        frame = frame.filter(keep)

    drop(~pl.col("kind").is_in(["practice"]), "practice")
    drop(pl.col("kind") != "repeat", "repeated triplets")
    drop(pl.col("answer") != "skip", "skipped or not answered")
    by_person = trap_scores(frame)
    seen = frame.select("annotator").join(by_person, on="annotator", how="left", maintain_order="left")
    traps = seen["traps"].fill_null(0)
    right = (seen["right"].fill_null(0) / traps.cast(pl.Float64)).fill_nan(1.0)
    enough, passed = traps >= rule.least, right >= rule.share
    frame = frame.with_columns(enough.alias("enough"), passed.alias("passed"))
    drop(pl.col("enough"), f"people with fewer than {rule.least} traps")
    drop(pl.col("passed"), f"people with under {100 * rule.share:.0f} % of their traps right")
    frame = frame.drop("enough", "passed")
    if frame.height == 0:
        counts = "; ".join(f"{reason}: {votes} votes of {people} people" for reason, votes, people in excluded if votes)
        raise InputError(
            f"No vote is left after screening ({counts}). The rule asks for {100 * rule.share:.0f} % of at least "
            f"{rule.least} traps; a study whose people saw fewer traps needs a smaller number, fixed before looking."
        )
    kept = trap_scores(frame)
    return ScreenedTriplets(
        table.with_frame(frame),
        rule,
        table.n_votes,
        tuple(excluded),
        int(kept["traps"].sum()),
        int(kept["right"].sum()),
    )


def trap_scores(frame: pl.DataFrame) -> pl.DataFrame:
    """Traps seen and right by person: columns annotator, traps, right."""
    traps = frame.filter(pl.col("kind") == "trap")
    expected = pl.when(pl.col("left_arm") == pl.col("reference_arm")).then(pl.lit("right")).otherwise(pl.lit("left"))
    return traps.group_by("annotator").agg(pl.len().alias("traps"), (pl.col("answer") == expected).sum().alias("right"))
