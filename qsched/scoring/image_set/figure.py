"""The figure of metrics.html: quality against the size of the denoiser, as inline SVG."""

from __future__ import annotations

import html
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qsched.pages import Figure, svg_of
from qsched.scoring.image_set.table import SetScores

FRONT, BEHIND, QUIET = "#3b82c4", "#d0682b", "#7b8794"  # readable on white and on black
# In shares of the axes: a letter and a line of a label, half a bar's cap, how far arms of one size are set
# apart, and half the room of a line.
LETTER, LINE, CAP, APART, THIN = 0.019, 0.05, 0.014, 0.035, 0.004
LONGEST_LABEL = 24


@dataclass(frozen=True)
class Point:
    """One arm: size in MB, mean and interval of its quality."""

    arm: str
    size: float
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Rectangle:
    """A rectangle in shares of the axes."""

    left: float
    right: float
    bottom: float
    top: float

    def meets(self, other: Rectangle) -> bool:
        """True if the two overlap."""
        return (
            self.left < other.right and other.left < self.right and self.bottom < other.top and other.bottom < self.top
        )


def beaten_arms(sizes: Mapping[str, float], leads: Collection[tuple[str, str]]) -> set[str]:
    """The arms that another one, not larger, is shown to be better than: (better, worse) in `leads`."""
    return {worse for better, worse in leads if better in sizes and worse in sizes and sizes[better] <= sizes[worse]}


def plan_points(scores: SetScores, metric: str) -> list[Point]:
    """The arms that have a size and an interval: differences to the baseline, which itself is at 0.

    An arm with the pictures of an earlier one is left out: a place of its own would rank it.

    A metric against the twin is a comparison already and is shown as it is, without the baseline.
    """
    points = []
    for arm in scores.arms:
        one = arm.metric(metric)
        if one is None or arm.size_bytes is None or arm.same_as is not None:
            continue
        if arm.arm.name == scores.baseline and one.interval is None:
            points.append(Point(arm.arm.name, arm.size_bytes / 1e6, 0.0, 0.0, 0.0))
        elif (found := one.difference or one.interval) is not None:
            points.append(Point(arm.arm.name, arm.size_bytes / 1e6, found.mean, found.low, found.high))
    return points


def spread_sizes(sizes: Sequence[float], *, least: float) -> list[float]:
    """The sizes, those nearer to each other than `least` set apart by it about their middle, in their order."""
    groups: list[list[int]] = []
    for i in sorted(range(len(sizes)), key=lambda i: sizes[i]):
        groups.append([i])
        # Neighbours that would touch become one group, about the middle of all of them.
        while len(groups) > 1 and _edge(groups[-1], sizes, least, -1) - _edge(groups[-2], sizes, least, 1) < least:
            groups[-2:] = [groups[-2] + groups[-1]]
    placed = list(sizes)
    for group in groups:
        start = _edge(group, sizes, least, -1)
        for rank, i in enumerate(group):
            placed[i] = start + rank * least
    return placed


def _edge(group: Sequence[int], sizes: Sequence[float], least: float, side: int) -> float:
    """Where a group begins (side -1) or ends (side 1) once its members are `least` apart."""
    return sum(sizes[i] for i in group) / len(group) + side * (len(group) - 1) / 2 * least


def place_labels(
    spots: Sequence[tuple[float, float]], bars: Sequence[Rectangle], labels: Sequence[str]
) -> list[Rectangle]:
    """A free place for each label beside its spot, all in shares of the axes; the nearest wins, the right side first.

    If everything is taken, the first place inside the axes is used: a label that touches something is better than none.
    """
    taken = list(bars)
    placed = []
    for (x, y), label in zip(spots, labels, strict=True):
        width = LETTER * len(label)
        candidates = []
        for step in range(20):
            for side in (1, -1):
                for gap in (CAP, CAP + APART, CAP + 2 * APART):
                    for up in {step, -step}:
                        left = x + gap if side > 0 else x - gap - width
                        middle = y + up * LINE / 2
                        box = Rectangle(left, left + width, middle - LINE / 2, middle + LINE / 2)
                        if left >= 0 and left + width <= 1 and box.bottom >= 0 and box.top <= 1:
                            candidates.append(box)
        fallback = candidates[0] if candidates else Rectangle(x, x + width, y - LINE / 2, y + LINE / 2)
        found = next((box for box in candidates if not any(box.meets(other) for other in taken)), fallback)
        taken.append(found)
        placed.append(found)
    return placed


def render_figure(scores: SetScores, metric: str) -> Figure | None:
    """The drawing with its note; None if fewer than two arms have a size and an interval."""
    points = plan_points(scores, metric)
    if len(points) < 2:
        return None
    from matplotlib import figure as drawing

    figure = drawing.Figure(figsize=(5.4, 4.4))
    panel: Any = figure.subplots()
    sizes = [point.size for point in points]
    span = max(max(sizes) - min(sizes), 0.1 * max(sizes), 1e-6)
    left, right = min(sizes) - 0.15 * span, max(sizes) + 0.15 * span
    lows, highs = min(point.low for point in points), max(point.high for point in points)
    tall = max(highs - lows, 1e-9)
    bottom, top = lows - 0.1 * tall, highs + 0.1 * tall
    xs = spread_sizes(sizes, least=APART * (right - left))
    beaten = beaten_arms({point.arm: point.size for point in points}, scores.leads)

    spots, bars = [], []
    for x, point in zip(xs, points, strict=True):
        share = (x - left) / (right - left)
        low, mean, high = ((value - bottom) / (top - bottom) for value in (point.low, point.mean, point.high))
        spots.append((share, mean))
        bars.append(Rectangle(share - CAP, share + CAP, min(low, mean - CAP), max(high, mean + CAP)))
    # A metric against the twin has no line at 0: it is not a difference.
    at_zero = -bottom / (top - bottom)
    zero = [] if scores.against_twin(metric) else [Rectangle(0.0, 1.0, at_zero - THIN, at_zero + THIN)]
    labels = [p.arm if len(p.arm) <= LONGEST_LABEL else p.arm[: LONGEST_LABEL - 1] + "…" for p in points]
    boxes = place_labels(spots, bars + zero, labels)
    for i, (x, point, box, label) in enumerate(zip(xs, points, boxes, labels, strict=True)):
        colour = BEHIND if point.arm in beaten else FRONT
        bar = [[point.mean - point.low], [point.high - point.mean]]
        panel.errorbar(x, point.mean, yerr=bar, fmt="s" if point.arm in beaten else "o", color=colour, capsize=4, ms=5)
        beside = box.left if box.left >= spots[i][0] else box.right
        side = "left" if box.left >= spots[i][0] else "right"
        panel.annotate(
            label,
            spots[i],
            xytext=(beside, (box.bottom + box.top) / 2),
            xycoords="axes fraction",
            textcoords="axes fraction",
            ha=side,
            va="center",
            fontsize=9,
            color=colour,
            parse_math=False,
            arrowprops={"arrowstyle": "-", "lw": 0.5, "color": colour, "shrinkA": 0, "shrinkB": 3},
        )
    if not scores.against_twin(metric):
        panel.axhline(0, color=QUIET, lw=0.8, ls=":", zorder=0)
    panel.set_xlim(left, right)
    panel.set_ylim(bottom, top)
    panel.set_xlabel("denoiser (MB): measured,\nfor simulated precisions computed as packed")
    what = "against" if scores.against_twin(metric) else "difference to"
    panel.set_ylabel(f"{metric}: {what} {scores.baseline}", parse_math=False)
    figure.tight_layout()
    svg = svg_of(figure)
    label = html.escape(f"{metric} of {len(points)} arms against the size of the denoiser; the tables hold the values")
    note = (
        "Square marks: another arm that is not larger is shown to be better (their paired interval, not corrected for "
        "the number of pairs, is beyond 0). Round marks: none is."
    )
    if xs != sizes:
        note += " Arms of nearly one size are set a little apart."
    same = [f"{arm.arm.name} (the pictures of {arm.same_as})" for arm in scores.arms if arm.same_as is not None]
    if same:
        note += f" Not drawn: {', '.join(same)}."
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    return Figure(svg, note)
