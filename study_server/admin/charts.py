"""Charts as numbers: a template draws the bars, so that no script and no library is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, GAP = 480.0, 90.0, 0.2


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
