"""metrics.json, metrics_images.jsonl and metrics.html of an image set."""

from __future__ import annotations

import html
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from qsched.errors import InputError
from qsched.files import write_atomic
from qsched.scoring.image_set_figure import render_figure
from qsched.scoring.image_set_scores import ArmScores, MetricOfArm, SetScores

# One narrow table a metric: as many beside each other as fit, none wider than a telephone. A cost row becomes a
# block of labelled lines there, so that nothing is hidden behind a scroll bar.
STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#1c2430}
h1{font-size:1.5rem;overflow-wrap:anywhere}h2{font-size:1.15rem;margin-top:2rem}h3{font-size:1rem;margin:1rem 0 0}
.metrics{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:.5rem 2.5rem}
table{border-collapse:collapse;margin:.3rem 0;font-size:.92rem;font-variant-numeric:tabular-nums}
.metrics table{width:100%}caption{text-align:left;font-size:.85rem}
th,td{padding:.3rem .5rem;border-bottom:1px solid #d5dae2;text-align:right;vertical-align:top}
th:first-child,td:first-child{text-align:left;padding-left:0;overflow-wrap:anywhere;min-width:6.4rem}
.range{white-space:nowrap}.better{color:#22703a}.worse{color:#a0322d}.note,caption{color:#55606f}
.warn{border-left:4px solid #b7791f;padding:.1rem .8rem}li,p{overflow-wrap:anywhere}
svg{max-width:100%;height:auto}
@media(max-width:46rem){table{font-size:.84rem}th,td{padding:.3rem .3rem}
.cost tr:first-child{display:none}.cost,.cost tbody,.cost tr{display:block}
.cost td{display:flex;justify-content:space-between;gap:1rem;border:0;padding:.1rem 0}.cost td:empty{display:none}
.cost td:first-child{font-weight:600}.cost tr{border-bottom:1px solid #d5dae2;padding:.5rem 0}
.cost td[data-label]::before{content:attr(data-label);color:#55606f}}
"""


def make_result_folder(folder: Path) -> None:
    """Make the folder that the results go to; InputError where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"the results cannot go to {folder}: {error.strerror or error}; give --out a folder that exists or can be "
            "made"
        ) from error


def write_set_scores(folder: Path, scores: SetScores) -> list[Path]:
    """Write the three files into the folder; gives back their paths."""
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
        "schema_version": 2,
        "set_id": scores.manifest.set_id,
        "baseline": scores.baseline,
        "jaq": scores.jaq.to_json() if scores.jaq else None,
        "scorers": [info.to_json() for info in scores.scorers],
        "frechet": scores.frechet.to_json() if scores.frechet else None,
        "warnings": list(scores.warnings),
        "arms": [
            {
                "arm": arm.arm.name,
                "simulated": arm.arm.simulated,
                "denoiser_bytes": arm.arm.denoiser_bytes,
                "packed_bytes": arm.packed_bytes,
                "images": arm.n_images,
                "missing": arm.n_missing,
                "without_twin": arm.n_without_twin,
                "pairs": arm.n_pairs,
                "seconds_per_image": arm.seconds_per_image,
                "peak_memory_bytes": arm.peak_memory_bytes,
                "nfe_per_image": arm.nfe_per_image,
                "frechet": arm.frechet,
                "metrics": [asdict(metric) for metric in arm.metrics],
            }
            for arm in scores.arms
        ],
    }


def render_set_scores(scores: SetScores) -> str:
    """The page as text; the figure is inline SVG, nothing is fetched."""
    title = f"Automatic metrics of {scores.manifest.set_id}"
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{_e(title)}</title><style>{STYLE}</style>",
        f"<h1>{_e(title)}</h1>",
        f"<p>{_e(scores.manifest.backbone)}, {scores.manifest.steps} steps, {scores.manifest.n_prompts} prompts, "
        f"{scores.manifest.samples} sample(s) a prompt. Baseline arm: <b>{_e(scores.baseline)}</b>. Differences are "
        "paired over prompts (same prompt, same noise), with 95 % t intervals; nothing is corrected for the number "
        "of comparisons; n is the number of pictures. Automatic metrics are no substitute for people's answers.</p>",
        *(f"<p class='warn'>{_e(warning)}.</p>" for warning in scores.warnings),
        "<h2>Quality</h2>",
        _jaq_statement(scores),
        f"<div class='metrics'>{''.join(_metric_table(scores, name) for name in scores.metric_names)}"
        f"{_frechet_table(scores)}</div>",
        "<h2>Cost</h2>",
        _cost_table(scores),
        "<p class='note'>Bytes are measured on the denoiser's tensors as they lie in memory. A simulated arm imitates "
        "low precision in floating point: its time and memory say nothing about real low-precision kernels, and its "
        "packed size is computed from the recipe.</p>",
        "<h2>Quality against size</h2>",
        render_figure(scores, scores.metric_names[0]) if scores.metric_names else "",
        "<h2>Scorers</h2><ul>",
        *(
            f"<li>{_e(i.name)}: {_e(i.scale)}; {_e(i.version)}; {_better(i.higher_is_better)}</li>"
            for i in scores.scorers
        ),
        "</ul></html>\n",
    ]
    return "\n".join(parts)


def _jaq_statement(scores: SetScores) -> str:
    """A JAQ is a number only together with its terms and k."""
    if scores.jaq is None:
        return ""
    terms = (("TC", scores.jaq.tc), ("IQ", scores.jaq.iq))
    told = "; ".join(f"{term} is {_e(i.name)} ({_e(i.scale)}; {_e(i.version)})" for term, i in terms)
    return f"<p>JAQ = TC + k IQ with k = {scores.jaq.k:g}; {told}.</p>"


def _metric_table(scores: SetScores, name: str) -> str:
    second = f"difference to {scores.baseline}"
    caption = _better(scores.higher_is_better(name))
    if scores.against_twin(name):
        second, caption = "95 % interval", f"{caption}; against the twin in {scores.baseline}"
    rows = "".join(
        f"<tr><td>{_e(arm.arm.name)}</td>{_metric_cells(arm.metric(name), scores.higher_is_better(name))}</tr>"
        for arm in scores.arms
    )
    head = f"<tr><th>arm</th><th>n</th><th>mean</th><th>{_e(second)}</th></tr>"
    return f"<section><h3>{_e(name)}</h3><table><caption>{_e(caption)}</caption>{head}{rows}</table></section>"


def _metric_cells(metric: MetricOfArm | None, higher_is_better: bool) -> str:
    if metric is None:
        return "<td></td><td></td><td></td>"
    start = f"<td>{metric.n_images}</td><td>{metric.mean:.4f}</td>"
    if metric.interval is not None:
        return f"{start}<td><span class='range'>[{metric.interval.low:.4f}, {metric.interval.high:.4f}]</span></td>"
    if metric.difference is None:
        return f"{start}<td></td>"
    d = metric.difference
    low, high = (d.low, d.high) if higher_is_better else (-d.high, -d.low)
    kind = "better" if low > 0 else "worse" if high < 0 else ""
    return f"{start}<td class='{kind}'>{d.mean:+.4f} <span class='range'>[{d.low:+.4f}, {d.high:+.4f}]</span></td>"


def _frechet_table(scores: SetScores) -> str:
    record = scores.frechet
    if record is None:
        return ""
    count = "an unknown number of" if record.reference_count is None else str(record.reference_count)
    caption = f"lower is nearer; {record.dimension} features; the reference has {count} pictures"
    rows = "".join(
        f"<tr><td>{_e(arm.arm.name)}</td><td>{arm.n_images}</td><td>{arm.frechet:.4g}</td></tr>" for arm in scores.arms
    )
    head = "<tr><th>arm</th><th>pictures</th><th>distance</th></tr>"
    return f"<section><h3>{_e(record.name)}</h3><table><caption>{caption}</caption>{head}{rows}</table></section>"


def _cost_table(scores: SetScores) -> str:
    names = ("denoiser in memory", "if packed", "s / picture", "peak memory", "NFE / picture", "arithmetic")
    head = f"<tr><th>arm</th>{''.join(f'<th>{name}</th>' for name in names)}</tr>"
    rows = []
    for arm in scores.arms:
        cells = "".join(
            f"<td data-label='{name}'>{value}</td>" if value else "<td></td>"
            for name, value in zip(names, _cost_values(arm), strict=True)
        )
        rows.append(f"<tr><td>{_e(arm.arm.name)}</td>{cells}</tr>")
    return f"<table class='cost'>{head}{''.join(rows)}</table>"


def _cost_values(arm: ArmScores) -> tuple[str, ...]:
    # Generation measures memory on a GPU only; an empty cell would look like something forgotten.
    memory = _megabytes(arm.peak_memory_bytes) or "not measured on CPU"
    return (
        _megabytes(arm.arm.denoiser_bytes),
        _megabytes(arm.packed_bytes),
        f"{arm.seconds_per_image:.3f}",
        memory,
        str(arm.nfe_per_image),
        "simulated" if arm.arm.simulated else "",
    )


def _better(higher: bool) -> str:
    return "higher is better" if higher else "lower is better"


def _megabytes(count: int | None) -> str:
    return "" if count is None else f"{count / 1e6:,.2f} MB"


def _e(text: str) -> str:
    return html.escape(text)
