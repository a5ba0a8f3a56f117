"""calibration.html: one self-contained page that says what was found and what it is worth, pictures first."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qsched.calibration.figures import gains_figure, surface_figure
from qsched.calibration.result import CalibrationResult, HeldOutExample, MethodOutcome
from qsched.calibration.words import (
    NAMES,
    between_words,
    control_words,
    edge_words,
    linear_words,
    verdict_words,
    worst_words,
)
from qsched.files import write_atomic
from qsched.generation.render import encode_png
from qsched.pages import Cell, Figure, Table, render_page
from qsched.scheduling.coefficients import BIAS_KEY
from qsched.scoring.paired import PairedDifference

PROVENANCE = ("coefficients", "found", BIAS_KEY, "objective", "judge", "provenance")
SHOWN_CANDIDATES = 12
_PERCENT = "\N{NO-BREAK SPACE}%"
_TEMPLATE = Path(__file__).with_name("report.html.j2")


@dataclass(frozen=True)
class ShownExample:
    """A held-out prompt, what is said of it, and its pictures: (arm, data address, note)."""

    prompt: str
    words: str
    pictures: tuple[tuple[str, str, str], ...]


def write_report(path: Path, result: CalibrationResult, record: dict[str, Any]) -> None:
    """Write the page."""
    write_atomic(path, render_report(result, record).encode())


def render_report(result: CalibrationResult, record: dict[str, Any]) -> str:
    """The page as text; pictures and figures are in it, nothing is fetched. What was not searched is not printed."""
    searched = result.qsched.verdict != "not searched"
    svg = surface_figure(result) if searched else ""
    judged = [one for one in result.outcomes if one.has_candidate]
    return render_page(
        _TEMPLATE,
        title=f"Calibration of {record['backbone']} at {record['precision']}, {_steps(record['steps'])}",
        verdicts=[verdict_words(result, one) for one in result.outcomes],
        between=between_words(result),
        examples=[_shown(example) for example in result.examples],
        examples_of=NAMES[result.best.method],
        gains=_gain_table(judged, result) if judged else None,
        controls=[words for one in judged if (words := control_words(one))],
        objective=_objective_words(record),
        judge=_judge_statement(record),
        gains_figure=Figure(gains_figure(result), _gains_caption(result)) if judged else None,
        candidates=_candidate_table(record) if searched else None,
        equals=_equals_words(result) if searched else "",
        linear=linear_words(result.fits),
        fits=_fit_table(result),
        notes=() if result.closed_form is None else result.closed_form.notes,
        edge=edge_words(result),
        smooth=_smooth_words(result),
        surface_figure=Figure(svg, _surface_caption(result)) if svg else None,
        cost=_cost_table(result),
        provenance=json.dumps({key: record[key] for key in PROVENANCE if key in record}, indent=1),
    )


def _shown(example: HeldOutExample) -> ShownExample:
    addresses = (
        (name, "data:image/png;base64," + base64.b64encode(encode_png(image)).decode(), "")
        for name, image in example.pictures.items()
    )
    return ShownExample(example.prompt.prompt, f"gain {example.gain:+.4f}", tuple(addresses))


def _gain_table(judged: list[MethodOutcome], result: CalibrationResult) -> Table:
    rows = []
    for one in judged:
        assert one.heldout is not None and one.calibration_gain is not None
        name, heldout = NAMES[one.method], one.heldout
        rows.append(_gain_row(f"{name}, held-out prompts", heldout.gain(), heldout.stock.mean()))
        flattered = f"{name}, calibration prompts (flattered: they chose the candidate)"
        rows.append(_gain_row(flattered, one.calibration_gain, None))
        if one.control is not None:
            control = f"{name}, control: the same on full precision, held-out"
            rows.append(_gain_row(control, one.control.gain(), one.control.stock.mean()))
        for metric in heldout.stock.values:
            if metric != "jaq":
                is_judge = result.judge is not None and metric == result.judge.name
                shown = f"the judge, {metric}" if is_judge else metric
                higher = metric not in result.lower_is_better
                shown = f"{name}, held-out, {shown}{'' if higher else ' (lower is better)'}"
                rows.append(_gain_row(shown, heldout.gain(metric), heldout.stock.mean(metric), higher_is_better=higher))
    return Table(("", "stock", "gain", "95 % interval", "better / worse of"), tuple(rows), css="stack")


def _gain_row(
    name: str, gain: PairedDifference, stock: float | None, *, higher_is_better: bool = True
) -> tuple[str | Cell, ...]:
    interval = Cell("", f"{gain.low:+.4f} to {gain.high:+.4f}")
    better, worse = (gain.above, gain.below) if higher_is_better else (gain.below, gain.above)
    counts = Cell("", f"{better} / {worse} of {gain.n}")
    return (name, "" if stock is None else f"{stock:.4f}", f"{gain.mean:+.4f}", interval, counts)


def _gains_caption(result: CalibrationResult) -> str:
    worst = "; ".join(f"{NAMES[one.method]}, {worst_words(result, one)}" for one in result.outcomes if one.heldout)
    return (
        "Held-out prompts: gain of each over the stock scheduler, and the mean with its interval (the wider end of "
        f"Student's t and of Hall's t). The worst and the best are named; point at another dot for its prompt. By "
        f"method: {worst}."
    )


def _candidate_table(record: dict[str, Any]) -> Table:
    rows = []
    for one in record["candidates"][:SHOWN_CANDIDATES]:
        numbers = one["coefficients"]
        model, sample = (
            " ".join(f"{c:.4g}" for c in dict.fromkeys(numbers[kind]))
            if isinstance(numbers[kind], list)
            else numbers[kind]
            for kind in ("model", "sample")
        )
        among = "yes" if one["among_the_equals"] else ""
        method = Cell("", NAMES[one["method"]]) if one["found_by"] != "stock" else ""
        rows.append((one["found_by"], method, model, sample, f"{one['calibration_gain']:+.4f}", among))
    more = len(record["candidates"]) - len(rows)
    caption = f"The best {len(rows)} of {len(rows) + more} candidates" if more > 0 else ""
    return Table(
        ("candidate", "method", "model", "sample", "gain", "among the equals"), tuple(rows), caption, css="stack"
    )


def _equals_words(result: CalibrationResult) -> str:
    whole = sum(len(gains) == len(result.prompts) for gains in result.gains.values())
    measured = f"{whole} candidates measured on all {len(result.prompts)} calibration prompts"
    if len(result.equals) == 1:
        return f"Of the {measured}, all but the best are beaten by another (5{_PERCENT}, all comparisons together)."
    return (
        f"{len(result.equals)} of the {measured} are equals: no other candidate is shown to beat them (5{_PERCENT}, "
        "all comparisons together). Another machine may choose another winner, but from nearly the same set."
    )


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count} steps"


def _fit_table(result: CalibrationResult) -> Table | None:
    if result.closed_form is None or not result.closed_form.fits:
        return None
    rows = []
    for form, fit in result.closed_form.fits.items():
        for number, step in enumerate(fit.steps):
            bias = " ".join(f"{b:+.3f}" for b in step.bias) if form != "scalars" else ""
            share = f"{round(100 * fit.shares[form][number])}{_PERCENT}" if number < len(fit.shares[form]) else ""
            cells = (
                form,
                str(number + 1),
                f"{100 * step.error:.1f}{_PERCENT}",
                share,
                f"{step.model:.3f}",
                f"{step.sample:.3f}",
            )
            rows.append((*cells, bias))
    caption = (
        "Error of a step: root mean square of its distance from the full-precision latents, relative to them. Removed: "
        "the share of its square that the fit takes away on prompts that it was not fitted on."
    )
    return Table(
        ("fit", "step", "error", "removed", "model", "sample", "bias by channel"), tuple(rows), caption, css="stack"
    )


def _objective_words(record: dict[str, Any]) -> str:
    o = record["objective"]
    tc, iq = o["tc"], o["iq"]
    units = o["units"]
    formula = f"JAQ = TC + {o['k']:g} IQ."
    if units["kind"] == "sd":
        formula = (
            f"JAQ = TC / {units['tc']:.4g} + {o['k']:g} IQ / {units['iq']:.4g}: each term is in units of its standard "
            "deviation over the calibration prompts with the stock scheduler."
        )
    return (
        f"{formula} TC: {tc['name']} ({tc['scale']}; {tc['version']}). "
        f"IQ: {iq['name']} ({iq['scale']}; {iq['version']})."
    )


def _judge_statement(record: dict[str, Any]) -> str:
    judge = record["judge"]
    if judge is None:
        return "No judge: only the objective that was maximised has looked at these pictures."
    return (
        f"The judge, which the search did not maximise: {judge['name']} ({judge['scale']}; {judge['version']}). "
        "Harm by the judge overrules a gain in JAQ."
    )


def _smooth_words(result: CalibrationResult) -> str:
    surface = result.surface
    if surface is None:
        return "" if result.closed_form else "There are too few candidates, or no variation, for a smooth fit."
    optimum = ", ".join(f"{axis} {c:.4g}" for axis, c in zip(result.family.axes, surface.optimum, strict=True))
    n_prompts = result.prompts_at(surface.optimum)
    measured = f"measured on {n_prompts} prompts" if n_prompts else "not measured: a value of the fit alone"
    return (
        f"Optimum of the smooth fit (its mean less one standard error): {optimum}, gain {surface.gain:+.4f} ± "
        f"{surface.standard_error:.4f} (standard error), {measured}."
    )


def _surface_caption(result: CalibrationResult) -> str:
    if len(result.family.bounds) == 2:
        return (
            "Gain over (1, 1) on the calibration prompts: the smooth fit (colour), the measured candidates (dots, "
            "larger for more prompts; dark for the equals), stock (cross), chosen (ring), smooth optimum (star, "
            "white if it was not measured; none if it is the stock scheduler)."
        )
    return "Gain over (1, 1) on the calibration prompts along each axis; dots are larger for more prompts."


def _cost_table(result: CalibrationResult) -> Table:
    ended = " (ended by the budget)" if result.budget_spent else ""
    reused = f" ({result.reused:,} of them known from another search, not counted below)" if result.reused else ""
    rows = (
        ("strategy", Cell("", result.settings.strategy + ended)),
        ("candidates", f"{len(result.gains):,}"),
        ("pictures", f"{result.pictures:,}" + reused),
        ("model evaluations (NFE) of the search", f"{result.search_nfe:,}"),
        ("wall time of the search", Cell("", f"{result.search_seconds:.1f} s")),
        ("model evaluations of the held-out check and control", f"{result.check_nfe:,}"),
    )
    return Table(("", ""), rows)
