"""The embedded tiny models: their procedural domain, their weights, the script that trained them.

domain   the next four in one import (needs numpy and Pillow, which naming a model does not)
scene    what a picture shows, in words; the held-out split
caption  scenes to English and back
render   scenes to pixels
check    is this picture what the prompt says? (the ground truth of the domain)
paths    paths of the shipped prompts and weights
train    `python -m tools.train_tiny` (needs torch)
evaluate `python -m qsched.tiny.evaluate` (needs torch)
"""

from __future__ import annotations

from qsched.tiny.paths import load_prompts, model_path, prompts_path

__all__ = ["load_prompts", "model_path", "prompts_path"]
