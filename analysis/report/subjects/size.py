"""Elo against the size of each arm's model: what a smaller model costs, with its uncertainty.

The size is measured, except that of a simulated arm: its weights are floats in memory, so its packed size is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from analysis.report.kit.escape import short_label
from analysis.report.kit.section import Section
from analysis.report.kit.style import BLUE, GRID, INK, ORANGE, PAPER, Draft, lay_out, new_figure
from analysis.report.kit.table import data_size, signed
from analysis.report.subjects.claims import percent_words
from analysis.report.subjects.pictures import ImageSet
from analysis.report.subjects.strengths import comparing, drawn_bounds
from analysis.stats import Estimate, StrengthRow

LABEL_POINTS = 8
# Places for a label, best first: (points right, points up) from its marker.
PLACES = ((7, 0), (-7, 0), (7, 11), (-7, 11), (7, -11), (-7, -11), (7, 22), (-7, 22), (7, -22), (-7, -22))
#: First digits of the ticks, finest first, and how many labels the axis has room for.
TICK_DIGITS = ((1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0), (1.0, 2.0, 5.0), (1.0,))
MOST_TICKS = 7


def size_section(estimate: Estimate | None, image_set: ImageSet | None) -> Section:
    """Empty without an image set; in place of the figure, a sentence if it gives the size of fewer than two arms."""
    empty = Section("size", "Strength against model size")
    if estimate is None or image_set is None:
        return empty
    sizes = image_set.sizes()
    if sum(row.arm in sizes for row in estimate.strengths) < 2:
        text = "Not drawn: the image set's manifest has the size of fewer than two of the arms. An arm needs "
        text += "denoiser_bytes there, a simulated one packed_bytes."
        return replace(empty, paragraphs=(text,))
    simulated = frozenset(arm.name for arm in image_set.manifest.arms if arm.simulated)
    return replace(empty, figures=(partial(draw_size, estimate, sizes, simulated=simulated),))


def draw_size(estimate: Estimate, sizes: dict[str, int], *, simulated: frozenset[str]) -> Draft:
    """One point per arm with a known size. Hollow: simulated, at its packed size; nothing is known of its speed."""
    rows = [row for row in estimate.strengths if row.arm in sizes]
    unknown = sorted(row.arm for row in estimate.strengths if row.arm not in sizes)
    bars = {row.arm: drawn_bounds(row) for row in rows}
    figure = new_figure(5.6, 3.7)
    axes = figure.add_subplot()
    axes.axhline(1000, color=GRID, linewidth=1)
    x_of = _side_by_side(rows, sizes)
    smallest, biggest = min(sizes[row.arm] for row in rows), max(sizes[row.arm] for row in rows)
    axes.set_xscale("log")
    axes.set_xlim(smallest / 1.6, biggest * 1.6)
    low, high = min(low for low, _ in bars.values()), max(high for _, high in bars.values())
    margin = 0.06 * max(high - low, 1.0)
    axes.set_ylim(min(low, 1000.0) - margin, max(high, 1000.0) + margin)
    for row in rows:
        tuned = "+qsched" in row.arm
        colour = ORANGE if tuned else BLUE
        axes.plot([x_of[row.arm]] * 2, bars[row.arm], color=colour, linewidth=1.6)
        axes.plot(
            x_of[row.arm],
            row.elo,
            "s" if tuned else "o",
            color=colour,
            markerfacecolor=PAPER if row.arm in simulated else colour,
            markersize=6,
            markeredgewidth=1.4,
        )
    axes.xaxis.set_major_locator(FixedLocator(_ticks(smallest / 1.6, biggest * 1.6)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: _tick_label(size)))
    axes.set_xlabel("size of the denoiser's tensors: measured, or packed if marked so (log scale)")
    axes.set_ylabel("Elo (1000 = mean of the arms)")
    axes.grid(axis="y")
    lay_out(figure)  # labels are placed in points
    labels = {row.arm: short_label(row.arm, width=22) + (" (packed)" if row.arm in simulated else "") for row in rows}
    _write_labels(axes, rows, x_of, labels=labels, bars=bars)
    percent = percent_words(estimate.settings.confidence)
    spoken = "; ".join(
        f"{short_label(row.arm)} {data_size(sizes[row.arm])}{' packed' if row.arm in simulated else ''}, "
        f"Elo {signed(row.elo, 0)} ({signed(bars[row.arm][0], 0)} to {signed(bars[row.arm][1], 0)})"
        for row in rows
    )
    which = "for comparing arms with each other" if comparing(estimate) else "against the mean of all arms"
    caption = (
        f"Elo, with {percent} intervals {which}, against the bytes of the denoiser (from the image set's manifest; "
        "text encoders and VAE not counted). Squares: with Q-Sched. Hollow markers: low-precision arithmetic was "
        "imitated, so the size is what the weights would take if packed, and nothing is said about speed; the other "
        "sizes are measured. Arms of one size are drawn side by side."
    )
    if unknown:
        caption += f" Not drawn, because the manifest has no size for them: {', '.join(map(short_label, unknown))}."
    return Draft(
        name="elo-size",
        figure=figure,
        title="Elo against model size",
        alt=f"Scatter plot with {percent} intervals. {spoken}.",
        caption=caption,
    )


def _side_by_side(rows: list[StrengthRow], sizes: dict[str, int]) -> dict[str, float]:
    """Arms of one size (with and without Q-Sched) would hide each other: they are drawn 4 % apart."""
    by_size: dict[int, list[str]] = {}
    for row in rows:
        by_size.setdefault(sizes[row.arm], []).append(row.arm)
    return {
        arm: size * 1.04 ** (index - (len(arms) - 1) / 2)
        for size, arms in by_size.items()
        for index, arm in enumerate(arms)
    }


def _ticks(low: float, high: float) -> list[float]:
    """Round sizes inside the axis, as many as have room for their labels."""
    for digits in TICK_DIGITS:
        every = [digit * 10.0**power for power in range(13) for digit in digits]
        found = [tick for tick in every if low <= tick <= high]
        if len(found) <= MOST_TICKS:
            break
    return found


def _tick_label(size: float) -> str:
    """A round size without needless digits: 1_500_000 -> '1.5 MB'."""
    unit, factor = next(((u, f) for u, f in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)) if size >= f), ("B", 1.0))
    return f"{size / factor:g}\u00a0{unit}"


@dataclass(frozen=True)
class _LabelBox:
    left: float
    right: float
    bottom: float
    top: float

    def meets(self, other: _LabelBox) -> bool:
        return (
            self.left < other.right and other.left < self.right and self.bottom < other.top and other.bottom < self.top
        )


def _write_labels(
    axes: Axes,
    rows: list[StrengthRow],
    x_of: dict[str, float],
    *,
    labels: dict[str, str],
    bars: dict[str, tuple[float, float]],
) -> None:
    """Put each arm's name at the first place that covers no marker, interval or other name."""
    scale = 72 / axes.figure.dpi
    frame = axes.get_window_extent()
    taken: list[_LabelBox] = []
    for row in rows:
        x, y = axes.transData.transform((x_of[row.arm], row.elo)) * scale
        bottom, top = (axes.transData.transform((x_of[row.arm], end))[1] * scale for end in bars[row.arm])
        taken += [_LabelBox(x - 4, x + 4, y - 4, y + 4), _LabelBox(x - 1.5, x + 1.5, bottom, top)]
    for row in rows:
        x, y = axes.transData.transform((x_of[row.arm], row.elo)) * scale
        text = labels[row.arm]
        width = 0.62 * LABEL_POINTS * len(text)
        free: list[tuple[int, int]] = []
        for dx, dy in PLACES:
            left = x + dx if dx > 0 else x + dx - width
            box = _LabelBox(left, left + width, y + dy - LABEL_POINTS / 2, y + dy + LABEL_POINTS / 2)
            inside = frame.x0 * scale <= box.left and box.right <= frame.x1 * scale
            if inside and not any(box.meets(other) for other in taken):
                free.append((dx, dy))
                taken.append(box)
                break
        dx, dy = free[0] if free else PLACES[0]
        axes.annotate(
            text,
            (x_of[row.arm], row.elo),
            xytext=(dx, dy),
            textcoords="offset points",
            ha="left" if dx > 0 else "right",
            va="center",
            color=INK,
            fontsize=LABEL_POINTS,
            bbox={"facecolor": "none", "edgecolor": "none", "pad": 0},
        )
