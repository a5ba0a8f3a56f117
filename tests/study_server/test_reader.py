"""A read that fails leaves nothing behind: its connection is closed, and the next read has one that works."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest

from study_server.db import Reader, Statement
from study_server.db.database import DRIVER_ERRORS
from study_server.errors import NotSaved

LONG = Statement("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :n) SELECT COUNT(*) FROM n")
BROKEN = Statement("SELECT 1 / CAST(:zero AS INTEGER) FROM nowhere_at_all")
ONE = Statement("SELECT 1")


async def test_failed_reads_do_not_collect_connections(database, monkeypatch):
    opened = []
    connect = database.connect

    def counted():
        opened.append(connect())
        return opened[-1]

    monkeypatch.setattr(database, "connect", counted)
    reader = Reader(database, threads=1)

    for _ in range(5):
        with pytest.raises(NotSaved):
            await reader.run(lambda tx: tx.one(BROKEN, zero=0))
    assert await reader.run(lambda tx: tx.one(ONE)) == (1,)
    still_open = [connection for connection in opened if works(connection)]
    reader.close()
    assert len(opened) == 11 and len(still_open) == 1


async def test_a_closed_reader_does_not_wait_for_what_nobody_wants_any_more(database):
    reader = Reader(database, threads=1)
    began = threading.Event()

    def two_long_reads(tx):
        began.set()
        with contextlib.suppress(Exception):  # a read that goes on after its first statement was interrupted
            tx.one(LONG, n=10**9)
        return tx.one(LONG, n=10**9)

    running, waiting = reader.submit(two_long_reads), reader.submit(lambda tx: tx.one(ONE))
    assert began.wait(20)
    started = time.monotonic()
    reader.close()
    assert time.monotonic() - started < 10, "a thousand million rows take minutes"
    assert waiting.cancelled()
    with pytest.raises(NotSaved):
        running.result()


def works(connection):
    try:
        connection.execute("SELECT 1")
    except DRIVER_ERRORS:
        return False
    return True
