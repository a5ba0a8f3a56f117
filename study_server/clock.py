"""Time as the database keeps it: whole milliseconds since 1970 UTC."""

from __future__ import annotations

import time


def now_ms() -> int:
    """The present in milliseconds."""
    return time.time_ns() // 1_000_000
