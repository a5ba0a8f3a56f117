"""A server that is killed while a receiver thinks: after the restart the receiver gets the same event, by its id."""

from __future__ import annotations

import signal
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from study_server.owner import existing_database
from study_server.studies.ownership import set_status
from study_server.webhooks.endpoints import create_webhook, latest_deliveries
from study_server.webhooks.outbox import CLAIM_MS
from tests.conftest import write_image_set
from tests.load.annotators import serve

pytestmark = [pytest.mark.load, pytest.mark.slow]


def wait_for(condition, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def test_an_event_outlives_a_killed_server(tmp_path: Path) -> None:
    got: list[str] = []
    killed = threading.Event()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.headers["webhook-id"])
            killed.wait(30)  # the first is answered too late: nobody is there to hear it
            self.send_response(204)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    folder = write_image_set(tmp_path / "set", prompts=2, size=16)
    (folder / "study.yaml").write_text("slug: s\ntitle: Kill\nimages: .\n", encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    url = f"sqlite:///{tmp_path / 'kill.db'}"
    server = serve(folder / "study.yaml", url, port, tmp_path / "images")
    database = existing_database(url)
    try:
        with database.transaction() as tx:
            hook = f"http://127.0.0.1:{receiver.server_port}/"
            create_webhook(tx, url=hook, events=["study.paused"], study=None, allow_private=True, by="test")
        set_status(database, "s", "paused")
        wait_for(lambda: len(got) == 1)
        server.send_signal(signal.SIGKILL)
        server.wait()
        killed.set()
        with database.transaction() as tx:
            (waiting,) = latest_deliveries(tx)
            assert (waiting.state, waiting.attempts) == ("waiting", 1)
            tx.command(f"UPDATE webhook_deliveries SET due_ms = due_ms - {CLAIM_MS}")  # a minute later
        server = serve(folder / "study.yaml", url, port, tmp_path / "images")
        wait_for(lambda: len(got) == 2)

        def state() -> str:
            with database.transaction() as tx:
                return latest_deliveries(tx)[0].state

        wait_for(lambda: state() == "delivered")
        assert got == [waiting.message_id] * 2
    finally:
        server.kill()
        server.wait()
        database.close()
        receiver.shutdown()
