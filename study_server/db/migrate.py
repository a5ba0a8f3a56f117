"""Bring a database to the newest schema with Alembic, from a checkout or from an installed wheel."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from study_server.db.database import Database
from study_server.resources import resource_folder


def alembic_config(database: Database) -> Config:
    """Alembic's configuration for this database; there is no alembic.ini."""
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    config.attributes["database"] = database
    return config


def migrations_folder() -> Path:
    """Where the migration scripts lie."""
    return resource_folder("migrations")


def upgrade(database: Database, revision: str = "head") -> None:
    """Apply what is missing; nothing happens when the schema is already there."""
    if current_revision(database) != revision and not _is_newest(database, revision):
        command.upgrade(alembic_config(database), revision)


def downgrade(database: Database, revision: str) -> None:
    """Take migrations back to `revision` ('base' removes every table)."""
    command.downgrade(alembic_config(database), revision)


def current_revision(database: Database) -> str | None:
    """The revision of the database, None for an empty one."""
    with database.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def _is_newest(database: Database, revision: str) -> bool:
    if revision != "head":
        return False
    return current_revision(database) == ScriptDirectory.from_config(alembic_config(database)).get_current_head()
