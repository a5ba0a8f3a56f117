"""The load generator: simulated annotators that submit a vote and receive the next pair, over loopback HTTP.

One keep-alive connection an annotator and an HTTP client of few lines, so that the generator takes as little
of a small machine as it can. An adapter tells it how to enter a server and what one operation is.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlencode


class Connection:
    """One HTTP/1.1 keep-alive connection; no chunked bodies, which neither side sends."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.cookies: dict[str, str] = {}
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def request(self, method: str, path: str, body: bytes = b"", headers: str = "") -> tuple[int, bytes]:
        """Status and body; reconnects once where the server closed an idle connection."""
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection(self.host, self.port)
        assert self.reader is not None
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n{headers}"
        if cookie:
            head += f"Cookie: {cookie}\r\n"
        self.writer.write(f"{head}\r\n".encode() + body)
        raw = await self.reader.readuntil(b"\r\n\r\n")
        status = int(raw[9:12])
        length = 0
        for line in raw[:-4].split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            lowered = name.lower()
            if lowered == b"content-length":
                length = int(value)
            elif lowered == b"set-cookie":
                key, _, rest = value.strip().decode().partition("=")
                self.cookies[key] = rest.partition(";")[0]
        return status, await self.reader.readexactly(length) if length else b""

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = self.reader = None


class Adapter(Protocol):
    """How an annotator enters and what one operation is; True where the server acknowledged it."""

    async def enter(self, connection: Connection, /) -> Any: ...
    async def operate(self, connection: Connection, state: Any, /) -> bool: ...


class Bare:
    """The ceiling: POST to a route that does one durable INSERT and one SELECT."""

    async def enter(self, _connection: Connection, /) -> None:
        return None

    async def operate(self, connection: Connection, _state: None, /) -> bool:
        body = json.dumps({"item": 1, "choice": "left", "response_ms": 900}).encode()
        status, _ = await connection.request("POST", "/vote", body, "Content-Type: application/json\r\n")
        return status == 200


@dataclass
class Seat:
    """What a browser on the pair page remembers."""

    csrf: str
    tab: str
    queue: list[str]
    acknowledged: list[str] = field(default_factory=list)
    over: bool = False


class StudyServer:
    """Ours: consent, session, then votes that bring the next pair."""

    def __init__(self, slug: str) -> None:
        self.slug = slug

    async def enter(self, connection: Connection) -> Seat:
        root = f"/s/{self.slug}"
        status, page = await connection.request("GET", f"{root}?simulated=1")
        assert status == 200, page
        csrf = re.search(rb'name="csrf" value="([^"]+)"', page)
        assert csrf is not None
        form = urlencode({"csrf": csrf[1].decode(), "consent": "yes", "simulated": "1"}).encode()
        kind = "Content-Type: application/x-www-form-urlencoded\r\n"
        status, page = await connection.request("POST", f"{root}/consent", form, kind)
        assert status == 303, page
        status, page = await connection.request("GET", f"{root}/task")
        assert status == 200, page
        meta = re.search(rb'csrf-token" content="([^"]+)"', page)
        assert meta is not None
        seat = Seat(meta[1].decode(), "", [])
        await self._session(connection, seat)
        return seat

    async def _session(self, connection: Connection, seat: Seat) -> None:
        status, body = await self._post(connection, seat, "session", {"tab_token": seat.tab or None})
        assert status == 200, body
        state = json.loads(body)
        seat.tab = state["tab_token"]
        seat.queue = [item["token"] for item in state["queue"]]
        seat.over = state["state"] in ("finished", "closed")

    async def _post(self, connection: Connection, seat: Seat, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        headers = f"Content-Type: application/json\r\nX-CSRF-Token: {seat.csrf}\r\n"
        return await connection.request("POST", f"/s/{self.slug}/api/{path}", json.dumps(body).encode(), headers)

    async def operate(self, connection: Connection, state: Seat) -> bool:
        if not state.queue:
            await self._session(connection, state)
            if state.over:
                # This person has judged everything; the next one sits down.
                connection.cookies.clear()
                state.__dict__.update((await self.enter(connection)).__dict__ | {"acknowledged": state.acknowledged})
            if not state.queue:
                await asyncio.sleep(0.2)
                return False
        key = str(uuid.uuid4())
        ballot = {
            "assignment": state.queue.pop(0),
            "answers": {"overall": "left"},
            "response_ms": 900,
            "hidden_ms": 0,
            "idempotency_key": key,
            "tab_token": state.tab,
            "input": "key",
            "painted_at": 1_700_000_000_000,
            "viewport": {"w": 1440, "h": 900, "dpr": 1.0},
        }
        status, body = await self._post(connection, state, "votes", ballot)
        if status != 200:
            return False
        following = json.loads(body)["next"]
        if following is not None:
            state.queue.append(following["token"])
        state.acknowledged.append(key)
        return True


@dataclass
class LoadResult:
    """What one run of the generator saw; latencies in milliseconds."""

    annotators: int
    seconds: float
    operations: int
    failures: int
    per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    keys: list[str] = field(default_factory=list, repr=False)


async def drive(
    adapter: Adapter, *, host: str, port: int, annotators: int, seconds: float, think: float = 0.0
) -> LoadResult:
    """Let `annotators` operate for `seconds`, each waiting `think` between operations (their starts spread)."""
    connections = [Connection(host, port) for _ in range(annotators)]
    seats: list[Any] = []
    entering = asyncio.Semaphore(32)

    async def enter(connection: Connection) -> Any:
        async with entering:
            return await adapter.enter(connection)

    seats = await asyncio.gather(*(enter(connection) for connection in connections))
    latencies: list[float] = []
    failures = 0
    begin = time.perf_counter()
    end = begin + seconds

    async def one(number: int) -> None:
        nonlocal failures
        connection, seat = connections[number], seats[number]
        if think:
            await asyncio.sleep(think * number / annotators)
        while time.perf_counter() < end:
            start = time.perf_counter()
            if await adapter.operate(connection, seat):
                latencies.append(time.perf_counter() - start)
            else:
                failures += 1
            if think:
                await asyncio.sleep(think)

    await asyncio.gather(*(one(number) for number in range(annotators)))
    elapsed = time.perf_counter() - begin
    for connection in connections:
        connection.close()
    ordered = sorted(latencies) or [float("nan")]

    def at(share: float) -> float:
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    keys = [key for seat in seats if isinstance(seat, Seat) for key in seat.acknowledged]
    return LoadResult(
        annotators,
        elapsed,
        len(latencies),
        failures,
        len(latencies) / elapsed,
        at(0.5),
        at(0.95),
        at(0.99),
        at(1.0),
        keys,
    )
