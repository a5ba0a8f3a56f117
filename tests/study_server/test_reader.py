"""A read that fails leaves nothing behind: its connection is closed, and the next read has one that works."""

from __future__ import annotations

import pytest

from study_server.db import Reader, Statement
from study_server.db.database import DRIVER_ERRORS
from study_server.errors import NotSaved

BROKEN = Statement("SELECT 1 / CAST(:zero AS INTEGER) FROM nowhere_at_all")
ONE = Statement("SELECT 1")
Statement.known.remove(BROKEN)


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


def works(connection):
    try:
        connection.execute("SELECT 1")
    except DRIVER_ERRORS:
        return False
    return True
