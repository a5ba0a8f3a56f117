"""Bring a database to the newest schema with Alembic, from a checkout or from an installed wheel.

Alembic is imported only when there is something to migrate: a command that reads a database does not pay for it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from qsched.errors import InputError
from study_server.db.database import Database
from study_server.db.lock import exclusive_setup
from study_server.resources import resource_folder

if TYPE_CHECKING:
    from alembic.config import Config

# The newest revision in migrations/versions; a test compares it with Alembic's own answer.
NEWEST_REVISION = "0018"


def alembic_config(database: Database) -> Config:
    """Alembic's configuration for this database; there is no alembic.ini."""
    from alembic.config import Config

    # Alembic's default is the standard output of the moment at which it was imported, which may be closed by now.
    config = Config(stdout=sys.stdout)
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    config.attributes["database"] = database
    return config


def migrations_folder() -> Path:
    """The folder of the migration scripts."""
    return resource_folder("migrations")


def upgrade(database: Database, revision: str = "head", *, create: bool = True) -> None:
    """Apply the migrations that are missing; do nothing if the schema is up to date.

    Servers that start together wait for the first: each looks again once it is its turn. An SQLite file that does not
    exist is made, unless `create` is False.
    """
    if create:
        database.create()
    wanted = NEWEST_REVISION if revision == "head" else revision
    if current_revision(database) == wanted:
        return
    with exclusive_setup(database):
        if current_revision(database) == wanted:
            return
        from alembic import command
        from alembic.util import CommandError

        try:
            command.upgrade(alembic_config(database), revision)
        except CommandError as error:
            raise InputError(
                f"the database's schema cannot be brought to {revision}: {error}; it was made by a newer "
                "version of qsched or before the first release: use that version, or another database"
            ) from error


def downgrade(database: Database, revision: str) -> None:
    """Take migrations back to `revision` ('base' removes every table)."""
    from alembic import command

    command.downgrade(alembic_config(database), revision)


def current_revision(database: Database) -> str | None:
    """The revision of the database, None for an empty one."""
    with database.engine.connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        revision: str | None = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
        return revision
