"""The embedded tiny models: their procedural domain, their weights, the script that trained them.

scene    what a picture shows, in words; the held-out split
caption  scenes to English and back
render   scenes to pixels
check    is this picture what the prompt says? (the ground truth of the domain)
paths    paths of the shipped prompts and weights
train    `python -m tools.train_tiny` (needs torch)
evaluate `python -m qsched.tiny.evaluate` (needs torch)
"""

from __future__ import annotations

from qsched.tiny.caption import PromptError, caption, parse
from qsched.tiny.check import CheckResult, check
from qsched.tiny.paths import load_prompts, model_path, prompts_path
from qsched.tiny.render import Nuisance, render, sample_nuisance
from qsched.tiny.scene import Scene, SceneError, Thing, category, sample_scene, split_of

__all__ = [
    "CheckResult",
    "Nuisance",
    "PromptError",
    "Scene",
    "SceneError",
    "Thing",
    "caption",
    "category",
    "check",
    "load_prompts",
    "model_path",
    "parse",
    "prompts_path",
    "render",
    "sample_nuisance",
    "sample_scene",
    "split_of",
]
