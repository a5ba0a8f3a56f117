"""The bound of a server's connections to PostgreSQL is kept, whatever its people and owners do at once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from qsched.errors import InputError
from study_server.admin import exporting, figures
from study_server.db.connections import PER_COMMAND, PER_PROCESS
from study_server.db.database import Database
from study_server.owner import existing_database
from study_server.web.child import CommandFailed, run_command
from tests.study_server.admin.owning import signed_in
from tests.study_server.visiting import Visitor, query, serving

pytestmark = [pytest.mark.postgres, pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)]
COUNT = """
    SELECT COUNT(*) FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
PAGES = ("", "/counts", "/people", "/pairs", "/payments", "/reports", "/exports", "/settings")


@pytest.fixture
def slow_work(monkeypatch):
    """Commands and changes that hold as many connections as they may, long enough to meet each other."""

    async def command(database, *words):
        held = [database.connect() for _ in range(PER_COMMAND)]
        await asyncio.sleep(0.3)
        for one in held:
            one.close()
        if words[0] == "study":
            raise CommandFailed("no estimate is needed")
        Path(words[2]).write_text("votes")
        return ""

    session = Database.session

    @contextlib.contextmanager
    def slow_session(self):
        with session(self) as opened:
            opened.connection()
            time.sleep(0.2)
            yield opened

    monkeypatch.setattr(exporting, "run_command", command)
    monkeypatch.setattr(figures, "run_command", command)
    monkeypatch.setattr(Database, "session", slow_session)


async def test_no_more_connections_are_open_than_were_counted_at_the_start(settings, database, make_study, slow_work):
    make_study(pairs_per_annotator=None)
    async with serving(settings) as browser:
        people = [await Visitor(browser()).enter() for _ in range(6)]
        owner = await signed_in(browser(), database)
        database.engine.dispose()  # this test's own connections
        exports = (owner.act("/studies/s/exports/votes", on="/studies/s/exports", format="csv") for _ in range(6))
        changes = (owner.act("/studies/s/status", on="/studies/s", status=status) for status in ("paused", "open") * 4)
        pages = (owner.page(f"/studies/s{page}") for page in PAGES * 2)

        async def work() -> None:
            voting = asyncio.gather(*(one.vote_all(limit=5) for one in people))
            await asyncio.gather(*exports, *changes, *pages)
            await owner.act("/studies/s/status", on="/studies/s", status="open")  # paused, nobody's votes would end
            await voting

        most = await most_connections(database, work())
    # A study without a stopping rule has no looks.
    assert 9 < most <= PER_PROCESS - PER_COMMAND, most


async def test_a_command_has_no_more_connections_than_were_counted_for_it(database, make_study, tmp_path):
    make_study()
    database.engine.dispose()
    commands = (("votes", "export", f"{tmp_path}/v.parquet", "--study", "s"), ("study", "estimate", "s"))
    running = asyncio.gather(*(run_command(database, *words) for words in commands))
    assert await most_connections(database, running) <= PER_COMMAND * len(commands)


def test_a_database_of_another_encoding_is_refused_in_words(database_url):
    url = make_url(database_url)
    other = url.set(database=f"{url.database}_bytes")
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as connection:
        connection.execute(
            f"CREATE DATABASE {other.database} TEMPLATE template0 ENCODING SQL_ASCII LC_COLLATE 'C' LC_CTYPE 'C'"
        )
    with pytest.raises(InputError, match=f"encoding of the database {other.database} is SQL_ASCII; it must be UTF8"):
        existing_database(other.render_as_string(hide_password=False))


async def most_connections(database, work) -> int:
    """The most connections at one moment of `work`, but for the one that looks."""
    task, most = asyncio.ensure_future(work), 0
    while not task.done():
        ((found,),) = await asyncio.to_thread(query, database, COUNT)
        most = max(most, found)
        await asyncio.sleep(0.01)
    await task
    return most
