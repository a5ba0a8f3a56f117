"""The database file moved, removed or replaced under a running server: no vote is acknowledged that is not in it."""

from __future__ import annotations

import asyncio
import inspect
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest

from study_server import app as application
from study_server.db.database import Database
from tests.study_server.visiting import Visitor, query, serving

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def file_of(database) -> Path:
    return Path(database.url.database)


def move(path):
    path.rename(path.with_name("elsewhere.db"))


def remove(path):
    path.unlink()


def replace_by_a_copy(path):
    copy = path.with_name("copy.db")
    with sqlite3.connect(path) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    copy.replace(path)


@pytest.mark.parametrize("harm", [move, remove, replace_by_a_copy])
async def test_votes_are_refused_from_the_moment_at_which_the_file_is_another_one(settings, make_study, database, harm):
    make_study()
    path = file_of(database)

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter("?simulated=1")
        await visitor.begin()
        await visitor.vote()
        harm(path)
        ballot = visitor.ballot(visitor.queue[0])
        for _ in range(3):
            answer = await visitor.post("api/votes", ballot)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_saved")
        assert (await browser().get("/healthz")).status_code == 503
        if harm is remove:
            assert not path.exists(), "opening must not make a new database"


async def test_the_server_goes_on_when_the_file_is_put_back_and_no_acknowledged_vote_is_missing(
    settings, make_study, database
):
    make_study()
    path = file_of(database)

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter("?simulated=1")
        await visitor.begin()
        await visitor.vote()
        away = path.with_name("elsewhere.db")
        path.rename(away)
        ballot = visitor.ballot(visitor.queue[0])
        assert (await visitor.post("api/votes", ballot)).status_code == 503
        away.rename(path)
        assert (await visitor.post("api/votes", ballot)).status_code == 200
        assert (await browser().get("/healthz")).status_code == 200
    assert query(database, "SELECT COUNT(*) FROM votes") == [(2,)]


async def test_another_database_copied_into_the_same_file_is_noticed(
    settings, make_study, database, tmp_path, monkeypatch
):
    monkeypatch.setattr(application, "CHECKPOINT_SECONDS", 0.05)
    make_study()
    path = file_of(database)
    other = tmp_path / "other.db"
    other_settings = settings.model_copy(update={"database_url": f"sqlite:///{other}"})
    from study_server.db.migrate import upgrade

    made = Database(other_settings)
    upgrade(made)
    made.close()

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter("?simulated=1")
        await visitor.begin()
        await visitor.vote()
        # A checkpoint that is busy would leave the whole old database in the write-ahead log.
        with sqlite3.connect(path) as connection:
            while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                await asyncio.sleep(0.01)
        inode = path.stat().st_ino
        path.write_bytes(other.read_bytes())
        assert path.stat().st_ino == inode
        for _ in range(100):
            if (await browser().get("/healthz")).status_code == 503:
                break
            await asyncio.sleep(0.05)
        answer = await visitor.post("api/votes", visitor.ballot(visitor.queue[0]))
        assert answer.status_code == 503


async def test_opening_never_makes_a_database(settings, tmp_path):
    missing = settings.model_copy(update={"database_url": f"sqlite:///{tmp_path / 'missing.db'}"})
    database = Database(missing)
    with pytest.raises(sqlite3.OperationalError):
        database.connect()

    with pytest.raises(Exception, match="unable to open"):
        async with serving(missing):
            pass
    assert not (tmp_path / "missing.db").exists()


def test_database_and_pictures_are_readable_by_their_owner_only(settings, make_study, database):
    make_study()
    paths = [file_of(database), settings.data_folder, *settings.data_folder.rglob("*")]
    assert len(paths) > 10
    for path in paths:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), (path, oct(mode))
    shutil.rmtree(settings.data_folder)


def test_the_product_waits_for_the_disk_at_each_commit(settings) -> None:
    """The tests' own databases do not (tests/conftest.py)."""
    database = object.__new__(Database)
    inspect.unwrap(Database.__init__)(database, settings)
    database.create()
    connection = database.connect()
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,), "FULL"
    connection.close()
    database.close()
