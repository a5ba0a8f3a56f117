"""The sessions of a study under pseudonyms, with the device check; reports; and, if asked for, answers about people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from qsched.files import atomic_file
from study_server.db.database import Database
from study_server.db.statements import Statement
from study_server.export.formats import TIME
from study_server.export.votes import study_number

SESSIONS = Statement("""
    SELECT s.pseudonym, a.pseudonym, s.state, s.started_ms, s.finished_ms, s.done, s.consent_version, s.simulated,
           s.screening, s.demographics
    FROM sessions s JOIN annotators a ON a.id = s.annotator_id
    WHERE s.study_id = :study AND NOT s.preview ORDER BY s.id
""")
REPORTS = Statement("""
    SELECT s.pseudonym, p.pair_key, r.reported_ms, r.problem
    FROM reports r JOIN sessions s ON s.id = r.session_id
    JOIN assignments a ON a.id = r.assignment_id JOIN pairs p ON p.id = a.pair_id
    WHERE s.study_id = :study AND NOT s.preview ORDER BY r.id
""")
# Of the device check: what the page measured, and its outcome. Window sizes are in the display table, vote by vote.
_DEVICE = ("device_pixel_ratio", "zoom", "touch", "color_gamut", "dark_mode", "attempts", "passed")
_TYPES: dict[str, Any] = {
    "session": pl.String,
    "annotator": pl.String,
    "state": pl.String,
    "started_at": TIME,
    "finished_at": TIME,
    "trials": pl.Int64,
    "consent_version": pl.String,
    "simulated": pl.Boolean,
    "device_pixel_ratio": pl.Float64,
    "zoom": pl.Float64,
    "touch": pl.Boolean,
    "color_gamut": pl.String,
    "dark_mode": pl.Boolean,
    "attempts": pl.Int64,
    "passed": pl.Boolean,
}


def export_sessions(database: Database, *, study: str, path: Path) -> int:
    """Write one row per session (previews left out) as parquet; returns the number of rows."""
    with database.snapshot() as tx, atomic_file(path, parents=True) as draft:
        rows = []
        for session, annotator, state, *times, done, version, simulated, screening, _ in tx.all(
            SESSIONS, study=study_number(tx, study)
        ):
            device = json.loads(screening) if screening else {}
            facts = [device.get(name) for name in _DEVICE]
            rows.append([session, annotator, state, *times, done, version, bool(simulated), *facts])
        pl.DataFrame(rows, schema=_TYPES, orient="row").write_parquet(draft)
    return len(rows)


def export_demographics(database: Database, *, study: str, path: Path) -> int:
    """Write the answers of people about themselves as parquet, one row per answer; returns the number of rows.

    They can point to a person: publish them only if the consent text says so.
    """
    columns = {"session": pl.String, "question": pl.String, "answer": pl.String}
    with database.snapshot() as tx, atomic_file(path, parents=True) as draft:
        rows = [
            (row[0], question, answer)
            for row in tx.all(SESSIONS, study=study_number(tx, study))
            for question, answer in json.loads(row[9] or "{}").items()
        ]
        pl.DataFrame(rows, schema=columns, orient="row").write_parquet(draft)
    return len(rows)


def export_reports(database: Database, *, study: str, path: Path) -> int:
    """Write what annotators reported as parquet, without their words; returns the number of rows."""
    columns: dict[str, Any] = {"session": pl.String, "pair_id": pl.String, "reported_at": TIME, "problem": pl.String}
    with database.snapshot() as tx, atomic_file(path, parents=True) as draft:
        rows = tx.all(REPORTS, study=study_number(tx, study))
        pl.DataFrame(rows, schema=columns, orient="row").write_parquet(draft)
    return len(rows)
