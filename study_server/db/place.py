"""Whether an SQLite file is still the one that a server opened.

A file that is moved or removed goes on taking votes under a name that nobody knows: SQLite sees an open file only. The
server therefore compares device and inode with the file at its path, and a random name inside the database with the
one it began with.

    DatabaseMovedError(sqlite3.OperationalError)
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

_NAME = "SELECT uid FROM database_identity"


class DatabaseMovedError(sqlite3.OperationalError):
    """The file was moved, removed or replaced while the server had it open; nothing more is acknowledged."""


class FilePlace:
    """The path of a database and, once pinned, which file and which database belong there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: tuple[int, int] | None = None
        self._name: str | None = None
        self._has_other_content = False

    def create(self) -> None:
        """Make an empty file, readable by its owner only, if there is none."""
        try:
            os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return

    def pin(self, connect: Callable[[], sqlite3.Connection]) -> None:
        """Remember the file that is there now."""
        self._file = self._stat()
        connection = connect()
        try:
            (self._name,) = connection.execute(_NAME).fetchone()
        finally:
            connection.close()

    def check(self) -> None:
        """Raise unless the pinned file is at its path; costs one call of the operating system."""
        if self._file is None:
            return
        try:
            found = self._stat()
        except FileNotFoundError as error:
            raise DatabaseMovedError(self._words("is gone")) from error
        if found != self._file or self._has_other_content:
            raise DatabaseMovedError(self._words("was replaced by another one"))

    def check_name(self, connection: sqlite3.Connection) -> None:
        """Raise unless the database that a new connection opened is the pinned one."""
        if self._name is None:
            return
        try:
            row = connection.execute(_NAME).fetchone()
        except sqlite3.OperationalError:  # another database, without that table
            row = None
        self._has_other_content = row is None or row[0] != self._name
        self.check()

    def _stat(self) -> tuple[int, int]:
        found = self._path.stat()
        return found.st_dev, found.st_ino

    def _words(self, what: str) -> str:
        return f"the database file {self._path} {what} while the server was running; put it back, or restart the server"
