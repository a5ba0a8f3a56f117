"""Write the votes table of a study to parquet, csv or jsonl; the file holds exactly what the database does.

Every row is checked against the contract before anything is written, the count is taken in the same
transaction as the rows, and the file appears whole or not at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import ValidationError

from qsched.errors import InputError, IntegrityError
from qsched.files import atomic_file
from qsched.records import COLUMNS, Vote
from qsched.records.image_set import first_problem
from study_server.db.database import Database
from study_server.db.statements import Statement, Tx
from study_server.errors import NotFound

FORMATS = (".parquet", ".csv", ".jsonl")
_TIME = pl.Datetime("ms", "UTC")
# Every other column is text.
SCHEMA: dict[str, pl.DataType] = {name: pl.String() for name in COLUMNS} | {
    "served_at": _TIME,
    "answered_at": _TIME,
    "response_ms": pl.Int64(),
    "simulated": pl.Boolean(),
    "sample_index": pl.Int64(),
    "strength": pl.Int64(),
    "selection_probability": pl.Float64(),
}

STUDY_EXISTS = Statement("SELECT id FROM studies WHERE slug = :slug")
ROWS = Statement(f"SELECT {', '.join(COLUMNS)} FROM votes_table WHERE study = :slug ORDER BY answered_at, session")
COUNTS = Statement("""
    SELECT COUNT(*),
           SUM(CASE WHEN v.surplus_reason IS NOT NULL THEN 1 ELSE 0 END),
           SUM(CASE WHEN v.surplus_reason IS NULL
                     AND EXISTS (SELECT 1 FROM votes n WHERE n.supersedes_id = v.id) THEN 1 ELSE 0 END)
    FROM votes v JOIN sessions s ON s.id = v.session_id JOIN studies st ON st.id = s.study_id
    WHERE st.slug = :slug
""")


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """What was written and what was left out: rows = written + superseded + surplus."""

    path: Path
    rows_in_database: int
    written: int
    superseded: int
    surplus: int
    simulated: int
    kinds: dict[str, int]


def export_votes(database: Database, *, study: str, path: Path) -> ExportSummary:
    """Write the effective votes of `study` (every kind) to `path`; the ending gives the format.

    Raises NotFound for an unknown study, InputError for an unknown ending, IntegrityError where a stored row
    breaks the contract or the counts disagree (then nothing is written).
    """
    if path.suffix not in FORMATS:
        raise InputError(f"{path}: the ending {path.suffix!r} is not one of {', '.join(FORMATS)}")
    with database.transaction() as tx:
        if database.dialect == "postgresql":
            tx.command("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        rows, total, surplus, superseded = _read(tx, study)
    if len(rows) + surplus + superseded != total:
        raise IntegrityError(
            f"{study}: {total} vote rows, but {len(rows)} effective, {superseded} superseded and {surplus} surplus; "
            "the database contradicts itself and nothing was written"
        )
    table = pl.DataFrame({name: [row[name] for row in rows] for name in COLUMNS}, schema=SCHEMA)
    _write_whole(table, path)
    return ExportSummary(
        path,
        total,
        table.height,
        superseded,
        surplus,
        int(table["simulated"].sum()),
        dict(Counter(str(kind) for kind in table["kind"])),
    )


def _read(tx: Tx, study: str) -> tuple[list[dict[str, Any]], int, int, int]:
    if tx.one(STUDY_EXISTS, slug=study) is None:
        raise NotFound(f"no study {study!r} in this database; `qsched study list` shows them")
    rows = _checked(tx.all(ROWS, slug=study), study)
    counts = tx.one(COUNTS, slug=study) or (0, 0, 0)
    total, surplus, superseded = (int(value or 0) for value in counts)
    return rows, total, surplus, superseded


def _checked(rows: Sequence[tuple[Any, ...]], study: str) -> list[dict[str, Any]]:
    checked = []
    for number, row in enumerate(rows, start=1):
        values = dict(zip(COLUMNS, row, strict=True))
        for name in ("served_at", "answered_at"):
            if isinstance(values[name], str):
                values[name] = datetime.fromisoformat(values[name])
        values["simulated"] = bool(values["simulated"])
        try:
            checked.append(Vote.model_validate(values).model_dump(mode="python"))
        except ValidationError as error:
            raise IntegrityError(f"{study}: vote {number} breaks the contract: {first_problem(error)}") from error
    return checked


def _write_whole(table: pl.DataFrame, path: Path) -> None:
    with atomic_file(path, parents=True) as draft:
        if path.suffix == ".parquet":
            table.write_parquet(draft)
        else:
            text = table.with_columns(pl.col("served_at", "answered_at").dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"))
            if path.suffix == ".csv":
                text.write_csv(draft)
            else:
                text.write_ndjson(draft)
