"""Read votes from one or several sources into one checked table; unknown values are errors with their row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from analysis.votes import arena
from analysis.votes.check import cast_column, check
from analysis.votes.covariates import extra_columns, number_or_text
from analysis.votes.sources import Source, open_source
from analysis.votes.table import SCHEMA, Style, VotesTable
from qsched.records import InputError

ESSENTIAL = ("left_arm", "right_arm", "choice")
_IDENTITY = ("study", "question", "session", "annotator", "pair_id", "kind", "served_at", "answered_at")


def read_votes(
    sources: str | Path | Sequence[str | Path], *, allow_mixed: bool = False, covariates: Sequence[str] = ()
) -> VotesTable:
    """All votes of the sources, checked.

    A source is a .parquet, .csv(.gz) or .jsonl file or a database URL (its view `votes_table`), with our columns
    or arena-style ones. Needed are left_arm, right_arm and choice (or model_a, model_b and winner); other columns
    of the contract may be absent and are then named in `missing`, but one that is there must be right in every row.
    Columns beyond the contract are left out, except those of `covariates` (see `analysis.votes.covariates`).

    Raises InputError for a missing file or column and for several studies in one table unless `allow_mixed`,
    RowError for a value that breaks the contract and for a vote that occurs twice.
    """
    listed = [sources] if isinstance(sources, (str, Path)) else list(sources)
    if not listed:
        raise InputError("No votes were named. Give at least one file or database URL.")
    opened = [open_source(source) for source in listed]
    styles = [style_of(source) for source in opened]
    extras = [extra_columns(covariates, source.columns, source=source.name) for source in opened]
    frames = [_load(*each) for each in zip(opened, styles, extras, strict=True)]
    frame = frames[0] if len(frames) == 1 else pl.concat(frames, how="diagonal")
    if frame.height == 0:
        raise InputError(f"{', '.join(source.name for source in opened)}: there are no votes in it.")
    frame = _complete(frame, extras[0])
    missing = tuple(name for name in SCHEMA if all(name not in part.columns for part in frames))
    style: Style = styles[0] if len(set(styles)) == 1 else "mixed"
    table = VotesTable(frame, tuple(source.name for source in opened), style, missing)
    _refuse_partly_missing(frame, opened)
    _refuse_mixed(table, allow_mixed=allow_mixed)
    _refuse_twice(frame)
    return table


def style_of(source: Source) -> Style:
    """Which columns a source uses; InputError that names what is missing."""
    if all(column in source.columns for column in ESSENTIAL):
        return "qsched"
    if all(column in source.columns for column in arena.REQUIRED):
        return "arena"
    arena_like = sum(column in source.columns for column in arena.REQUIRED)
    ours = sum(column in source.columns for column in ESSENTIAL)
    wanted = arena.REQUIRED if arena_like > ours else ESSENTIAL
    lacking = [column for column in wanted if column not in source.columns]
    raise InputError(
        f"{source.name} has no column {', '.join(repr(c) for c in lacking)}; "
        f"it has {', '.join(source.columns) or 'none'}. "
        f"Votes need {', '.join(ESSENTIAL)}, or arena-style {', '.join(arena.REQUIRED)}."
    )


def _load(source: Source, style: Style, extras: tuple[str, ...]) -> pl.DataFrame:
    rows = arena.rename_arena(source.rows, source.columns, keep=extras) if style == "arena" else source.rows
    schema = rows.collect_schema()
    columns = tuple(name for name in schema.names() if name in SCHEMA and name not in ("row", "source"))
    # The text as it was read stays beside the cast column only where casting can lose it.
    casts = [cast_column(name, schema[name]) for name in columns]
    lossy = [name for name in columns if not isinstance(SCHEMA[name], (pl.Categorical, pl.String))]
    kept = [pl.col(name).alias(f"raw:{name}") for name in lossy]
    try:
        others = [pl.col(name).cast(pl.String) for name in extras]
        frame = rows.select(pl.col("row").cast(pl.Int64), *casts, *kept, *others).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{source.name} cannot be read: {error}") from error
    same = [pl.col(name).alias(f"raw:{name}") for name in columns if name not in lossy]
    check(frame.with_columns(same), name=source.name, columns=columns, arena=style == "arena")
    return frame.drop([f"raw:{name}" for name in lossy]).with_columns(
        pl.lit(source.name).cast(SCHEMA["source"]).alias("source")
    )


def _complete(frame: pl.DataFrame, extras: tuple[str, ...]) -> pl.DataFrame:
    """Columns whose absence has one meaning by the contract: every vote a task, by a person, not both bad."""
    defaults = {"kind": "task", "simulated": False, "both_bad": False}
    made = [
        pl.lit(value).cast(SCHEMA[name]).alias(name) if name not in frame.columns else pl.col(name).fill_null(value)
        for name, value in defaults.items()
    ]
    frame = frame.with_columns(made)
    contract = frame.select(name for name in SCHEMA if name in frame.columns)
    return contract.with_columns(number_or_text(frame[name]) for name in extras)


def _refuse_partly_missing(frame: pl.DataFrame, opened: list[Source]) -> None:
    for column in ("annotator", "prompt_id", "study", "question"):
        if column in frame.columns and frame[column].null_count():
            bad = frame.filter(pl.col(column).is_null())["source"].cast(pl.String)[0]
            raise InputError(
                f"{bad} has no column {column!r} while other sources have it. "
                f"Add it, or analyse the {len(opened)} sources one by one."
            )


def _refuse_mixed(table: VotesTable, *, allow_mixed: bool) -> None:
    if not allow_mixed and len(table.studies) > 1:
        raise InputError(
            f"The votes are of {len(table.studies)} studies: {', '.join(table.studies)}. "
            "Choose one (--study NAME), or analyse them apart; their arms and wording need not agree."
        )


def _refuse_twice(frame: pl.DataFrame) -> None:
    if not all(column in frame.columns for column in ("session", "pair_id", "served_at")):
        return
    keys = [column for column in _IDENTITY if column in frame.columns]
    twice = frame.filter(pl.col("served_at").is_not_null() & pl.struct(keys).is_duplicated())
    if twice.height:
        first, second = twice.sort(*keys, "source", "row").select("source", "row").rows()[:2]
        raise InputError(
            f"{second[0]}:{second[1]}: the same vote as {first[0]}:{first[1]} (equal {', '.join(keys)}). "
            "Name each file once, and leave out copied rows."
        )
