"""PostgreSQL over TLS alone: the server works, and ends a slow statement without a word in clear text."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest
from sqlalchemy.engine import make_url

from study_server.db.reader import Reader
from study_server.db.statements import Statement
from study_server.errors import NotSaved
from study_server.settings import ServerSettings
from tests.packaging.proxy import make_certificate
from tests.study_server.conftest import SECRET
from tests.study_server.relay import WANTS_TLS, relaying
from tests.study_server.visiting import Visitor, serving, votes

pytestmark = pytest.mark.postgres


@pytest.fixture
def relay(postgres, tmp_path):
    """PostgreSQL at an address that refuses clear text, and what each connection to it began with."""
    make_certificate(tmp_path)
    with relaying(make_url(postgres()), certificate=tmp_path) as relay:
        yield relay


@pytest.fixture
def settings(relay, tmp_path):
    return ServerSettings(
        database_url=relay.url.render_as_string(hide_password=False),
        data_folder=tmp_path / "images",
        secret_key=SECRET,
        allow_simulated=True,
    )


def test_a_slow_statement_is_ended_over_tls(relay, database):
    before = len(relay.began())
    connection = database.connect()
    failed: list[psycopg.Error] = []

    def slow() -> None:
        try:
            connection.execute("SELECT pg_sleep(12)")
        except psycopg.Error as error:
            failed.append(error)

    thread = threading.Thread(target=slow)
    thread.start()
    time.sleep(0.3)
    began = time.monotonic()
    database.interrupt(connection)
    thread.join(10)
    assert time.monotonic() - began < 5
    assert isinstance(failed[0], psycopg.errors.QueryCanceled)
    assert connection.execute("SELECT 1").fetchone() is not None, "the connection goes on"
    connection.close()
    assert relay.began()[before:] == [WANTS_TLS, WANTS_TLS], "the second connection asks for the end of the statement"


def test_a_server_that_stops_ends_its_slow_reads_over_tls(relay, database):
    reader = Reader(database)
    sleep = Statement("SELECT pg_sleep(12)")
    reading = reader.submit(lambda tx: tx.one(sleep))
    time.sleep(0.5)
    began = time.monotonic()
    reader.close()
    assert time.monotonic() - began < 8
    with pytest.raises(NotSaved):
        reading.result(1)
    assert set(relay.began()) == {WANTS_TLS}


async def test_people_vote_over_tls(relay, database, settings, make_study):
    make_study()
    async with serving(settings) as browser:
        person = await Visitor(browser()).enter()
        assert await person.vote_all(limit=4) == 4
    assert len(votes(database)) == 4
    assert set(relay.began()) == {WANTS_TLS}
