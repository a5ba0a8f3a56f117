"""Why there is no estimate, in the words of the summary and of the methods: both from one diagnosis.

A cause is one of: the graph of wins, the ties (none at all, or nothing else), the position effect, or votes that the
model fits perfectly in some other way (Albert and Anderson 1984).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from analysis.stats import EstimateSettings, Existence

Cause = Literal["graph", "ties", "position", "separation"]
MODEL_NAMES = {
    "bradley-terry": "the Bradley-Terry model",
    "davidson": "Davidson's model of ties",
    "rao-kupper": "Rao and Kupper's model of ties",
}


def causes(existence: Existence, settings: EstimateSettings) -> tuple[Cause, ...]:
    """What prevents an estimate, the most basic cause first; with a penalty some graphs do no harm."""
    kind = settings.penalty.kind
    found: list[Cause] = []
    split = (kind == "none" and len(existence.components) > 1) or (kind == "firth" and len(existence.islands) > 1)
    if split or existence.without_votes:
        found.append("graph")
    if existence.tie_problem:
        found.append("ties")
    if existence.position_separated:
        found.append("position")
    return tuple(found) or ("separation",)


def summary_words(existence: Existence, settings: EstimateSettings) -> str:
    """The sentences of the summary in place of an estimate."""
    found = causes(existence, settings)
    if "graph" in found:
        text = (
            "There is no estimate of strengths: the votes do not connect the arms in a way that gives each a finite "
            "strength."
        )
        text += f" {existence.tie_problem}" if existence.tie_problem else ""
        return f"{text} The counts below are what the votes say; no ranking of all arms follows from them."
    model = MODEL_NAMES[settings.model]
    model += " with a position effect" if "position" in found else ""
    return " ".join(
        (
            f"There is no estimate of strengths in {model}.",
            *existence.problems,
            "Another choice of model may have one.",
            *existence.remedies,
        )
    )


def methods_words(existence: Existence, settings: EstimateSettings, cite: Callable[..., str]) -> str:
    """The same for the methods, with the literature; `cite` numbers a reference."""
    model = MODEL_NAMES[settings.model]
    reasons = []
    for cause in causes(existence, settings):
        match cause:
            case "graph" if settings.penalty.kind == "firth":
                reasons.append(f"the graph of comparisons is not connected {cite('ford')}")
            case "graph":
                reasons.append(f"the directed graph of wins is not strongly connected {cite('ford')}")
            case "ties":
                key = "davidson" if settings.model == "davidson" else "rao"
                what = "there is no tie" if "no tie" in (existence.tie_problem or "") else "every vote is a tie"
                reasons.append(f"{what}, so that the tie parameter of {model} {cite(key)} is not finite")
            case "position":
                reasons.append(
                    f"the effect of the left position {cite('side')} cannot be separated from the strengths "
                    f"{cite('albert')}"
                )
            case "separation":
                reasons.append(f"{model} fits the votes perfectly in some direction of its parameters {cite('albert')}")
    return (
        f"No model was fitted: {'; and '.join(reasons)}. No finite, unique estimate exists. "
        "Only counts and raw win rates are reported."
    )
