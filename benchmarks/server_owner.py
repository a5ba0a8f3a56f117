"""`python benchmarks/server_owner.py`: votes while an owner looks, exports and a webhook's receiver fails.

A study that has a million votes, and 1,000 annotators who think for 5 s, on SQLite and PostgreSQL. Meanwhile an owner's
page stays open for its news and others are opened every half second, exports of all votes follow each other, and
thousands of events wait for a receiver that answers late and with an error, and for one that never answers. Afterwards
every acknowledged vote must be stored once, and no event be gone; and one export is made alone, for its processor time
and memory. `--folder F --prepare` only makes the databases, so that the measurement itself is short. Writes a list of
runs per database to benchmarks/results/server_owner.json.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import sqlalchemy as sa
from pydantic import SecretStr

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.export import NUMBERS, export
from benchmarks.machine import machine
from benchmarks.server import PACKAGES, PAIRS, ROOT, SECRET, database, free_port, integrity, report, wait, write_set
from benchmarks.server_load import LoadResult, StudyServer, drive
from study_server.auditing.sealing import seal_all
from study_server.clock import now_ms
from study_server.db import Tx
from study_server.db.database import Database
from study_server.db.migrate import upgrade
from study_server.settings import ServerSettings
from study_server.webhooks.endpoints import create_webhook

PEOPLE, COPIES, DAYS, EVENTS = 5000, 5, 10, 4000
PAGES = ("", "/counts", "/people", "/pairs", "/payments", "/reports", "/exports", "/settings")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--databases", default="sqlite,postgresql")
    parser.add_argument("--votes", type=int, default=1_000_000, help="stored before the measurement")
    parser.add_argument("--annotators", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--folder", type=Path, help="keeps the databases; default: a temporary folder")
    parser.add_argument("--prepare", action="store_true", help="make the databases in --folder and stop")
    parser.add_argument("--add", action="store_true", help="add the runs to those that --out has already")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "server_owner.json")
    options = parser.parse_args()
    results: dict[str, Any] = {"machine": machine(*PACKAGES), "votes stored before": options.votes}
    earlier = json.loads(options.out.read_text(encoding="utf-8")) if options.add and options.out.exists() else {}
    with tempfile.TemporaryDirectory(prefix="qsched-owner-") as temporary:
        folder = options.folder or Path(temporary)
        for kind in options.databases.split(","):
            place = folder / kind
            place.mkdir(mode=0o755, parents=True, exist_ok=True)
            place.chmod(0o755)
            with database(kind, place) as make_url:
                url = make_url("owner")
                if not (place / "filled").exists():
                    prepare(url, place, options.votes)
                    (place / "filled").touch()
                if not options.prepare:
                    results[kind] = [asyncio.run(measure(kind, url, place, options))]
    if not options.prepare:
        for kind in ("sqlite", "postgresql"):
            results[kind] = [*earlier.get(kind, []), *results.get(kind, [])]
        options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print(f"written to {options.out}")


def prepare(url: str, place: Path, votes: int) -> None:
    """The study of benchmarks/server.py with `votes` votes of PEOPLE annotators over DAYS days."""
    write_set(place / "set")
    with serving(url, place):
        pass
    stored = open_database(url, place)
    numbers = NUMBERS[stored.dialect]
    yes = "TRUE" if stored.dialect == "postgresql" else "1"
    began, step = now_ms() - DAYS * 86_400_000, DAYS * 86_400_000 // votes
    served = f"(CAST({began} AS BIGINT) + CAST(i AS BIGINT) * {step})"
    person, pair = f"(1 + i % {PEOPLE})", f"(1 + (i / {PEOPLE} + i) % {COPIES * PAIRS})"
    tables = {
        "annotators": (PEOPLE, "study_id, pseudonym, created_ms", "1, 'a' || i, 0"),
        "sessions": (
            PEOPLE,
            "study_id, annotator_id, pseudonym, simulated, state, consent_version, started_ms, finished_ms, plan, "
            "position, done",
            f"1, i, 's' || i, {yes}, 'finished', '1', {began}, {began}, 'TT', 2, 2",
        ),
        "assignments": (
            votes,
            "id, session_id, annotator_id, pair_id, kind, position, first_on_left, state, counted, served_ms, "
            "lease_expires_ms",
            f"{served} << 20, {person}, {person}, {pair}, 'task', i / {PEOPLE}, {yes}, 'voted', {yes}, {served}, "
            f"{served} + 60000",
        ),
        "votes": (
            votes,
            "assignment_id, session_id, question, choice, response_ms, hidden_ms, answered_ms, idempotency_key",
            f"{served} << 20, {person}, 'overall', CASE i % 3 WHEN 0 THEN 'left' WHEN 1 THEN 'right' ELSE 'tie' END, "
            f"4000 + i % 3000, 0, {served} + 5000, 'stored' || i",
        ),
    }
    columns = "study_id, prompt_id, first_image_id, second_image_id, pool"
    with stored.engine.connect() as connection:
        copies = (
            f"INSERT INTO pairs (id, pair_key, sample_index, rank, {columns}) SELECT id + {PAIRS} * i, pair_key || i, "
            f"i, rank + {PAIRS} * i, {columns} FROM pairs, ({numbers.format(top=COPIES - 1)} SELECT i FROM n) AS copies"
        )
        connection.execute(sa.text(copies))
        for table, (top, columns, values) in tables.items():
            made = f"INSERT INTO {table} ({columns}) {numbers.format(top=top)} SELECT {values} FROM n"
            connection.execute(sa.text(made))
        connection.exec_driver_sql(
            "UPDATE pairs SET load = (SELECT COUNT(*) FROM assignments a WHERE a.pair_id = pairs.id), "
            "side_balance = (SELECT COUNT(*) FROM assignments a WHERE a.pair_id = pairs.id)"
        )
        connection.commit()
    settle(stored)
    stored.close()


def settle(stored: Database) -> None:
    """What a server has done by the time a study has its votes: they are sealed, and PostgreSQL has its statistics."""
    connection = stored.connect()
    if stored.dialect == "postgresql":
        connection.execute("SET statement_timeout = 0")
        connection.execute("VACUUM ANALYZE")
    left = True
    while left:
        tx = Tx(connection, stored.dialect)
        tx.command(stored.begin_sql)
        left = seal_all(tx, now=now_ms()) > 0
        tx.command("COMMIT")
    if stored.dialect == "postgresql":
        connection.execute("VACUUM ANALYZE")
    connection.close()


def open_database(url: str, place: Path) -> Database:
    settings = ServerSettings(database_url=url, data_folder=place / "images", secret_key=SecretStr(SECRET))
    stored = Database(settings)
    upgrade(stored)
    return stored


@contextmanager
def serving(url: str, place: Path) -> Iterator[tuple[int, str]]:
    """The port of a running server, and the link to its owner's pages."""
    port = free_port()
    command = [sys.executable, "-m", "qsched", "serve", str(place / "set" / "study.yaml"), "--db", url]
    command += ["--port", str(port), "--data", str(place / "images"), "--simulated-annotators"]
    said = place / "said.txt"
    with said.open("w") as out:
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "QSCHED_SECRET_KEY": SECRET}, stdout=out)
    try:
        wait(f"http://127.0.0.1:{port}/s/set")
        link = re.search(r"http\S+/admin/enter\?key=\S+", said.read_text())
        if link is None:
            raise SystemExit(f"the server printed no link to its owner's pages: {said.read_text()}")
        yield port, link[0]
    finally:
        process.terminate()
        process.wait(120)  # a count of all votes that has begun goes on to its end


async def measure(kind: str, url: str, place: Path, options: argparse.Namespace) -> dict[str, Any]:
    async with receiver() as (late, silent):
        make_storm(url, place, (late, silent))
        with serving(url, place) as (port, link):
            owner = OwnerWork(f"http://127.0.0.1:{port}", link)
            load = drive(
                StudyServer("set"),
                host="127.0.0.1",
                port=port,
                annotators=options.annotators,
                seconds=options.seconds,
                think=5.0,
            )
            result, seen = await owner.beside(load)
            print(f"{kind}: {json.dumps(seen)}", flush=True)
    found = {"votes": report(kind, f"{options.annotators} thinking 5 s", result), **seen}
    found["integrity"] = integrity(url, result.keys)
    found["webhooks"] = count_events(url, place)
    found["export alone"] = export(url, place / "alone.parquet", study="set")
    print(f"{kind}: {json.dumps({key: value for key, value in found.items() if key != 'votes'})}", flush=True)
    return found


class OwnerWork:
    """What the owner does while others vote."""

    def __init__(self, root: str, link: str) -> None:
        self._root, self._link = root, link
        self._pages: dict[str, list[float]] = {page or "/": [] for page in PAGES}
        self._exports: list[float] = []
        self._export_bytes = 0
        self._news = 0

    async def beside(self, load: Any) -> tuple[LoadResult, dict[str, Any]]:
        """The load's result, and what the owner saw meanwhile."""
        async with httpx.AsyncClient(base_url=self._root, timeout=120, follow_redirects=True) as client:
            (await client.get(self._link)).raise_for_status()
            tasks = [asyncio.create_task(work(client)) for work in (self._watch, self._look, self._export)]
            result = await load
            for task in tasks:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        pages = {page: [round(1000 * x) for x in sorted(times)] for page, times in self._pages.items()}
        return result, {
            "pages opened": sum(map(len, pages.values())),
            "page ms, median and most": {page: [ms[len(ms) // 2], ms[-1]] for page, ms in pages.items() if ms},
            "exports": len(self._exports),
            "export seconds": [round(x, 1) for x in self._exports],
            "export mib": round(self._export_bytes / 2**20, 1),
            "news": self._news,
        }

    async def _watch(self, client: httpx.AsyncClient) -> None:
        while True:
            async with client.stream("GET", "/admin/studies/set/live") as stream:
                stream.raise_for_status()
                async for line in stream.aiter_lines():
                    self._news += line.startswith("data: ")

    async def _look(self, client: httpx.AsyncClient) -> None:
        for page in itertools.cycle(PAGES):
            began = time.perf_counter()
            (await client.get(f"/admin/studies/set{page}")).raise_for_status()
            self._pages[page or "/"].append(time.perf_counter() - began)
            await asyncio.sleep(0.5)

    async def _export(self, client: httpx.AsyncClient) -> None:
        page = (await client.get("/admin/studies/set/exports")).text
        csrf = re.search(r'name="csrf" value="([^"]+)"', page)
        if csrf is None:
            raise SystemExit("the page of exports has no CSRF token")
        form = {"csrf": csrf[1], "format": "parquet"}
        while True:
            began = time.perf_counter()
            headers = {"content-type": "application/x-www-form-urlencoded", "origin": self._root}
            address = "/admin/studies/set/exports/votes"
            async with client.stream("POST", address, content=urlencode(form), headers=headers) as stream:
                stream.raise_for_status()
                self._export_bytes = 0
                async for part in stream.aiter_raw():
                    self._export_bytes += len(part)
            self._exports.append(time.perf_counter() - began)


@contextlib.asynccontextmanager
async def receiver() -> Any:
    """Addresses of a receiver that answers 500 after two seconds, and of one that never answers."""

    async def answer_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head.lower())
                await reader.readexactly(int(length[1]) if length else 0)
                await asyncio.sleep(2)
                writer.write(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()

    async def be_silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read()

    async with contextlib.AsyncExitStack() as stack:
        made = []
        for handler in (answer_late, be_silent):
            server = await stack.enter_async_context(await asyncio.start_server(handler, "127.0.0.1", 0))
            made.append(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook")
        yield made
        for server_connections in asyncio.all_tasks() - {asyncio.current_task()}:
            server_connections.cancel()


def make_storm(url: str, place: Path, receivers: tuple[str, ...]) -> None:
    """EVENTS events that are due now, for receivers that do not take them."""
    stored = open_database(url, place)
    numbers = NUMBERS[stored.dialect].format(top=EVENTS // len(receivers))
    with stored.transaction() as tx:
        tx.command("DELETE FROM webhook_deliveries")
        tx.command("DELETE FROM webhooks")
        for address in receivers:
            number, _ = create_webhook(
                tx, url=address, events=("study.paused",), study=None, allow_private=True, by="benchmark"
            )
            tx.command(
                "INSERT INTO webhook_deliveries (webhook_id, message_id, event, study, event_key, body, created_ms,"
                f" due_ms, state) {numbers} SELECT {number},"
                f" 'm{number}-' || i, 'paused', 'set', 'k' || i, '{{}}', {now_ms()}, {now_ms()}, 'waiting' FROM n"
            )
    stored.close()


def count_events(url: str, place: Path) -> dict[str, int]:
    """Events made and still there, and attempts to deliver them."""
    stored = open_database(url, place)
    with stored.transaction() as tx:
        row = tx.command("SELECT COUNT(*), SUM(attempts) FROM webhook_deliveries WHERE state = 'waiting'").fetchone()
    stored.close()
    return {"made": EVENTS, "still waiting": int(row[0]), "attempts": int(row[1] or 0)}


if __name__ == "__main__":
    main()
