"""calibration.html: one self-contained page that says what was found and what it is worth."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

from qsched.calibration.calibrate import CalibrationResult
from qsched.calibration.figures import gains_figure, surface_figure
from qsched.files import write_atomic
from qsched.scheduling import Coefficients
from qsched.scoring.paired import PairedDifference

SHOWN = ("coefficients", "found", "objective", "provenance")
STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem;color:#1c2430}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}table{border-collapse:collapse;margin:.5rem 0}
th,td{padding:.3rem .8rem;border-bottom:1px solid #d5dae2;text-align:right}
th:first-child,td:first-child{text-align:left}
.verdict{padding:.8rem 1rem;border-left:5px solid #2b6cb0;background:#eef4fb}
.none{border-color:#a0522d;background:#fbf3ee}
figure{margin:1rem 0}figcaption{color:#55606f;font-size:.9rem}svg{max-width:100%;height:auto}
.scroll{overflow-x:auto}
h1,p,td:first-child{overflow-wrap:anywhere}
@media(max-width:40rem){th,td{padding:.3rem .4rem;font-size:.85rem}td:first-child{min-width:5.5rem}}
pre{background:#f5f6f8;padding:.8rem;overflow:auto;font-size:.8rem}
"""


def write_report(path: Path, result: CalibrationResult, record: dict[str, Any]) -> None:
    """Write the page."""
    write_atomic(path, render_report(result, record).encode())


def render_report(result: CalibrationResult, record: dict[str, Any]) -> str:
    """The page as text; figures are inline SVG, nothing is fetched."""
    title = f"Calibration of {record['backbone']} at {record['precision']}, {record['steps']} steps"
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width, initial-scale=1'>",
        f"<title>{_e(title)}</title><style>{STYLE}</style>",
        f"<h1>{_e(title)}</h1>",
        _verdict(result),
        "<h2>Gain in JAQ over the stock scheduler (1, 1)</h2>",
        _gain_table(result),
        f"<p>{_e(_objective_words(record))}</p>",
        _figure(
            gains_figure(result),
            "Held-out prompts: gain of each over the stock scheduler, and the mean with its interval.",
        ),
        "<h2>The JAQ surface</h2>",
        _surface_words(result),
        _figure(surface_figure(result), _surface_caption(result)),
        "<h2>What it took</h2>",
        _spent_table(result),
        "<h2>Provenance</h2>",
        "<details><summary>Coefficients, objective, settings, prompts, versions</summary>",
        f"<pre>{_e(json.dumps({key: record[key] for key in SHOWN}, indent=1))}</pre></details>",
        "</html>\n",
    ]
    return "\n".join(part for part in parts if part)


def _verdict(result: CalibrationResult) -> str:
    gain = result.heldout.gain()
    interval = f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}] on {gain.n} held-out prompts"
    found = _e(coefficient_words(result.found))
    if result.verdict == "gain":
        return f"<p class='verdict'><b>Gain.</b> {found} changes JAQ by {interval}. These coefficients are written.</p>"
    if result.verdict == "forced":
        return (
            f"<p class='verdict none'><b>No gain shown, kept by force.</b> {found} changes JAQ by {interval}; the "
            "interval does not lie above 0.</p>"
        )
    if result.verdict == "not searched":
        return f"<p class='verdict none'><b>Not searched.</b> {_e(not_searched_words(result))}</p>"
    return (
        f"<p class='verdict none'><b>No gain.</b> The best candidate, {found}, changes JAQ by {interval}; the interval "
        "does not lie above 0, so the stock scheduler (1, 1) is written.</p>"
    )


def not_searched_words(result: CalibrationResult) -> str:
    """Why there is no verdict, and what one takes."""
    return (
        f"The budget of {result.settings.budget.words} ended the search before any candidate but (1, 1) was measured "
        f"on all {len(result.prompts)} prompts, so nothing is known of a gain and the stock scheduler (1, 1) is "
        f"written. The whole search takes at most {result.most_nfe:,} NFE; raise the budget and run the same command "
        "again, or take fewer prompts or a smaller grid."
    )


def coefficient_words(coefficients: Coefficients) -> str:
    """`constant, model 1.1, sample 0.95`."""
    model, sample = (" ".join(f"{c:g}" for c in some) for some in (coefficients.model, coefficients.sample))
    return f"{coefficients.family}, model {model}, sample {sample}"


def _gain_table(result: CalibrationResult) -> str:
    rows = [
        _gain_row("held-out prompts", result.heldout.gain(), result.heldout.stock.mean()),
        _gain_row("calibration prompts (they chose it: flattered)", result.calibration_gain, None),
    ]
    if result.control is not None:
        rows.append(
            _gain_row(
                "control: the same on full precision, held-out", result.control.gain(), result.control.stock.mean()
            )
        )
    for metric in result.heldout.stock.values:
        if metric != "jaq":
            rows.append(
                _gain_row(f"held-out, {metric}", result.heldout.gain(metric), result.heldout.stock.mean(metric))
            )
    head = "<tr><th></th><th>stock</th><th>gain</th><th>95 % interval</th><th>prompts</th></tr>"
    return f"<div class='scroll'><table>{head}{''.join(rows)}</table></div>{_control_words(result)}"


def _gain_row(name: str, gain: PairedDifference, stock: float | None) -> str:
    cells = (
        "" if stock is None else f"{stock:.4f}",
        f"{gain.mean:+.4f}",
        f"{gain.low:+.4f} to {gain.high:+.4f}",
        gain.n,
    )
    return f"<tr><td>{_e(name)}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _control_words(result: CalibrationResult) -> str:
    if result.control is None:
        return "<p>No full-precision control was made.</p>"
    quantized, control = result.heldout.gain(), result.control.gain()
    if not quantized.is_gain:
        return ""
    if control.is_gain and control.mean >= quantized.mean / 2:
        return (
            "<p>The same coefficients also raise JAQ on the full-precision model, by half as much or more: a good "
            "part of the gain is not a repair of quantization but something the objective likes of any model.</p>"
        )
    return (
        "<p>On the full-precision model the same coefficients do not give half as much: the gain goes with "
        "quantization.</p>"
    )


def _objective_words(record: dict[str, Any]) -> str:
    o = record["objective"]
    tc, iq = o["tc"], o["iq"]
    return (
        f"JAQ = TC + {o['k']:g} IQ. TC: {tc['name']} ({tc['scale']}; {tc['version']}). "
        f"IQ: {iq['name']} ({iq['scale']}; {iq['version']})."
    )


def _surface_words(result: CalibrationResult) -> str:
    best = ", ".join(f"{axis} {c:g}" for axis, c in zip(result.family.axes, result.found_point, strict=True))
    words = f"<p>Best measured on all calibration prompts: {best}."
    if result.at_the_edge:
        words += (
            f" <b>At the end of the range of {', '.join(result.at_the_edge)}</b>: a wider range may hold a better one."
        )
    if result.surface is None:
        return words + " Too few candidates, or no variation, for a smooth fit.</p>"
    smooth = ", ".join(f"{axis} {c:.4g}" for axis, c in zip(result.family.axes, result.surface.optimum, strict=True))
    return (
        f"{words} Optimum of the smooth fit (its mean less one standard error): {smooth}, gain "
        f"{result.surface.gain:+.4f} &plusmn; {result.surface.standard_error:.4f} (standard error), "
        f"{_smooth_measured(result)}.</p>"
    )


def _smooth_measured(result: CalibrationResult) -> str:
    optimum = result.surface.optimum if result.surface is not None else ()
    seen = len(result.gains.get(optimum, ()))
    return f"measured on {seen} prompts" if seen else "<b>not measured</b>: a value of the fit alone"


def _surface_caption(result: CalibrationResult) -> str:
    if len(result.family.bounds) == 2:
        return (
            "Gain over (1, 1) on the calibration prompts: the smooth fit (colour), the measured candidates (dots, "
            "larger where more prompts were seen), stock (cross), best measured (ring), smooth optimum (star, "
            "white where it was not measured)."
        )
    return "Gain over (1, 1) on the calibration prompts along each axis; dots are larger where more prompts were seen."


def _spent_table(result: CalibrationResult) -> str:
    ended = " (ended by the budget)" if result.budget_spent else ""
    reused = f" ({result.reused:,} of them known from another search, not counted below)" if result.reused else ""
    rows = {
        "strategy": result.settings.strategy + ended,
        "candidates": f"{len(result.gains):,}",
        "pictures": f"{result.pictures:,}" + reused,
        "model evaluations (NFE) of the search": f"{result.search_nfe:,}",
        "wall time of the search": f"{result.search_seconds:.1f} s",
        "model evaluations of the held-out check and control": f"{result.check_nfe:,}",
    }
    cells = "".join(f"<tr><td>{_e(k)}</td><td>{_e(v)}</td></tr>" for k, v in rows.items())
    return f"<div class='scroll'><table>{cells}</table></div>"


def _figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{_e(caption)}</figcaption></figure>" if svg else ""


def _e(text: str) -> str:
    return html.escape(text)
