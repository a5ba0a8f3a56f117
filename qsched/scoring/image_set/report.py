"""metrics.json, metrics_images.jsonl and metrics.html of an image set."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from qsched.errors import InputError
from qsched.files import write_atomic
from qsched.locations import Location
from qsched.pages import Cell, Table, render_page
from qsched.scoring.image_set.distance import DistanceRecord
from qsched.scoring.image_set.figure import render_figure
from qsched.scoring.image_set.table import ArmScores, SetScores, ShownPrompt
from qsched.scoring.paired import PairedDifference

_TEMPLATE = Path(__file__).with_name("report.html.j2")


THUMBNAIL = 256


@dataclass(frozen=True)
class ScoredExample:
    """A prompt, what is said of it, and its pictures: (arm, address, value)."""

    prompt: str
    words: str
    pictures: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class MetricSection:
    """The table of one metric."""

    title: str
    table: Table


def make_result_folder(folder: Location) -> None:
    """Make the folder that the results go to; InputError if that is impossible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"the results cannot go to {folder}: {error.strerror or error}; give --out a folder that exists or can be "
            "made"
        ) from error


def write_set_scores(folder: Location, scores: SetScores) -> list[Location]:
    """Write the three files into the folder and return their paths."""
    texts = {
        "metrics.json": json.dumps(scores_to_json(scores), indent=1, allow_nan=False) + "\n",
        "metrics_images.jsonl": "".join(json.dumps(image, allow_nan=False) + "\n" for image in scores.images),
        "metrics.html": render_set_scores(scores),
    }
    for name, text in texts.items():
        write_atomic(folder / name, text.encode())
    return [folder / name for name in texts]


def scores_to_json(scores: SetScores) -> dict[str, Any]:
    """The table as a plain dictionary."""
    return {
        "schema_version": 6,
        "set_id": scores.manifest.set_id,
        "baseline": scores.baseline,
        "jaq": scores.jaq.to_json() if scores.jaq else None,
        "scorers": [info.to_json() for info in scores.scorers],
        "distance": scores.distance.to_json() if scores.distance else None,
        "warnings": list(scores.warnings),
        "arms": [
            {
                "arm": arm.arm.name,
                "simulated": arm.arm.simulated,
                "denoiser_bytes": arm.arm.denoiser_bytes,
                "packed_bytes": arm.arm.packed_bytes,
                "images": arm.n_images,
                "missing": arm.n_missing,
                "without_twin": arm.n_without_twin,
                "pairs": arm.n_pairs,
                "identical_to_baseline": arm.n_identical,
                "same_as": arm.same_as,
                "seconds_per_image": None if arm.seconds is None else asdict(arm.seconds),
                "peak_memory_bytes": arm.peak_memory_bytes,
                "nfe_per_image": arm.nfe_per_image,
                "distance": arm.distance,
                "metrics": [asdict(metric) for metric in arm.metrics],
            }
            for arm in scores.arms
        ],
        "repairs": [
            {
                "arm": repair.arm,
                "against": repair.against,
                "pairs": repair.n_pairs,
                "identical": repair.n_identical,
                "differences": {name: difference.to_json() for name, difference in repair.differences},
                "worst": {name: asdict(worst) for name, worst in repair.worst},
            }
            for repair in scores.repairs
        ],
        "shown_better": [{"better": better, "worse": worse} for better, worse in sorted(scores.leads)],
        "prompts_to_look_at": [
            {"title": one.title, "prompt_id": one.prompt_id, "prompt": one.prompt, "sample_index": one.sample_index}
            for one in scores.shown
        ],
    }


def render_set_scores(scores: SetScores) -> str:
    """The page as text; the figure is inline SVG, nothing is fetched."""
    manifest = scores.manifest
    sections = [_metric_section(scores, name) for name in scores.metric_names]
    if scores.distance is not None:
        sections.append(_distance_section(scores, scores.distance))
    return render_page(
        _TEMPLATE,
        title=f"Automatic metrics of {manifest.set_id}",
        summary=f"{manifest.backbone}, {manifest.steps_words}, {manifest.n_prompts} prompts, samples per "
        f"prompt: {manifest.samples}.",
        baseline=scores.baseline,
        warnings=scores.warnings,
        jaq=_jaq_statement(scores),
        first_metric=scores.metric_names[0] if scores.metric_names else "",
        shown=[_shown(one) for one in scores.shown],
        scaled=f" They are reduced to {THUMBNAIL} pixels." if max(manifest.width, manifest.height) > THUMBNAIL else "",
        metrics=sections,
        repairs=_repair_table(scores) if scores.repairs else None,
        cost=_cost_table(scores),
        plot=render_figure(scores, scores.metric_names[0]) if scores.metric_names else None,
        scorers=[f"{i.name}: {i.scale}; {i.version}; {_better(i.higher_is_better)}" for i in scores.scorers],
    )


def _shown(one: ShownPrompt) -> ScoredExample:
    pictures = tuple(
        (arm, picture_address(path), "" if value is None else f"{value:.4f}") for arm, path, value in one.pictures
    )
    return ScoredExample(one.prompt, f"{one.title}.", pictures)


def picture_address(path: Location) -> str:
    """A picture as a data address, so that the page needs no other file; reduced if it is larger than a thumbnail."""
    with path.open("rb") as opened, Image.open(opened) as image:
        small = image.convert("RGB")
    small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _jaq_statement(scores: SetScores) -> str:
    """A JAQ is a number only together with its terms and k."""
    if scores.jaq is None:
        return ""
    terms = (("TC", scores.jaq.tc), ("IQ", scores.jaq.iq))
    described = "; ".join(f"{term} is {i.name} ({i.scale}; {i.version})" for term, i in terms)
    units = scores.jaq.units
    if units.kind == "sd":
        described += (
            f"; in units of their spread over the pictures of {scores.baseline}: {units.tc:.4g} and {units.iq:.4g}"
        )
    formula = "TC + k IQ" if units.kind == "raw" else "TC / sd(TC) + k IQ / sd(IQ)"
    return f"JAQ = {formula} with k = {scores.jaq.k:g}; {described}."


def _metric_section(scores: SetScores, name: str) -> MetricSection:
    second = f"difference to {scores.baseline}"
    caption = _better(scores.higher_is_better(name))
    if scores.against_twin(name):
        second, caption = "95 % interval", f"{caption}; against the twin in {scores.baseline}"
    rows = tuple(
        (arm.arm.name, *_metric_cells(arm, name, higher_is_better=scores.higher_is_better(name)))
        for arm in scores.arms
        if arm.metric(name) is not None  # the baseline has no distance from itself
    )
    return MetricSection(name, Table(("arm", "n", "mean", second), rows, caption))


def _metric_cells(arm: ArmScores, name: str, *, higher_is_better: bool) -> tuple[str | Cell, ...]:
    metric = arm.metric(name)
    if metric is None:
        return "", "", ""
    start = (str(metric.n_images), f"{metric.mean:.4f}")
    if arm.same_as is not None:
        return *start, f"the pictures of {arm.same_as}"
    if metric.interval is not None:
        return *start, Cell("", f"[{metric.interval.low:.4f}, {metric.interval.high:.4f}]")
    if metric.difference is None:
        return *start, ""
    return *start, _difference_cell(metric.difference, higher_is_better=higher_is_better)


def _difference_cell(d: PairedDifference, *, higher_is_better: bool) -> Cell:
    low, high = (d.low, d.high) if higher_is_better else (-d.high, -d.low)
    css = "better" if low > 0 else "worse" if high < 0 else ""
    return Cell(f"{d.mean:+.4f}", f"[{d.low:+.4f}, {d.high:+.4f}]", css)


def _repair_table(scores: SetScores) -> Table:
    """What the coefficients do to each precision, metric by metric."""
    rows: list[tuple[str | Cell, ...]] = []
    for repair in scores.repairs:
        name = f"{repair.arm} against {repair.against}"
        if repair.n_identical == repair.n_pairs:
            rows.append((name, "", f"identical in {repair.n_identical} of {repair.n_pairs} pictures", "", ""))
        for metric, difference in repair.differences:
            higher = scores.higher_is_better(metric)
            cell = _difference_cell(difference, higher_is_better=higher)
            worst = dict(repair.worst)[metric]
            counts = difference.counts(higher_is_better=higher)
            rows.append((name, metric, cell, counts, worst.words))
    return Table(("arms", "metric", "difference", "prompt by prompt", "worst"), tuple(rows), css="stack repairs")


def _distance_section(scores: SetScores, record: DistanceRecord) -> MetricSection:
    count = "an unknown number of" if record.reference_count is None else str(record.reference_count)
    caption = f"lower is nearer; {record.dimension} features; the reference has {count} pictures"
    rows = tuple((arm.arm.name, str(arm.n_images), distance_text(arm)) for arm in scores.arms)
    return MetricSection(record.name, Table(("arm", "pictures", "distance"), rows, caption))


def distance_text(arm: ArmScores) -> str:
    """The distance, empty for the baseline against itself where that is not defined."""
    return "" if arm.distance is None else f"{arm.distance:.4g}"


def _cost_table(scores: SetScores) -> Table:
    columns = ("arm", "denoiser in memory", "if packed", "s / picture", "peak memory", "NFE / picture", "arithmetic")
    return Table(columns, tuple((arm.arm.name, *_cost_values(arm)) for arm in scores.arms), css="stack")


def _cost_values(arm: ArmScores) -> tuple[str, ...]:
    # Generation measures memory on a GPU only; an empty cell would look like something forgotten.
    memory = _megabytes(arm.peak_memory_bytes) or "not measured on CPU"
    return (
        _megabytes(arm.arm.denoiser_bytes),
        _megabytes(arm.arm.packed_bytes),
        "" if arm.seconds is None else f"{arm.seconds.mean:.3f} ({arm.seconds.least:.3f} to {arm.seconds.most:.3f})",
        memory,
        "" if arm.nfe_per_image is None else str(arm.nfe_per_image),
        "simulated" if arm.arm.simulated else "",
    )


def _better(higher: bool) -> str:
    return "higher is better" if higher else "lower is better"


def _megabytes(count: int | None) -> str:
    return "" if count is None else f"{count / 1e6:,.2f} MB"
