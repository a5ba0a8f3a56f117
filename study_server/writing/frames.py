"""Lists of records over a socket between a server and its writing processes: a length, then a pickle.

The socket is a pair made by the parent and known to nobody else, so that what is read from it can be trusted.
"""

from __future__ import annotations

import pickle
import socket
import struct
from typing import Any

_LENGTH = struct.Struct(">Q")
LENGTH_BYTES = _LENGTH.size


def pack(records: list[Any]) -> bytes:
    """One frame."""
    body = pickle.dumps(records, protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(body)) + body


def body_length(head: bytes) -> int:
    """Bytes that follow the first LENGTH_BYTES."""
    return int(_LENGTH.unpack(head)[0])


def unpack(body: bytes) -> list[Any]:
    """The records of a frame's body."""
    records: list[Any] = pickle.loads(body)
    return records


class Frames:
    """Reads whole frames from a blocking socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = bytearray()

    def receive(self) -> list[Any] | None:
        """Wait for one frame and take what else is there already; None at the end of the stream."""
        records: list[Any] = []
        while not records or self._more():
            frame = self._frame()
            if frame is None:
                if not records and not self._read(wait=True):
                    return None
                continue
            records += frame
        return records

    def _more(self) -> bool:
        """Whether another whole frame is there, after reading what can be read without waiting."""
        return self._complete() or (self._read(wait=False) and self._complete())

    def _complete(self) -> bool:
        return len(self._buffer) >= LENGTH_BYTES and (
            len(self._buffer) >= LENGTH_BYTES + body_length(bytes(self._buffer[:LENGTH_BYTES]))
        )

    def _frame(self) -> list[Any] | None:
        if not self._complete():
            return None
        end = LENGTH_BYTES + body_length(bytes(self._buffer[:LENGTH_BYTES]))
        body = bytes(self._buffer[LENGTH_BYTES:end])
        del self._buffer[:end]
        return unpack(body)

    def _read(self, *, wait: bool) -> bool:
        try:
            data = self._sock.recv(1 << 18, 0 if wait else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        self._buffer += data
        return bool(data)
