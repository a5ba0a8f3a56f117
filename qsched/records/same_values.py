"""Whether two JSON values say the same, with a stated tolerance for numbers that were computed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

#: Of numbers that were computed twice, perhaps by other versions of numpy: a share of the number, or of 1 if more.
TOLERANCE = 1e-6


def differences(one: Any, other: Any, *, tolerance: float = TOLERANCE, place: str = "") -> Iterator[str]:
    """The places (`pairwise.0.win_rate`) at which two values differ; numbers, by more than the tolerance.

    Whole numbers are counts and have no tolerance; neither has a truth value.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            within = f"{place}.{key}" if place else str(key)
            if key not in one or key not in other:
                yield within
            else:
                yield from differences(one[key], other[key], tolerance=tolerance, place=within)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, pair in enumerate(zip(one, other, strict=True)):
            yield from differences(*pair, tolerance=tolerance, place=f"{place}.{number}" if place else str(number))
    elif not _same(one, other, tolerance):
        yield place


def _same(one: Any, other: Any, tolerance: float) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        both_nan = one != one and other != other
        return both_nan or math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)  # inf is close to inf alone
    return type(one) is type(other) and bool(one == other)
