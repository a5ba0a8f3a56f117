"""Annotators that never give up: they repeat an unanswered vote with the same key, like the page does."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

import sqlalchemy as sa

from benchmarks.server_load import Connection, Seat, StudyServer

ROOT = Path(__file__).parents[2]
SECRET = "a secret of the load tests, forty chars!"
TARGET = 40


@dataclass
class Record:
    """The server's answers to the annotators."""

    acknowledged: set[str] = field(default_factory=set)
    refused: int = 0
    wrong: list[str] = field(default_factory=list)


class Stubborn(StudyServer):
    """Votes until it is stopped; every acknowledgement is recorded."""

    def __init__(self, slug: str, record: Record) -> None:
        super().__init__(slug)
        self.record = record
        self.stopped = False

    async def stay(self, connection: Connection) -> None:
        seat: Seat | None = None
        while not self.stopped and (seat is None or not seat.over):
            try:
                if seat is None:
                    seat = await self.enter(connection)
                if seat.queue:
                    await self._vote(connection, seat, seat.queue.pop(0), str(uuid.uuid4()))
                else:
                    await self._session(connection, seat)
                    await asyncio.sleep(0.05 if seat.queue else 0.3)
            except (OSError, asyncio.IncompleteReadError, AssertionError):
                # The server is away or says so: a page would try again as well.
                connection.close()
                await asyncio.sleep(0.1)
        connection.close()

    async def _vote(self, connection: Connection, seat: Seat, token: str, key: str) -> None:
        ballot = {
            "assignment": token,
            "answers": {"overall": "left"},
            "response_ms": 900,
            "idempotency_key": key,
            "tab_token": seat.tab,
        }
        for _ in range(600):
            try:
                status, body = await self._post(connection, seat, "votes", ballot)
            except (OSError, asyncio.IncompleteReadError):
                connection.close()
                status, body = 0, b""
            if status == 200:
                self.record.acknowledged.add(key)
                following = json.loads(body)["next"]
                if following is not None and following["token"] not in seat.queue:
                    seat.queue.append(following["token"])
                return
            if status == 503:
                self.record.refused += 1
                if b"not saved" not in body:
                    self.record.wrong.append(body.decode())
            elif status:
                self.record.wrong.append(f"{status} {body.decode()}")
                return
            if self.stopped:
                return
            await asyncio.sleep(0.1)


def serve(
    study: Path,
    url: str,
    port: int,
    data: Path,
    *,
    workers: int = 1,
    host: str = "127.0.0.1",
    within: tuple[str, ...] = (),
) -> subprocess.Popen[bytes]:
    """`qsched serve` as its users start it; returns when it answers. `within` is a command that starts another."""
    server = subprocess.Popen(
        [
            *within,
            sys.executable,
            "-m",
            "qsched",
            "serve",
            str(study),
            "--db",
            url,
            "--port",
            str(port),
            "--host",
            host,
            "--data",
            str(data),
            "--simulated-annotators",
            "--workers",
            str(workers),
        ],
        cwd=ROOT,
        env={**os.environ, "QSCHED_SECRET_KEY": SECRET},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert server.poll() is None, f"the server ended with {server.returncode}"
        try:
            with urlopen(f"http://{host}:{port}/healthz", timeout=5):
                return server
        except OSError:
            time.sleep(0.05)
    raise TimeoutError("the server does not answer")


def audit(url: str, record: Record) -> None:
    """Every acknowledged vote is there exactly once, nothing is over its target, every count is what it counts."""
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:

        def ask(sql: str) -> list[sa.Row]:
            return list(connection.exec_driver_sql(sql))

        stored = [row[0] for row in ask("SELECT idempotency_key FROM votes")]
        assert len(stored) == len(set(stored)), "a vote is stored twice"
        lost = record.acknowledged - set(stored)
        assert not lost, f"{len(lost)} of {len(record.acknowledged)} acknowledged votes are lost"
        valid = "FROM assignments a WHERE a.pair_id = p.id AND a.kind = 'task' AND a.counted"
        assert not ask(f"SELECT p.id FROM pairs p WHERE (SELECT COUNT(*) {valid} AND a.state = 'voted') > {TARGET}")
        assert not ask(
            f"SELECT p.id FROM pairs p WHERE p.load <> (SELECT COUNT(*) {valid} AND a.state IN ('leased', 'voted'))"
        ), "a pair's load is not its votes and leases"
        orphans = ask(
            "SELECT a.id FROM assignments a WHERE a.state = 'voted' AND NOT EXISTS "
            "(SELECT 1 FROM votes v WHERE v.assignment_id = a.id)"
        )
        assert not orphans, "an assignment is done without a vote"
        assert not ask("SELECT 1 FROM votes_table WHERE kind = 'task' GROUP BY annotator, pair_id HAVING COUNT(*) > 1")
    engine.dispose()
    assert not record.wrong, record.wrong[:3]
    assert len(record.acknowledged) > 50, f"only {len(record.acknowledged)} votes were given: no load"
