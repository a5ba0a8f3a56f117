"""The votes contract checked by column: the rules of `qsched.records.Vote` for many rows at once.

A row that breaks a rule is then given to the record itself, whose message names the column, the value and the rule.
"""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
from pydantic import ValidationError

from qsched.errors import IntegrityError
from qsched.records import Choice, Doubt, Kind, Vote
from qsched.records.image_set import first_problem

_LONGEST = 200
_TEXTS = (
    "study",
    "question",
    "pair_id",
    "prompt_id",
    "left_arm",
    "right_arm",
    "annotator",
    "session",
)
_REQUIRED = (*_TEXTS, "choice", "served_at", "answered_at", "response_ms", "kind", "simulated", "sample_index")
_CHOICES = [choice.value for choice in Choice]
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)


def check_batch(frame: pl.DataFrame, *, study: str, first_row: int) -> None:
    """Raise IntegrityError with the first row of `frame` that breaks the contract; `first_row` is its number."""
    broken = frame.select(_keeps_every_rule().fill_null(False).not_().arg_true().first()).item()
    if broken is None:
        return
    where = f"{study}: vote {first_row + broken} breaks the contract"
    try:
        Vote.model_validate(frame.row(broken, named=True))
    except ValidationError as error:
        raise IntegrityError(f"{where}: {first_problem(error)}; nothing was written") from error
    raise IntegrityError(f"{where} (a time before 1970 or after 9999); nothing was written")


def _keeps_every_rule() -> pl.Expr:
    compares_two = pl.col("kind").is_in([Kind.TASK.value, Kind.REPEAT.value])
    decided = pl.col("choice").is_in([Choice.LEFT.value, Choice.RIGHT.value])
    return pl.all_horizontal(
        *(pl.col(name).is_not_null() for name in _REQUIRED),
        *(pl.col(name).str.len_chars().is_between(1, _LONGEST) for name in _TEXTS),
        *(pl.col(name).is_between(_FIRST, _LAST) for name in ("served_at", "answered_at")),
        pl.col("choice").is_in(_CHOICES),
        pl.col("kind").is_in([kind.value for kind in Kind]),
        pl.col("expected").is_null() | pl.col("expected").is_in(_CHOICES),
        pl.col("response_ms") >= 0,
        pl.col("sample_index") >= 0,
        pl.col("strength").is_null() | (pl.col("strength").is_between(1, 2) & decided),
        pl.col("selection_probability").is_null()
        | ((pl.col("selection_probability") > 0) & (pl.col("selection_probability") <= 1)),
        pl.col("doubt").is_null() | pl.col("doubt").is_in([doubt.value for doubt in Doubt]),
        compares_two.not_() | (pl.col("left_arm") != pl.col("right_arm")),
    )
