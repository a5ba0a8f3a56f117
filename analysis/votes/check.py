"""Cast and check the columns of one source: every broken rule names the file, the row and the remedy."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from analysis.votes.table import SCHEMA
from qsched.records import Choice, Kind, RowError

_CHOICES = [choice.value for choice in Choice]
_KINDS = [kind.value for kind in Kind]
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False, "t": True, "f": False}
#: Columns in which a row may have no value.
_MAY_BE_NULL = ("category", "expected", "pair_id", "session", "served_at", "answered_at")


@dataclass(frozen=True)
class Rule:
    """`broken` marks the rows that break it; `words` may hold {value}."""

    column: str
    broken: pl.Expr
    words: str


def cast_column(column: str, dtype: pl.DataType) -> pl.Expr:
    """The column in the table's dtype, null where the text has no meaning for it (found by `rules`)."""
    target = SCHEMA[column]
    value = pl.col(column)
    if isinstance(target, pl.Boolean):
        if dtype == pl.Boolean:
            return value
        text = value.cast(pl.String).str.to_lowercase()
        return text.replace_strict(_BOOLEANS, default=None, return_dtype=pl.Boolean).alias(column)
    if isinstance(target, pl.Int64):
        # Through floating point, so that "812.0" is read and "812.4" is refused instead of rounded.
        number = value.cast(pl.Float64, strict=False)
        whole = number.is_finite() & (number == number.round())
        return pl.when(whole).then(number).otherwise(None).cast(pl.Int64, strict=False).alias(column)
    if isinstance(target, pl.Datetime):
        if dtype == pl.String:
            return value.str.to_datetime(time_unit="us", time_zone="UTC", strict=False).alias(column)
        if isinstance(dtype, pl.Datetime):
            zoned = value.dt.replace_time_zone("UTC") if dtype.time_zone is None else value.dt.convert_time_zone("UTC")
            return zoned.dt.cast_time_unit("us").alias(column)
        return value.cast(pl.Datetime("us", "UTC"), strict=False).alias(column)
    if dtype == target:
        return value
    return value.cast(pl.String).cast(target).alias(column)


def rules(columns: tuple[str, ...]) -> list[Rule]:
    """The rules of the votes table for the columns at hand, on cast columns beside their `raw:` text."""
    made: list[Rule] = []
    for column in columns:
        if column not in SCHEMA or column in ("both_bad", "source", "row"):
            continue
        raw, value = pl.col(f"raw:{column}"), pl.col(column)
        if column not in _MAY_BE_NULL:
            made.append(Rule(column, raw.is_null(), f"{column} is empty; every vote needs one"))
            if isinstance(SCHEMA[column], (pl.Categorical, pl.String)):
                made.append(Rule(column, raw == "", f"{column} is empty; every vote needs one"))
        if isinstance(SCHEMA[column], pl.Boolean):
            words = f"{column} is {{value}}; it must be true or false"
            made.append(Rule(column, raw.is_not_null() & value.is_null(), words))
        if isinstance(SCHEMA[column], pl.Int64):
            words = f"{column} is {{value}}; it must be a whole number, 0 or more"
            made.append(Rule(column, raw.is_not_null() & (value.is_null() | (value < 0)), words))
        if isinstance(SCHEMA[column], pl.Datetime):
            words = f"{column} is {{value}}; it must be a time such as 2026-01-31T12:00:00Z"
            made.append(Rule(column, raw.is_not_null() & value.is_null(), words))
    for column, known in (("choice", _CHOICES), ("kind", _KINDS), ("expected", _CHOICES)):
        if column in columns:
            text = pl.col(column).cast(pl.String)
            unknown = text.is_not_null() & (text != "") & ~text.is_in(known)
            words = f"{column} is {{value}}; it must be one of {', '.join(known)}"
            if column == "choice":
                words += " (arena-style winners: model_a, model_b, tie, tie (bothbad), bothbad)"
            made.append(Rule(column, unknown, words))
    made.extend(_cross_rules(columns))
    return made


def _cross_rules(columns: tuple[str, ...]) -> list[Rule]:
    compared = pl.col("kind").is_in(["task", "repeat"]) if "kind" in columns else pl.lit(True)
    same = pl.col("left_arm").cast(pl.String) == pl.col("right_arm").cast(pl.String)
    made = [Rule("left_arm", compared & same, "left_arm and right_arm are both {value}; a vote compares two arms")]
    if "kind" in columns:
        checked = pl.col("kind").is_in(["gold", "instructed"])
        lacking = pl.col("expected").is_null() if "expected" in columns else pl.lit(True)
        made.append(Rule("kind", checked & lacking, "kind is {value} but expected is empty; give the known answer"))
    return made


def check(frame: pl.DataFrame, *, name: str, columns: tuple[str, ...], arena: bool) -> None:
    """Raise RowError for the first row (by rule, then by row) that breaks a rule."""
    todo = rules(columns)
    if frame.height == 0:
        return
    hit = frame.select(rule.broken.fill_null(False).any().alias(str(index)) for index, rule in enumerate(todo))
    broken = [rule for rule, found in zip(todo, hit.row(0), strict=True) if found]
    if not broken:
        return
    firsts = [(_first(frame, rule), rule) for rule in broken]
    (row, value, count), rule = min(firsts, key=lambda item: item[0][0])
    words = rule.words.replace("{value}", repr(value))
    if arena:
        words = words.replace("choice is", "winner is").replace("left_arm and right_arm", "model_a and model_b")
    more = "" if count == 1 else f" ({count} rows of the file break this rule)"
    raise RowError(name, row, f"{words}{more}. Correct the row or leave it out.")


def _first(frame: pl.DataFrame, rule: Rule) -> tuple[int, object, int]:
    bad = frame.filter(rule.broken.fill_null(False))
    first = bad.sort("row").row(0, named=True)
    return int(first["row"]), first[f"raw:{rule.column}"], bad.height
