"""`python benchmarks/server_scale.py`: the cost of one vote and assignment from 1,000 to 1,000,000 pairs.

Times the very job that the writer runs (submit_vote: check, insert, choose, lease) on SQLite and PostgreSQL, without
HTTP and without fsync, in studies that are half done: a random half of the pairs have one vote more than the others.
"half known" is the same for one person who has judged the first half of the study.
Writes JSON and a plot to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import random
import secrets
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pydantic import SecretStr

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import machine
from benchmarks.server import database as running_database
from qsched.records import Choice
from study_server.assignment.records import AssignmentContext, PairCache
from study_server.clock import now_ms
from study_server.db import models
from study_server.db.database import Database
from study_server.db.migrate import upgrade
from study_server.db.statements import Tx
from study_server.participation.service import join
from study_server.settings import ServerSettings
from study_server.studies.design import StudyDesign
from study_server.studies.study import Study
from study_server.voting import service, sessions

PROMPTS, PEOPLE, VOTES = 1000, 20, 40
KNOW_HALF = """
    INSERT INTO assignments (id, session_id, annotator_id, pair_id, kind, position, first_on_left, state, counted,
                             served_ms, lease_expires_ms)
    SELECT p.id, s.id, s.annotator_id, p.id, 'warmup', -1, TRUE, 'voted', FALSE, 0, 0
    FROM pairs p, (SELECT id, annotator_id FROM sessions ORDER BY id DESC LIMIT 1) s
    WHERE p.rank < {half} AND NOT EXISTS (SELECT 1 FROM assignments a
                                          WHERE a.annotator_id = s.annotator_id AND a.pair_id = p.id)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="1000,10000,100000,1000000")
    parser.add_argument("--databases", default="sqlite,postgresql")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "server_scale.json")
    options = parser.parse_args()
    microseconds: dict[str, dict[int, dict[str, float]]] = {}
    for kind in options.databases.split(","):
        with tempfile.TemporaryDirectory(prefix="qsched-scale-") as name:
            folder = Path(name)
            folder.chmod(0o755)
            with running_database(kind, folder) as make_url:
                for size in (int(part) for part in options.sizes.split(",")):
                    found = measure(size, folder, make_url(f"scale{size}"))
                    microseconds.setdefault(kind, {})[size] = found
                    print(f"{kind:10} {size:9,} pairs: {found}", flush=True)
    results: dict[str, Any] = {"machine": machine("sqlalchemy", "pydantic", "psycopg"), "microseconds": microseconds}
    options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    plot(microseconds, options.out.with_suffix(".png"))


def measure(size: int, folder: Path, url: str) -> dict[str, float]:
    """Median and 95th percentile of a vote's job in microseconds."""
    database = Database(ServerSettings(database_url=url, data_folder=folder, secret_key=SecretStr("s" * 40)))
    upgrade(database)
    design = StudyDesign(
        slug="s",
        title="Scale",
        images="none",
        votes_per_pair=10,
        pairs_per_annotator=None,
        max_minutes=None,
        repeat_rate=0,
    )
    rng = random.Random(0)
    fill(database, size, design, rng)
    connection = database.connect()
    tx = Tx(connection, database.dialect)
    # A plan is as long as the session; here 100 trials, so that only the study's size changes.
    study = Study(1, "u1", "s", "Scale", design, task_pairs=100, practice_pairs=0, gold_pairs=0)
    cache = PairCache()
    times: list[float] = []
    known: list[float] = []
    for person in range(PEOPLE + 1):
        tx.command("BEGIN")
        session_key = secrets.token_hex(16)
        join(
            tx,
            AssignmentContext(study, cache, rng, now_ms()),
            participant=None,
            simulated=True,
            demographics={},
            session_key=session_key,
        )
        opened = sessions.open_session(
            tx,
            AssignmentContext(study, cache, rng, now_ms()),
            session_key=session_key,
            tab_token=None,
            new_tab="tab",
            take_over=False,
        )
        if person == PEOPLE:
            tx.command(KNOW_HALF.format(half=size // 2))
        queue = [shown.assignment.id for shown in opened.shown]
        tx.command("COMMIT")
        tx.command("BEGIN")
        for number in range(VOTES):
            answers = {"overall": Choice.LEFT}
            vote = service.SubmittedVote(session_key, queue.pop(0), answers, 900, 0, None, f"k{number}", "tab", {})
            start = time.perf_counter()
            outcome = service.submit_vote(tx, AssignmentContext(study, cache, rng, now_ms()), vote)
            (known if person == PEOPLE else times).append(1e6 * (time.perf_counter() - start))
            queue.append(outcome.shown[0].assignment.id)
        tx.command("COMMIT")
    connection.close()
    database.close()
    times.sort()
    known.sort()
    return {
        "p50": round(times[len(times) // 2], 1),
        "p95": round(times[int(0.95 * len(times))], 1),
        "half known p50": round(known[len(known) // 2], 1),
    }


def fill(database: Database, size: int, design: StudyDesign, rng: random.Random) -> None:
    """A study of `size` pairs, half done."""
    columns = (
        "id, study_id, pair_key, prompt_id, sample_index, first_image_id, second_image_id, pool, rank, load, "
        "side_balance, disabled"
    )
    pairs = (
        (n, 1, f"k{n}", 1 + n % PROMPTS, n // PROMPTS, 1, 2, "task", n, rng.choice((4, 5)), 0, False)
        for n in range(size)
    )
    with database.session() as session:
        design_text = design.model_dump_json()
        session.add(
            models.StudyRecord(
                uid="u1",
                slug="s",
                title="Scale",
                status="open",
                design=design_text,
                set_id="x",
                set_path="x",
                created_ms=0,
            )
        )
        session.flush()
        session.add_all(models.PromptRecord(study_id=1, prompt_key=f"p{n}", prompt="a prompt") for n in range(PROMPTS))
        session.flush()
        session.add_all(
            models.ImageRecord(
                study_id=1, prompt_id=1, sample_index=0, arm=arm, sha256="x", file="x", width=64, height=64
            )
            for arm in ("fp32", "w4a8")
        )
    connection: Any = database.connect()
    if isinstance(connection, sqlite3.Connection):
        connection.execute("BEGIN")
        connection.executemany(f"INSERT INTO pairs ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", pairs)
        connection.execute("COMMIT")
    else:
        with connection.cursor().copy(f"COPY pairs ({columns}) FROM STDIN") as copy:
            for pair in pairs:
                copy.write_row(pair)
    connection.close()


def plot(found: dict[str, dict[int, dict[str, float]]], path: Path) -> None:
    """Cost against size on a logarithmic axis: a straight line is logarithmic growth."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(found), figsize=(5 * len(found), 3.4), layout="constrained", squeeze=False)
    for axes, (kind, sizes) in zip(panels[0], found.items(), strict=True):
        for name, style in (("p50", "o-"), ("p95", "s--")):
            axes.plot(list(sizes), [row[name] for row in sizes.values()], style, label=name)
        axes.set(title=kind, xscale="log", xlabel="pairs in the study", ylabel="µs a vote with its assignment")
        axes.set_ylim(0, 1.1 * max(row["p95"] for row in sizes.values()))
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
