"""Writes that are queued: sent together on PostgreSQL, seen by every later statement, rolled back with their job."""

from __future__ import annotations

import asyncio

from study_server.db import Reader, Statement
from study_server.errors import Conflict
from study_server.writing import AssignmentContexts, Writer
from tests.study_server.visiting import query

ADD = Statement(
    "INSERT INTO studies (uid, slug, title, status, design, set_id, set_path, data_path, created_ms) "
    "VALUES (:slug, :slug, 't', 'open', '{}', 's', 'p', 'd', 0) RETURNING id"
)
RENAME = Statement("UPDATE studies SET title = :title WHERE slug = :slug")
DELETE = Statement("DELETE FROM studies WHERE slug = :slug")
TITLES = Statement("SELECT slug, title FROM studies ORDER BY slug")


def test_a_statement_sees_what_was_queued_before_it_and_the_end_of_a_transaction_sends_the_rest(database):
    with database.transaction() as tx:
        tx.later(ADD, slug="a")
        tx.later(ADD, slug="b")  # of the same kind as the one that waits, which is sent first
        assert tx.all(TITLES) == [("a", "t"), ("b", "t")]
        tx.later(RENAME, slug="a", title="new")
    with database.transaction() as tx:
        assert tx.all(TITLES) == [("a", "new"), ("b", "t")]


def test_the_last_of_several_writes_gives_its_row_and_takes_the_others_along(database):
    with database.transaction() as tx:
        tx.scalar(ADD, slug="a")
        tx.scalar(ADD, slug="b")
        sent = []
        execute, tx._execute = tx._execute, lambda *parts: (sent.append(parts[0]), execute(*parts))[1]
        tx.later(RENAME, slug="a", title="first")
        tx.later(DELETE, slug="b")
        number = tx.last(ADD, slug="c")
        assert len(sent) == (3 if database.dialect == "sqlite" else 1)
        tx._execute = execute
        assert tx.all(Statement("SELECT id FROM studies WHERE slug = 'c'")) == [(number,)]
        assert tx.all(TITLES) == [("a", "first"), ("c", "t")]


async def test_a_job_that_fails_with_a_write_in_the_queue_leaves_no_trace(database):
    def good(tx):
        tx.later(ADD, slug="good")

    def bad(tx):
        tx.later(ADD, slug="bad")
        raise Conflict("no")

    writer = Writer(database, AssignmentContexts(Reader(database)), threads=1)
    waiting = [asyncio.ensure_future(writer.run(job, None)) for job in (good, bad, good_too)]
    await asyncio.sleep(0)
    await writer.start()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    await writer.stop()
    assert results[0] is None and isinstance(results[1], Conflict) and results[2] is None
    assert query(database, "SELECT slug FROM studies ORDER BY slug") == [("good",), ("too",)]


def good_too(tx):
    tx.later(ADD, slug="too")
