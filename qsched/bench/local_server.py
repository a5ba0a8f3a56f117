"""A study server of one's own for as long as a block lasts, in a process of its own, for simulated people."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from qsched.errors import QschedError

START_SECONDS = 180
# -P: a folder in the current one that is named like a package of ours is not imported instead of it.
QSCHED = (sys.executable, "-P", "-m", "qsched")


class LocalServerError(QschedError):
    """A study server did not start."""


def free_port() -> int:
    """A port of this machine that nobody uses now."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def local_server(arguments: Sequence[str], *, url: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`qsched` with these arguments (serve ...), once it answers at `url`; it is ended with the block."""
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*QSCHED, *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        try:
            _await_health(server, url=url, log=log)
            yield server
        finally:
            server.terminate()
            try:
                server.wait(timeout=10)
            except subprocess.TimeoutExpired:
                server.kill()


def _await_health(server: subprocess.Popen[bytes], *, url: str, log: Path) -> None:
    from urllib.error import URLError
    from urllib.request import urlopen

    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise LocalServerError(f"the study server ended with exit code {server.returncode}; its words are in {log}")
        try:
            with urlopen(f"{url}/healthz", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (URLError, TimeoutError, ConnectionError):
            time.sleep(0.1)
    raise LocalServerError(f"the study server did not answer {url}/healthz within {START_SECONDS} s; see {log}")
