"""The figures of a calibration as SVG text."""

from __future__ import annotations

import html
import re
from typing import Any

import numpy as np

from qsched.calibration.families import Point
from qsched.calibration.result import CalibrationResult
from qsched.calibration.words import NAMES
from qsched.pages import svg_of
from qsched.pages.drawing import INK

DARK = "#0b1220"  # on the colours of the surface, which are the same on a light and on a dark page
BLUE, ORANGE, GREY = "#3b82c4", "#d0682b", "#7b8794"  # readable on white and on black


def surface_figure(result: CalibrationResult) -> str:
    """The surface over two axes, or one panel per axis for other families; empty for a closed-form search."""
    from matplotlib.figure import Figure

    if result.found_point is None:
        return ""
    axes = result.family.axes
    if len(axes) == 2:
        figure = Figure(figsize=(6.4, 4.8))
        _draw_plane(figure, result)
        return svg_of(figure)
    columns = min(4, len(axes))
    rows = -(-len(axes) // columns)
    figure = Figure(figsize=(2.6 * columns + 0.6, 2.3 * rows + 0.4))
    panels = np.atleast_1d(figure.subplots(rows, columns, sharey=True)).ravel()
    points, means, sizes = _measured(result)
    for i, panel in enumerate(panels):
        if i >= len(axes):
            panel.axis("off")
            continue
        panel.scatter(points[:, i], means, s=sizes / 2, color=BLUE, alpha=0.6, linewidths=0)
        panel.axvline(1.0, color=GREY, lw=0.8)
        panel.axvline(result.found_point[i], color=ORANGE, lw=1.2)
        panel.set_xlabel(axes[i])
    figure.supylabel("gain in JAQ")
    figure.tight_layout()
    return svg_of(figure)


def gains_figure(result: CalibrationResult) -> str:
    """Held-out gains prompt by prompt, sorted, with the mean and its interval; and the control's."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 2.8))
    panel: Any = figure.subplots()
    arms = [
        (f"{NAMES[one.method]}, {model}", comparison, colour)
        for one in result.outcomes
        for model, comparison, colour in (
            ("quantized", one.heldout, BLUE),
            ("full precision (control)", one.control, ORANGE),
        )
        if comparison is not None
    ]
    figure.set_size_inches(6.4, 0.8 + 1.1 * len(arms))
    for place, (name, comparison, colour) in enumerate(arms):
        gains = comparison.differences()
        order = np.argsort(gains)
        spread = np.linspace(-0.22, 0.22, len(gains))
        for rank, index in enumerate(order):
            # An SVG anchor of its own for each dot: a browser shows its title, the prompt.
            dot = panel.scatter(gains[index], place + spread[rank], s=14, color=colour, alpha=0.6, linewidths=0)
            dot.set_gid(f"dot-{place}-{index}")
        for rank, side in ((0, "left"), (len(order) - 1, "right")):
            _name_dot(
                panel, gains[order[rank]], place + spread[rank], result.heldout_prompts[order[rank]].prompt_id, side
            )
        gain = comparison.gain()
        panel.errorbar(
            gain.mean,
            place,
            xerr=[[gain.mean - gain.low], [gain.high - gain.mean]],
            fmt="D",
            color=INK,
            capsize=5,
            ms=5,
        )
        panel.annotate(name, (0.01, place + 0.4), xycoords=("axes fraction", "data"), color=colour, fontsize=9)
    panel.axvline(0, color=GREY, lw=0.8)
    panel.set_ylim(-0.5, len(arms) - 0.4)
    panel.set_yticks([])
    panel.set_xlabel("gain in JAQ over (1, 1), one dot for each held-out prompt")
    figure.tight_layout()
    return _with_titles(svg_of(figure), [prompt.prompt for prompt in result.heldout_prompts])


def _name_dot(panel: Any, x: float, y: float, prompt_id: str, side: str) -> None:
    """The prompt of the worst or the best dot, towards the middle of the figure."""
    panel.annotate(
        prompt_id,
        (x, y),
        xytext=(4 if side == "left" else -4, -9 if side == "left" else 7),
        textcoords="offset points",
        ha=side,
        va="center",
        fontsize=7,
        parse_math=False,
    )


def _with_titles(svg: str, prompts: list[str]) -> str:
    """The figure with the prompt of each dot as its title, which a browser shows when one points at it."""

    def titled(match: re.Match[str]) -> str:
        return f"{match.group(0)}<title>{html.escape(prompts[int(match.group(1))])}</title>"

    return re.sub(r'<g id="dot-\d+-(\d+)">', titled, svg)


def _draw_plane(figure: Any, result: CalibrationResult) -> None:
    from matplotlib.ticker import MaxNLocator

    panel = figure.subplots()
    (x_low, x_high), (y_low, y_high) = result.family.bounds
    points, _, sizes = _measured(result)
    if result.surface is not None:
        xs, ys = np.linspace(x_low, x_high, 61), np.linspace(y_low, y_high, 61)
        grid = np.array([(x, y) for y in ys for x in xs])
        fitted = result.surface.at(grid.tolist()).reshape(61, 61)
        # The worst two fifths of the plane share a colour: the other colours go to the region where the choice is made.
        top, floor = float(fitted.max()), float(np.quantile(fitted, 0.4))
        levels = np.linspace(floor, max(top, floor + 1e-9), 16)
        filled = panel.contourf(xs, ys, fitted, levels=levels, extend="min", cmap="viridis")
        ticks = [tick for tick in MaxNLocator(6).tick_values(floor, top) if floor <= tick <= top]
        figure.colorbar(filled, ax=panel, label="fitted gain in JAQ", ticks=ticks, format="%+.3g")
    # Not clipped: the points at the ends of the ranges are on the frame, and matter.
    dots: dict[str, Any] = {"edgecolors": "white", "linewidths": 0.5}
    equal = _among_equals(result)
    for chosen, face in ((~equal, "white"), (equal, DARK)):
        dots["color"] = face
        panel.scatter(points[chosen, 0], points[chosen, 1], s=sizes[chosen] / 3, clip_on=False, zorder=3, **dots)
    panel.plot(1, 1, marker="x", color="white", ms=10, mew=2.5, zorder=4)
    assert result.found_point is not None
    panel.plot(*result.found_point, marker="o", mfc="none", color=ORANGE, ms=13, mew=2.2, clip_on=False, zorder=5)
    if result.surface is not None and result.surface.optimum != result.family.identity:
        face = ORANGE if result.prompts_at(result.surface.optimum) else "white"
        edge, width = ("white", 0.6) if face == ORANGE else (ORANGE, 1.2)
        star: dict[str, Any] = {"marker": "*", "mfc": face, "ms": 11, "mec": edge, "mew": width}
        panel.plot(*result.surface.optimum, clip_on=False, zorder=6, **star)
    panel.set_xlim(x_low, x_high)
    panel.set_ylim(y_low, y_high)
    panel.set_xlabel(f"{result.family.axes[0]} coefficient")
    panel.set_ylabel(f"{result.family.axes[1]} coefficient")
    figure.tight_layout()


def _measured(result: CalibrationResult) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(points, mean gains, marker areas by number of prompts)."""
    points = np.array(_places(result))
    means = np.array([values.mean() for values in result.gains.values()])
    seen = np.array([len(values) for values in result.gains.values()])
    return points, means, 20 + 80 * seen / seen.max()


def _places(result: CalibrationResult) -> list[Point]:
    return [result.family.point_of(candidate) for candidate in result.gains]


def _among_equals(result: CalibrationResult) -> np.ndarray:
    """True for the candidates that no other beats."""
    return np.array([candidate in result.equals for candidate in result.gains])
