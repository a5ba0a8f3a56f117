"""Sends what is due, beside the votes: a task of the server that looks every second or two.

No vote waits for a receiver: an attempt has SECONDS, and the database is touched before and after it, not meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import time

import httpx

from qsched import __version__
from study_server.clock import now_ms
from study_server.db import Reader
from study_server.db.database import DRIVER_ERRORS
from study_server.errors import StudyError
from study_server.webhooks.addresses import AddressRefused, check_url, resolve
from study_server.webhooks.outbox import AttemptOutcome, Due, claim_due, forget_old, is_anything_due, note_outcome
from study_server.webhooks.signing import signature
from study_server.writing import Writer

log = logging.getLogger(__name__)
SECONDS = 10.0
AT_ONCE = 16
FORGET_EVERY_S = 3_600.0


class Sender:
    """One per process; `run` until it is cancelled."""

    def __init__(self, reader: Reader, writer: Writer, *, look_every_s: float = 1.0) -> None:
        self._reader = reader
        self._writer = writer
        self._look_every = look_every_s
        self._client: httpx.AsyncClient | None = None

    async def run(self) -> None:
        """Look for what is due, and send it."""
        forget_at = time.monotonic() + FORGET_EVERY_S
        try:
            while True:
                await asyncio.sleep(self._look_every)
                try:
                    while await self._reader.run(is_anything_due) and await self.send_due():
                        pass
                    if time.monotonic() >= forget_at:
                        await self._writer.run(forget_old, None)
                        forget_at = time.monotonic() + FORGET_EVERY_S
                except (StudyError, *DRIVER_ERRORS) as error:
                    log.warning("webhooks were not sent: %s", error)
        finally:
            if self._client is not None:
                await self._client.aclose()

    async def send_due(self) -> int:
        """Send what is due, AT_ONCE at a time; returns how many."""
        due = await self._writer.run(claim_due, None, limit=AT_ONCE)
        if due:
            if self._client is None:  # the certificates take a while to load, and most servers have no webhooks
                self._client = await asyncio.to_thread(_new_client)
            for outcome in await asyncio.gather(*(_attempt(self._client, one) for one in due)):
                await self._writer.run(note_outcome, None, outcome=outcome)
        return len(due)


def _new_client() -> httpx.AsyncClient:
    # trust_env: a proxy would look names up by itself, after they were checked here.
    return httpx.AsyncClient(timeout=SECONDS, follow_redirects=False, trust_env=False)


async def _attempt(client: httpx.AsyncClient, due: Due) -> AttemptOutcome:
    """Send one event; whatever happens is an outcome."""
    try:
        async with asyncio.timeout(SECONDS):
            status = await _send(client, due)
    except (AddressRefused, StudyError) as error:
        return AttemptOutcome(due, None, str(error))
    except TimeoutError:
        return AttemptOutcome(due, None, f"no answer within {SECONDS:g} s")
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        return AttemptOutcome(due, None, f"{type(error).__name__}: {error}"[:300])
    answered = f"the receiver answered {status}" + ("; redirects are not followed" if 300 <= status < 400 else "")
    return AttemptOutcome(due, status, None if 200 <= status < 300 else answered)


async def _send(client: httpx.AsyncClient, due: Due) -> int:
    parts = check_url(due.url, allow_private=due.allow_private)
    host = parts.hostname or ""
    address = await resolve(parts, allow_private=due.allow_private)
    now = now_ms() // 1000
    headers = {
        "content-type": "application/json",
        "host": parts.netloc,
        "user-agent": f"qsched/{__version__}",
        "webhook-id": due.message_id,
        "webhook-timestamp": str(now),
        "webhook-signature": signature(due.secret, message_id=due.message_id, timestamp=now, body=due.body),
    }
    # To the address that was checked; the certificate is still that of the name.
    request = client.build_request(
        "POST",
        httpx.URL(due.url).copy_with(host=str(address)),
        content=due.body.encode(),
        headers=headers,
        extensions={"sni_hostname": host, "timeout": httpx.Timeout(SECONDS).as_dict()},
    )
    # Nobody reads the body of the answer.
    answer = await client.send(request, stream=True)
    await answer.aclose()
    return answer.status_code
