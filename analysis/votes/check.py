"""Cast and check the columns of one source: every broken rule names the file, the row and the remedy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from analysis.votes.coded import distinct
from analysis.votes.table import SCHEMA
from qsched.records import Choice, Doubt, Kind, RowError

_CHOICES = [choice.value for choice in Choice]
_KINDS = [kind.value for kind in Kind]
_DOUBTS = [doubt.value for doubt in Doubt]
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False, "t": True, "f": False}
#: Columns in which a row may have no value.
_MAY_BE_NULL = ("category", "expected", "pair_id", "session", "served_at", "answered_at", "both_bad", "anony", "doubt")
#: Columns whose text is a name: with one more blank it would be another arm, person or prompt.
_NAMES = ("study", "question", "pair_id", "prompt_id", "category", "left_arm", "right_arm", "annotator", "session")
#: Above it, neighbouring whole numbers are one floating-point number: two people could have become one.
_MAX_WHOLE = 2**53
_NO_ANSWER = "kind is {value} but expected is empty; give the known answer"


@dataclass(frozen=True)
class Rule:
    """`broken` marks the rows that break it; `words` may hold {value}."""

    column: str
    broken: pl.Expr
    words: str


def loses(column: str, dtype: pl.DataType) -> bool:
    """Whether `cast_column` can turn a value into null."""
    return not isinstance(SCHEMA[column], (pl.Categorical, pl.String)) or dtype.is_float() or dtype.is_decimal()


def cast_column(column: str, dtype: pl.DataType, *, theirs: str | None = None) -> pl.Expr:
    """The column (`theirs` in the source) in the table's dtype; null if a value has no meaning there (`rules`)."""
    target = SCHEMA[column]
    value = pl.col(theirs or column)
    if isinstance(target, pl.Boolean):
        if dtype == pl.Boolean:
            return value.alias(column)
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
        if dtype.is_numeric():
            # Seconds, milliseconds or microseconds since some day: a number does not say.
            return pl.lit(None, dtype=target).alias(column)
        return value.cast(target, strict=False).alias(column)
    if dtype == target:
        return value.alias(column)
    if dtype.is_float() or dtype.is_decimal():
        # A column of whole numbers with a gap becomes floating point: 1.0 is the same person as 1 in another file.
        number = value.cast(pl.Float64)
        whole = (number == number.round()) & (number.abs() <= _MAX_WHOLE)
        value = pl.when(whole).then(number).otherwise(None).cast(pl.Int64)
    return value.cast(pl.String).cast(target).alias(column)


def rules(columns: tuple[str, ...], names: Mapping[str, str], dtypes: Mapping[str, pl.DataType]) -> list[Rule]:
    """The rules of the votes table that are checked row by row, on cast columns beside their `raw:` text.

    `names` maps our columns to the file's own names if they differ; `dtypes` those of the raw columns.
    """
    made: list[Rule] = []
    for column in columns:
        if column not in SCHEMA or column in ("source", "row"):
            continue
        raw, value, name = pl.col(f"raw:{column}"), pl.col(column), names.get(column, column)
        lost = raw.is_not_null() & value.is_null()
        is_text = isinstance(SCHEMA[column], (pl.Categorical, pl.String))
        if column not in _MAY_BE_NULL:
            made.append(Rule(column, raw.is_null(), f"{name} is empty; every vote needs one"))
        if is_text and loses(column, dtypes[column]):
            words = f"{name} is {{value}}; a number that serves as a name must be whole (write other names as text)"
            made.append(Rule(column, lost, words))
        if isinstance(SCHEMA[column], pl.Boolean):
            made.append(Rule(column, lost, f"{name} is {{value}}; it must be true or false"))
        if isinstance(SCHEMA[column], pl.Int64):
            words = f"{name} is {{value}}; it must be a whole number, 0 or more"
            made.append(Rule(column, lost | (value < 0), words))
        if isinstance(SCHEMA[column], pl.Datetime):
            made.append(Rule(column, lost, f"{name} is {{value}}; it must be a time such as 2026-01-31T12:00:00Z"))
    made.extend(_cross_rules(columns, names))
    return made


def _cross_rules(columns: tuple[str, ...], names: Mapping[str, str]) -> list[Rule]:
    left, right = names.get("left_arm", "left_arm"), names.get("right_arm", "right_arm")
    compared = pl.col("kind").is_in(["task", "repeat"]) if "kind" in columns else pl.lit(True)
    same = pl.col("left_arm") == pl.col("right_arm")
    made = [Rule("left_arm", compared & same, f"{left} and {right} are both {{value}}; a vote compares two arms")]
    if "kind" in columns:
        made.append(Rule("kind", (pl.col("kind") == "instructed") & _lacks_answer(columns), _NO_ANSWER))
    return made


def _lacks_answer(columns: tuple[str, ...]) -> pl.Expr:
    expected = pl.col("expected")
    return expected.is_null() | (expected == "") if "expected" in columns else pl.lit(True)


def _gold_rules(frame: pl.DataFrame, columns: tuple[str, ...]) -> list[Rule]:
    """A gold item needs a known answer to one of its questions; looked for only among gold rows."""
    gold = pl.col("kind") == "gold"
    if "kind" not in columns or frame.filter(gold).is_empty():
        return []
    wrong = gold & _lacks_answer(columns)
    if {"pair_id", "question"} <= set(columns):
        pairs = frame.filter(gold).group_by("pair_id").agg(_lacks_answer(columns).all().alias("unknown"))
        names = pairs.filter("unknown")["pair_id"].cast(pl.String).to_list()
        wrong &= pl.col("pair_id").cast(pl.String).is_in(names)
    return [Rule("kind", wrong, _NO_ANSWER)]


def _word_rules(frame: pl.DataFrame, columns: tuple[str, ...], names: Mapping[str, str]) -> list[Rule]:
    """Rules for empty texts, words that are not known, and names with blanks around them, if there are any.

    Looked for among the distinct values, which are few: nothing is done row by row unless something is wrong.
    """
    made: list[Rule] = []
    of_column = {
        column: frame[column] if frame.schema[column] == pl.String else distinct(frame[column])
        for column in columns
        if isinstance(SCHEMA[column], (pl.Categorical, pl.String))
    }
    for column, values in of_column.items():
        if column not in _MAY_BE_NULL:
            words = f"{names.get(column, column)} is empty; every vote needs one"
            made += _rule_of_values(column, values.filter(values == ""), words)
    for column, known in (("choice", _CHOICES), ("kind", _KINDS), ("expected", _CHOICES), ("doubt", _DOUBTS)):
        if column in columns:
            words = f"{names.get(column, column)} is {{value}}; it must be one of {', '.join(known)}"
            if column == "choice":
                words += " (arena-style winners: model_a, model_b, tie, tie (bothbad), bothbad); what other words mean "
                words += "is said with --outcome, such as --outcome 'A=left,B=right'"
            values = of_column[column]
            made += _rule_of_values(column, values.filter(~values.is_in(["", *known])), words)
    for column in _NAMES:
        if column in columns:
            values = of_column[column]
            words = f"{names.get(column, column)} is {{value}}; it has blanks around it; remove them"
            made += _rule_of_values(column, values.filter(values != values.str.strip_chars()), words)
    return made


def _rule_of_values(column: str, wrong: pl.Series, words: str) -> list[Rule]:
    return [Rule(column, pl.col(column).cast(pl.String).is_in(wrong.unique().to_list()), words)] if len(wrong) else []


def check(frame: pl.DataFrame, *, source: str, columns: tuple[str, ...], names: Mapping[str, str]) -> None:
    """Raise RowError for the first row that breaks a rule; `names` is as in `rules`."""
    if frame.height == 0:
        return
    dtypes = {name: frame.schema[f"raw:{name}"] for name in columns}
    todo = [*rules(columns, names, dtypes), *_gold_rules(frame, columns), *_word_rules(frame, columns, names)]
    hit = frame.select(rule.broken.fill_null(False).any().alias(str(index)) for index, rule in enumerate(todo))
    broken = [rule for rule, found in zip(todo, hit.row(0), strict=True) if found]
    if not broken:
        return
    firsts = [(_first(frame, rule), rule) for rule in broken]
    (row, value, count), rule = min(firsts, key=lambda item: item[0][0])
    words = rule.words.replace("{value}", repr(value))
    more = "" if count == 1 else f" ({count} rows of the file break this rule)"
    raise RowError(source, row, f"{words}{more}. Correct the row or leave it out.")


def _first(frame: pl.DataFrame, rule: Rule) -> tuple[int, object, int]:
    bad = frame.filter(rule.broken.fill_null(False))
    first = bad.sort("row").row(0, named=True)
    return int(first["row"]), first[f"raw:{rule.column}"], bad.height
