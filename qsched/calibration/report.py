"""calibration.html: one self-contained page that says what was found and what it is worth."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qsched.calibration.calibrate import CalibrationResult
from qsched.calibration.figures import gains_figure, surface_figure
from qsched.files import write_atomic
from qsched.pages import Figure, Table, render_page
from qsched.scheduling import Coefficients
from qsched.scoring.paired import PairedDifference

PROVENANCE = ("coefficients", "found", "objective", "provenance")
_TEMPLATE = Path(__file__).with_name("report.html.j2")


@dataclass(frozen=True)
class VerdictWords:
    """The verdict in a heading and a sentence; `warning` unless there is a gain."""

    heading: str
    text: str
    warning: bool = True


def write_report(path: Path, result: CalibrationResult, record: dict[str, Any]) -> None:
    """Write the page."""
    write_atomic(path, render_report(result, record).encode())


def render_report(result: CalibrationResult, record: dict[str, Any]) -> str:
    """The page as text; figures are inline SVG, nothing is fetched."""
    svg = surface_figure(result)
    return render_page(
        _TEMPLATE,
        title=f"Calibration of {record['backbone']} at {record['precision']}, {record['steps']} steps",
        verdict=verdict_words(result),
        gains=_gain_table(result) if result.has_candidate else None,
        control=_control_words(result),
        objective=_objective_words(record),
        gains_figure=_gains_figure(result) if result.has_candidate else None,
        best=_best_words(result),
        edge=_edge_words(result),
        smooth=_smooth_words(result),
        surface_figure=Figure(svg, _surface_caption(result)) if svg else None,
        cost=_cost_table(result),
        provenance=json.dumps({key: record[key] for key in PROVENANCE}, indent=1),
    )


def verdict_words(result: CalibrationResult) -> VerdictWords:
    """What the held-out prompts say of the best candidate, and which coefficients are written."""
    gain = result.heldout.gain()
    interval = f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}] on {gain.n} held-out prompts"
    best = coefficient_words(result.found)
    if result.verdict == "not searched":
        return VerdictWords("Not searched.", not_searched_words(result))
    if not result.has_candidate:
        return VerdictWords("No gain.", "No candidate was better than the stock scheduler (1, 1), which is written.")
    if result.verdict == "gain":
        return VerdictWords("Gain.", f"{best} changes JAQ by {interval}. These coefficients are written.", False)
    if result.verdict == "forced":
        return VerdictWords(
            "Harm, kept by force." if gain.high < 0 else "No gain shown, kept by force.",
            f"{best} changes JAQ by {interval}; the interval is not above 0.",
        )
    if result.verdict == "harm":
        return VerdictWords(
            "Harm.",
            f"The best candidate, {best}, changes JAQ by {interval}: it makes the pictures worse. The stock scheduler "
            "(1, 1) is written.",
        )
    return VerdictWords(
        "No gain.",
        f"The best candidate, {best}, changes JAQ by {interval}; the interval is not above 0, so the stock "
        "scheduler (1, 1) is written.",
    )


def not_searched_words(result: CalibrationResult) -> str:
    """Why there is no verdict, and what a verdict needs."""
    return (
        f"The budget of {result.settings.budget.words} ended the search before any candidate but (1, 1) was measured "
        f"on all {len(result.prompts)} prompts, so the gain is unknown and the stock scheduler (1, 1) is written. "
        f"The whole search takes at most {result.most_nfe:,} NFE; raise the budget and run the same command again, "
        "or use fewer prompts or a smaller grid."
    )


def coefficient_words(coefficients: Coefficients) -> str:
    """`constant, model 1.1, sample 0.95`."""
    model, sample = (" ".join(f"{c:g}" for c in some) for some in (coefficients.model, coefficients.sample))
    return f"{coefficients.family}, model {model}, sample {sample}"


def _gain_table(result: CalibrationResult) -> Table:
    heldout, control = result.heldout, result.control
    rows = [
        _gain_row("held-out prompts", heldout.gain(), heldout.stock.mean()),
        _gain_row("calibration prompts (flattered: they chose the candidate)", result.calibration_gain, None),
    ]
    if control is not None:
        rows.append(_gain_row("control: the same on full precision, held-out", control.gain(), control.stock.mean()))
    for metric in heldout.stock.values:
        if metric != "jaq":
            rows.append(_gain_row(f"held-out, {metric}", heldout.gain(metric), heldout.stock.mean(metric)))
    return Table(("", "stock", "gain", "95 % interval", "prompts"), tuple(rows))


def _gain_row(name: str, gain: PairedDifference, stock: float | None) -> tuple[str, ...]:
    interval = f"{gain.low:+.4f} to {gain.high:+.4f}"
    return (name, "" if stock is None else f"{stock:.4f}", f"{gain.mean:+.4f}", interval, str(gain.n))


def _gains_figure(result: CalibrationResult) -> Figure:
    caption = "Held-out prompts: gain of each over the stock scheduler, and the mean with its interval."
    return Figure(gains_figure(result), caption)


def _control_words(result: CalibrationResult) -> str:
    if not result.has_candidate:
        return ""
    if result.control is None:
        return "No full-precision control was made."
    quantized, control = result.heldout.gain(), result.control.gain()
    if not quantized.is_gain:
        return ""
    if control.is_gain and control.mean >= quantized.mean / 2:
        return (
            "The same coefficients also raise JAQ on the full-precision model, by half as much or more: much of the "
            "gain does not repair quantization but is something that the objective likes in any model."
        )
    return (
        "On the full-precision model the same coefficients give less than half as much: the gain is specific to "
        "the quantized model."
    )


def _objective_words(record: dict[str, Any]) -> str:
    o = record["objective"]
    tc, iq = o["tc"], o["iq"]
    return (
        f"JAQ = TC + {o['k']:g} IQ. TC: {tc['name']} ({tc['scale']}; {tc['version']}). "
        f"IQ: {iq['name']} ({iq['scale']}; {iq['version']})."
    )


def _best_words(result: CalibrationResult) -> str:
    best = ", ".join(f"{axis} {c:g}" for axis, c in zip(result.family.axes, result.found_point, strict=True))
    return f"Best measured on all calibration prompts: {best}."


def _edge_words(result: CalibrationResult) -> str:
    if not result.at_the_edge:
        return ""
    return f"At the end of the range of {', '.join(result.at_the_edge)}: a wider range may hold a better one."


def _smooth_words(result: CalibrationResult) -> str:
    surface = result.surface
    if surface is None:
        return "There are too few candidates, or no variation, for a smooth fit."
    optimum = ", ".join(f"{axis} {c:.4g}" for axis, c in zip(result.family.axes, surface.optimum, strict=True))
    n_prompts = len(result.gains.get(surface.optimum, ()))
    measured = f"measured on {n_prompts} prompts" if n_prompts else "not measured: a value of the fit alone"
    return (
        f"Optimum of the smooth fit (its mean less one standard error): {optimum}, gain {surface.gain:+.4f} ± "
        f"{surface.standard_error:.4f} (standard error), {measured}."
    )


def _surface_caption(result: CalibrationResult) -> str:
    if len(result.family.bounds) == 2:
        return (
            "Gain over (1, 1) on the calibration prompts: the smooth fit (colour), the measured candidates (dots, "
            "larger for more prompts), stock (cross), best measured (ring), smooth optimum (star, white if it was "
            "not measured; none if it is the stock scheduler)."
        )
    return "Gain over (1, 1) on the calibration prompts along each axis; dots are larger for more prompts."


def _cost_table(result: CalibrationResult) -> Table:
    ended = " (ended by the budget)" if result.budget_spent else ""
    reused = f" ({result.reused:,} of them known from another search, not counted below)" if result.reused else ""
    rows = (
        ("strategy", result.settings.strategy + ended),
        ("candidates", f"{len(result.gains):,}"),
        ("pictures", f"{result.pictures:,}" + reused),
        ("model evaluations (NFE) of the search", f"{result.search_nfe:,}"),
        ("wall time of the search", f"{result.search_seconds:.1f} s"),
        ("model evaluations of the held-out check and control", f"{result.check_nfe:,}"),
    )
    return Table(("", ""), rows)
