"""Read votes from one or several sources into one checked table; unknown values are errors with their row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from analysis.votes import arena
from analysis.votes.check import cast_column, check, loses
from analysis.votes.covariates import extra_columns, number_or_text
from analysis.votes.duplicates import refuse_copies, refuse_named_twice, refuse_vote_twice
from analysis.votes.layouts import Asked, VotesLayout, has_shape, reshape, understand
from analysis.votes.sources import Source, VotesSource, is_frame, open_frame, open_source
from analysis.votes.table import SCHEMA, Style, VotesTable
from analysis.votes.weights import NONE, check_weights, expand
from qsched.records import InputError

ESSENTIAL = ("left_arm", "right_arm", "choice")
#: Columns that a source may have. `source` and `row` are added by the reader.
OF_A_SOURCE = tuple(name for name in SCHEMA if name not in ("source", "row"))


#: Columns by which triplet votes are known: ours, and those of AIC-3 files.
_TRIPLETS = (
    {"reference_arm", "presentation", "answer"},
    {"codec_left", "dlevel_left", "codec_right", "dlevel_right", "response"},
)


def read_votes(
    sources: VotesSource | Sequence[VotesSource],
    *,
    allow_mixed: bool = False,
    covariates: Sequence[str] = (),
    weights: str | None = None,
    asked: Asked | None = None,
) -> VotesTable:
    """All votes of the sources, checked.

    A source is a .parquet, .csv, .tsv, .jsonl or .json file (.gz too), a database URL (its view `votes_table`) or a
    frame of polars, pandas or pyarrow, with our columns or arena-style ones. Needed are left_arm, right_arm and choice
    (or model_a, model_b and winner); others of the contract may be absent and are then named in `missing`, but one that
    is there must be right in every row.
    Columns beyond the contract are left out and named in `unused`, except those of `covariates` (see
    `analysis.votes.covariates`) and `weights`, a column with the number of votes of each row. A column of counts that
    is not asked for is an error; with "none" every row counts once.

    A file with other columns is read as `asked` says (`analysis.votes.layouts`); what is not said is guessed from the
    usual names, and a guess is an error until `asked.accept`.

    Raises InputError for a missing file or column, for several studies in one table unless `allow_mixed`, and for
    votes that occur twice (see `analysis.votes.duplicates`); RowError for a value that breaks the contract.
    """
    listed: list[VotesSource] = (
        list(sources) if isinstance(sources, Sequence) and not isinstance(sources, str) else [sources]
    )
    if not listed:
        raise InputError("No votes were named. Give at least one file, database URL or frame.")
    opened = [_open(source, place, of=len(listed)) for place, source in enumerate(listed, start=1)]
    names = tuple(source.name for source in opened)
    refuse_named_twice(listed, names)
    asked = Asked() if asked is None else asked
    weighted = () if weights in (None, NONE) else (str(weights),)
    extras = [(*extra_columns(covariates, source.columns, source=source.name), *weighted) for source in opened]
    for source in opened:
        check_weights(source, weights)
    # A file with our columns or arena-style ones needs no layout unless something was said of its columns.
    layouts = [
        None if asked.is_empty and style_of(source) is not None else understand(source, asked) for source in opened
    ]
    styles: list[Style] = [
        "other" if layout else style_of(source) or "other" for source, layout in zip(opened, layouts, strict=True)
    ]
    frames, unused = zip(*(_load(*each) for each in zip(opened, styles, extras, layouts, strict=True)), strict=True)
    refuse_copies(frames, names)
    frame = frames[0] if len(frames) == 1 else pl.concat(frames, how="diagonal")
    if frame.height == 0:
        raise InputError(f"{', '.join(names)}: there are no votes.")
    frame = _complete(frame, extras[0])
    missing = tuple(name for name in SCHEMA if all(name not in part.columns for part in frames))
    style: Style = styles[0] if len(set(styles)) == 1 else "mixed"
    table = VotesTable(
        frame,
        names,
        style,
        missing,
        unused=tuple(dict.fromkeys(name for part in unused for name in part)),
        layouts=tuple(f"{name}: {layout.words()}." for name, layout in zip(names, layouts, strict=True) if layout),
        sides_known=all(layout is None or layout.sides_known for layout in layouts),
    )
    _refuse_partly_missing(frame, opened)
    _refuse_mixed(table, allow_mixed=allow_mixed)
    refuse_vote_twice(frame)
    return table if not weighted else replace(table, frame=expand(frame, weighted[0]), weights=weighted[0])


def _open(source: VotesSource, place: int, *, of: int) -> Source:
    """A file or database by its own name; a frame has none, so it gets one, with its place among several sources."""
    if isinstance(source, (str, Path)):
        return open_source(source)
    if not is_frame(source):
        raise InputError(
            f"A source of votes is a file, a database URL or a frame (pandas, polars), not {type(source).__name__}."
        )
    return open_frame(source, "frame" if of == 1 else f"frame {place}")


def style_of(source: Source) -> Style | None:
    """Whether a source has our columns or arena-style ones; None if neither; InputError if one of them is missing."""
    if all(column in source.columns for column in ESSENTIAL):
        return "qsched"
    if any(columns <= set(source.columns) for columns in _TRIPLETS):
        raise InputError(
            f"{source.name} holds triplet votes of a fidelity study; read them with `qsched certify` or `qsched jnd`."
        )
    if all(column in source.columns for column in arena.REQUIRED):
        return "arena"
    arena_like = sum(column in source.columns for column in arena.REQUIRED)
    ours = sum(column in source.columns for column in ESSENTIAL)
    wanted = arena.REQUIRED if arena_like > ours else ESSENTIAL
    if max(arena_like, ours) < 2 or has_shape(source):
        return None
    lacking = [column for column in wanted if column not in source.columns]
    raise InputError(
        f"{source.name} has no column {', '.join(repr(c) for c in lacking)}; "
        f"it has {', '.join(source.columns) or 'none'}. "
        f"Votes need {', '.join(ESSENTIAL)}, or arena-style {', '.join(arena.REQUIRED)}."
    )


def _load(
    source: Source, style: Style, extras: tuple[str, ...], layout: VotesLayout | None
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The checked columns of one source, and the names of those that are not used."""
    if layout is not None:
        own, unused = reshape(source, layout, keep=extras)
        theirs = {ours: name for ours, name in layout.columns.items() if ours in SCHEMA}
        return _checked(own, "qsched", extras, names=theirs)[0], unused
    return _checked(source, style, extras)


def _checked(
    source: Source, style: Style, extras: tuple[str, ...], *, names: dict[str, str] | None = None
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """`names`: our columns to those of the file, for messages, if they have been renamed before."""
    try:
        found = arena.without_other_times(source.rows, source.columns) if style == "arena" else source.columns
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{source.name} cannot be read: {error}") from error
    shown = names or {}
    names = arena.columns_of(found) if style == "arena" else {}
    used = tuple(names.values()) if style == "arena" else tuple(name for name in found if name in OF_A_SOURCE)
    if style == "arena" and "both_bad" in found:
        used = (*used, "both_bad")
    _refuse_nested(source, (*used, *extras))
    columns = tuple(dict.fromkeys((*used, *extras)))
    theirs = names or {name: name for name in used}
    rows = source.read(columns, names={theirs[ours] for ours in theirs if SCHEMA[ours] == pl.Categorical})
    if style == "arena":
        rows = arena.rename_arena(rows, found, keep=extras)
    columns = tuple(name for name in rows.columns if name in OF_A_SOURCE)
    # The text as read is kept next to the cast column only if casting can lose it.
    lossy = [name for name in columns if loses(name, rows.schema[name])]
    try:
        frame = rows.select(
            pl.col("row").cast(pl.Int64),
            *(cast_column(name, rows.schema[name]) for name in columns),
            *(pl.col(name).alias(f"raw:{name}") for name in lossy),
            *(pl.col(name).cast(pl.String) for name in extras),
        )
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{source.name} cannot be read: {error}") from error
    same = [pl.col(name).alias(f"raw:{name}") for name in columns if name not in lossy]
    check(frame.with_columns(same), source=source.name, columns=columns, names=names or shown)
    frame = frame.drop([f"raw:{name}" for name in lossy])
    unused = tuple(name for name in source.columns if name not in (*used, *extras))
    return frame.with_columns(pl.lit(source.name).cast(SCHEMA["source"]).alias("source")), unused


def _refuse_nested(source: Source, used: tuple[str, ...]) -> None:
    schema = source.rows.collect_schema()
    for name in used:
        dtype = schema[name]
        if dtype.is_nested() or dtype == pl.Object:
            what = "objects" if isinstance(dtype, (pl.Struct, pl.Object)) else "lists"
            raise InputError(
                f"{source.name}: column {name!r} holds {what}. Write one text, number or time a vote there."
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
