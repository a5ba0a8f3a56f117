"""`python benchmarks/server_scale.py`: the cost of one vote and assignment from 1,000 to 1,000,000 pairs.

Times the very job that the writer runs (submit_vote: check, insert, choose, lease) on SQLite without HTTP and
without fsync, in studies that are half done: a random half of the pairs have one vote more than the others.
Writes JSON and a plot to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pydantic import SecretStr

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import machine
from qsched.records import Choice
from study_server.assignment.records import Study
from study_server.assignment.service import Desk, PairCache
from study_server.clock import now_ms
from study_server.db.database import Database
from study_server.db.migrate import upgrade
from study_server.db.statements import Tx
from study_server.participation.service import join
from study_server.settings import Settings
from study_server.studies.design import StudyDesign
from study_server.voting import service

PROMPTS, PEOPLE, VOTES = 1000, 20, 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="1000,10000,100000,1000000")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "server_scale.json")
    options = parser.parse_args()
    found: dict[str, Any] = {"machine": machine("sqlalchemy", "pydantic"), "microseconds": {}}
    for size in (int(part) for part in options.sizes.split(",")):
        with tempfile.TemporaryDirectory(prefix="qsched-scale-") as folder:
            found["microseconds"][size] = measure(size, Path(folder))
        print(f"{size:9,} pairs: {found['microseconds'][size]}", flush=True)
    options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    plot(found["microseconds"], options.out.with_suffix(".png"))


def measure(size: int, folder: Path) -> dict[str, float]:
    """Median and 95th percentile of a vote's job in microseconds."""
    settings = Settings(
        database_url=f"sqlite:///{folder / 'scale.db'}", data_folder=folder, secret_key=SecretStr("s" * 40)
    )
    database = Database(settings)
    upgrade(database)
    design = StudyDesign(
        slug="s", title="Scale", images="none", votes_per_pair=10, pairs_per_annotator=None, max_minutes=None,
        repeat_rate=0,
    )  # fmt: skip
    connection: Any = database.connect()
    rng = random.Random(0)
    connection.execute("BEGIN")
    connection.execute(
        "INSERT INTO studies VALUES (1, 's', 'Scale', 'open', ?, 'x', 'x', 0)", (design.model_dump_json(),)
    )
    connection.executemany(
        "INSERT INTO prompts VALUES (?, 1, ?, 'a prompt', NULL)", ((n, f"p{n}") for n in range(1, PROMPTS + 1))
    )
    connection.executemany("INSERT INTO images VALUES (?, 1, 1, 0, ?, 'x', 'x', 64, 64)", ((1, "fp32"), (2, "w4a8")))
    connection.executemany(
        "INSERT INTO pairs (id, study_id, pair_key, prompt_id, sample_index, first_image_id, second_image_id, pool, "
        "rank, load) VALUES (?, 1, ?, ?, ?, 1, 2, 'task', ?, ?)",
        ((n, f"k{n}", 1 + n % PROMPTS, n // PROMPTS, n, rng.choice((4, 5))) for n in range(size)),
    )
    connection.execute("COMMIT")
    tx = Tx(connection, "sqlite")
    # A plan is as long as the sitting; here 100 trials, so that only the study's size changes.
    study = Study(1, "s", "Scale", design, task_pairs=100, practice_pairs=0, gold_pairs=0)
    cache = PairCache()
    times = []
    for _ in range(PEOPLE):
        tx.command("BEGIN")
        session = join(tx, Desk(study, cache, rng, now_ms()), visit=None, simulated=True, demographics={})
        opened = service.open_session(
            tx, Desk(study, cache, rng, now_ms()), session_id=session, tab_token=None, new_tab="tab", take_over=False
        )
        queue = [shown.assignment.id for shown in opened.shown]
        tx.command("COMMIT")
        tx.command("BEGIN")
        for number in range(VOTES):
            answers = {"overall": Choice.LEFT}
            answer = service.Answer(session, queue.pop(0), answers, 900, 0, None, f"k{number}", "tab", None)
            start = time.perf_counter()
            outcome = service.submit_vote(tx, Desk(study, cache, rng, now_ms()), answer)
            times.append(1e6 * (time.perf_counter() - start))
            queue.append(outcome.shown[0].assignment.id)
        tx.command("COMMIT")
    connection.close()
    database.close()
    times.sort()
    return {"p50": round(times[len(times) // 2], 1), "p95": round(times[int(0.95 * len(times))], 1)}


def plot(found: dict[int, dict[str, float]], path: Path) -> None:
    """Cost against size on a logarithmic axis: a straight line is logarithmic growth."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.6), layout="constrained")
    for name, style in (("p50", "o-"), ("p95", "s--")):
        axes.plot(list(found), [row[name] for row in found.values()], style, label=name)
    axes.set(xscale="log", xlabel="pairs in the study", ylabel="µs a vote with its assignment", ylim=(0, None))
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
