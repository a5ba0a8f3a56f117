"""The schema is what the migrations make: complete, the same as the models, and they go back as well."""

from __future__ import annotations

import re

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command

from qsched.records import COLUMNS
from study_server.assignment import queries as assignment
from study_server.db.migrate import alembic_config, current_revision, downgrade, upgrade
from study_server.db.models import Base
from study_server.db.pipeline import READERS, numbered
from study_server.db.statements import Statement
from study_server.export import votes
from study_server.participation import queries as participation
from study_server.studies import cache
from study_server.voting import queries as voting


def test_the_migrations_make_exactly_the_tables_of_the_models(database):
    command.check(alembic_config(database))


def test_every_migration_goes_back_and_forth(database):
    downgrade(database, "base")
    assert sa.inspect(database.engine).get_table_names() == ["alembic_version"]
    assert current_revision(database) is None
    upgrade(database)
    assert set(Base.metadata.tables) < set(sa.inspect(database.engine).get_table_names())
    upgrade(database)


def test_the_view_votes_table_has_the_columns_of_the_contract_in_their_order(database):
    with database.engine.connect() as connection:
        result = connection.exec_driver_sql("SELECT * FROM votes_table")
        assert tuple(result.keys()) == COLUMNS


def test_every_statement_fits_the_schema(database):
    """SQL text knows nothing of the models; the database checks each statement against the tables."""
    assert assignment and participation and voting and cache and votes
    with database.transaction() as tx:
        for statement in Statement.known:
            names = set(re.findall(r"(?<![:\w]):([a-z_][a-z0-9_]*)", statement.sqlite))
            values = dict.fromkeys(names)
            prefix = "EXPLAIN "
            if database.dialect == "sqlite":
                tx._execute(prefix + statement.sqlite, values)
            else:
                tx._execute(prefix + statement.postgresql, values)


@pytest.mark.postgres
def test_the_writer_can_read_every_column_on_postgresql(postgres):
    url = postgres()
    with psycopg.connect(url) as connection:
        modules = (assignment, participation, voting)
        statements = [value for module in modules for value in vars(module).values() if isinstance(value, Statement)]
        assert len(statements) > 40
        for number, statement in enumerate(statements):
            name = b"t%d" % number
            prepared = connection.pgconn.prepare(name, numbered(statement.postgresql)[0].encode())
            assert prepared.status == psycopg.pq.ExecStatus.COMMAND_OK, (statement, prepared.error_message)
            told = connection.pgconn.describe_prepared(name)
            unreadable = [told.fname(column) for column in range(told.nfields) if told.ftype(column) not in READERS]
            assert not unreadable, f"{statement}: {unreadable} would need a cast"
