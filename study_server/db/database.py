"""One database, SQLite or PostgreSQL: raw connections for the server, an SQLAlchemy engine for the rest."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg.types.numeric import Int8BinaryDumper
from sqlalchemy.engine import URL, make_url
from sqlalchemy.orm import Session

from qsched.errors import InputError
from study_server.db.place import FilePlace
from study_server.db.statements import Dialect, RawConnection, Tx
from study_server.settings import ServerSettings

# Connections of the engine; who finds none free waits for one. `db.connections` counts them.
POOL = 2
# Nobody waits longer for the end of a statement that is not needed any more.
CANCEL_SECONDS = 2.0
DRIVER_ERRORS: tuple[type[sqlite3.Error], type[psycopg.Error]] = (sqlite3.Error, psycopg.Error)


class Database:
    """Opens connections; keeps none but the engine's pool."""

    def __init__(self, settings: ServerSettings) -> None:
        self.url: URL = make_url(settings.database_url)
        self.dialect: Dialect = "sqlite" if settings.is_sqlite else "postgresql"
        self._pragmas = (
            f"PRAGMA busy_timeout = {settings.busy_timeout_ms}",
            "PRAGMA journal_mode = WAL",
            f"PRAGMA synchronous = {settings.sqlite_synchronous}",
            "PRAGMA foreign_keys = ON",
            # What is deleted at a person's request leaves the file too. Some builds of SQLite have it off.
            "PRAGMA secure_delete = ON",
            "PRAGMA cache_size = -16384",
            "PRAGMA temp_store = MEMORY",
            # The server checkpoints beside the writer (see `checkpoint`), so that no vote waits for it; this bound
            # of ~64 MB holds where it does not keep up, and for the command line.
            "PRAGMA wal_autocheckpoint = 16000",
        )
        self._place = FilePlace(Path(self.url.database or "")) if self.dialect == "sqlite" else None
        self.engine = self._make_engine()

    def create(self) -> None:
        """Make the file of an SQLite database that does not exist yet; nothing else ever does."""
        if self._place is not None:
            self._place.create()

    def pin(self) -> None:
        """From now on only this very database is used: the file that is there now, by its place and by its name."""
        if self._place is not None:
            self._place.pin(self._connect_sqlite)

    def check_encoding(self) -> None:
        """InputError for a PostgreSQL database that keeps bytes, or text in another encoding than ours."""
        if self.dialect == "sqlite":
            return
        connection = self.connect()
        try:
            (found,) = connection.execute(
                "SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()"
            ).fetchone()
        finally:
            connection.close()
        found = found.decode() if isinstance(found, bytes) else found
        if found != "UTF8":
            raise InputError(
                f"the encoding of the database {self.url.database} is {found}; it must be UTF8, or a prompt could not "
                f"be stored: createdb --encoding UTF8 --template template0 {self.url.database}"
            )

    def clock_skew_ms(self) -> int:
        """How far this machine's clock is ahead of PostgreSQL's; 0 for SQLite, which has no other clock."""
        if self.dialect == "sqlite":
            return 0
        connection = self.connect()
        try:
            before = time.time()
            (theirs,) = connection.execute("SELECT extract(epoch FROM clock_timestamp())").fetchone()
            return round(1000 * ((before + time.time()) / 2 - float(theirs)))
        finally:
            connection.close()

    def check_in_place(self) -> None:
        """Raise DatabaseMovedError, a driver's error, if the pinned file was moved, removed or replaced."""
        if self._place is not None:
            self._place.check()

    def _make_engine(self) -> sa.Engine:
        if self.dialect == "postgresql":
            return sa.create_engine(self.url, pool_pre_ping=True, pool_size=POOL, max_overflow=0)
        engine = sa.create_engine(self.url, creator=self._open_file)

        @sa.event.listens_for(engine, "connect")
        def _connect(connection: Any, _record: object) -> None:
            # The driver's own BEGIN comes too late (at the first write); we send ours.
            connection.isolation_level = None
            for pragma in self._pragmas:
                connection.execute(pragma)

        @sa.event.listens_for(engine, "begin")
        def _begin(connection: sa.Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

        return engine

    def connect(self) -> RawConnection:
        """A new driver connection in autocommit mode: whoever writes sends BEGIN and COMMIT."""
        if self.dialect == "postgresql":
            dsn = self.url.set(drivername="postgresql").render_as_string(hide_password=False)
            connection = psycopg.connect(dsn, autocommit=True, connect_timeout=5, prepare_threshold=1)
            # Else an integer's type follows its size, and a statement is prepared and planned for each mixture.
            connection.adapters.register_dumper(int, Int8BinaryDumper)
            connection.execute("SET synchronous_commit = on")
            # A statement that hangs holds leases and locks of others; better the annotator tries again.
            connection.execute("SET statement_timeout = '15s'")
            connection.execute("SET lock_timeout = '5s'")
            # An owner's count or export takes one processor, and leaves the others to votes.
            connection.execute("SET max_parallel_workers_per_gather = 0")
            return connection
        self.check_in_place()
        return self._connect_sqlite()

    def interrupt(self, connection: RawConnection) -> None:
        """End the statement that a connection of `connect` is running, if any: it fails. Any thread may ask for it."""
        if isinstance(connection, sqlite3.Connection):
            connection.interrupt()
        elif isinstance(connection, psycopg.Connection):
            # Not `cancel()`, which asks in clear text whatever the connection's sslmode is.
            with suppress(psycopg.Error):  # the server is away, and so is the statement
                connection.cancel_safe(timeout=CANCEL_SECONDS)

    def _connect_sqlite(self) -> sqlite3.Connection:
        connection = self._open_file()
        for pragma in self._pragmas:
            connection.execute(pragma)
        return connection

    def _open_file(self) -> sqlite3.Connection:
        # mode=rw: opening a file that is not there is an error, not a new database without votes.
        address = f"{Path(self.url.database or '').resolve().as_uri()}?mode=rw"
        return sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False, cached_statements=256)

    @property
    def begin_sql(self) -> str:
        """What starts a write; on SQLite the lock is taken at once, so a reader is never promoted in vain."""
        return "BEGIN IMMEDIATE" if self.dialect == "sqlite" else "BEGIN"

    @contextmanager
    def transaction(self) -> Iterator[Tx]:
        """A transaction of its own connection, for the command line and tests (the server has `Writer`)."""
        connection = self.connect()
        try:
            tx = Tx(connection, self.dialect)
            tx.command(self.begin_sql)
            try:
                yield tx
                tx.flush()
            except BaseException:
                tx.command("ROLLBACK")
                raise
            tx.command("COMMIT")
        finally:
            connection.close()

    @contextmanager
    def snapshot(self) -> Iterator[Tx]:
        """A read-only transaction that sees one moment of the database for as long as it takes; writers go on."""
        connection = self.connect()
        try:
            tx = Tx(connection, self.dialect)
            if self.dialect == "postgresql":
                # The limit of 15 s is for annotators who wait; an export of millions of votes takes longer.
                tx.command("SET statement_timeout = 0")
                tx.command("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            else:
                tx.command("PRAGMA query_only = ON")
                tx.command("BEGIN")  # deferred: a read takes no lock from a writer
            yield tx
        finally:
            connection.close()

    @contextmanager
    def session(self) -> Iterator[Session]:
        """An ORM session that commits at its end, for bulk and owner's work."""
        with Session(self.engine) as session, session.begin():
            yield session

    def checkpoint(self) -> None:
        """Move what is committed from SQLite's write-ahead log into the file, without blocking a writer.

        Raises DatabaseMovedError if the file holds another database than the pinned one.
        """
        if self._place is not None:
            connection = self._connect_sqlite()
            try:
                self._place.check_name(connection)
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            finally:
                connection.close()

    def close(self) -> None:
        """Close the engine's pool."""
        self.engine.dispose()
