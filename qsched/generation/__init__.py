"""From prompts to paired image sets: plan, noise, render, store, resume, verify."""

from __future__ import annotations

from qsched.generation.noise import image_seed, initial_latents
from qsched.generation.prompts import Prompt, read_prompts
from qsched.generation.render import render_batch

__all__ = ["Prompt", "image_seed", "initial_latents", "read_prompts", "render_batch"]
