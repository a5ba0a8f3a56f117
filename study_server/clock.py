"""Time as the database keeps it: whole milliseconds since 1970 UTC.

With several machines on one PostgreSQL, a lease is given by one and ended by another. So all of them go by one clock,
that of the database: a server measures how far its own is ahead at the start and with every sweep.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

#: A difference that is smaller may be that of the measurement, and moves nothing.
LEAST_MS = 50
_ahead_ms = 0


def now_ms() -> int:
    """The present by the database's clock, in milliseconds."""
    return time.time_ns() // 1_000_000 - _ahead_ms


def now_utc() -> datetime:
    """The same as a time with its zone, for records that people and programs read."""
    return datetime.fromtimestamp(now_ms() / 1000, UTC)


def follow_database(ahead_ms: int) -> None:
    """From now on this machine's clock counts as so many milliseconds ahead of the database's."""
    global _ahead_ms
    if abs(ahead_ms - _ahead_ms) >= LEAST_MS:
        _ahead_ms = ahead_ms
