"""Limits in memory: calls of a session, arrivals and waiting pairs of an address. Nothing of it is stored."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable

from starlette.requests import HTTPConnection

from study_server.errors import TooMany

MAX_BUCKETS = 50_000


def address_of(request: HTTPConnection) -> int:
    """The group of the address that a request came from; behind a proxy, what the proxy says (docs/study-server.md)."""
    return address_group(request.client.host if request.client is not None else "")


def address_group(address: str) -> int:
    """What an address is counted as: one of IPv4, a /64 of IPv6, since one person has all of it. Hashed, not kept."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:  # a name or a socket; whatever it is, it is counted
        return hash(address)
    return hash(known if known.version == 4 else int(known) >> 64)


class RateLimit:
    """`burst` calls at once, `per_second` in the long run, for each key."""

    def __init__(self, *, per_second: float, burst: int) -> None:
        self._rate = per_second
        self._burst = float(burst)
        self._buckets: dict[object, tuple[float, float]] = {}

    def check(self, key: object) -> None:
        """Count one call; TooMany where the bucket is empty."""
        now = time.monotonic()
        level, since = self._buckets.get(key, (self._burst, now))
        level = min(self._burst, level + (now - since) * self._rate)
        if level < 1:
            raise TooMany("too many requests at once; wait a moment")
        if len(self._buckets) >= MAX_BUCKETS and key not in self._buckets:
            self._forget_full(now)
        self._buckets[key] = (level - 1, now)

    def _forget_full(self, now: float) -> None:
        """A bucket that has filled up again says nothing; without any such, the oldest half goes."""
        kept = {k: (v, t) for k, (v, t) in self._buckets.items() if v + (now - t) * self._rate < self._burst}
        if len(kept) >= MAX_BUCKETS:
            kept = dict(sorted(kept.items(), key=lambda item: item[1][1])[len(kept) // 2 :])
        self._buckets = kept


class HoldingLimit:
    """At most `most` sessions of one address hold pairs of which they have not yet judged any.

    A session is forgotten when it judges, or after `seconds`: then its pairs go to whoever needs them.
    """

    def __init__(self, *, most: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._waiting: dict[int, dict[int, float]] = {}
        self._address_of: dict[int, int] = {}

    def admit(self, address: int, session: int) -> None:
        """Count a session that is about to be given pairs; TooMany if its address has enough of them."""
        now = self._clock()
        for one in [one for one, since in self._waiting.get(address, {}).items() if now - since >= self._seconds]:
            self.release(one)
        waiting = self._waiting.get(address, {})
        if session in waiting:
            return
        if len(waiting) >= self._most:
            raise TooMany(f"{self._most} people of your network are at their first pair; wait until one has answered")
        self.release(session)
        if len(self._waiting) >= MAX_BUCKETS and address not in self._waiting:
            self._forget_old(now)
        self._waiting.setdefault(address, {})[session] = now
        self._address_of[session] = address

    def release(self, session: int) -> None:
        """The session has judged a pair."""
        address = self._address_of.pop(session, None)
        if address is not None:
            del self._waiting[address][session]
            if not self._waiting[address]:
                del self._waiting[address]

    def _forget_old(self, now: float) -> None:
        kept = {a: w for a, w in self._waiting.items() if any(now - since < self._seconds for since in w.values())}
        self._waiting = dict(list(kept.items())[len(kept) // 2 :]) if len(kept) >= MAX_BUCKETS else kept
        self._address_of = {session: address for address, waiting in self._waiting.items() for session in waiting}
