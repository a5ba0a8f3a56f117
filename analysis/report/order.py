"""What happens along a session: answers by the place of a vote in its session, and how long answers take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

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
    """Response times of all kept votes in milliseconds; None where the votes carry no times."""

    n_votes: int
    median_ms: float
    quartile_low_ms: float
    quartile_high_ms: float
    percentile_5_ms: float
    percentile_95_ms: float


def order_bins(frame: pl.DataFrame) -> tuple[OrderBin, ...]:
    """Cut sessions into at most ten stretches of equal length; empty without sessions or times of serving."""
    if not _has(frame, "session") or not _has(frame, "served_at"):
        return ()
    keys = ["study", "annotator", "session"] if _has(frame, "annotator") else ["session"]
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
    """Quantiles of the response time; None where no vote has one."""
    if not _has(frame, "response_ms"):
        return None
    times = frame.get_column("response_ms").drop_nulls().cast(pl.Float64)

    def quantile(q: float) -> float:
        value = times.quantile(q, "linear")
        assert value is not None  # not empty: checked by _has
        return float(value)

    return Times(len(times), quantile(0.5), quantile(0.25), quantile(0.75), quantile(0.05), quantile(0.95))


def time_histogram(frame: pl.DataFrame, *, n_bins: int = 24) -> tuple[tuple[float, float, int], ...]:
    """Counts of response times in bins of equal ratio, (from ms, to ms, n); the figure's data, no raw times kept."""
    if not _has(frame, "response_ms"):
        return ()
    times = frame.get_column("response_ms").drop_nulls().cast(pl.Float64).clip(lower_bound=50.0)
    low, high = times.quantile(0.002, "lower"), times.quantile(0.998, "higher")
    if low is None or high is None or high <= low:
        return ()
    edges = np.geomspace(low, high, n_bins + 1)
    counts, _ = np.histogram(times.clip(edges[0], edges[-1]).to_numpy(), bins=edges)
    return tuple((float(a), float(b), int(n)) for a, b, n in zip(edges[:-1], edges[1:], counts, strict=True))


def _has(frame: pl.DataFrame, column: str) -> bool:
    return column in frame.columns and frame.get_column(column).null_count() < frame.height
