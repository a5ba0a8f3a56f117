"""With several machines on one PostgreSQL, leases go by the database's clock, whatever a machine's own says."""

from __future__ import annotations

import time

import pytest

from study_server import clock
from study_server.clock import LEAST_MS, follow_database, now_ms
from study_server.db.database import Database
from tests.study_server.visiting import Visitor, query, serving


@pytest.fixture(autouse=True)
def own_clock():
    yield
    clock._ahead_ms = 0


def test_the_clock_of_this_machine_is_compared_with_the_databases(database):
    assert abs(database.clock_skew_ms()) < 1000


def test_a_difference_that_may_be_the_measurements_moves_nothing():
    follow_database(600_000)
    assert abs(now_ms() - (time.time_ns() // 1_000_000 - 600_000)) < 1000
    follow_database(600_000 + LEAST_MS - 1)
    assert clock._ahead_ms == 600_000
    follow_database(0)
    assert clock._ahead_ms == 0


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("ahead_ms", [600_000, -600_000])
async def test_leases_are_given_and_ended_by_the_databases_clock(
    settings, make_study, database, monkeypatch, caplog, ahead_ms
):
    make_study()
    true_seconds, true_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: true_seconds() + ahead_ms / 1000)
    monkeypatch.setattr(time, "time_ns", lambda: true_ns() + ahead_ms * 1_000_000)

    async with serving(settings) as browser:
        await (await Visitor(browser()).enter()).vote_all(limit=1)
        true_ms = true_ns() // 1_000_000
        given = [served for (served,) in query(database, "SELECT served_ms FROM assignments")]
        assert given and all(abs(served - true_ms) < 120_000 for served in given), "ten minutes off is the machine's"
    assert f"clock is {ahead_ms / 1000:+.1f} s off" in caplog.text


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_sqlite_has_no_other_clock(database: Database):
    assert database.clock_skew_ms() == 0
