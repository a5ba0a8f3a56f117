"""Metrics of `qsched score` on the JND scale of plain triplets: which one says what people see, and how exactly."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from analysis.stats.errors import AnalysisError
from analysis.stats.jnd.metric_scale import MetricVotes, fit_metric
from analysis.stats.jnd.variance import Clusters
from analysis.triplets import ScreenedTriplets
from qsched.files import write_atomic
from qsched.locations import Location
from qsched.records import InputError
from qsched.records.metric_jnd import MetricMap, MetricMaps, MetricReading, difference_form

VALUES, TABLE = "metrics_images.jsonl", "metrics.json"


@dataclass(frozen=True)
class SetMetrics:
    """Values by (prompt, sample, arm) of the metrics against the twin, and what made them."""

    set_id: str
    baseline: str
    made_by: dict[str, dict[str, Any]]
    values: dict[tuple[str, int, str], dict[str, float]]


def read_set_metrics(folder: Location) -> SetMetrics:
    """What `qsched score` wrote into the folder; InputError if it is missing, cannot be read or has no such metric."""
    try:
        table = json.loads((folder / TABLE).read_text("utf-8"))
        rows = [json.loads(line) for line in (folder / VALUES).read_text("utf-8").splitlines()]
        made_by = {info["name"]: info for info in table["scorers"] if info["kind"] == "reference"}
        values = {
            (row["prompt_id"], int(row["sample_index"]), row["arm"]): {
                name: float(row[name]) for name in made_by if name in row
            }
            for row in rows
        }
        set_id, baseline = table["set_id"], table["baseline"]
    except FileNotFoundError as error:
        raise InputError(
            f"{error.filename} is missing; run: qsched score {folder} --metrics cvvdp,flip,ssimulacra2,psnr"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder / TABLE} or {VALUES} beside it cannot be read ({type(error).__name__}: {error}); run `qsched "
            "score` again"
        ) from error
    if not made_by:
        raise InputError(f"{folder} has no metric against the twin; score it with cvvdp, flip, ssimulacra2 or psnr")
    return SetMetrics(set_id, baseline, made_by, values)


def map_metrics(
    screened: ScreenedTriplets, metrics: SetMetrics, *, people_sd: float, confidence: float
) -> tuple[MetricMaps, tuple[str, ...]]:
    """A map of every metric that has one, the best first, and why others have none.

    Only plain votes on a picture beside the reference itself count. Raises InputError for another reference than the
    set's baseline, votes of other pictures, or votes without plain traps.
    """
    table = screened.table
    if table.reference != metrics.baseline:
        raise InputError(
            f"the votes compare with {table.reference!r}, the metrics with {metrics.baseline!r}; score the set with "
            f"--baseline {table.reference}"
        )
    plain = table.frame.filter(pl.col("presentation") == "plain")
    lapse = _lapse(plain)
    left, reference = pl.col("left_arm"), pl.col("reference_arm")
    votes = (
        plain.filter(pl.col("kind") == "task")
        .filter((left == reference) != (pl.col("right_arm") == reference))
        .with_columns(
            arm=pl.when(left == reference).then("right_arm").otherwise("left_arm"),
            named=pl.when(pl.col("answer") == "not sure")
            .then(1)
            .when((pl.col("answer") == "right") == (left == reference))
            .then(2)
            .otherwise(0),
            sample=pl.col("sample_index").fill_null(0),
        )
    )
    if votes.height == 0:
        raise InputError("no plain vote shows a picture beside the reference; the map to JND needs such votes")
    keys = [(row[0], int(row[1]), row[2]) for row in votes.select("prompt_id", "sample", "arm").iter_rows()]
    unknown = next((key for key in keys if key not in metrics.values), None)
    if unknown is not None:
        raise InputError(
            f"the votes show prompt {unknown[0]!r}, sample {unknown[1]}, arm {unknown[2]!r}, which {VALUES} lacks; "
            "give the image set of the study"
        )
    maps, notes = [], []
    for name, info in metrics.made_by.items():
        try:
            maps.append(_map(name, info, keys, votes, metrics, lapse=lapse, people_sd=people_sd, confidence=confidence))
        except (AnalysisError, InputError) as error:
            notes.append(f"{name}: {error}")
    maps.sort(key=lambda one: -one.log_likelihood)
    return (
        MetricMaps(
            set_id=metrics.set_id,
            reference=table.reference,
            studies=table.values("study"),
            votes=votes.height,
            simulated_votes=int(votes["simulated"].sum()),
            people=votes["annotator"].n_unique(),
            people_sd=people_sd,
            lapse=lapse,
            confidence=confidence,
            maps=tuple(maps),
        ),
        tuple(notes),
    )


def _lapse(plain: pl.DataFrame) -> float:
    """Lapse rate of the plain traps: a wrong answer is two thirds of the lapses; a quarter of a vote added to each."""
    traps = plain.filter(pl.col("kind") == "trap")
    if traps.height == 0:
        raise InputError("there are no plain traps: careless answers would look like small differences")
    other = pl.when(pl.col("left_arm") == pl.col("reference_arm")).then(pl.lit("right")).otherwise(pl.lit("left"))
    wrong = int((traps.select(pl.col("answer") != other).to_series()).sum())
    return float(min(0.95, 1.5 * (wrong + 0.5) / (traps.height + 1)))


def _map(
    name: str,
    info: dict[str, Any],
    keys: list[tuple[str, int, str]],
    votes: pl.DataFrame,
    metrics: SetMetrics,
    *,
    lapse: float,
    people_sd: float,
    confidence: float,
) -> MetricMap:
    form, best = difference_form(name, higher_is_better=bool(info["higher_is_better"]))
    reader = MetricReading(metric=name, form=form, best=best)
    found = np.array([reader.difference(metrics.values[key][name]) for key in keys])
    kept = found > 0  # a difference of 0 says nothing of the map: identical pictures
    if not kept.any():
        raise InputError("it calls every picture identical with its reference")
    pictures: dict[tuple[str, int, str], int] = {}
    number = np.array([pictures.setdefault(key, len(pictures)) for key, keep in zip(keys, kept, strict=True) if keep])
    x = np.array([reader.difference(metrics.values[key][name]) for key in pictures])
    some = votes.filter(pl.Series(kept))
    person = some["annotator"].cast(pl.Categorical).to_physical().to_numpy()
    prompt = some["prompt_id"].cast(pl.Categorical).to_physical().to_numpy()
    person, prompt = (np.unique(column, return_inverse=True)[1].astype(np.int64) for column in (person, prompt))
    prompts = int(prompt.max()) + 1
    both = np.unique(person * prompts + prompt, return_inverse=True)[1]
    clusters = Clusters(person, prompt, both, int(person.max()) + 1, prompts, int(both.max()) + 1)
    answer = some["named"].to_numpy().astype(np.int64)
    fit = fit_metric(MetricVotes(answer, number, x, clusters), lapse=lapse, people_sd=people_sd, confidence=confidence)
    b = fit.b
    return MetricMap(
        metric=name,
        version=str(info["version"]),
        form=form,
        best=best,
        log_a=float(fit.theta[0]),
        b=b,
        variance_log_a=float(fit.covariance[0, 0]),
        variance_b=float(b**2 * fit.covariance[1, 1]),
        covariance=float(b * fit.covariance[0, 1]),
        spread=fit.spread,
        t=fit.t,
        low=float(x.min()),
        high=float(x.max()),
        pictures=len(pictures),
        log_likelihood=fit.log_likelihood,
    )


def write_maps(found: MetricMaps, folder: Path) -> Path:
    """metrics-jnd.json in the folder; it appears whole or not at all."""
    path = folder / "metrics-jnd.json"
    write_atomic(path, (found.model_dump_json(indent=1) + "\n").encode(), parents=True)
    return path


def map_lines(found: MetricMaps) -> list[str]:
    """What each metric's values mean, one line a metric."""
    lines = []
    for one in found.maps:
        limits = []
        for jnd in (0.25, 0.5, 1.0):
            try:
                limits.append(f"{jnd:g} JND at {one.limit_at(jnd):.4g}")
            except InputError:
                limits.append(f"{jnd:g} JND not placed")
        lines.append(
            f"{one.metric}: {', '.join(limits)} (upper bounds); single pictures spread by a factor of "
            f"{np.exp(one.spread):.2f}; log-likelihood {one.log_likelihood:.1f} on {one.pictures} pictures"
        )
    return lines
