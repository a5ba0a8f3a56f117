"""The schema is what the migrations make: complete, the same as the models, and reversible; old votes are kept."""

from __future__ import annotations

import pkgutil
import re
from importlib import import_module
from pathlib import Path

import polars as pl
import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory

import study_server
from qsched.errors import InputError
from qsched.records import COLUMNS
from study_server.db.database import Database
from study_server.db.migrate import NEWEST_REVISION, alembic_config, current_revision, downgrade, upgrade
from study_server.db.models import Base
from study_server.db.statements import Statement
from study_server.export import export_votes
from study_server.owner import open_database
from study_server.studies.ownership import list_studies
from tests.study_server.visiting import Visitor, query, serving

# Written by the migrations 0001 to 0004 as they were before the squash, with votes that the server of that day stored.
REVISION_0004 = Path(__file__).with_name("revision_0004")


def test_the_migrations_make_exactly_the_tables_of_the_models(database):
    command.check(alembic_config(database))


def test_the_newest_revision_is_the_one_that_commands_expect(database):
    assert ScriptDirectory.from_config(alembic_config(database)).get_current_head() == NEWEST_REVISION
    assert current_revision(database) == NEWEST_REVISION


def test_every_migration_goes_back_and_forth(database):
    downgrade(database, "base")
    assert sa.inspect(database.engine).get_table_names() == ["alembic_version"]
    assert current_revision(database) is None
    upgrade(database)
    assert set(Base.metadata.tables) < set(sa.inspect(database.engine).get_table_names())
    upgrade(database)


@pytest.fixture
def database_0004(settings):
    """A database of revision 0004 with votes in it; its rows are the same on SQLite and PostgreSQL."""
    database = Database(settings)
    rows = (REVISION_0004 / "rows.sql").read_text(encoding="utf-8")
    if database.dialect == "sqlite":
        database.create()
        connection = database.connect()
        connection.executescript((REVISION_0004 / "sqlite.sql").read_text(encoding="utf-8") + rows)
        connection.close()
    else:
        schema = (REVISION_0004 / "postgresql.sql").read_text(encoding="utf-8")
        with psycopg.connect(settings.database_url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
            connection.execute(schema + rows)
            for table, column in re.findall(r"INSERT INTO (\w+) \((id)", rows):
                connection.execute(
                    f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'), (SELECT MAX(id) FROM {table}))"
                )
    yield database
    database.close()


async def test_a_database_of_revision_0004_is_taken_over_with_its_votes(database_0004, settings, tmp_path):
    inspector = sa.inspect(database_0004.engine)
    columns = {name: ", ".join(c["name"] for c in inspector.get_columns(name)) for name in inspector.get_table_names()}
    columns = {name: names for name, names in columns.items() if name != "alembic_version"}
    columns["votes_table"] = ", ".join(column for column in COLUMNS if column != "doubt")
    before = {name: sorted(query(database_0004, f"SELECT {columns[name]} FROM {name}"), key=str) for name in columns}
    assert len(before["votes"]) == 4 and len(before["votes_table"]) == 3

    upgrade(database_0004)

    command.check(alembic_config(database_0004))
    after = {name: sorted(query(database_0004, f"SELECT {columns[name]} FROM {name}"), key=str) for name in columns}
    assert after == before and "votes" in before
    (uid,) = query(database_0004, "SELECT uid FROM studies")[0]
    assert len(uid) == 32 and query(database_0004, "SELECT version FROM design_versions") == [(1,)]
    summary = export_votes(database_0004, study="s", path=tmp_path / "votes.parquet")
    assert (summary.rows_in_database, summary.written, summary.superseded) == (4, 3, 1)
    table = pl.read_parquet(tmp_path / "votes.parquet").sort("answered_at")
    assert table["choice"].to_list() == ["left", "right", "skip"] and table["strength"].to_list() == [2, 1, None]

    async with serving(settings) as browser:
        await (await Visitor(browser()).enter("?simulated=1")).vote_all(lambda _: "tie", limit=2, wait=None)
    assert len(query(database_0004, "SELECT id FROM votes")) == 6
    (row,) = list_studies(database_0004)
    assert (row.target_votes, row.sessions) == (5, 3)


def test_the_number_of_a_deleted_row_is_not_given_out_again(database, make_study):
    make_study("first")
    ids = {table: query(database, f"SELECT MAX(id) FROM {table}") for table in ("studies", "pairs", "images")}
    with database.transaction() as tx:
        tx.command("DELETE FROM studies")
    assert query(database, "SELECT COUNT(*) FROM pairs") == [(0,)]
    make_study("second")
    for table, highest in ids.items():
        assert query(database, f"SELECT MIN(id) FROM {table}") > highest


def test_a_schema_that_this_version_does_not_know_is_an_error_with_a_remedy(database, settings):
    with database.engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0002'"))
    with pytest.raises(InputError, match=r"0002.*use that version, or another database"):
        open_database(settings)


def test_the_view_votes_table_has_the_columns_of_the_contract_in_their_order(database):
    with database.engine.connect() as connection:
        result = connection.exec_driver_sql("SELECT * FROM votes_table")
        assert tuple(result.keys()) == COLUMNS


def statements_of(package):
    """The statements that modules of the package hold by name, also in a dictionary, a list or a tuple."""

    def within(value):
        if isinstance(value, Statement):
            yield value
        elif isinstance(value, dict | list | tuple):
            for one in value.values() if isinstance(value, dict) else value:
                yield from within(one)

    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith(".__main__"):
            yield from within(list(vars(import_module(module.name)).values()))


def test_every_statement_fits_the_schema(database):
    """SQL text knows nothing of the models; the database checks each statement against the tables."""
    found = list(statements_of(study_server))
    assert len(found) > 200
    with database.transaction() as tx:
        for statement in found:
            if database.dialect == "sqlite":
                text, names = statement.sqlite, re.findall(r"(?<![:\w]):([a-z_][a-z0-9_]*)", statement.sqlite)
            else:
                text, names = statement.postgresql, re.findall(r"%\((\w+)\)s", statement.postgresql)
            tx._execute("EXPLAIN " + text, dict.fromkeys(names))
