"""Position and time: answers along a session, and how long they took."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from analysis.report.kit.style import BLUE, GRID, INK, MUTED, ORANGE, PALE, Draft, new_figure
from analysis.report.order import OrderBin


def draw_session(order: tuple[OrderBin, ...], histogram: tuple[tuple[float, float, int], ...]) -> Draft:
    """Left: share of left and tie answers by place in the session. Middle: median time. Right: all times."""
    panels_wanted = [bool(order), any(b.median_ms is not None for b in order), bool(histogram)]
    figure = new_figure(6.4, 2.8)
    panels = figure.subplots(1, sum(panels_wanted), squeeze=False)[0]
    index = 0
    places = [(b.first + b.last) / 2 for b in order]
    if panels_wanted[0]:
        panel = panels[index]
        index += 1
        decided = [max(1, b.left + b.right) for b in order]
        total = [max(1, b.n_votes) for b in order]
        panel.axhline(50, color=GRID, linewidth=1)
        panel.plot(
            places,
            [100 * b.left / d for b, d in zip(order, decided, strict=True)],
            "o-",
            color=BLUE,
            markersize=3.5,
            label="left, of decided",
        )
        panel.plot(
            places,
            [100 * b.ties / t for b, t in zip(order, total, strict=True)],
            "s-",
            color=ORANGE,
            markersize=3.5,
            label="tie, of all",
        )
        panel.set_ylim(-3, 103)  # a point at 0 or 100 % is drawn whole
        panel.set_ylabel("% of answers")
        panel.set_xlabel("place in the session")
        _legend_above(panel)
    if panels_wanted[1]:
        panel = panels[index]
        index += 1
        panel.fill_between(
            places,
            [_seconds(b.quartile_low_ms) for b in order],
            [_seconds(b.quartile_high_ms) for b in order],
            color=PALE,
            linewidth=0,
            label="middle half",
        )
        panel.plot(places, [_seconds(b.median_ms) for b in order], "o-", color=BLUE, markersize=3.5, label="median")
        panel.set_ylim(0, 1.1 * max(_seconds(b.quartile_high_ms) for b in order if b.quartile_high_ms is not None))
        panel.set_ylabel("seconds to answer")
        panel.set_xlabel("place in the session")
        _legend_above(panel)
    if panels_wanted[2]:
        panel = panels[index]
        edges = np.array([low for low, _, _ in histogram] + [histogram[-1][1]]) / 1000
        counts = np.array([n for _, _, n in histogram])
        panel.stairs(counts, edges, fill=True, color=PALE)
        panel.stairs(counts, edges, color=BLUE, linewidth=1)
        panel.set_xscale("log")
        ticks = [t for t in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120, 300, 600) if edges[0] <= t <= edges[-1]]
        panel.set_xticks(ticks, [f"{t:g}" for t in ticks])
        panel.minorticks_off()
        panel.set_xlabel("seconds (log scale)")
        panel.set_ylabel("votes")
        panel.tick_params(axis="x", labelcolor=INK, color=MUTED)
    return Draft(
        name="session",
        figure=figure,
        title="Answers and response times along a session",
        alt=_spoken(order, histogram),
        caption=(
            "Left or tie answers and response times by the place of a vote in its session, and the distribution of "
            "response "
            "times. A drift towards one side, towards ties or towards haste would show here; no test is made of it."
        ),
    )


def _legend_above(panel: Axes) -> None:
    """Inside the axes it would lie on some curve: shares and times may be anywhere."""
    panel.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.4)


def _seconds(value: float | None) -> float:
    return float("nan") if value is None else value / 1000


def _spoken(order: tuple[OrderBin, ...], histogram: tuple[tuple[float, float, int], ...]) -> str:
    parts = []
    if order:
        first, last = order[0], order[-1]
        parts.append(
            f"Left answers {_share(first.left, first.left + first.right)} of decided votes at the start of sessions, "
            f"{_share(last.left, last.left + last.right)} at the end; ties {_share(first.ties, first.n_votes)} and "
            f"{_share(last.ties, last.n_votes)}."
        )
        if first.median_ms is not None and last.median_ms is not None:
            parts.append(
                f"Median time {first.median_ms / 1000:.1f} s at the start, {last.median_ms / 1000:.1f} s at the end."
            )
    if histogram:
        mode = max(histogram, key=lambda item: item[2])
        parts.append(f"Most answers took {mode[0] / 1000:.1f} to {mode[1] / 1000:.1f} s.")
    return " ".join(parts)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "none"
