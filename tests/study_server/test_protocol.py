"""One client cannot stop everybody: endless heads, half requests and too many connections have an end."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from contextlib import contextmanager

import pytest
import uvicorn

from study_server.running.protocol import BoundedProtocol, connection_limit


async def application(scope, receive, send):
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


class Impatient(BoundedProtocol):
    head_seconds = 0.5
    body_seconds = 0.5
    max_connections = 20


@contextmanager
def running():
    config = uvicorn.Config(application, http=Impatient, ws="none", lifespan="off", log_level="warning", port=0)
    server = uvicorn.Server(config)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(100)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield listening.getsockname()
        finally:
            server.should_exit = True
            thread.join(10)


def answer(address, *parts, pause=0.0):
    """What comes back until the server ends the connection or answers 200."""
    with socket.create_connection(address, timeout=10) as connection:
        received = b""
        try:
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)
        except OSError:  # the server closed while we were still sending
            pass
        while b"ok" not in received:
            try:
                piece = connection.recv(65536)
            except ConnectionResetError:
                break
            if not piece:
                break
            received += piece
        return received


@pytest.fixture(scope="module")
def address():
    with running() as where:
        yield where


HEAD = b"GET / HTTP/1.1\r\nhost: x\r\n"


def test_an_ordinary_request_is_answered_also_in_pieces_and_again_on_the_same_connection(address):
    assert answer(address, HEAD + b"\r\n").startswith(b"HTTP/1.1 200")
    assert answer(address, HEAD[:10], HEAD[10:], b"\r\n", pause=0.05).startswith(b"HTTP/1.1 200")
    post = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n"
    assert answer(address, post, b"ab", b"cd", pause=0.05).startswith(b"HTTP/1.1 200")
    with socket.create_connection(address, timeout=10) as connection:
        for _ in range(3):
            connection.sendall(HEAD + b"\r\n")
            received = b""
            while not received.endswith(b"ok"):
                received += connection.recv(65536)
            assert received.startswith(b"HTTP/1.1 200")
            time.sleep(0.7)  # idle longer than a head may take: no request has begun


@pytest.mark.parametrize("size", [40_000, 4_000_000])
def test_a_head_that_is_too_large_ends_with_431(address, size):
    begun = time.monotonic()
    parts = [HEAD + b"x-big: ", *[b"a" * 20_000] * (size // 20_000)]
    assert answer(address, *parts).startswith(b"HTTP/1.1 431") or size > 40_000
    assert answer(address, b"GET /" + b"a" * size + b" HTTP/1.1\r\nhost: x\r\n\r\n")[9:12] in (b"431", b"")
    assert time.monotonic() - begun < 5


def test_half_a_head_and_half_a_body_end_with_408(address):
    assert answer(address, HEAD).startswith(b"HTTP/1.1 408")
    assert answer(address, b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nabc").startswith(b"HTTP/1.1 408")
    # A byte now and then does not buy more time.
    assert answer(address, *[b"G"] + [b"E"] * 12, pause=0.1)[9:12] in (b"408", b"400")


def test_a_connection_too_many_is_refused_and_there_is_room_again_when_others_leave(address):
    crowd = [socket.create_connection(address, timeout=10) for _ in range(20)]
    time.sleep(0.1)
    assert answer(address).startswith(b"HTTP/1.1 503")
    for connection in crowd:
        connection.close()
    time.sleep(0.2)
    assert answer(address, HEAD + b"\r\n").startswith(b"HTTP/1.1 200")


def test_silent_connections_are_closed(address):
    with socket.create_connection(address, timeout=5) as connection:
        assert connection.recv(1000).startswith(b"HTTP/1.1 408")


def test_the_limit_leaves_descriptors_for_everything_else():
    assert 16 <= connection_limit() <= 8192
