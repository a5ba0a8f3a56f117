"""The rows of a file in our own columns. A row may become several votes (counts, rankings); each keeps its number."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import polars as pl

from analysis.votes import arena
from analysis.votes.layouts.layout import VotesLayout
from analysis.votes.sources import ROW, Source
from qsched.records import InputError, RowError

#: A ranking of more arms than this has more pairs than anybody judged.
MOST_RANKED = 100


def reshape(source: Source, layout: VotesLayout, *, keep: tuple[str, ...] = ()) -> tuple[Source, tuple[str, ...]]:
    """`source` with our columns, `keep` beside them, and the columns of the file that are not used."""
    own = {ours: theirs for ours, theirs in layout.columns.items() if ours not in _SHAPED}
    wanted = tuple(dict.fromkeys((*layout.columns.values(), *layout.ranked, *keep)))
    rows = source.read(wanted)
    rest = [pl.col(ROW), *(pl.col(theirs).alias(ours) for ours, theirs in own.items()), *(pl.col(k) for k in keep)]
    made = _SHAPES[layout.shape](source, layout, rows, rest)
    if "annotator" not in made.columns and layout.shape in ("ranking", "rank columns"):
        # Votes of one ranking depend on each other: the ranking is then the cluster.
        made = made.with_columns(pl.format("ranking {}", pl.col(ROW)).alias("annotator"))
    columns = tuple(name for name in made.columns if name != ROW)
    unused = tuple(name for name in source.columns if name not in wanted)
    return replace(source, rows=made.lazy(), columns=columns, parquet=None), unused


_SHAPED: tuple[str, ...] = (
    "left_arm",
    "right_arm",
    "choice",
    "loser",
    "arm",
    "rating",
    "rank",
    "ranking",
    "wins_left",
    "wins_right",
)
_SHAPED += ("ties", "rating_left", "rating_right")


def _choice(source: Source, layout: VotesLayout, rows: pl.DataFrame, rest: list[pl.Expr]) -> pl.DataFrame:
    left, right, word = (pl.col(layout.columns[name]).cast(pl.String) for name in ("left_arm", "right_arm", "choice"))
    choice = word.replace_strict(dict(layout.outcomes), default=None, return_dtype=pl.String)
    if layout.by_name:
        named = pl.when(word == left).then(pl.lit("left")).when(word == right).then(pl.lit("right"))
        choice = pl.coalesce(named.otherwise(None), choice)
        wrong = rows.filter(choice.is_null() & word.is_not_null())
        if not wrong.is_empty():
            raise RowError(
                source.name,
                int(wrong[ROW][0]),
                f"{layout.columns['choice']} is {wrong[layout.columns['choice']][0]!r}, which is neither of the row's "
                "two arms. Correct the row or leave it out.",
            )
    both_bad = word.str.to_lowercase().is_in(arena.BOTH_BAD)
    made = rows.select(*rest, left.alias("left_arm"), right.alias("right_arm"), choice.alias("choice"))
    if "both_bad" not in made.columns:
        made = made.with_columns(rows.select(both_bad.alias("both_bad")).to_series())
    if "expected" in made.columns:
        made = made.with_columns(pl.col("expected").cast(pl.String).replace(dict(layout.outcomes)))
    return made


def _loser(_: Source, layout: VotesLayout, rows: pl.DataFrame, rest: list[pl.Expr]) -> pl.DataFrame:
    won, lost = (pl.col(layout.columns[name]).cast(pl.String) for name in ("choice", "loser"))
    return _by_name(rows.select(*rest, won.alias("left_arm"), lost.alias("right_arm"), pl.lit("left").alias("choice")))


def _by_name(frame: pl.DataFrame) -> pl.DataFrame:
    """The arm first in the alphabet on the left: with the winner there, every vote would be for the left side."""
    swapped = pl.col("left_arm") > pl.col("right_arm")
    other = pl.col("choice").replace({"left": "right", "right": "left"})
    return frame.with_columns(
        pl.when(swapped).then("right_arm").otherwise("left_arm").alias("left_arm"),
        pl.when(swapped).then("left_arm").otherwise("right_arm").alias("right_arm"),
        pl.when(swapped).then(other).otherwise("choice").alias("choice"),
    )


def _counts(source: Source, layout: VotesLayout, rows: pl.DataFrame, rest: list[pl.Expr]) -> pl.DataFrame:
    left, right = (pl.col(layout.columns[name]).cast(pl.String) for name in ("left_arm", "right_arm"))
    parts = []
    outcomes = {"left": "wins_left", "right": "wins_right", "tie": "ties"}
    for choice, name in outcomes.items():
        if name not in layout.columns:
            continue
        n = _numbers(source, rows, layout.columns[name], whole=True)
        own = rows.select(*rest, left.alias("left_arm"), right.alias("right_arm"), pl.lit(choice).alias("choice"))
        parts.append(own.with_columns(n.cast(pl.UInt32).alias("_times")))
    every = pl.concat(parts).sort(ROW, maintain_order=True)
    place = pl.int_range(every.height, dtype=pl.UInt32, eager=True).repeat_by(every["_times"]).explode().drop_nulls()
    return every[place].drop("_times")


def _scores(source: Source, layout: VotesLayout, rows: pl.DataFrame, rest: list[pl.Expr]) -> pl.DataFrame:
    left, right = (pl.col(layout.columns[name]).cast(pl.String) for name in ("left_arm", "right_arm"))
    a, b = (_numbers(source, rows, layout.columns[name]) for name in ("rating_left", "rating_right"))
    return rows.select(*rest, left.alias("left_arm"), right.alias("right_arm")).with_columns(_higher(a, b))


def _higher(a: pl.Series, b: pl.Series) -> pl.Series:
    frame = pl.DataFrame({"a": a, "b": b})
    higher = pl.when(pl.col("a") > pl.col("b")).then(pl.lit("left")).when(pl.col("a") < pl.col("b"))
    return frame.select(higher.then(pl.lit("right")).otherwise(pl.lit("tie")).alias("choice")).to_series()


def _long(source: Source, layout: VotesLayout, rows: pl.DataFrame, rest: list[pl.Expr]) -> pl.DataFrame:
    """Ratings or ranks, one picture per row: every two arms of one annotator and prompt."""
    value = "rating" if "rating" in layout.columns else "rank"
    numbers = _numbers(source, rows, layout.columns[value])
    by = [name for name in ("annotator", "prompt_id", "sample_index", "session") if name in layout.columns]
    if "annotator" not in by and "prompt_id" not in by:
        raise InputError(
            f"{source.name}: ratings are paired within one annotator and one prompt, and it has neither column. Name "
            "them with --map, such as --map 'annotator=COLUMN,prompt=COLUMN'."
        )
    own = rows.select(*rest, pl.col(layout.columns["arm"]).cast(pl.String).alias("_arm")).with_columns(
        (numbers if value == "rating" else -numbers).alias("_value")
    )
    twice = own.filter(own.select(*by, "_arm").is_duplicated())
    if not twice.is_empty():
        raise RowError(
            source.name,
            int(twice[ROW][0]),
            f"{twice['_arm'][0]!r} has several {value}s by one annotator for one prompt; it is not known which ones "
            "belong together. Add a column that tells them apart (sample_index or session), or leave some out.",
        )
    other = own.select(*by, pl.col("_arm").alias("_other"), pl.col("_value").alias("_second"))
    pairs = own.join(other, on=by, how="inner", nulls_equal=True).filter(pl.col("_arm") < pl.col("_other"))
    if pairs.is_empty():
        raise InputError(
            f"{source.name}: no annotator has a {value} of two arms for one prompt; there is nothing to pair."
        )
    made = pairs.with_columns(_higher(pairs["_value"], pairs["_second"]))
    return (
        made.rename({"_arm": "left_arm", "_other": "right_arm"})
        .drop("_value", "_second")
        .sort(ROW, "left_arm", "right_arm")
    )


def _ranking(source: Source, layout: VotesLayout, rows: pl.DataFrame, rest: list[pl.Expr]) -> pl.DataFrame:
    column = layout.columns["ranking"]
    return _pairs_of(source, rows, rest, [_levels(value) for value in rows[column].to_list()], column)


def _rank_columns(source: Source, layout: VotesLayout, rows: pl.DataFrame, rest: list[pl.Expr]) -> pl.DataFrame:
    table = rows.select(pl.col(name).cast(pl.String) for name in layout.ranked)
    levels = [[[arm] for arm in row if arm not in (None, "")] for row in table.iter_rows()]
    return _pairs_of(source, rows, rest, levels, layout.ranked[0])


def _levels(value: object) -> list[list[str]]:
    """'A > B = C' or a list -> [['A'], ['B', 'C']], best first."""
    if isinstance(value, str):
        parts = [part.strip() for part in re.split(r">|;|,", value.strip().strip("[]"))]
        return [[arm.strip().strip("'\"") for arm in part.split("=")] for part in parts if part]
    if isinstance(value, (list, tuple)):
        return [[str(arm) for arm in part] if isinstance(part, (list, tuple)) else [str(part)] for part in value]
    return []


def _pairs_of(
    source: Source, rows: pl.DataFrame, rest: list[pl.Expr], rankings: list[list[list[str]]], column: str
) -> pl.DataFrame:
    place: list[int] = []
    votes: list[tuple[str, str, str]] = []
    for index, levels in enumerate(rankings):
        ranked = [(arm, level) for level, arms in enumerate(levels) for arm in arms]
        names = [arm for arm, _ in ranked]
        if len(ranked) < 2 or len(set(names)) < len(names) or len(ranked) > MOST_RANKED:
            raise RowError(
                source.name,
                int(rows[ROW][index]),
                f"{column}: {levels} must rank 2 to {MOST_RANKED} different arms. Correct the row or leave it out.",
            )
        for first, (a, at) in enumerate(ranked):
            for b, below in ranked[first + 1 :]:
                place.append(index)
                votes.append((a, b, "tie" if at == below else "left"))
    made = rows.select(*rest)[place]
    three = pl.DataFrame(
        votes, schema={"left_arm": pl.String, "right_arm": pl.String, "choice": pl.String}, orient="row"
    )
    return _by_name(made.hstack(three))


def _numbers(source: Source, rows: pl.DataFrame, column: str, *, whole: bool = False) -> pl.Series:
    given = rows[column]
    numbers = given.cast(pl.String).replace({"true": "1", "false": "0"}).cast(pl.Float64, strict=False)
    good = numbers.is_finite() & ((numbers == numbers.round()) & (numbers >= 0) if whole else True)
    wrong = rows.filter(~good.fill_null(False))
    if not wrong.is_empty():
        what = "a whole number, 0 or more" if whole else "a number"
        raise RowError(
            source.name, int(wrong[ROW][0]), f"{column} is {wrong[column][0]!r}; it must be {what}. Correct the row."
        )
    return numbers


_SHAPES: dict[str, Callable[[Source, VotesLayout, pl.DataFrame, list[pl.Expr]], pl.DataFrame]] = {
    "choice": _choice,
    "loser": _loser,
    "counts": _counts,
    "scores": _scores,
    "ratings": _long,
    "ranks": _long,
    "ranking": _ranking,
    "rank columns": _rank_columns,
}
