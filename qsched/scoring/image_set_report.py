"""metrics.json, metrics_images.jsonl and metrics.html of an image set."""

from __future__ import annotations

import html
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from qsched.scoring.image_set_scores import ArmScores, MetricOfArm, SetScores

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#1c2430}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}.scroll{overflow-x:auto}
table{border-collapse:collapse;margin:.5rem 0;font-size:.92rem}
th,td{padding:.3rem .8rem;border-bottom:1px solid #d5dae2;text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}.better{color:#22703a}.worse{color:#a0322d}.note{color:#55606f}
svg{max-width:100%;height:auto}
"""


def write_set_scores(folder: Path, scores: SetScores) -> list[Path]:
    """Write the three files into the folder; gives back their paths."""
    paths = [folder / name for name in ("metrics.json", "metrics_images.jsonl", "metrics.html")]
    paths[0].write_text(json.dumps(scores_to_json(scores), indent=1) + "\n", encoding="utf-8")
    paths[1].write_text("".join(json.dumps(image) + "\n" for image in scores.images), encoding="utf-8")
    paths[2].write_text(render_set_scores(scores), encoding="utf-8")
    return paths


def scores_to_json(scores: SetScores) -> dict[str, Any]:
    """The table as a plain dictionary."""
    return {
        "schema_version": 1,
        "set_id": scores.manifest.set_id,
        "baseline": scores.baseline,
        "scorers": [info.to_json() for info in scores.scorers],
        "frechet": scores.frechet_name,
        "arms": [
            {
                "arm": arm.arm.name,
                "simulated": arm.arm.simulated,
                "denoiser_bytes": arm.arm.denoiser_bytes,
                "packed_bytes": arm.packed_bytes,
                "images": arm.n_images,
                "missing": arm.n_missing,
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
    metrics = [metric.metric for metric in scores.arms[0].metrics]
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{_e(title)}</title><style>{STYLE}</style>",
        f"<h1>{_e(title)}</h1>",
        f"<p>{_e(scores.manifest.backbone)}, {scores.manifest.steps} steps, {scores.manifest.n_prompts} prompts, "
        f"{scores.manifest.samples} sample(s) a prompt. Baseline arm: <b>{_e(scores.baseline)}</b>. Differences are "
        "paired over prompts (same prompt, same noise), with 95 % t intervals; nothing is corrected for the number "
        "of comparisons. "
        "Automatic metrics are no substitute for people's answers.</p>",
        "<h2>Quality</h2>",
        f"<div class='scroll'>{_quality_table(scores, metrics)}</div>",
        "<h2>Cost</h2>",
        f"<div class='scroll'>{_cost_table(scores)}</div>",
        "<p class='note'>Bytes are measured on the denoiser's tensors as they lie in memory. A simulated arm imitates "
        "low precision in floating point: its time and memory say nothing about real low-precision kernels, and its "
        "packed size is computed from the recipe.</p>",
        "<h2>Quality against size</h2>",
        _pareto_svg(scores, "jaq" if "jaq" in metrics else metrics[0]),
        "<h2>Scorers</h2><ul>",
        *(
            f"<li>{_e(i.name)}: {_e(i.scale)}; {_e(i.version)}; {_better(i.higher_is_better)}</li>"
            for i in scores.scorers
        ),
        "</ul></html>\n",
    ]
    return "\n".join(parts)


def _quality_table(scores: SetScores, metrics: list[str]) -> str:
    head = "".join(f"<th>{_e(metric)}</th><th>difference</th>" for metric in metrics)
    frechet = f"<th>{_e(scores.frechet_name)}</th>" if scores.frechet_name else ""
    body = "".join(_quality_row(scores, arm, metrics) for arm in scores.arms)
    return f"<table><tr><th>arm</th><th>images</th>{head}{frechet}</tr>{body}</table>"


def _quality_row(scores: SetScores, arm: ArmScores, metrics: list[str]) -> str:
    found = {metric.metric: metric for metric in arm.metrics}
    cells = [f"<td>{_e(arm.arm.name)}</td><td>{arm.n_images}{f' (-{arm.n_missing})' if arm.n_missing else ''}</td>"]
    for name in metrics:
        one = found.get(name)
        mean = "<td></td>" if one is None else f"<td>{one.mean:.4f}</td>"
        cells.append(mean + _difference_cell(one, scores.higher_is_better.get(name, True)))
    if scores.frechet_name:
        cells.append(f"<td>{arm.frechet:.4g}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def _difference_cell(metric: MetricOfArm | None, higher_is_better: bool) -> str:
    if metric is None or metric.difference is None:
        return "<td></td>"
    d = metric.difference
    sign = 1 if higher_is_better else -1
    kind = (
        "better"
        if sign * d.low > 0 and sign * d.high > 0
        else "worse"
        if sign * d.low < 0 and sign * d.high < 0
        else ""
    )
    return f"<td class='{kind}'>{d.mean:+.4f} [{d.low:+.4f}, {d.high:+.4f}]</td>"


def _cost_table(scores: SetScores) -> str:
    names = ("arm", "denoiser in memory", "if packed", "s / picture", "peak memory", "NFE / picture", "")
    head = f"<tr>{''.join(f'<th>{name}</th>' for name in names)}</tr>"
    rows = [
        f"<tr><td>{_e(arm.arm.name)}</td><td>{_megabytes(arm.arm.denoiser_bytes)}</td>"
        f"<td>{_megabytes(arm.packed_bytes)}</td><td>{arm.seconds_per_image:.3f}</td>"
        f"<td>{_megabytes(arm.peak_memory_bytes)}</td><td>{arm.nfe_per_image}</td>"
        f"<td>{'simulated' if arm.arm.simulated else ''}</td></tr>"
        for arm in scores.arms
    ]
    return f"<table>{head}{''.join(rows)}</table>"


def pareto_front(points: list[tuple[float, float]]) -> list[int]:
    """Indices of (size, quality) points that no other point beats in both, by growing size."""
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1]))
    front: list[int] = []
    for i in order:
        if not front or points[i][1] > points[front[-1]][1]:
            front.append(i)
    return front


def _pareto_svg(scores: SetScores, metric: str) -> str:
    """Paired difference in quality (with interval) against the size of the denoiser."""
    shown: list[tuple[str, float, float, float, float]] = []
    for arm in scores.arms:
        one = next((m for m in arm.metrics if m.metric == metric), None)
        if one is None or arm.size_bytes is None:
            continue
        d = one.difference
        low, mean, high = (0.0, 0.0, 0.0) if d is None else (d.low, d.mean, d.high)
        shown.append((arm.arm.name, arm.size_bytes / 1e6, mean, low, high))
    if len(shown) < 2:
        return "<p class='note'>No figure: fewer than two arms have a known size.</p>"
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2))
    panel: Any = figure.subplots()
    sign = 1.0 if scores.higher_is_better.get(metric, True) else -1.0
    front = pareto_front([(size, sign * mean) for _, size, mean, _, _ in shown])
    panel.plot([shown[i][1] for i in front], [shown[i][2] for i in front], color="#9aa7b8", lw=1.2, zorder=1)
    for i, (name, size, mean, low, high) in enumerate(shown):
        colour = "#2b6cb0" if i in front else "#c05621"
        panel.errorbar(size, mean, yerr=[[mean - low], [high - mean]], fmt="o", color=colour, capsize=4)
        panel.annotate(name, (size, mean), xytext=(7, 5), textcoords="offset points", fontsize=9)
    panel.axhline(0, color="#55606f", lw=0.8, ls=":")
    panel.margins(x=0.15)
    panel.set_xlabel("denoiser (MB): measured, for simulated precisions computed as packed")
    panel.set_ylabel(f"{metric}: difference to {scores.baseline}")
    figure.tight_layout()
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "qsched", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return (
        text[text.index("<svg") :]
        + "<p class='note'>Line: arms that no other arm beats in both size and mean quality.</p>"
    )


def _better(higher: bool) -> str:
    return "higher is better" if higher else "lower is better"


def _megabytes(count: int | None) -> str:
    return "" if count is None else f"{count / 1e6:,.2f} MB"


def _e(text: str) -> str:
    return html.escape(text)
