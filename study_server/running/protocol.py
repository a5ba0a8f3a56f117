"""uvicorn's HTTP protocol with bounds: how large the head of a request may be, how long head and body may take.

uvicorn leaves these to a proxy. Without them one client stops everybody: an endless header occupies the event loop, and
requests that are never finished hold every connection.
"""

from __future__ import annotations

import asyncio
import math
import resource
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

#: Bytes of request line and headers together. Browsers send under 4 KiB.
MAX_HEAD_BYTES = 32 * 1024
#: From the first byte (or the connection) to the end of the headers.
HEAD_SECONDS = 15.0
#: From the end of the headers to the end of the body, which has at most a few hundred KiB.
BODY_SECONDS = 60.0
#: File descriptors that are not connections: database, pictures, logs.
_RESERVED_DESCRIPTORS = 128
_MOST_CONNECTIONS = 8192


def connection_limit() -> int:
    """As many connections as this process has file descriptors for, at most 8,192."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MOST_CONNECTIONS
    return max(16, min(_MOST_CONNECTIONS, soft - _RESERVED_DESCRIPTORS))


class BoundedProtocol(HttpToolsProtocol):
    """One connection. What exceeds a bound gets 408 or 431, and the connection ends; one too many is refused."""

    max_head_bytes = MAX_HEAD_BYTES
    head_seconds = HEAD_SECONDS
    body_seconds = BODY_SECONDS
    max_connections = connection_limit()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._timer: asyncio.TimerHandle | None = None
        self._due = self._fires = math.inf
        self._in_head = True
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            self._refuse(503, b"too many connections")
            return
        self._set_deadline(self.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._set_deadline(None)
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._in_head:
            if self._head_bytes == 0:
                self._set_deadline(self.head_seconds)
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > self.max_head_bytes:
            self._refuse(431, b"the request's headers are too large")

    def on_headers_complete(self) -> None:
        self._in_head = False
        # As a rule all that came since the last request is small; of a second request in one piece nothing was counted.
        if not 0 < self._head_bytes <= self.max_head_bytes:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > self.max_head_bytes:
                self._refuse(431, b"the request's headers are too large")
                return
        self._set_deadline(self.body_seconds)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._set_deadline(None)
        if not self.transport.is_closing():
            super().on_message_complete()

    def _set_deadline(self, seconds: float | None) -> None:
        """Refuse the request unless this is called again within `seconds`; None for no bound."""
        if seconds is None:
            self._due = math.inf
            return
        self._due = self.loop.time() + seconds
        # A timer that fires earlier sees what is due by then: one serves many requests.
        if self._timer is None or self._due < self._fires:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._fires = self._due
        self._timer = self.loop.call_at(self._due, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._due <= self.loop.time():
            self._refuse(408, b"the request took too long")
        elif self._due < math.inf:
            self._set_timer()

    def _refuse(self, status: int, words: bytes) -> None:
        """Answer if no answer has begun, and end the connection."""
        self._set_deadline(None)
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            head = b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\ncontent-length: "
            length = str(len(words)).encode("ascii")
            self.transport.write(b"".join([STATUS_LINE[status], head, length, b"\r\n\r\n", words]))
        self.transport.close()
