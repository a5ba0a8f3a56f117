"""The ceiling: a bare async FastAPI route with one durable INSERT and one SELECT, and nothing else.

`uvicorn benchmarks.server_ceiling:sqlite` (synchronous=FULL, group commit by one writer thread) and
`uvicorn benchmarks.server_ceiling:postgresql` (psycopg's async pool, one transaction a request). The database is
named by CEILING_DATABASE.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel


class Ballot(BaseModel):
    item: int
    choice: str
    response_ms: int


def sqlite() -> FastAPI:
    """SQLite in WAL mode, synchronous=FULL, one thread that commits whatever waits."""
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def answer(done: list[tuple[asyncio.Future[Any], Any]]) -> None:
        for future, row in done:
            future.set_result(row)

    def write(loop: asyncio.AbstractEventLoop) -> None:
        connection = sqlite3.connect(os.environ["CEILING_DATABASE"], isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE IF NOT EXISTS votes (id INTEGER PRIMARY KEY, item, choice, ms)")
        connection.execute("CREATE TABLE IF NOT EXISTS items (id INTEGER PRIMARY KEY, prompt)")
        connection.execute("INSERT OR IGNORE INTO items VALUES (1, 'a red square')")
        while True:
            batch = [waiting.get()]
            while not waiting.empty():
                batch.append(waiting.get())
            if None in batch:
                break
            connection.execute("BEGIN IMMEDIATE")
            done = []
            for ballot, future in batch:
                values = (ballot.item, ballot.choice, ballot.response_ms)
                connection.execute("INSERT INTO votes (item, choice, ms) VALUES (?, ?, ?)", values)
                row = connection.execute("SELECT id, prompt FROM items WHERE id = 1").fetchone()
                done.append((future, row))
            connection.execute("COMMIT")
            loop.call_soon_threadsafe(answer, done)
        connection.close()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        thread = threading.Thread(target=write, args=(asyncio.get_running_loop(),))
        thread.start()
        yield
        waiting.put(None)
        thread.join()

    app = FastAPI(lifespan=lifespan)

    @app.post("/vote")
    async def vote(ballot: Ballot) -> dict[str, Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        waiting.put((ballot, future))
        row = await future
        return {"id": row[0], "prompt": row[1]}

    return app


def postgresql() -> FastAPI:
    """PostgreSQL with synchronous_commit on, through psycopg's async pool."""
    from psycopg_pool import AsyncConnectionPool

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with AsyncConnectionPool(os.environ["CEILING_DATABASE"], min_size=8, max_size=8) as pool:
            async with pool.connection() as connection:
                await connection.execute(
                    "CREATE TABLE IF NOT EXISTS votes (id serial PRIMARY KEY, item int, c text, ms int)"
                )
                await connection.execute("CREATE TABLE IF NOT EXISTS items (id int PRIMARY KEY, prompt text)")
                await connection.execute("INSERT INTO items VALUES (1, 'a red square') ON CONFLICT DO NOTHING")
            app.state.pool = pool
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/vote")
    async def vote(ballot: Ballot) -> dict[str, Any]:
        async with app.state.pool.connection() as connection:
            values = (ballot.item, ballot.choice, ballot.response_ms)
            await connection.execute("INSERT INTO votes (item, c, ms) VALUES (%s, %s, %s)", values)
            cursor = await connection.execute("SELECT id, prompt FROM items WHERE id = 1")
            row = await cursor.fetchone()
        return {"id": row[0], "prompt": row[1]}

    return app
