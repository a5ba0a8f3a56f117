"""`python benchmarks/export.py`: what `qsched votes export` costs, from 100,000 to 10 million votes.

Fills a database with votes of 5,000 annotators, then runs the export in a process of its own and reads that process's
time and peak memory from the operating system. Writes JSON to benchmarks/results/export.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pydantic import SecretStr

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import machine
from benchmarks.server import database as running_database
from study_server.db.database import Database
from study_server.db.migrate import upgrade
from study_server.settings import ServerSettings

PAIRS, ANNOTATORS = 10_000, 5_000
NUMBERS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {top})",
    "postgresql": "WITH n(i) AS (SELECT generate_series(1, {top}))",
}
# The columns are those that an export reads and those that must not be null.
FILL = {
    "studies": (
        1,
        "'s', 'Export', 'closed', '{{}}', 'x', 'x', 0",
        "slug, title, status, design, set_id, set_path, created_ms",
    ),
    "prompts": (100, "1, 'p' || i, 'a prompt'", "study_id, prompt_key, prompt"),
    "images": (
        2,
        "1, 1, 0, 'arm' || i, 'x', 'x', 64, 64",
        "study_id, prompt_id, sample_index, arm, sha256, file, width, height",
    ),
    "pairs": (
        PAIRS,
        "1, 'k' || i, 1 + i % 100, 0, 1, 2, 'task', i",
        "study_id, pair_key, prompt_id, sample_index, first_image_id, second_image_id, pool, rank",
    ),
    "annotators": (ANNOTATORS, "1, 'a' || i, 0", "study_id, pseudonym, created_ms"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="100000,1000000")
    parser.add_argument("--databases", default="sqlite,postgresql")
    parser.add_argument("--formats", default="parquet,csv,jsonl")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "export.json")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for kind in options.databases.split(","):
        with tempfile.TemporaryDirectory(prefix="qsched-export-") as name:
            folder = Path(name)
            folder.chmod(0o755)
            with running_database(kind, folder) as make_url:
                for size in (int(part) for part in options.sizes.split(",")):
                    url = make_url(f"export{size}")
                    fill(url, size)
                    for ending in options.formats.split(","):
                        row = {"database": kind, "votes": size, "format": ending, **export(url, folder / f"v.{ending}")}
                        rows.append(row)
                        print(row, flush=True)
    results = {"machine": machine("sqlalchemy", "polars", "pyarrow", "psycopg"), "exports": rows}
    options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def fill(url: str, votes: int) -> None:
    """A study with `votes` votes, in one transaction."""
    settings = ServerSettings(database_url=url, data_folder=Path("none"), secret_key=SecretStr("s" * 40))
    database = Database(settings)
    upgrade(database)
    with database.engine.connect() as connection:
        make = NUMBERS[database.dialect]
        yes = "TRUE" if database.dialect == "postgresql" else "1"

        def insert(table: str, top: int, values: str, columns: str) -> None:
            connection.exec_driver_sql(f"INSERT INTO {table} ({columns}) {make.format(top=top)} SELECT {values} FROM n")

        for table, (top, values, columns) in FILL.items():
            insert(table, top, values, columns)
        insert(
            "sessions",
            ANNOTATORS,
            f"1, i, 's' || i, {yes}, 'finished', '1', 0, ''",
            "study_id, annotator_id, pseudonym, simulated, state, consent_version, started_ms, plan",
        )
        insert(
            "assignments",
            votes,
            f"1 + i % {ANNOTATORS}, 1 + i % {ANNOTATORS}, 1 + i % {PAIRS}, 'repeat', i, {yes}, 'voted', {yes}, i, i",
            "session_id, annotator_id, pair_id, kind, position, first_on_left, state, counted, served_ms, "
            "lease_expires_ms",
        )
        insert(
            "votes",
            votes,
            f"i, 1 + i % {ANNOTATORS}, 'overall', CASE i % 3 WHEN 0 THEN 'left' WHEN 1 THEN 'right' ELSE 'tie' END, "
            "900, 0, 5000 + i, 'k' || i",
            "assignment_id, session_id, question, choice, response_ms, hidden_ms, answered_ms, idempotency_key",
        )
        connection.commit()
    database.close()


def export(url: str, path: Path, study: str = "s") -> dict[str, float]:
    """Seconds, processor seconds and peak MiB of one export command."""
    command = [sys.executable, "-m", "qsched", "votes", "export", str(path), "--study", study, "--db", url]
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(command)} ended with status {status}")
    return {
        "seconds": round(time.perf_counter() - begun, 1),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mib": round(usage.ru_maxrss / 1024),
        "file_mib": round(path.stat().st_size / 2**20, 1),
    }


if __name__ == "__main__":
    main()
