"""The procedural domain in one import: scenes, captions, pictures, and the ground-truth check."""

from __future__ import annotations

from qsched.tiny.caption import PromptError, caption, parse
from qsched.tiny.check import CheckResult, check
from qsched.tiny.render import Nuisance, render, sample_nuisance
from qsched.tiny.scene import CATEGORIES, Scene, SceneError, Thing, category, sample_scene, split_of

__all__ = [
    "CATEGORIES",
    "CheckResult",
    "Nuisance",
    "PromptError",
    "Scene",
    "SceneError",
    "Thing",
    "caption",
    "category",
    "check",
    "parse",
    "render",
    "sample_nuisance",
    "sample_scene",
    "split_of",
]
