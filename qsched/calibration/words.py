"""A calibration's verdicts in words, for the terminal and the page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from qsched.calibration.least_squares import LEAST_SHARE, Fit
from qsched.calibration.result import CalibrationResult, MethodOutcome
from qsched.scoring.paired import paired_difference

NAMES = {"qsched": "Q-Sched", "qsched-bias": "qsched-bias"}


@dataclass(frozen=True)
class VerdictWords:
    """The verdict in a heading and a sentence; `warning` unless there is a gain."""

    heading: str
    text: str
    warning: bool = True


def verdict_words(result: CalibrationResult, outcome: MethodOutcome) -> VerdictWords:
    """What the held-out prompts say of a method's best candidate, and which coefficients are written."""
    name = NAMES[outcome.method]
    written = "the stock scheduler (1, 1) is written"
    if outcome.verdict == "not searched":
        return VerdictWords(f"{name}: not searched.", not_searched_words(result))
    if outcome.heldout is None:
        return VerdictWords(
            f"{name}: no gain found by this search.",
            f"No candidate was better than the stock scheduler on the calibration prompts, so {written}. Other "
            "candidates might be: this is not a measurement that there is no gain.",
        )
    gain = outcome.heldout.gain()
    best = f"{outcome.found.words} ({outcome.label})"
    interval = f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}] on {gain.n} held-out prompts"
    changes = f"{best} changes JAQ by {interval}; {gain.counts()}; {worst_words(result, outcome)}."
    if judged := judge_words(result, outcome):
        changes += f" {judged}"
    heading = f"{name}: {_shown_words(outcome)}"
    if outcome.verdict == "gain":
        doubtful = outcome.by_judge == "no gain"
        doubt = " JAQ may have gained what only JAQ likes: look at the pictures." if doubtful else ""
        return VerdictWords(f"{heading}.", f"{changes} These coefficients are written.{doubt}", doubtful)
    if outcome.verdict == "forced":
        return VerdictWords(f"{heading}, kept by force.", changes)
    if outcome.by_judge == "harm" and outcome.by_objective != "harm":
        return VerdictWords(f"{heading}.", f"{changes} The judge sees worse pictures, so {written}.")
    if outcome.verdict == "harm":
        return VerdictWords(f"{heading}.", f"{changes} It makes the pictures worse, so {written}.")
    return VerdictWords(f"{heading}.", f"{changes} The interval of JAQ is not above 0, so {written}.")


def _shown_words(outcome: MethodOutcome) -> str:
    """`gain`, or `gain by the objective, no gain by the judge` if the two disagree."""
    if outcome.by_judge is None or outcome.by_judge == outcome.by_objective:
        return str(outcome.by_objective)
    return f"{outcome.by_objective} by the objective, {outcome.by_judge} by the judge"


def judge_words(result: CalibrationResult, outcome: MethodOutcome) -> str:
    """What the judge says of a method's best candidate, or that there is none."""
    if outcome.heldout is None:
        return ""
    judge = result.judge
    if judge is None:
        return "No independent scorer has judged it."
    gain = outcome.heldout.gain(judge.name)
    better = "" if judge.higher_is_better else " (lower is better)"
    counts = gain.counts(higher_is_better=judge.higher_is_better)
    interval = f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]{better}"
    return f"By the judge, {judge.name}: {interval}; {counts}."


def worst_words(result: CalibrationResult, outcome: MethodOutcome) -> str:
    """`worst: p17 -0.1200 (a small red ring)`."""
    if outcome.heldout is None:
        return ""
    differences = outcome.heldout.differences()
    place = int(differences.argmin())
    prompt = result.heldout_prompts[place]
    return f"worst: {prompt.prompt_id} {differences[place]:+.4f} ({prompt.prompt})"


def not_searched_words(result: CalibrationResult) -> str:
    """Why there is no verdict, and what a verdict needs."""
    return (
        f"The budget of {result.settings.budget.words} ended the search before any candidate but (1, 1) was measured "
        f"on all {len(result.prompts)} prompts, so the gain is unknown and the stock scheduler (1, 1) is written. "
        f"The whole search takes at most {result.most_nfe:,} NFE; raise the budget and run the same command again, "
        "or use fewer prompts or a smaller grid."
    )


def edge_words(result: CalibrationResult) -> str:
    """Which axes are at the end of their range, and what that does to the others; empty if none is."""
    edges = result.at_the_edge
    if not edges:
        return ""
    others = [axis for axis in result.family.axes if axis not in edges]
    distorted = f", and this end distorts the best value of {' and '.join(others)}" if others else ""
    return (
        f"The best candidate is at the end of the range of {' and '.join(edges)}: a wider range may hold a better "
        f"one{distorted}."
    )


def between_words(result: CalibrationResult) -> str:
    """qsched-bias against Q-Sched on the held-out prompts; empty without a bias."""
    gain = result.bias_over_qsched()
    if gain is None:
        return ""
    other = "Q-Sched" if result.qsched.heldout is not None else "the stock scheduler"
    return f"qsched-bias over {other}: {gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}] JAQ; {gain.counts()}"


def linear_words(fits: Iterable[Fit]) -> str:
    """How much of the error of a step is linear at all; empty without a fit."""
    share = max((share for fit in fits for shares in fit.shares.values() for share in shares), default=None)
    if share is None:
        return ""
    start = f"Of the squared error of a step, at most {100 * share:.1f} % is linear (held out)"
    if round(share, 3) < LEAST_SHARE:  # as it is printed
        return (
            f"{start}: there is hardly anything that coefficients could repair. The search of the last step by JAQ may "
            "still find pictures that the objective likes better."
        )
    return f"{start}; coefficients can repair no more of it."


def control_words(outcome: MethodOutcome) -> str:
    """Whether the gain is a repair; empty if there is no gain to explain."""
    if outcome.heldout is None or not outcome.heldout.gain().is_gain:
        return ""
    name = NAMES[outcome.method]
    if outcome.control is None:
        return f"{name}: no full-precision control was made."
    quantized, control = outcome.heldout.gain(), outcome.control.gain()
    if control.is_gain and control.mean >= quantized.mean / 2:
        return (
            f"{name}: the same coefficients also raise JAQ on the full-precision model, by half as much or more: much "
            "of the gain does not repair quantization but is something that the objective likes in any model."
        )
    if paired_difference(outcome.control.differences(), outcome.heldout.differences() / 2).high < 0:
        return (
            f"{name}: on the full-precision model the same coefficients give less than half as much: the gain is "
            "specific to the quantized model."
        )
    return (
        f"{name}: on the full-precision model the same coefficients change JAQ by {control.mean:+.4f} "
        f"[{control.low:+.4f}, {control.high:+.4f}]. That this is less than half of the gain is not shown, so how much "
        "of the gain repairs quantization is not known."
    )
