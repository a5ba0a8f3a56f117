"""Q-Sched's change to the scheduler: coefficient families (plain floats) and the one adapter (torch).

Importing this package does not import torch; the names of the adapter are loaded when first used. The
adapter classes themselves (`qsched.scheduling.QSchedLCMScheduler` and so on, one for each diffusers
scheduler) are found here too, which is where saved pipelines and pickles look for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qsched.scheduling.coefficients import METHODS, CoefficientError, Coefficients, Method, read_coefficients
from qsched.scheduling.origin import Origin, calibrated_from, read_calibrated

if TYPE_CHECKING:
    from qsched.scheduling.adapter import apply_coefficients, remove_coefficients
    from qsched.scheduling.noise_correction import NoiseCorrection, correct_noise
    from qsched.scheduling.persist import UnsupportedSchedulerError

__all__ = [
    "METHODS",
    "CoefficientError",
    "Coefficients",
    "Method",
    "NoiseCorrection",
    "Origin",
    "UnsupportedSchedulerError",
    "apply_coefficients",
    "calibrated_from",
    "correct_noise",
    "read_calibrated",
    "read_coefficients",
    "remove_coefficients",
]


def __getattr__(name: str) -> Any:
    if name == "UnsupportedSchedulerError":
        from qsched.scheduling.persist import UnsupportedSchedulerError

        return UnsupportedSchedulerError
    if name in ("apply_coefficients", "remove_coefficients"):
        from qsched.scheduling import adapter

        return getattr(adapter, name)
    if name in ("NoiseCorrection", "correct_noise"):
        from qsched.scheduling import noise_correction

        return getattr(noise_correction, name)
    if name == "SchedulerMixin":
        # DiffusionPipeline.from_pretrained asks the module of a component which of diffusers' base classes it
        # knows, and finds the way to load the component by that; without it a saved pipeline does not load.
        from diffusers import SchedulerMixin

        return SchedulerMixin
    if name.startswith("QSched"):
        from qsched.scheduling.adapter import adapter_class_named

        return adapter_class_named(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
