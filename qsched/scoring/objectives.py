"""Objectives by name: the pairs of scorers that the paper's text and its released scripts rank candidates by.

The two do not agree with each other, so each form is a preset of its own:

    paper-clip              CLIPScore (0..100) + 2 CLIP-IQA        LCM, PCM; the paper's text
    paper-clip-script       log CLIPScore + 2 CLIP-IQA             LCM, PCM; the released script
    paper-aesthetic         AQ-Map + 2 HPSv2.1                     SDXL-Turbo, FLUX; the released script, ranking
    paper-aesthetic-eval    HPSv2.1 + 2 AQ-Map                     the same script, evaluating
"""

from __future__ import annotations

from dataclasses import dataclass

from qsched.errors import InputError


@dataclass(frozen=True)
class NamedObjective:
    """The scorers of TC and IQ by name, and k."""

    tc: str
    iq: str
    k: float = 2.0


OBJECTIVES = {
    "paper-clip": NamedObjective("clipscore:100", "clip-iqa"),
    "paper-clip-script": NamedObjective("clipscore:log", "clip-iqa"),
    "paper-aesthetic": NamedObjective("aq-map", "hpsv2.1"),
    "paper-aesthetic-eval": NamedObjective("hpsv2.1", "aq-map"),
}


def find_objective(name: str) -> NamedObjective:
    """The preset of that name; InputError with the choices for another."""
    if name not in OBJECTIVES:
        raise InputError(f"objective {name!r} is unknown; choose one of {', '.join(OBJECTIVES)}, or give --tc and --iq")
    return OBJECTIVES[name]
