"""From prompts to paired image sets: plan, noise, render, store, resume, verify. Importing it loads no torch."""

from __future__ import annotations

from qsched.generation.arms import Arm, parse_arms
from qsched.generation.noise import initial_latents
from qsched.generation.plan import Plan, make_plan
from qsched.generation.prompts import Prompt, read_prompts
from qsched.generation.render import render_batch, with_coefficients
from qsched.generation.request import Request, RunReport
from qsched.generation.run import generate_pairs
from qsched.generation.verify import VerifyReport, verify_set
from qsched.records import Fault, image_seed

__all__ = [
    "Arm",
    "Fault",
    "Plan",
    "Prompt",
    "Request",
    "RunReport",
    "VerifyReport",
    "generate_pairs",
    "image_seed",
    "initial_latents",
    "make_plan",
    "parse_arms",
    "read_prompts",
    "render_batch",
    "verify_set",
    "with_coefficients",
]
