"""Alembic's entry: runs the migrations on the database that study_server.db.migrate hands over."""

from __future__ import annotations

from alembic import context

from study_server.db import evidence_models, owner_models, participation_models
from study_server.db.database import Database
from study_server.db.models import Base

# Their tables belong to Base.metadata once they are imported.
assert evidence_models and owner_models and participation_models
database: Database = context.config.attributes["database"]

with database.engine.connect() as connection:
    if database.dialect == "sqlite":
        # SQLite changes a table by copying and dropping it; with foreign keys on, that would delete its children.
        # The setting has no effect inside a transaction, so it goes to the driver before one begins.
        connection.connection.cursor().execute("PRAGMA foreign_keys = OFF")
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        # SQLite changes a table by copying it.
        render_as_batch=database.dialect == "sqlite",
        # A migration that waits for a lock blocks every vote behind it; better it gives up.
        transaction_per_migration=True,
        compare_type=True,
        compare_server_default=False,
    )
    with context.begin_transaction():
        if database.dialect == "postgresql":
            connection.exec_driver_sql("SET lock_timeout = '5s'")
            connection.exec_driver_sql("SET statement_timeout = '10min'")
        context.run_migrations()
        if database.dialect == "sqlite" and (orphans := connection.exec_driver_sql("PRAGMA foreign_key_check").all()):
            raise RuntimeError(f"the migration left rows without their parents: {orphans[:5]}; nothing was changed")
    connection.commit()
    if database.dialect == "sqlite":
        connection.connection.cursor().execute("PRAGMA foreign_keys = ON")
