"""Triplet votes in memory: one polars frame with checked columns, and where each row came from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import polars as pl

from qsched.records import InputError

Layout = Literal["qsched", "aic-3"]

#: Dtypes of the table; `row` is the row in its source (csv, jsonl: the line in the file).
TRIPLET_SCHEMA: dict[str, pl.DataType] = {
    "study": pl.String(),
    "triplet_id": pl.String(),
    "prompt_id": pl.String(),
    "reference_arm": pl.String(),
    "left_arm": pl.String(),
    "right_arm": pl.String(),
    "presentation": pl.String(),
    "answer": pl.String(),
    "annotator": pl.String(),
    "session": pl.String(),
    "kind": pl.String(),
    "served_at": pl.Datetime("us", "UTC"),
    "answered_at": pl.Datetime("us", "UTC"),
    "response_ms": pl.Int64(),
    "sample_index": pl.Int64(),
    "factor": pl.Float64(),
    "zoom": pl.Int64(),
    "rate_hz": pl.Float64(),
    "crop_x": pl.Int64(),
    "crop_y": pl.Int64(),
    "crop_width": pl.Int64(),
    "crop_height": pl.Int64(),
    "clipped": pl.Float64(),
    "toggles": pl.Int64(),
    "simulated": pl.Boolean(),
    "source": pl.String(),
    "row": pl.Int64(),
}


@dataclass(frozen=True)
class TripletTable:
    """Checked triplet votes; `frame` has every column of TRIPLET_SCHEMA, null where a source does not offer it."""

    frame: pl.DataFrame
    sources: tuple[str, ...]
    layout: Layout

    @property
    def n_votes(self) -> int:
        """Number of rows."""
        return self.frame.height

    def values(self, column: str) -> tuple[str, ...]:
        """Distinct values of a text column, sorted."""
        return tuple(sorted(self.frame[column].drop_nulls().unique().to_list()))

    @property
    def reference(self) -> str:
        """The one reference arm; InputError where the votes have several."""
        found = self.values("reference_arm")
        if len(found) != 1:
            listed = ", ".join(repr(name) for name in found) or "none"
            raise InputError(
                f"The votes have {len(found)} reference arms: {listed}. A scale has one; analyse them apart."
            )
        return found[0]

    def with_frame(self, frame: pl.DataFrame) -> TripletTable:
        """The same table with other rows."""
        return replace(self, frame=frame)
