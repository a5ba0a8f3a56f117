"""A scatter plot as SVG text whose colours are those of the page, light or dark."""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 18, 34, 56
#: How far marks that would hide each other are set apart, in units of the drawing.
APART = 20


@dataclass(frozen=True)
class Mark:
    """One arm: its number, name, whether it is repaired, and its place with the bounds of y."""

    number: str
    name: str
    is_repaired: bool
    x: float
    y: float
    low: float | None
    high: float | None


def scatter(marks: Sequence[Mark], *, x_label: str, y_label: str, log: bool) -> str:
    """The drawing: shares of votes upwards, with a line at one half; marks of one place are set a little apart."""
    xs = [math.log(mark.x) if log else mark.x for mark in marks]
    low_x, high_x = _range(xs, least=0.1 * abs(max(xs, key=abs)) or 1.0)
    values = [value for mark in marks for value in (mark.y, mark.low, mark.high, 0.5) if value is not None]
    low_y, high_y = _range(values, least=0.1)
    low_y, high_y = max(0.0, low_y), min(1.0, high_y)

    def across(x: float) -> float:
        return LEFT + (x - low_x) / (high_x - low_x) * (WIDTH - LEFT - RIGHT)

    def down(y: float) -> float:
        return TOP + (high_y - y) / (high_y - low_y) * (HEIGHT - TOP - BOTTOM)

    places = _spread([across(x) for x in xs])
    label = html.escape(f"{y_label} of {len(marks)} arms by {x_label}; the table has the values")
    parts = [f'<svg class="scatter" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">']
    for tick in _ticks(low_y, high_y):
        line, y = "half" if abs(tick - 0.5) < 1e-9 else "grid", down(tick)
        parts.append(f'<line class="{line}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:.0%}</text>')
    for tick in _x_ticks(low_x, high_x, log=log):
        at = across(math.log(tick) if log else tick)
        parts.append(
            f'<text class="tick" x="{at:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{tick:,g}</text>'
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 10}" text-anchor="middle">{html.escape(x_label)}</text>')
    parts.append(f'<text x="{LEFT}" y="{TOP - 14}" text-anchor="start">{html.escape(y_label)}</text>')
    for x, mark in zip(places, marks, strict=True):
        parts += _drawn(mark, x, down)
    return "\n".join([*parts, "</svg>"])


def _drawn(mark: Mark, x: float, down: Callable[[float], float]) -> list[str]:
    y = down(mark.y)
    kind = "repaired" if mark.is_repaired else "stock"
    parts = [f'<g class="{kind}"><title>{html.escape(f"{mark.name}: {mark.y:.1%}")}</title>']
    if mark.low is not None and mark.high is not None:
        top, bottom = down(mark.high), down(mark.low)
        parts.append(
            f'<path d="M{x:.1f} {top:.1f}V{bottom:.1f}M{x - 5:.1f} {top:.1f}h10M{x - 5:.1f} {bottom:.1f}h10"/>'
        )
    if mark.is_repaired:
        parts.append(f'<rect x="{x - 9:.1f}" y="{y - 9:.1f}" width="18" height="18" rx="2"/>')
    else:
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="10"/>')
    parts.append(f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle">{html.escape(mark.number)}</text></g>')
    return parts


def _range(values: Sequence[float], *, least: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = max(high - low, least)
    return low - 0.12 * room, high + 0.12 * room


def _ticks(low: float, high: float) -> list[float]:
    """Round shares between the bounds, one half among them if it is."""
    step = next(step for step in (0.05, 0.1, 0.2) if (high - low) / step <= 8)
    return [n * step for n in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _x_ticks(low: float, high: float, *, log: bool) -> list[float]:
    if not log:
        step = 10 ** math.floor(math.log10((high - low) / 2))
        step = next(step * n for n in (1, 2, 5, 10) if (high - low) / (step * n) <= 6)
        return [n * step for n in range(max(0, math.ceil(low / step)), math.floor(high / step) + 1)]
    found = [
        n * 10.0**power
        for power in range(math.floor(low / math.log(10)), math.ceil(high / math.log(10)) + 1)
        for n in (1, 2, 5)
    ]
    return [tick for tick in found if low <= math.log(tick) <= high]


def _spread(xs: Sequence[float]) -> list[float]:
    """The places, each at least APART from its left neighbour, and all inside the drawing."""
    placed = list(xs)
    order = sorted(range(len(xs)), key=lambda place: (xs[place], place))
    for before, after in itertools.pairwise(order):
        placed[after] = max(placed[after], placed[before] + APART)
    over = placed[order[-1]] - (WIDTH - RIGHT - 10)
    if over > 0:
        edge = WIDTH - RIGHT - 10.0
        for place in reversed(order):
            placed[place] = min(placed[place], edge)
            edge = placed[place] - APART
    return placed
