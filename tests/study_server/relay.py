"""A TCP address in front of PostgreSQL's socket, with TLS if wanted: what a database on another machine looks like.

It is a process of its own, because some calls of libpq hold Python's lock while they wait for an answer.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from sqlalchemy.engine import URL

ROOT = Path(__file__).parents[2]
# The second word of a connection's first packet (PostgreSQL's protocol, "Message Formats").
WANTS_TLS = 80877103
WANTS_GSS = 80877104


@dataclass(frozen=True)
class Relay:
    """A running relay: the database's address through it, and a file with what each connection began with."""

    url: URL
    log: Path

    def began(self) -> list[int]:
        """By connection: WANTS_TLS, or in clear text the protocol's version or the request to cancel (80877102)."""
        return [int(line) for line in self.log.read_text().split()]


@contextmanager
def relaying(url: URL, *, certificate: Path | None = None) -> Iterator[Relay]:
    """Pass connections on to the socket that `url` names.

    With `certificate`, a folder with fullchain.pem and privkey.pem, one in clear text is refused, as `hostssl` does.
    """
    behind = Path(str(url.query["host"])) / ".s.PGSQL.5432"
    with tempfile.NamedTemporaryFile() as log:
        words = [sys.executable, "-m", __name__, str(behind), log.name, str(certificate or "")]
        process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            query = {"sslmode": "require"} if certificate else {}
            yield Relay(url.set(host="127.0.0.1", port=port, query=query), Path(log.name))
        finally:
            process.kill()
            process.wait(10)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while block := await source.read(65536):
            sink.write(block)
            await sink.drain()
    sink.close()


async def _serve(behind: str, log: TextIO, certificate: str) -> None:
    tls = None
    if certificate:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(Path(certificate) / "fullchain.pem", Path(certificate) / "privkey.pem")

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readexactly(8)
            while (code := struct.unpack("!II", head)[1]) == WANTS_GSS or (code == WANTS_TLS and tls is None):
                writer.write(b"N")
                head = await reader.readexactly(8)
            log.write(f"{code}\n")
            log.flush()
            if tls is not None and code != WANTS_TLS:
                writer.close()
                return
            if tls is not None:
                writer.write(b"S")
                await writer.drain()
                await writer.start_tls(tls)
                head = b""
            back, to = await asyncio.open_unix_connection(behind)
            to.write(head)
            await asyncio.gather(_pump(reader, to), _pump(back, writer))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    with Path(sys.argv[2]).open("a") as log:
        asyncio.run(_serve(sys.argv[1], log, sys.argv[3]))
