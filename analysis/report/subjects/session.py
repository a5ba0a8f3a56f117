"""Position and time: a preference for one side, answers along a session, and how long they took."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from analysis.report.kit.section import Section
from analysis.report.kit.style import BLUE, GRID, INK, MUTED, ORANGE, PALE, Draft, new_figure
from analysis.report.kit.table import percent, signed
from analysis.report.subjects.claims import interval_words
from analysis.stats import Estimate, EstimateSettings, VoteCounts, position_effect, win_probability
from analysis.stats.errors import AnalysisError
from analysis.stats.results import PositionEffect
from analysis.votes.table import VotesTable, has_values

BINS = 10


@dataclass(frozen=True)
class OrderBin:
    """Votes number `first` to `last` of every session: counts of answers and the median time in milliseconds."""

    first: int
    last: int
    n_votes: int
    left: int
    right: int
    ties: int
    median_ms: float | None
    quartile_low_ms: float | None
    quartile_high_ms: float | None


@dataclass(frozen=True)
class Times:
    """Response times of all kept votes in milliseconds; None if the votes have no times."""

    n_votes: int
    median_ms: float
    quartile_low_ms: float
    quartile_high_ms: float
    percentile_5_ms: float
    percentile_95_ms: float


@dataclass(frozen=True)
class SessionResults:
    """Sides, order and times of the kept votes. `histogram` has bins (from ms, to ms, votes)."""

    position: PositionEffect | None
    left: int
    right: int
    order: tuple[OrderBin, ...]
    times: Times | None
    histogram: tuple[tuple[float, float, int], ...]


def find_session(
    kept: VotesTable, counts: VoteCounts, reported: Estimate | None, settings: EstimateSettings
) -> SessionResults:
    """Everything about position and time; nothing about position if the votes do not say which arm was on the left."""
    frame, sided = kept.frame, kept.sides_known
    side = frame.get_column("choice").cast(pl.String)
    return SessionResults(
        position=None if reported is None or not sided else _position_effect(counts, reported, settings),
        left=int((side == "left").sum()) if sided else 0,
        right=int((side == "right").sum()) if sided else 0,
        order=order_bins(frame) if sided else (),
        times=response_times(frame),
        histogram=time_histogram(frame),
    )


def session_of_counts(counts: VoteCounts, reported: Estimate | None, settings: EstimateSettings) -> SessionResults:
    """What counts say of the sides; they have neither the order of the votes nor their times."""
    left, right, _ = counts.outcomes.sum(axis=0)
    position = None if reported is None else _position_effect(counts, reported, settings)
    return SessionResults(position, round(float(left)), round(float(right)), (), None, ())


def _position_effect(counts: VoteCounts, reported: Estimate, settings: EstimateSettings) -> PositionEffect | None:
    """The position effect, also when the reported model leaves it out: the reader should see what was left out."""
    if reported.position_effect is not None:
        return reported.position_effect
    try:
        return position_effect(counts, settings)
    except AnalysisError:  # the table of other choices says why
        return None


def order_bins(frame: pl.DataFrame) -> tuple[OrderBin, ...]:
    """Cut sessions into at most ten parts of equal length; empty without sessions or times of serving."""
    if not has_values(frame, "session") or not has_values(frame, "served_at"):
        return ()
    keys = ["study", "annotator", "session"] if has_values(frame, "annotator") else ["session"]
    keys = [key for key in keys if key in frame.columns]
    placed = frame.filter(pl.col("session").is_not_null() & pl.col("served_at").is_not_null()).with_columns(
        pl.col("served_at").rank("ordinal").over(keys).cast(pl.Int64).alias("place"), pl.col("choice").cast(pl.String)
    )
    if placed.is_empty():
        return ()
    if "response_ms" not in placed.columns:
        placed = placed.with_columns(pl.lit(None, pl.Int64).alias("response_ms"))
    longest = int(placed.select(pl.col("place").max()).item())
    width = max(1, -(-longest // BINS))
    grouped = (
        placed.with_columns(((pl.col("place") - 1) // width).alias("bin"))
        .group_by("bin")
        .agg(
            pl.len().alias("n"),
            *(pl.col("choice").eq(choice).sum().alias(choice) for choice in ("left", "right", "tie")),
            *(
                pl.col("response_ms").cast(pl.Float64).quantile(q, "linear").alias(name)
                for name, q in (("q1", 0.25), ("q2", 0.5), ("q3", 0.75))
            ),
        )
        .sort("bin")
    )
    return tuple(
        OrderBin(
            first=row["bin"] * width + 1,
            last=min((row["bin"] + 1) * width, longest),
            n_votes=row["n"],
            left=row["left"],
            right=row["right"],
            ties=row["tie"],
            median_ms=row["q2"],
            quartile_low_ms=row["q1"],
            quartile_high_ms=row["q3"],
        )
        for row in grouped.iter_rows(named=True)
    )


def response_times(frame: pl.DataFrame) -> Times | None:
    """Quantiles of the response time; None if no vote has one."""
    if not has_values(frame, "response_ms"):
        return None
    times = frame.get_column("response_ms").drop_nulls().cast(pl.Float64)

    def quantile(q: float) -> float:
        value = times.quantile(q, "linear")
        assert value is not None  # not empty: checked by has_values
        return float(value)

    return Times(len(times), quantile(0.5), quantile(0.25), quantile(0.75), quantile(0.05), quantile(0.95))


def time_histogram(frame: pl.DataFrame, *, n_bins: int = 24) -> tuple[tuple[float, float, int], ...]:
    """Counts of response times in bins of equal ratio, (from ms, to ms, n); the figure's data, no raw times kept."""
    if not has_values(frame, "response_ms"):
        return ()
    times = frame.get_column("response_ms").drop_nulls().cast(pl.Float64).clip(lower_bound=50.0)
    low, high = times.quantile(0.002, "lower"), times.quantile(0.998, "higher")
    if low is None or high is None or high <= low:
        return ()
    edges = np.geomspace(low, high, n_bins + 1)
    counts, _ = np.histogram(times.clip(edges[0], edges[-1]).to_numpy(), bins=edges)
    return tuple((float(a), float(b), int(n)) for a, b, n in zip(edges[:-1], edges[1:], counts, strict=True))


def session_section(found: SessionResults, *, confidence: float, modelled: bool) -> Section:
    """`modelled`: the reported model has a position effect."""
    texts = (
        position_words(found.position, confidence=confidence, modelled=modelled),
        _sides(found),
        _times(found.times),
    )
    drawn = found.order or found.histogram
    return Section(
        "session",
        "Position and time",
        paragraphs=tuple(text for text in texts if text),
        figures=(partial(draw_session, found.order, found.histogram),) if drawn else (),
    )


def position_words(effect: PositionEffect | None, *, confidence: float, modelled: bool | None) -> str:
    """What may be said about a preference for one side of the screen. `modelled` None: nothing is said of the model."""
    if effect is None:
        return ""
    low, high = win_probability(effect.low), win_probability(effect.high)
    numbers = (
        f"of two arms of the same strength the left one would win {percent(effect.left_win_rate)} "
        f"({interval_words(low, high, confidence)}; log-odds {signed(effect.log_odds, 3)}, SE {effect.se:.3f})"
    )
    model = (
        ""
        if modelled is None
        else "The model contains this effect."
        if modelled
        else "The reported model leaves it out (see --position-effect); sides drawn at random keep it harmless."
    )
    if effect.p < 1 - confidence:
        side = "left" if effect.log_odds > 0 else "right"
        return f"A preference for the {side} side was detected: {numbers}. {model}".rstrip()
    return f"No preference for a side was detected: {numbers}. {model}".rstrip()


def _sides(found: SessionResults) -> str:
    decided = found.left + found.right
    if not decided:
        return ""
    return f"Of {decided:,} decided votes {100 * found.left / decided:.1f}\u00a0% were for the left picture."


def _times(times: Times | None) -> str:
    if times is None:
        return "The votes have no response times."
    return (
        f"The median response time is {times.median_ms / 1000:.1f} s; half of the votes took "
        f"{times.quartile_low_ms / 1000:.1f} "
        f"to {times.quartile_high_ms / 1000:.1f} s, nine in ten {times.percentile_5_ms / 1000:.1f} to "
        f"{times.percentile_95_ms / 1000:.1f}\u00a0s."
    )


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
    """Inside the axes it would cover a curve: shares and times may be anywhere."""
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
