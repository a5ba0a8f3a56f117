"""SQL written once for both dialects, and the transaction in which it runs.

The path of a vote runs on prepared text and plain tuples: an ORM there costs more than the database. The
models (db.models) stay the one definition of the tables; a test prepares every statement against them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, Literal, Protocol

Dialect = Literal["sqlite", "postgresql"]
Row = tuple[Any, ...]

_PARAMETER = re.compile(r"(?<![:\w]):([a-z_][a-z0-9_]*)")
_TARGET = re.compile(r"(?:INSERT INTO|UPDATE|DELETE FROM) \w+")


class Statement:
    """One SQL statement with `:name` parameters.

    `[[sqlite: ... | postgresql: ...]]` holds what differs; either half may be empty. `target` is what it does to which
    table ("UPDATE sessions"), None for a query.
    """

    _split = re.compile(r"\[\[sqlite:(.*?)\|\s*postgresql:(.*?)\]\]", re.DOTALL)

    def __init__(self, sql: str) -> None:
        self.sqlite = self._split.sub(lambda m: m.group(1).strip(), sql).strip()
        # SQLite's driver looks each value of a dictionary up by a name that it asks SQLite for.
        self.sqlite_by_place = _PARAMETER.sub("?", self.sqlite)
        self.in_place = _in_place(_PARAMETER.findall(self.sqlite))
        postgresql = self._split.sub(lambda m: m.group(2).strip(), sql).strip()
        self.postgresql = _PARAMETER.sub(r"%(\1)s", postgresql.replace("%", "%%"))
        target = _TARGET.match(self.sqlite)
        self.target = None if self.sqlite.startswith("SELECT") else target[0] if target else self.sqlite

    def __repr__(self) -> str:
        return f"Statement({' '.join(self.sqlite.split())[:80]!r})"


def _in_place(names: Sequence[str]) -> Callable[[Mapping[str, object]], Row]:
    """What picks the values of `names`, in their order, out of a dictionary."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda values: tuple(values[name] for name in names)


class Cursor(Protocol):
    """A statement that was sent."""

    def fetchone(self) -> Any: ...
    def fetchall(self) -> Any: ...


class RawConnection(Protocol):
    """What the connections of sqlite3 and psycopg have in common."""

    def execute(self, query: Any, params: Any = ..., /) -> Any: ...
    def close(self) -> None: ...


class Tx:
    """An open transaction; whoever opened it calls `flush` and commits. `changed`: something was written or queued."""

    __slots__ = ("_connection", "_execute", "_postgresql", "_queued", "changed", "dialect")

    def __init__(self, connection: RawConnection, dialect: Dialect) -> None:
        self._connection: Any = connection
        self._execute = connection.execute
        self._postgresql = dialect == "postgresql"
        self._queued: list[tuple[Statement, Mapping[str, object]]] = []
        self.changed = False
        self.dialect = dialect

    def _run(self, statement: Statement, values: Mapping[str, object]) -> Cursor:
        if self._queued:
            self.flush()
        if statement.target is not None:
            self.changed = True
        cursor: Cursor
        if self._postgresql:
            cursor = self._execute(statement.postgresql, values)
        else:
            cursor = self._execute(statement.sqlite_by_place, statement.in_place(values))
        return cursor

    def later(self, statement: Statement, /, **values: object) -> None:
        """Queue a write whose rows nobody needs, to be sent with others. Any statement but `last` sends them first.

        Queued writes do not see each other: no two may touch one row.
        """
        if not self._postgresql:
            # A call of SQLite is not a message to another process.
            self._run(statement, values)
            return
        if any(queued.target == statement.target for queued, _ in self._queued):
            self.flush()
        self._queued.append((statement, values))
        self.changed = True

    def last(self, statement: Statement, /, **values: object) -> Any:
        """As `scalar`, sent together with what is queued, none of which it may depend on."""
        if not self._queued:
            return self.scalar(statement, **values)
        self._queued.append((statement, values))
        row = self._send_queued().fetchone()
        if row is None:
            raise LookupError(f"no row for {statement!r}")
        return row[0]

    def flush(self) -> None:
        """Send what is queued."""
        if self._queued:
            self._send_queued()

    def _send_queued(self) -> Cursor:
        queued, self._queued = self._queued, []
        if len(queued) == 1:
            ((statement, values),) = queued
            single: Cursor = self._execute(statement.postgresql, values)
            return single
        named = {f"{name}_{place}": value for place, (_, values) in enumerate(queued) for name, value in values.items()}
        cursor: Cursor = self._execute(_as_one(tuple(statement for statement, _ in queued)), named)
        return cursor

    def all(self, statement: Statement, /, **values: object) -> list[Row]:
        """Every row."""
        rows: list[Row] = self._run(statement, values).fetchall()
        return rows

    def listed(self, numbers: Sequence[int]) -> object:
        """Numbers as the value of one parameter: an array of PostgreSQL, and JSON for SQLite, which has none."""
        return list(numbers) if self._postgresql else json.dumps(list(numbers))

    def batches(self, statement: Statement, size: int, /, **values: object) -> Iterator[list[Row]]:
        """Every row, `size` at a time: what is not yet asked for stays in the database."""
        if self._postgresql:
            # A cursor with a name stays in the server; any other would fetch the whole answer at once.
            cursor = self._connection.cursor(name="batches")
            cursor.execute(statement.postgresql, values)
        else:
            cursor = self._connection.cursor()
            cursor.execute(statement.sqlite, values)
        try:
            while rows := cursor.fetchmany(size):
                yield rows
        finally:
            cursor.close()

    def one(self, statement: Statement, /, **values: object) -> Row | None:
        """The first row, or None."""
        row: Row | None = self._run(statement, values).fetchone()
        return row

    def scalar(self, statement: Statement, /, **values: object) -> Any:
        """The first column of the only row; LookupError when there is none."""
        row = self.one(statement, **values)
        if row is None:
            raise LookupError(f"no row for {statement!r}")
        return row[0]

    def run(self, statement: Statement, /, **values: object) -> None:
        """A statement whose rows nobody needs."""
        self._run(statement, values)

    def many(self, statement: Statement, rows: Sequence[Mapping[str, object]]) -> None:
        """One write for each of `rows`, whose answers nobody needs; on PostgreSQL without waiting for each."""
        self.flush()
        self.changed = True
        if self._postgresql:
            with self._connection.cursor() as cursor:
                cursor.executemany(statement.postgresql, rows)
        else:
            self._connection.executemany(statement.sqlite_by_place, map(statement.in_place, rows))

    def command(self, sql: str) -> Cursor:
        """One statement without parameters (BEGIN, SAVEPOINT, COMMIT)."""
        cursor: Cursor = self._execute(sql)
        return cursor


@lru_cache(maxsize=64)
def _as_one(statements: tuple[Statement, ...]) -> str:
    """PostgreSQL's text of several writes in one statement; the answer is that of the last."""
    *first, last = (
        re.sub(r"%\((\w+)\)s", rf"%(\1_{place})s", statement.postgresql) for place, statement in enumerate(statements)
    )
    parts = ", ".join(f"w{place} AS ({text})" for place, text in enumerate(first))
    return f"WITH {parts} {last}"
