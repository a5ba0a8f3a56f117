"""The wheel alone, in an empty environment, must serve a study: templates, static files and migrations included."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.packaging.conftest import UV, run


@pytest.mark.slow
def test_an_installed_wheel_serves_a_study_without_torch(install, small_image_set, tmp_path):
    installed = install("server")
    assert "torch" not in run(UV, "pip", "list", "--python", installed)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    log = tmp_path / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [
                installed,
                "-m",
                "qsched",
                "serve",
                small_image_set,
                "--db",
                f"sqlite:///{tmp_path / 'wheel.db'}",
                "--port",
                str(port),
            ],
            cwd=tmp_path,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        page = None
        deadline = time.monotonic() + 40
        while page is None and time.monotonic() < deadline and server.poll() is None:
            try:
                page = urlopen(f"http://127.0.0.1:{port}/s/{small_image_set.name}", timeout=5).read().decode()
            except (URLError, ConnectionError):
                time.sleep(0.2)
        assert page is not None, log.read_text()
        assert "<form" in page
    finally:
        server.kill()
        server.wait()
