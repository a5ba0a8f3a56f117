"""Alembic's entry: runs the migrations on the database that study_server.db.migrate hands over."""

from __future__ import annotations

from alembic import context

from study_server.db.database import Database
from study_server.db.models import Base

database: Database = context.config.attributes["database"]

with database.engine.connect() as connection:
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
    connection.commit()
