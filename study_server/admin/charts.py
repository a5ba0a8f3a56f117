"""Charts as numbers: a template draws the bars, so that no script and no library is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, GAP = 480.0, 90.0, 0.2
INTERVAL_WIDTH = 160.0


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a chart of WIDTH x HEIGHT units, and its words."""

    x: float
    y: float
    width: float
    height: float
    words: str


@dataclass(frozen=True, slots=True)
class BarChart:
    """Bars on a common scale; `highest` is the value of a bar of full height."""

    bars: tuple[Bar, ...]
    highest: int
    words: str


def bar_chart(values: Sequence[tuple[str, int]], *, words: str) -> BarChart:
    """A bar for each (label, value); a value above zero is never invisible."""
    highest = max((value for _, value in values), default=0)
    step = WIDTH / max(1, len(values))
    bars = []
    for place, (label, value) in enumerate(values):
        height = 0.0 if value == 0 else max(1.5, HEIGHT * value / highest)
        bars.append(
            Bar(
                round(place * step + GAP * step / 2, 2),
                round(HEIGHT - height, 2),
                round((1 - GAP) * step, 2),
                round(height, 2),
                f"{label}: {value:,}",
            )
        )
    return BarChart(tuple(bars), highest, words)


@dataclass(frozen=True, slots=True)
class IntervalBar:
    """An interval on a scale of INTERVAL_WIDTH units: its ends, the value within, and an even rate."""

    low: float
    value: float
    high: float
    even: float


def interval_bars(rates: Sequence[tuple[float | None, float | None, float | None]]) -> tuple[IntervalBar | None, ...]:
    """(low, rate, high) on one scale for all, which shows 50 % too; None where one is missing."""
    known = [value for rate in rates for value in rate if value is not None]
    first, last = min([0.5, *known]), max([0.5, *known])
    room = 0.05 * (last - first) or 0.01

    def place(value: float) -> float:
        return round(INTERVAL_WIDTH * (value - first + room) / (last - first + 2 * room), 1)

    return tuple(
        None
        if low is None or value is None or high is None
        else IntervalBar(place(low), place(value), place(high), place(0.5))
        for low, value, high in rates
    )
