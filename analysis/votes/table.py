"""The votes in memory: one polars frame with checked columns, and where each row came from."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal

import polars as pl

from qsched.records import InputError

Style = Literal["qsched", "arena", "other", "mixed"]

#: Dtypes of the table; `row` is the row in its source (csv, jsonl: the line in the file), from 1.
SCHEMA: dict[str, pl.DataType] = {
    "study": pl.Categorical(),
    "question": pl.Categorical(),
    "pair_id": pl.String(),
    "prompt_id": pl.Categorical(),
    "category": pl.Categorical(),
    "left_arm": pl.Categorical(),
    "right_arm": pl.Categorical(),
    "choice": pl.Categorical(),
    "annotator": pl.Categorical(),
    "session": pl.Categorical(),
    "served_at": pl.Datetime("us", "UTC"),
    "answered_at": pl.Datetime("us", "UTC"),
    "response_ms": pl.Int64(),
    "kind": pl.Categorical(),
    "expected": pl.Categorical(),
    "simulated": pl.Boolean(),
    "sample_index": pl.Int64(),
    "doubt": pl.Categorical(),
    "both_bad": pl.Boolean(),
    "anony": pl.Boolean(),
    "source": pl.Categorical(),
    "row": pl.Int64(),
}


@dataclass(frozen=True)
class VotesTable:
    """Checked votes: `frame` has the columns of SCHEMA that any source has; `missing` names the others.

    `kind`, `simulated` and `both_bad` are always there (task, false and false if a source has no such column).
    `unused`: columns of the sources that are not in the table. `weights`: the column of votes per row.
    `is_screened`: `exclude` has applied its rules to these votes. `layouts`: how files with other columns were
    understood. `sides_known`: whether left and right are the sides of the screen (a ranking has none).
    """

    frame: pl.DataFrame
    sources: tuple[str, ...]
    style: Style
    missing: tuple[str, ...]
    unused: tuple[str, ...] = ()
    weights: str | None = None
    is_screened: bool = False
    layouts: tuple[str, ...] = ()
    sides_known: bool = True

    @property
    def n_votes(self) -> int:
        """Number of rows."""
        return self.frame.height

    @property
    def studies(self) -> tuple[str, ...]:
        """Names of the studies, sorted."""
        return self.values("study")

    @property
    def questions(self) -> tuple[str, ...]:
        """Names of the questions, sorted."""
        return self.values("question")

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the prompt categories, sorted; votes without one are not named."""
        return self.values("category")

    def values(self, column: str) -> tuple[str, ...]:
        """Distinct values of a text column, sorted; empty if the votes do not have it."""
        if column not in self.frame.columns:
            return ()
        return tuple(sorted(self.frame[column].drop_nulls().unique().cast(pl.String).to_list()))

    def select(
        self, *, study: str | None = None, question: str | None = None, category: str | None = None
    ) -> VotesTable:
        """Votes of one study, question or category; InputError for a name that no vote has."""
        frame = self.frame
        for column, wanted in (("study", study), ("question", question), ("category", category)):
            if wanted is None:
                continue
            known = self.values(column)
            if wanted not in known:
                listed = ", ".join(repr(name) for name in known) or "none"
                raise InputError(f"No vote has {column} {wanted!r}. The votes have: {listed}.")
            frame = frame.filter(pl.col(column) == wanted)
        return replace(self, frame=frame)

    def with_frame(self, frame: pl.DataFrame) -> VotesTable:
        """The same table with other rows."""
        return replace(self, frame=frame)


def has_values(frame: pl.DataFrame, column: str) -> bool:
    """Whether the frame has the column and a row with a value in it."""
    return column in frame.columns and frame.get_column(column).null_count() < frame.height


def unused_note(columns: Collection[str]) -> tuple[str, ...]:
    """What a report says of columns that it does not use; nothing of none."""
    return (f"Columns of the votes that this report does not use: {', '.join(columns)}.",) if columns else ()
