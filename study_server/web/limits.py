"""Rate limits in memory: a token bucket a session and one an address. Nothing of it is stored."""

from __future__ import annotations

import ipaddress
import time

from study_server.errors import TooMany

MAX_BUCKETS = 50_000


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
