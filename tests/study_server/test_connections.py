"""The bound of a server's connections to PostgreSQL is kept, whatever its people and owners do at once."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from study_server.db.connections import PER_PROCESS
from tests.study_server.admin.owning import signed_in
from tests.study_server.visiting import Visitor, query, serving

pytestmark = [pytest.mark.postgres, pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)]
COUNT = """
    SELECT COUNT(*) FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
PAGES = ("", "/counts", "/people", "/pairs", "/payments", "/reports", "/exports", "/settings")


async def test_no_more_connections_are_open_than_were_counted_at_the_start(settings, database, make_study):
    make_study(pairs_per_annotator=None)
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            ((found,),) = await asyncio.to_thread(query, database, COUNT)
            most = max(most, found)
            await asyncio.sleep(0.02)

    async with serving(settings) as browser:
        people = [await Visitor(browser()).enter() for _ in range(6)]
        owner = await signed_in(browser(), database)
        database.engine.dispose()  # this test's own connections
        watching = asyncio.create_task(watch())
        exports = (owner.act("/studies/s/exports/votes", on="/studies/s/exports", format="csv") for _ in range(3))

        async def change() -> None:  # one after another: left paused, nobody's votes would end
            for status in ("paused", "open") * 6:
                await owner.act("/studies/s/status", on="/studies/s", status=status)

        pages = (owner.page(f"/studies/s{page}") for page in PAGES * 4)
        await asyncio.gather(*(one.vote_all(limit=10) for one in people), *exports, change(), *pages)
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
    assert 6 < most <= PER_PROCESS, most
