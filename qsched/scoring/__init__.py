"""Scorers: images and prompts to numbers. Names are loaded when first used; this file imports no torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from qsched.scoring.errors import ScoringError

if TYPE_CHECKING:
    from qsched.scoring.frechet import ClipFeatures, InceptionFeatures, frechet_distance
    from qsched.scoring.jaq_score import Jaq, JaqRecord, JaqScores, jaq
    from qsched.scoring.protocol import Scorer, ScorerInfo
    from qsched.scoring.registry import load_reference_metric, load_scorer

_HOMES = {
    "ClipFeatures": "frechet",
    "InceptionFeatures": "frechet",
    "frechet_distance": "frechet",
    "Jaq": "jaq_score",
    "JaqRecord": "jaq_score",
    "JaqScores": "jaq_score",
    "jaq": "jaq_score",
    "Scorer": "protocol",
    "ScorerInfo": "protocol",
    "load_reference_metric": "registry",
    "load_scorer": "registry",
}

__all__ = [
    "ClipFeatures",
    "InceptionFeatures",
    "Jaq",
    "JaqRecord",
    "JaqScores",
    "Scorer",
    "ScorerInfo",
    "ScoringError",
    "frechet_distance",
    "jaq",
    "load_reference_metric",
    "load_scorer",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"qsched.scoring.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
