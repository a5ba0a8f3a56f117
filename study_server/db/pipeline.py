"""PostgreSQL's pipeline mode straight on libpq (`psycopg.pq`), for the path of a vote.

A vote is eleven statements and four waits. psycopg's cursors do the same in pipeline mode for three times our processor
time; here a statement is prepared once a connection and sent as a name and a few bytes. Only what votes need is here:
text and numbers in and out, one thread, one transaction at a time.
"""

from __future__ import annotations

import re
import select
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import pq
from psycopg.pq.abc import PGresult

from study_server.db.statements import Row

#: Longer than the database's own limit on a statement, which gives the better message.
PATIENCE_SECONDS = 30
_PARAMETER = re.compile(r"%\((\w+)\)s")
_FINE = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK)


#: By the type's number in pg_type: bool, int8, int2, int4, text, float4, float8, varchar.
READERS: dict[int, Callable[[bytes], Any]] = {
    16: b"t".__eq__,
    20: int,
    21: int,
    23: int,
    25: bytes.decode,
    700: float,
    701: float,
    1043: bytes.decode,
}


@dataclass(slots=True)
class _Prepared:
    """A statement of this connection; `names` are the parameters $1, $2, ..."""

    name: bytes
    names: tuple[str, ...]
    readers: list[Callable[[bytes], Any]] | None = None


@dataclass(slots=True)
class Answer:
    """What a statement will give; asking for it waits until it is there."""

    _pipeline: Pipeline
    _prepared: _Prepared
    result: PGresult | None = field(default=None)
    _next: int = 0

    @property
    def rowcount(self) -> int:
        """Rows that were changed or read."""
        return self._ready().command_tuples or 0

    def fetchone(self) -> Row | None:
        """The next row, or None."""
        result = self._ready()
        if self._next >= result.ntuples:
            return None
        self._next += 1
        return self._row(result, self._next - 1)

    def fetchall(self) -> list[Row]:
        """The rows that were not fetched yet."""
        result = self._ready()
        rows = [self._row(result, number) for number in range(self._next, result.ntuples)]
        self._next = result.ntuples
        return rows

    def _ready(self) -> PGresult:
        if self.result is None:
            self._pipeline.wait_for(self)
        assert self.result is not None
        return self.result

    def _row(self, result: PGresult, number: int) -> Row:
        readers = self._prepared.readers
        if readers is None:
            readers = self._prepared.readers = [_reader(result.ftype(column)) for column in range(result.nfields)]
        values = (result.get_value(number, column) for column in range(len(readers)))
        return tuple(None if value is None else read(value) for read, value in zip(readers, values, strict=True))


class Pipeline:
    """A psycopg connection that stays in pipeline mode; `execute` as psycopg's, `%(name)s` parameters.

    The first failure of a transaction is raised by whatever waits next, psycopg's exception of the same name;
    `recover` then makes the connection ready for a ROLLBACK.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._pg = connection.pgconn
        self._pg.nonblocking = 1
        self._pg.enter_pipeline_mode()
        self._poll = select.poll()
        self._poll.register(self._pg.socket, select.POLLIN)
        self._known: dict[str, _Prepared] = {}
        self._made = 0
        #: What results are to come for, in order: a statement's preparation (its text), an answer, None for a sync.
        self._waiting: deque[str | Answer | None] = deque()
        self._failure: psycopg.Error | None = None

    def execute(self, query: str, values: Mapping[str, object] | None = None, /) -> Answer:
        """Send; nothing is waited for."""
        prepared = self._known.get(query) or self._prepare(query)
        try:
            parameters = [_written(values[name]) for name in prepared.names] if values else []
        except KeyError as error:
            raise psycopg.ProgrammingError(f"the statement's parameter {error} has no value: {query}") from error
        self._pg.send_query_prepared(prepared.name, parameters)
        answer = Answer(self, prepared)
        self._waiting.append(answer)
        return answer

    def _prepare(self, query: str) -> _Prepared:
        text, names = numbered(query)
        self._made += 1
        prepared = self._known[query] = _Prepared(b"s%d" % self._made, names)
        self._pg.send_prepare(prepared.name, text.encode())
        self._waiting.append(query)
        return prepared

    def wait_for(self, answer: Answer) -> None:
        """Until this answer is there."""
        if self._failure is None:
            self._pg.send_flush_request()
            self._send()
        while answer.result is None and self._failure is None:
            self._take()
        if self._failure is not None:
            raise self._failure

    def settle(self) -> None:
        """Wait for everything that was sent; raises the first failure."""
        self._drain()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def commit(self) -> None:
        """COMMIT, and wait until it is durable; raises where the database rolled back instead."""
        answer = self.execute("COMMIT")
        self.settle()
        if answer.result is None or answer.result.command_status != b"COMMIT":
            raise psycopg.OperationalError("the database rolled the transaction back instead of committing it")

    def recover(self) -> None:
        """After a failure: forget what was sent, so that the transaction can be rolled back."""
        self._drain()
        self._failure = None

    def close(self) -> None:
        """Close the connection; the database rolls back what was open."""
        self._connection.close()

    def _drain(self) -> None:
        if not self._waiting:
            return
        self._pg.pipeline_sync()
        self._waiting.append(None)
        self._send()
        while self._waiting:
            self._take()

    def _take(self) -> None:
        """The result that comes next."""
        expected = self._waiting[0]
        result = self._result()
        if expected is None:
            if result is None or result.status != pq.ExecStatus.PIPELINE_SYNC:
                raise psycopg.OperationalError("the pipeline is out of step with the database")
            self._waiting.popleft()
            return
        if result is None or self._result() is not None:
            raise psycopg.OperationalError("the pipeline is out of step with the database")
        self._waiting.popleft()
        if result.status not in _FINE:
            if isinstance(expected, str):
                self._known.pop(expected, None)
            if self._failure is None:
                self._failure = psycopg.errors.error_from_result(result)
        elif isinstance(expected, Answer):
            expected.result = result

    def _result(self) -> PGresult | None:
        while self._pg.is_busy():
            self._wait(select.POLLIN)
            self._pg.consume_input()
        return self._pg.get_result()

    def _send(self) -> None:
        while self._pg.flush():
            # The database may be unable to read before we have read.
            if self._wait(select.POLLIN | select.POLLOUT) & select.POLLIN:
                self._pg.consume_input()

    def _wait(self, events: int) -> int:
        self._poll.modify(self._pg.socket, events)
        ready = self._poll.poll(PATIENCE_SECONDS * 1000)
        if not ready:
            raise psycopg.OperationalError(f"the database has not answered for {PATIENCE_SECONDS} s")
        return ready[0][1]


def numbered(query: str) -> tuple[str, tuple[str, ...]]:
    """The statement with $1, $2, ... for its `%(name)s`, and their names in that order."""
    names = tuple(dict.fromkeys(_PARAMETER.findall(query)))
    return _PARAMETER.sub(lambda match: f"${names.index(match[1]) + 1}", query).replace("%%", "%"), names


def _written(value: object) -> bytes | None:
    """A parameter as text."""
    if value is None:
        return None
    if isinstance(value, bool):
        return b"t" if value else b"f"
    if isinstance(value, str):
        if "\0" in value:
            raise psycopg.DataError("PostgreSQL text cannot hold NUL characters")
        return value.encode()
    if isinstance(value, int):
        return b"%d" % value
    if isinstance(value, float):
        return repr(value).encode()
    raise psycopg.ProgrammingError(f"{value!r} is neither text nor a number nor None")


def _reader(oid: int) -> Callable[[bytes], Any]:
    try:
        return READERS[oid]
    except KeyError:
        raise psycopg.NotSupportedError(
            f"a column has the type number {oid} of pg_type; cast it to bigint, double precision, boolean or text"
        ) from None
