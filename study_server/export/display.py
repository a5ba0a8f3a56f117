"""How each exported vote looked on the screen: a table beside the votes, row for row in the same order.

The language is that of the question, the other columns are what the page reported; a value that it did not report is
empty.
Names are those of the votes table, so that the two can be joined by session, pair_id, kind, question and answered_at.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from qsched.files import atomic_file
from study_server.db.database import Database
from study_server.db.statements import Row, Statement
from study_server.export.formats import FORMATS, TIME, open_table
from study_server.export.votes import BATCH_ROWS, study_number

SHOWN = Statement("""
    SELECT se.pseudonym, p.pair_key, a.kind, v.question, v.answered_ms, v.hidden_ms, v.painted_ms, v.display
    FROM votes v [[sqlite: NOT INDEXED | postgresql: ]]
    JOIN assignments a ON a.id = v.assignment_id
    JOIN sessions se ON se.id = v.session_id
    JOIN pairs p ON p.id = a.pair_id
    WHERE se.study_id = :study AND se.state <> 'excluded' AND NOT se.preview
      AND v.surplus_reason IS NULL
      AND NOT EXISTS (SELECT 1 FROM votes later WHERE later.supersedes_id = v.id)
    ORDER BY v.id
""")
_STORED = {
    "session": pl.String,
    "pair_id": pl.String,
    "kind": pl.String,
    "question": pl.String,
    "answered_at": pl.Int64,
    "hidden_ms": pl.Int64,
    "painted_at": pl.Int64,
    "display": pl.String,
}
# What the page sends (voting/schemas.py).
_DISPLAY = pl.Struct(
    {
        "language": pl.String,
        "input": pl.String,
        "viewport": pl.Struct({"w": pl.Int64, "h": pl.Int64, "dpr": pl.Float64}),
        "view": pl.Struct({"layout": pl.String, "scale": pl.Float64, "zoomed": pl.Boolean, "swaps": pl.Int64}),
    }
)
COLUMNS = (
    "session",
    "pair_id",
    "kind",
    "question",
    "answered_at",
    "hidden_ms",
    "painted_at",
    "language",
    "input",
    "viewport_width",
    "viewport_height",
    "pixel_ratio",
    "layout",
    "scale",
    "zoomed",
    "swaps",
)


def export_display(database: Database, *, study: str, path: Path) -> int:
    """Write the display table of the effective votes of `study`; returns the number of rows.

    painted_at is the time on the person's own clock; scale is device pixels per picture pixel at the answer.
    """
    if path.suffix not in FORMATS:
        raise ValueError(f"{path}: the ending is not one of {FORMATS}")
    written = 0
    with database.snapshot() as tx, atomic_file(path, parents=True) as draft:
        number = study_number(tx, study)
        with open_table(draft) as write:
            write(_table([]))
            for rows in tx.batches(SHOWN, BATCH_ROWS, study=number):
                write(_table(rows))
                written += len(rows)
    return written


def _table(rows: list[Row]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=_STORED, orient="row")
    sent = pl.col("display").str.json_decode(_DISPLAY)
    viewport, view = sent.struct.field("viewport"), sent.struct.field("view")
    return frame.with_columns(
        answered_at=pl.col("answered_at").cast(TIME),
        painted_at=pl.col("painted_at").cast(TIME),
        language=sent.struct.field("language"),
        input=sent.struct.field("input"),
        viewport_width=viewport.struct.field("w"),
        viewport_height=viewport.struct.field("h"),
        pixel_ratio=viewport.struct.field("dpr"),
        layout=view.struct.field("layout"),
        scale=view.struct.field("scale"),
        zoomed=view.struct.field("zoomed"),
        swaps=view.struct.field("swaps"),
    ).select(COLUMNS)
