"""The writer's own use of libpq against psycopg's cursors on a real PostgreSQL: values, failures, a lost database."""

from __future__ import annotations

import psycopg
import pytest

from study_server.db.pipeline import Pipeline

pytestmark = pytest.mark.postgres
ODD = ["", "x'y", "100 %", "日本 🙂", "a\nb\\n", "null", "t"]


@pytest.fixture
def url(postgres):
    return postgres()


@pytest.fixture
def plain(url):
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE odd (n bigint, flag boolean, word text, share double precision)")
        yield connection


@pytest.fixture
def pipeline(url, plain):
    made = Pipeline(psycopg.connect(url, autocommit=True))
    yield made
    made.close()


ADD = "INSERT INTO odd (n, flag, word, share) VALUES (%(n)s, %(flag)s, %(word)s, %(share)s) RETURNING n"
READ = "SELECT n, flag, word, share, 5 %% 3, count(*) OVER () FROM odd WHERE n >= %(low)s AND %(low)s <= n ORDER BY n"


def test_values_go_in_and_come_out_as_with_psycopg(pipeline, plain):
    rows = [(number, number % 2 == 0, word, number / 7) for number, word in enumerate(ODD)]
    rows += [(2**62, None, None, None), (-1, True, "x" * 3_000_000, -1e-300)]
    pipeline.execute("BEGIN")
    added = [pipeline.execute(ADD, dict(zip(("n", "flag", "word", "share"), row, strict=True))) for row in rows]
    assert [answer.fetchone() for answer in added] == [(row[0],) for row in rows]
    assert [answer.fetchone() for answer in added] == [None] * len(rows)
    mine = pipeline.execute(READ, {"low": -5})
    assert mine.fetchone()[0] == -1
    rest = mine.fetchall()
    changed = pipeline.execute("UPDATE odd SET word = NULL WHERE n < %(n)s", {"n": 3})
    assert changed.rowcount == 4
    pipeline.commit()
    theirs = plain.execute(READ, {"low": -5}).fetchall()
    assert len(theirs) == len(rows) and theirs[4:] == rest[3:]
    assert rest[-1] == (2**62, None, None, None, 2, len(rows))


def test_many_large_answers_do_not_block_what_is_still_being_sent(pipeline):
    asked = [pipeline.execute("SELECT repeat(%(word)s, 200000)", {"word": "ab" * 20}) for _ in range(60)]
    assert all(len(answer.fetchone()[0]) == 8_000_000 for answer in asked)
    pipeline.settle()


def test_a_failure_is_raised_by_whatever_waits_next_and_leaves_nothing(pipeline, plain):
    pipeline.execute("BEGIN")
    pipeline.execute(ADD, {"n": 1, "flag": None, "word": "kept?", "share": None})
    pipeline.execute("SELECT 1 / (n - 1) FROM odd")
    later = pipeline.execute("SELECT count(*) FROM odd")
    with pytest.raises(psycopg.errors.DivisionByZero):
        later.fetchone()
    with pytest.raises(psycopg.errors.DivisionByZero):
        pipeline.commit()
    pipeline.recover()
    pipeline.execute("ROLLBACK")
    pipeline.settle()
    assert plain.execute("SELECT count(*) FROM odd").fetchone() == (0,)
    # A statement whose preparation failed or was skipped is prepared anew.
    plain.execute("CREATE TABLE later (n bigint)")
    with pytest.raises(psycopg.errors.UndefinedTable):
        pipeline.execute("SELECT n FROM absent").fetchone()
    pipeline.execute("SELECT n FROM later")
    pipeline.recover()
    plain.execute("CREATE TABLE absent (n bigint)")
    assert pipeline.execute("SELECT n FROM absent").fetchall() == []
    assert pipeline.execute("SELECT n FROM later").fetchall() == []
    pipeline.settle()


def test_a_commit_of_a_failed_transaction_is_not_taken_for_a_commit(pipeline, plain):
    pipeline.execute("BEGIN")
    pipeline.execute(ADD, {"n": 1, "flag": None, "word": None, "share": None})
    with pytest.raises(psycopg.errors.UndefinedFunction):
        pipeline.execute("SELECT no_such_function()").fetchone()
    pipeline.recover()
    with pytest.raises(psycopg.OperationalError, match="rolled the transaction back"):
        pipeline.commit()
    assert plain.execute("SELECT count(*) FROM odd").fetchone() == (0,)


def test_text_that_postgresql_cannot_hold_is_refused_instead_of_cut(pipeline):
    with pytest.raises(psycopg.DataError, match="NUL"):
        pipeline.execute("SELECT %(word)s::text", {"word": "a\0b"})
    with pytest.raises(psycopg.NotSupportedError, match="type number 1700"):
        pipeline.execute("SELECT 1.5").fetchone()


def test_a_database_that_goes_away_or_falls_silent_is_told(pipeline, plain, monkeypatch):
    monkeypatch.setattr("study_server.db.pipeline.PATIENCE_SECONDS", 0.3)
    with pytest.raises(psycopg.OperationalError, match=r"has not answered for 0\.3 s"):
        pipeline.execute("SELECT pg_sleep(5)").fetchone()
    plain.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )
    with pytest.raises(psycopg.OperationalError):
        pipeline.execute("SELECT 1").fetchone()
