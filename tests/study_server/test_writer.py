"""The writer: nothing is acknowledged before its commit, a failing job harms nobody else, a lost database is said."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading

import psycopg
import pytest

from study_server.db import Reader, Statement
from study_server.errors import Conflict, NotSaved
from study_server.writing import AssignmentContexts, Writer
from study_server.writing.committer import ATTEMPTS, Committer
from tests.study_server.visiting import query

ADD = Statement(
    "INSERT INTO studies (uid, slug, title, status, design, set_id, set_path, data_path, created_ms) "
    "VALUES (:slug, :slug, 't', 'open', '{}', 's', 'p', 'd', 0) RETURNING 1"
)


async def together(database, jobs, **options):
    """Hand all jobs in before the writer starts, so that it meets them as one group."""
    writer = Writer(database, AssignmentContexts(Reader(database)), threads=1, **options)
    waiting = [asyncio.ensure_future(writer.run(job, None)) for job in jobs]
    while writer.waiting < len(jobs):
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    await writer.start()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    await writer.stop()
    return results


def slugs(database):
    return [row[0] for row in query(database, "SELECT slug FROM studies ORDER BY slug")]


def add(slug):
    return lambda tx: tx.scalar(ADD, slug=slug)


def failing(slug, error):
    def job(tx):
        tx.run(ADD, slug=slug)
        raise error

    return job


@pytest.mark.parametrize("max_batch", [1, 128])
async def test_a_failing_job_leaves_no_trace_and_does_not_harm_its_companions(database, max_batch):
    jobs = [add("a"), failing("b", Conflict("no")), add("c"), failing("d", ZeroDivisionError()), add("a"), add("e")]
    results = await together(database, jobs, max_batch=max_batch)
    assert results[0] == results[2] == results[5] == 1
    assert isinstance(results[1], Conflict) and isinstance(results[3], ZeroDivisionError)
    assert isinstance(results[4], NotSaved)  # breaks the unique slug, alone as well
    assert slugs(database) == ["a", "c", "e"]


async def test_jobs_wait_for_the_other_requests_of_a_turn_and_none_is_left_when_the_writer_stops(database, monkeypatch):
    order = []

    class Watched(queue.SimpleQueue):
        def put(self, job):
            order.append("handed over")
            super().put(job)

    async def read():
        order.append("another request read")

    with monkeypatch.context() as patch:
        patch.setattr(queue, "SimpleQueue", Watched)
        writer = Writer(database, AssignmentContexts(Reader(database)), threads=1)
    await writer.start()
    await asyncio.gather(writer.run(add("a"), None), read(), writer.run(add("b"), None))
    assert order == ["another request read", "handed over", "handed over"]
    late = asyncio.ensure_future(writer.run(add("c"), None))
    await asyncio.sleep(0)
    await writer.stop()
    assert await late == 1


@pytest.mark.postgres
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_two_groups_that_wait_for_each_other_both_get_through(database):
    """PostgreSQL only: SQLite has one writer at a time."""
    bump = Statement("UPDATE studies SET created_ms = created_ms + 1 WHERE slug = :slug RETURNING id")
    first_locks = threading.Barrier(2)

    def touch(slug, *, meet):
        tries = []

        def job(tx):
            tries.append(slug)
            tx.one(bump, slug=slug)
            if meet and len(tries) == 1:
                first_locks.wait(60)
            return len(tries)

        return job

    await together(database, [add("a"), add("b")])
    groups = await asyncio.gather(
        together(database, [touch("a", meet=True), touch("b", meet=False)]),
        together(database, [touch("b", meet=True), touch("a", meet=False)]),
    )
    tries = [count for group in groups for count in group]
    assert max(tries) == 2, "no group was given up"
    assert query(database, "SELECT slug, created_ms FROM studies ORDER BY slug") == [("a", 2), ("b", 2)]


async def test_where_the_common_commit_fails_every_job_is_tried_alone(database, monkeypatch):
    real = database.connect
    commits = []

    class FailingOnce:
        """A connection whose first COMMIT fails, as on a full disk."""

        def __init__(self):
            self.inner = real()

        def execute(self, sql, *values):
            if sql == "COMMIT":
                commits.append(sql)
                if len(commits) == 1:
                    raise sqlite3.OperationalError("database or disk is full")
            return self.inner.execute(sql, *values)

        def close(self):
            self.inner.close()

    monkeypatch.setattr(database, "connect", FailingOnce)
    results = await together(database, [add("a"), add("b"), add("c")], max_batch=128)
    assert results == [1, 1, 1]
    assert len(commits) == 4
    monkeypatch.undo()
    assert slugs(database) == ["a", "b", "c"]


async def test_a_database_that_cannot_be_reached_is_told_as_not_saved(database, monkeypatch):
    def refuse():
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(database, "connect", refuse)
    (result,) = await together(database, [add("a")], max_batch=128)
    assert isinstance(result, NotSaved)
    assert "not saved" in str(result)


async def test_many_votes_that_wait_for_a_lost_database_are_all_told_soon(database, monkeypatch):
    tries = []

    def refuse():
        tries.append(1)
        raise psycopg.OperationalError("connection refused")

    monkeypatch.setattr(database, "connect", refuse)
    results = await together(database, [add(f"s{number}") for number in range(20)], max_batch=128)
    assert len(results) == 20 and all(isinstance(result, NotSaved) for result in results)
    assert len(tries) == 1 + ATTEMPTS + 19, "together once, the first one patiently, the others once"


async def test_a_lost_connection_is_replaced(database, monkeypatch):
    real, opened = database.connect, []

    def connect():
        opened.append(real())
        return opened[-1]

    monkeypatch.setattr(database, "connect", connect)

    writer = Writer(database, AssignmentContexts(Reader(database)), threads=1, max_batch=1)
    await writer.start()
    await writer.run(add("a"), None)
    opened[0].close()
    with contextlib.suppress(NotSaved):  # PostgreSQL may pass at the second attempt
        await writer.run(add("b"), None)
    await writer.run(add("c"), None)
    await writer.stop()
    assert len(opened) == 2
    assert "c" in slugs(database)


async def test_a_fault_of_the_writer_itself_is_an_answer_and_the_next_job_is_written(database, monkeypatch):
    real, calls = Committer.finish, []

    def faulty(self, jobs):
        calls.append(len(jobs))
        if len(calls) == 1:
            raise NameError("a slip in the committer")
        real(self, jobs)

    monkeypatch.setattr(Committer, "finish", faulty)

    writer = Writer(database, AssignmentContexts(Reader(database)), threads=1)
    await writer.start()
    with pytest.raises(NotSaved):
        await asyncio.wait_for(writer.run(add("a"), None), 30)
    assert await asyncio.wait_for(writer.run(add("b"), None), 30) == 1
    await writer.stop()
    assert slugs(database) == ["b"]
