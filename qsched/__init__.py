"""Paired image sets from few-step diffusion models: full precision against quantized + Q-Sched."""

from __future__ import annotations

__version__ = "0.1.0"
