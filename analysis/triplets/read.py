"""Read triplet votes from one or several files into one checked table; a wrong value is an error with its row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from analysis.triplets import aic
from analysis.triplets.table import TRIPLET_SCHEMA, Layout, TripletTable
from analysis.votes.sources import Source, open_source, place_of
from qsched.records import ESSENTIAL_TRIPLET_COLUMNS, InputError, Presentation, RowError, TripletAnswer, TripletKind

_WORDS = {
    "presentation": tuple(item.value for item in Presentation),
    "answer": tuple(item.value for item in TripletAnswer),
    "kind": tuple(item.value for item in TripletKind),
}
_NAMES = ("study", "triplet_id", "prompt_id", "reference_arm", "left_arm", "right_arm", "annotator", "session")
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}
_BOOSTING = ("factor", "zoom", "rate_hz", "crop_x", "crop_y", "crop_width", "crop_height")
#: The smallest value that a number may have.
_LEAST = {"factor": 1.0, "zoom": 1.0, "crop_width": 1.0, "crop_height": 1.0}


def read_triplets(sources: str | Path | Sequence[str | Path]) -> TripletTable:
    """All triplet votes of the sources, checked against `qsched.records.TripletVote`.

    A source is a .parquet, .csv(.gz) or .jsonl file with our columns or in the AIC-3 layout (`analysis.triplets.aic`).
    Needed are the columns of `ESSENTIAL_TRIPLET_COLUMNS`; others may be absent, but one that is there must be right in
    every row. `kind` is task where a file has no such column. Columns beyond the contract are left out.

    Raises InputError for a missing file or column, two layouts, or a file named twice; RowError for a wrong value.
    """
    listed = [sources] if isinstance(sources, (str, Path)) else list(sources)
    if not listed:
        raise InputError("No triplet votes were named. Give at least one file.")
    places = [place_of(source) for source in listed]
    if len(set(places)) < len(places):
        raise InputError("A file of triplet votes is named twice. Name each one once.")
    opened = [open_source(source) for source in listed]
    layouts = {layout_of(source) for source in opened}
    if len(layouts) > 1:
        raise InputError("Some of the files are in the AIC-3 layout and others in ours. Analyse them apart.")
    layout = layouts.pop()
    frame = pl.concat([_load(source, layout) for source in opened])
    if frame.height == 0:
        raise InputError(f"{', '.join(source.name for source in opened)}: there are no votes in it.")
    _refuse_vote_twice(frame)
    return TripletTable(frame, tuple(source.name for source in opened), layout)


def layout_of(source: Source) -> Layout:
    """Which columns a source uses; InputError that names what is missing."""
    if all(name in source.columns for name in ESSENTIAL_TRIPLET_COLUMNS):
        return "qsched"
    if all(name in source.columns for name in aic.REQUIRED):
        return "aic-3"
    if {"choice", "winner"} & set(source.columns):
        hint = " These look like preference votes: `qsched winrates` reads those."
    else:
        hint = ""
    theirs = sum(name in source.columns for name in aic.REQUIRED)
    ours = sum(name in source.columns for name in ESSENTIAL_TRIPLET_COLUMNS)
    wanted = aic.REQUIRED if theirs > ours else ESSENTIAL_TRIPLET_COLUMNS
    lacking = ", ".join(repr(name) for name in wanted if name not in source.columns)
    raise InputError(
        f"{source.name} has no column {lacking}; it has {', '.join(source.columns) or 'none'}. Triplet votes need "
        f"{', '.join(ESSENTIAL_TRIPLET_COLUMNS)}, or in the AIC-3 layout {', '.join(aic.REQUIRED)}.{hint}"
    )


def _load(source: Source, layout: Layout) -> pl.DataFrame:
    try:
        rows = aic.rename_aic(source.rows, source.columns) if layout == "aic-3" else source.rows
        found = rows.collect_schema()
        columns = [name for name in TRIPLET_SCHEMA if name in found and name not in ("row", "source")]
        for name in columns:
            if found[name].is_nested() or found[name] == pl.Object:
                raise InputError(f"{source.name}: column {name!r} holds lists or objects. Write one value per vote.")
        casts = [_cast(name, found[name]).alias(name) for name in columns]
        raw = [pl.col(name).cast(pl.String).alias(f"raw:{name}") for name in columns]
        frame = rows.select(pl.col("row").cast(pl.Int64), *casts, *raw).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{source.name} cannot be read: {error}") from error
    _check(frame, source=source.name, columns=columns)
    made = [
        pl.col(name) if name in columns else pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in TRIPLET_SCHEMA.items()
        if name not in ("row", "source")
    ]
    frame = frame.select(*made, pl.lit(source.name).alias("source"), "row")
    return frame.with_columns(pl.col("kind").fill_null("task"), pl.col("simulated").fill_null(False))


def _cast(name: str, dtype: pl.DataType) -> pl.Expr:
    target, value = TRIPLET_SCHEMA[name], pl.col(name)
    if isinstance(target, pl.Boolean):
        text = value.cast(pl.String).str.to_lowercase()
        return text.replace_strict(_BOOLEANS, default=None, return_dtype=pl.Boolean)
    if isinstance(target, pl.Int64):
        number = value.cast(pl.Float64, strict=False)
        is_whole = number.is_finite() & (number == number.round())
        return pl.when(is_whole).then(number).otherwise(None).cast(pl.Int64, strict=False)
    if isinstance(target, pl.Float64):
        number = value.cast(pl.Float64, strict=False)
        return pl.when(number.is_finite()).then(number).otherwise(None)
    if isinstance(target, pl.Datetime):
        if dtype == pl.String:
            return value.str.to_datetime(time_unit="us", time_zone="UTC", strict=False)
        if isinstance(dtype, pl.Datetime):
            zoned = value.dt.replace_time_zone("UTC") if dtype.time_zone is None else value.dt.convert_time_zone("UTC")
            return zoned.dt.cast_time_unit("us")
        return pl.lit(None, dtype=target)
    if dtype.is_float():
        return aic.whole(name)
    return value.cast(pl.String)


def _check(frame: pl.DataFrame, *, source: str, columns: list[str]) -> None:
    """Raise RowError for the first row that breaks a rule."""
    problems: list[tuple[pl.Expr, str, str]] = []
    for name in columns:
        raw, value = pl.col(f"raw:{name}"), pl.col(name)
        filled = raw.is_not_null() & (raw != "")
        if name in ESSENTIAL_TRIPLET_COLUMNS:
            problems.append((~filled.fill_null(False), name, f"{name} is empty; every triplet vote needs one"))
        if name in _WORDS:
            known = _WORDS[name]
            problems.append((filled & ~value.is_in(known), name, f"{name} is {{value}}; it must be {', '.join(known)}"))
        elif name in _NAMES:
            spaced = value != value.str.strip_chars()
            problems.append((spaced, name, f"{name} is {{value}}; it has blanks around it; remove them"))
        else:
            problems.append((filled & value.is_null(), name, f"{name} is {{value}}; it is not {_shape(name)}"))
        if isinstance(TRIPLET_SCHEMA[name], (pl.Int64, pl.Float64)):
            least = _LEAST.get(name, 0.0)
            problems.append((value < least, name, f"{name} is {{value}}; it must be {least:g} or more"))
    problems += _kind_rules(columns)
    hits = frame.select(broken.fill_null(False).any().alias(str(i)) for i, (broken, _, _) in enumerate(problems)).row(0)
    firsts = []
    for hit, (broken, name, words) in zip(hits, problems, strict=True):
        if hit:
            bad = frame.filter(broken.fill_null(False)).sort("row")
            firsts.append((int(bad["row"][0]), words.replace("{value}", repr(bad[f"raw:{name}"][0])), bad.height))
    if firsts:
        row, words, count = min(firsts)
        more = "" if count == 1 else f" ({count} rows of the file break this rule)"
        raise RowError(source, row, f"{words}{more}. Correct the row or leave it out.")


def _shape(name: str) -> str:
    target = TRIPLET_SCHEMA[name]
    if isinstance(target, pl.Boolean):
        return "true or false"
    if isinstance(target, pl.Datetime):
        return "a time such as 2026-01-31T12:00:00Z"
    return "a whole number" if isinstance(target, pl.Int64) else "a number"


def _kind_rules(columns: list[str]) -> list[tuple[pl.Expr, str, str]]:
    left, right, reference = pl.col("left_arm"), pl.col("right_arm"), pl.col("reference_arm")
    kind = pl.col("kind").fill_null("task") if "kind" in columns else pl.lit("task")
    one_reference = (left == reference) != (right == reference)
    rules = [
        (
            kind.is_in(["task", "repeat"]) & (left == right),
            "left_arm",
            "left_arm and right_arm are both {value}; one picture twice is kind 'bias'",
        ),
        (
            (kind == "trap") & ~one_reference,
            "left_arm",
            "a trap shows the reference on one side only, and left_arm is {value}",
        ),
        (
            (kind == "bias") & (left != right),
            "left_arm",
            "a bias item shows one picture twice, and left_arm is {value}",
        ),
    ]
    if set(_BOOSTING) & set(columns):
        lacking = pl.any_horizontal([pl.col(name).is_null() if name in columns else pl.lit(True) for name in _BOOSTING])
        words = f"presentation is {{value}} and one of {', '.join(_BOOSTING)} is empty; a boosted vote needs them all"
        rules.append(((pl.col("presentation") == "boosted") & lacking, "presentation", words))
    return rules


def _refuse_vote_twice(frame: pl.DataFrame) -> None:
    """The same vote in two rows: equal in session, person, triplet and time of answering."""
    keys = ["session", "annotator", "triplet_id", "left_arm", "right_arm", "presentation", "answered_at"]
    known = frame.filter(pl.all_horizontal(pl.col("session", "triplet_id", "answered_at").is_not_null()))
    twice = known.filter(known.select(keys).is_duplicated())
    if twice.height:
        first = twice.sort("source", "row").row(0, named=True)
        raise InputError(
            f"{first['source']}, row {first['row']}: this vote is there more than once "
            f"(same session, person, triplet and time; {twice.height} such rows). Keep one of each."
        )
