"""The writer in processes of its own: the same promises, and what happens when a process dies or is told to end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading

import psutil
import pytest

from study_server.assignment.records import Study
from study_server.errors import Conflict, NotSaved
from study_server.studies.design import StudyDesign
from study_server.writing import ProcessWriter
from study_server.writing.frames import Frames, pack
from tests.study_server import writer_jobs as jobs
from tests.study_server.visiting import query, run


def slugs(database):
    return [row[0] for row in query(database, "SELECT slug FROM studies ORDER BY slug")]


def writing(settings, scenario, *, processes=1):
    """Run scenario(writer) between its start and stop."""

    async def within():
        writer = ProcessWriter(settings, processes=processes)
        await writer.start()
        try:
            return await scenario(writer)
        finally:
            await writer.stop()

    return run(within())


def test_a_failing_job_leaves_no_trace_and_keeps_its_error(settings, database):
    async def scenario(writer):
        several = [
            writer.run(jobs.add, None, slug="a"),
            writer.run(jobs.add_and_refuse, None, slug="b"),
            writer.run(jobs.add, None, slug="c"),
            writer.run(jobs.add_and_fail, None, slug="d"),
            writer.run(jobs.add, None, slug="a"),
            writer.run(jobs.something_that_cannot_travel, None),
            writer.run(jobs.add, None, slug="e"),
        ]
        return await asyncio.gather(*several, return_exceptions=True)

    results = writing(settings, scenario)
    assert results[0] == results[2] == results[6] == 1
    assert isinstance(results[1], Conflict) and (results[1].code, str(results[1])) == ("lease_lost", "no")
    assert isinstance(results[3], RuntimeError) and "ZeroDivisionError" in str(results[3])
    assert isinstance(results[4], NotSaved)  # breaks the unique slug
    assert isinstance(results[5], RuntimeError) and "on the way" in str(results[5])
    assert slugs(database) == ["a", "c", "e"]


def test_a_dead_process_is_told_as_not_saved_and_replaced(settings, database):
    async def scenario(writer):
        await writer.run(jobs.add, None, slug="a")
        dying = writer.run(jobs.add_and_die, None, slug="b")
        companion = writer.run(jobs.add, None, slug="c")
        told = await asyncio.gather(dying, companion, return_exceptions=True)
        assert isinstance(told[0], NotSaved)
        assert told[1] == 1 or isinstance(told[1], NotSaved)
        for _ in range(200):
            try:
                await writer.run(jobs.add, None, slug="d")
            except NotSaved:
                await asyncio.sleep(0.05)
            else:
                return told
        raise AssertionError("no process took its place")

    told = writing(settings, scenario)
    found = slugs(database)
    assert "b" not in found and {"a", "d"} <= set(found)
    assert ("c" in found) or isinstance(told[1], NotSaved)


def test_a_signal_to_the_whole_group_lets_it_finish(settings, database):
    async def scenario(writer):
        await writer.run(jobs.add, None, slug="a")
        for child in psutil.Process().children():
            if "study_server.writing.child" in child.cmdline():
                os.kill(child.pid, signal.SIGINT)
                os.kill(child.pid, signal.SIGTERM)
        return await writer.run(jobs.add, None, slug="b")

    assert writing(settings, scenario) == 1
    assert slugs(database) == ["a", "b"]
    assert not [c for c in psutil.Process().children() if "study_server.writing.child" in c.cmdline()]


def test_jobs_of_a_study_have_its_desk_in_every_process(settings, database):
    design = StudyDesign(slug="s", title="A test", images=".")
    study = Study(7, "u7", "s", "A test", design, task_pairs=1, practice_pairs=0, gold_pairs=0)

    async def scenario(writer):
        return await asyncio.gather(*(writer.run(jobs.study_and_time_of, study) for _ in range(20)))

    assert {slug for slug, _ in writing(settings, scenario, processes=2)} == {"s"}


def test_what_was_handed_in_before_the_end_is_done(settings, database):
    async def scenario(writer):
        return [asyncio.ensure_future(writer.run(jobs.add, None, slug=f"s{i:02d}")) for i in range(40)]

    async def awaited(writer):
        handed = await scenario(writer)
        await asyncio.sleep(0)
        await writer.stop()
        return await asyncio.gather(*handed)

    async def within():
        writer = ProcessWriter(settings, processes=1)
        await writer.start()
        return await awaited(writer)

    assert run(within()) == [1] * 40
    assert len(slugs(database)) == 40


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_frames_survive_being_cut_anywhere(piece):
    ours, theirs = socket.socketpair()
    sent = [["a" * 500], [1, 2], [{"x": b"\0" * 300}], [None]]
    stream = b"".join(pack(records) for records in sent)

    def write():
        for start in range(0, len(stream), piece):
            theirs.sendall(stream[start : start + piece])
        theirs.close()

    thread = threading.Thread(target=write)
    thread.start()
    frames, received = Frames(ours), []
    while (records := frames.receive()) is not None:
        received += records
    thread.join()
    ours.close()
    assert received == [record for records in sent for record in records]
