"""nginx with the template of deploy/, on addresses and folders of this machine."""

from __future__ import annotations

import getpass
import re
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"


@dataclass(frozen=True)
class Proxy:
    """A running nginx: its ports for TLS and for clear text, and its process."""

    port: int
    plain: int
    process: subprocess.Popen[bytes]

    def client(self, **more: Any) -> httpx.Client:
        """A client that believes the certificate, for the proxy's address."""
        return httpx.Client(base_url=f"https://127.0.0.1:{self.port}", verify=False, **more)


@contextmanager
def proxying(folder: Path, *, server: int, instead: Mapping[str, str] | None = None) -> Iterator[Proxy]:
    """nginx before the server at port `server`. Each text of `instead` must be in the template, and is replaced."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        pytest.skip("nginx is not installed")
    with socket.create_server(("127.0.0.1", 0)) as probe, socket.create_server(("127.0.0.1", 0)) as other:
        port, plain = probe.getsockname()[1], other.getsockname()[1]
    make_certificate(folder)
    (folder / "images").mkdir()
    text = (DEPLOY / "nginx.conf").read_text()
    places = {
        "user root;": f"user {getpass.getuser()}; pid {folder}/pid;",
        "server server:8000": f"server 127.0.0.1:{server}",
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "listen 80": f"listen 127.0.0.1:{plain}",
        "/etc/nginx/tls": str(folder),
        "/data/images/": f"{folder}/images/",
    }
    for theirs, ours in {**places, **(instead or {})}.items():
        assert theirs in text, theirs
        text = text.replace(theirs, ours)
    version = subprocess.run([nginx, "-v"], capture_output=True, text=True, check=True).stderr
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < (1, 25):
        text = text.replace("http2 on;", "")  # from 1.25.1 on; the compose file has 1.28
    (folder / "nginx.conf").write_text(text)
    words = [nginx, "-e", str(folder / "log"), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    subprocess.run([*words, "-t"], check=True, capture_output=True)
    with (folder / "stderr").open("w+") as said:
        running = subprocess.Popen([*words, "-g", "daemon off;"], stderr=said)
        try:
            _wait_until_open(port)
            yield Proxy(port, plain, running)
        finally:
            running.terminate()
            running.wait(10)
        said.seek(0)
        assert said.read() == (folder / "log").read_text() == "", "a log of nginx has a visitor's address and link"


def _wait_until_open(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError("nginx does not listen")


def make_certificate(folder: Path) -> None:
    """fullchain.pem and privkey.pem, for a day."""
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost"
    made = [*shlex.split(words), "-keyout", str(folder / "privkey.pem"), "-out", str(folder / "fullchain.pem")]
    subprocess.run(["openssl", *made], check=True, capture_output=True)
