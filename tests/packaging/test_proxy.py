"""nginx with the template of deploy/: what it passes on, and each of its limits. Counts stay, seconds are cut."""

from __future__ import annotations

import json
import re
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from tests.packaging.proxy import Proxy, proxying

# What the template says, and what the tests wait for instead.
SHORT = {
    "client_header_timeout 15s;": "client_header_timeout 1s;",
    "client_body_timeout 30s;": "client_body_timeout 1s;",
    "proxy_read_timeout 60s;": "proxy_read_timeout 1s;",
    "proxy_read_timeout 180s;": "proxy_read_timeout 6s;",
    "proxy_read_timeout 600s;": "proxy_read_timeout 6s;",
}
SOON = {"worker_shutdown_timeout 8s;": "worker_shutdown_timeout 1s;"}
EXPORTS = ("/api/v1/studies/demo/votes", "/admin/studies/demo/exports/votes")
CONNECTIONS, SIGN_INS, ARRIVALS, ARRIVALS_PER_S = 200, 11, 101, 10


class _Echo(BaseHTTPRequestHandler):
    """Answers with the request's headers; sends a picture as the study server does; waits where the path says so."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path in ("/s/wait", *EXPORTS):
            time.sleep(2)
        if "held" in self.path:
            self.server.release.wait(60)  # type: ignore[attr-defined]
        body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
        self.send_response(200)
        if self.path == "/accelerated":
            self.send_header("X-Accel-Redirect", "/protected/one.png")
        if self.path.endswith("/live"):
            self.send_header("Connection", "close")
            self.end_headers()
            for word in (b"first\n", b"second\n"):
                self.wfile.write(word)
                time.sleep(2)
            return
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Behind(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, *_: object) -> None:
        """A proxy that gives up is what the tests are about."""


@pytest.fixture
def behind() -> Iterator[_Behind]:
    with _Behind(("127.0.0.1", 0), _Echo) as server:
        server.release = threading.Event()  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.release.set()  # type: ignore[attr-defined]
        server.shutdown()


@pytest.fixture
def proxy(behind, tmp_path) -> Iterator[Proxy]:
    with proxying(tmp_path, server=behind.server_port, instead=SHORT) as running:
        (tmp_path / "images" / "one.png").write_bytes(b"a picture")
        yield running


@pytest.fixture
def patient(behind, tmp_path) -> Iterator[Proxy]:
    """With the template's own seconds, but for its end."""
    with proxying(tmp_path, server=behind.server_port, instead=SOON) as running:
        yield running


def connect(proxy: Proxy) -> ssl.SSLSocket:
    """A connection of its own, as far as the handshake."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without the system's authorities, which take long to read
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    return tls.wrap_socket(socket.create_connection(("127.0.0.1", proxy.port), timeout=30))


def test_pages_and_pictures_are_passed_on_and_nothing_else(proxy):
    with proxy.client() as client:
        page = client.get("/s/demo", headers={"X-Forwarded-For": "203.0.113.9"})
        assert page.json()["x-forwarded-for"] == "127.0.0.1"  # what the visitor claims is not passed on
        assert page.json()["x-forwarded-proto"] == "https"
        assert page.headers["server"] == "nginx" and page.headers["strict-transport-security"] == "max-age=31536000"
        assert client.get("/accelerated").content == b"a picture"
        assert client.get("/protected/one.png").status_code == 404
        assert client.get("/metrics").status_code == 404
    plain = httpx.get(f"http://127.0.0.1:{proxy.plain}/s/demo?a=b", headers={"Host": "study.example"})
    assert (plain.status_code, plain.headers["location"]) == (301, "https://study.example/s/demo?a=b")


def test_bodies_and_headers_have_a_size(proxy):
    with proxy.client() as client:
        assert client.post("/s/demo/api/votes", content=b"x" * 128 * 1024).status_code == 200
        assert client.post("/s/demo/api/votes", content=b"x" * (128 * 1024 + 1)).status_code == 413
        assert client.get("/s/demo", headers={"X-Long": "x" * 30_000}).status_code == 200
        assert client.get("/s/demo", headers={"X-Long": "x" * 33_000}).status_code == 400


def test_one_address_has_two_hundred_requests_at_once(patient, behind):
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            connection = stack.enter_context(closing(connect(patient)))
            connection.sendall(b"GET /held HTTP/1.1\r\nHost: study.example\r\n\r\n")
        with patient.client() as client:
            # The last of them may not be counted yet.
            refused = next((answer for _ in range(100) if (answer := client.get("/s/demo")).status_code != 200), None)
            assert refused is not None and refused.status_code == 429
            behind.release.set()
            for _ in range(100):
                if client.get("/s/demo").status_code == 200:
                    break
                time.sleep(0.05)
            else:
                pytest.fail("nobody gets through although the connections are free again")


def test_sign_ins_of_one_address_are_counted(proxy):
    began = time.monotonic()
    with proxy.client() as client:
        tried = [client.post("/admin/sign-in").status_code for _ in range(14)]
        assert client.get("/s/demo").status_code == 200
    passed = tried.count(200)
    assert set(tried) == {200, 429} and tried[: SIGN_INS + 1] == [200] * SIGN_INS + [429]
    assert passed <= SIGN_INS + (time.monotonic() - began) / 6 + 1


def test_arrivals_of_one_address_are_counted(proxy):
    """In one connection without waiting for answers, so that it is nginx that sets the pace."""
    began, sent = time.monotonic(), 1_000
    request = b"POST /s/demo/consent HTTP/1.1\r\nHost: study.example\r\nContent-Length: 0\r\n\r\n"
    statuses: list[bytes] = []
    with closing(connect(proxy)) as connection:
        connection.sendall(request * sent)
        received = b""
        while len(statuses) < sent:
            block = connection.recv(1 << 20)
            if not block:
                break
            received += block
            statuses = re.findall(rb"HTTP/1\.1 (\d{3}) ", received)
    seconds = time.monotonic() - began
    assert statuses[:ARRIVALS] == [b"200"] * ARRIVALS
    assert set(statuses) == {b"200", b"429"}
    assert statuses.count(b"200") <= ARRIVALS + ARRIVALS_PER_S * seconds + 1


@pytest.mark.parametrize(
    "half",
    [
        b"GET /s/demo HTTP/1.1\r\nHost: study.exa",
        b"POST /s/demo/api/votes HTTP/1.1\r\nHost: study.example\r\nContent-Length: 9\r\n\r\nhalf",
    ],
    ids=["header", "body"],
)
def test_half_a_request_does_not_hold_a_connection(proxy, half):
    with closing(connect(proxy)) as connection:
        began = time.monotonic()
        connection.sendall(half)
        answer = connection.recv(1 << 16)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 408 ")
        assert 0.5 < time.monotonic() - began < 20


def test_a_page_that_does_not_come_ends_and_news_and_exports_go_on(proxy):
    with proxy.client(timeout=30) as client:
        assert client.get("/s/wait").status_code == 504
        for place in EXPORTS:
            assert client.get(place).status_code == 200, place
        began = time.monotonic()
        with client.stream("GET", "/admin/studies/demo/live") as news:
            lines = news.iter_lines()
            assert next(lines) == "first"
            assert time.monotonic() - began < 1.9, "the first line comes when it is said, not at the end"
            assert next(lines) == "second"


def test_an_open_page_does_not_hold_up_the_end(patient):
    with closing(connect(patient)) as connection:
        connection.sendall(b"GET /held HTTP/1.1\r\nHost: study.example\r\n\r\n")
        time.sleep(0.3)
        began = time.monotonic()
        patient.process.send_signal(signal.SIGQUIT)  # what the container's `stop` sends
        patient.process.wait(20)
        assert 0.5 < time.monotonic() - began < 10
