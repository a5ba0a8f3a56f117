"""PTQD's change to the scheduler (2305.10657): correct the noise estimate, then delegate; lower the sampler's noise.

    eps_q = (1 + k) eps + bias + residual        step(eps_q, x)  ->  step((eps_q - bias) / (1 + k), x)

with k and a bias of each latent channel for every step. What is left of the residual, of variance v / (1 + k)**2, acts
like noise: a step that adds B eps and noise of variance sigma**2 gets noise of variance

    max(0, sigma**2 - B**2 v / (1 + k)**2)

No scheduler is copied: B and sigma are read off the stock step, which for Euler ancestral, LCM and TCD is affine in its
inputs, step(e, x) = A x + B e + sigma z. A step that draws noise and is not affine is refused. Coefficients of Q-Sched
are applied after the correction and do not enter B.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import SchedulerMixin
from torch import Generator, Tensor

from qsched.scheduling.coefficients import CoefficientError
from qsched.scheduling.persist import UnsupportedSchedulerError

_PROBE_SHAPE = (1, 4, 8, 8)


@dataclass(frozen=True, eq=False)
class NoiseCorrection:
    """What the correction knows of S steps and C channels.

    k          [S] slope of the error over the exact estimate
    bias       [S, C]; C is dimension 1 of [B, C, H, W] latents, the last one of [B, tokens, C]
    variance   [S] of the residual
    """

    k: Tensor
    bias: Tensor
    variance: Tensor

    @property
    def steps(self) -> int:
        """The number of inference steps that the statistics are of."""
        return len(self.k)


def correct_noise(scheduler: SchedulerMixin, correction: NoiseCorrection) -> SchedulerMixin:
    """A new scheduler that corrects what it is given; the given one is left as it was."""
    plain = uncorrected(scheduler)
    corrected = copy.deepcopy(plain)
    vars(corrected)["noise_correction"] = correction
    corrected.__class__ = corrected_class(type(plain))
    return corrected


def uncorrected(scheduler: SchedulerMixin) -> SchedulerMixin:
    """The scheduler without a correction; one that has none is returned as it is."""
    if correction_of(scheduler) is None:
        return scheduler
    plain = copy.deepcopy(scheduler)
    del vars(plain)["noise_correction"]
    plain.__class__ = getattr(type(scheduler), "inner_class")  # noqa: B009  # mypy knows only SchedulerMixin
    return plain


def correction_of(scheduler: SchedulerMixin) -> NoiseCorrection | None:
    """The scheduler's correction; None if it has none."""
    found: NoiseCorrection | None = getattr(scheduler, "noise_correction", None)
    return found


class StepNumber:
    """Mixed into a scheduler class: which inference step the coming call of `step` belongs to."""

    def step_number(self: Any, timestep: Any) -> int:
        """Counted from 0; the `order` calls of a second-order scheduler's step share its number."""
        if hasattr(type(self), "step_index"):
            if self.step_index is None:
                self._init_step_index(timestep)
            return int(self.step_index) // int(self.order)
        timesteps = self.timesteps
        hits = (timesteps == torch.as_tensor(timestep, device=timesteps.device)).nonzero()
        if len(hits) != 1:
            raise UnsupportedSchedulerError(
                f"{self.inner_class.__name__} visits timestep {timestep} {len(hits)} times, so the number of its "
                "inference step is undefined; use another scheduler"
            )
        return int(hits[0, 0])


@functools.cache
def corrected_class(inner: type[SchedulerMixin]) -> type[Any]:
    """The subclass whose `step` corrects the noise estimate before the inner class's; made once for each class."""

    # Pipelines look for eta, generator, sigmas and timesteps in these signatures.
    @functools.wraps(inner.step)
    def step(self: Any, model_output: Tensor, timestep: Any, sample: Tensor, *args: Any, **kwargs: Any) -> Any:
        return corrected_step(self, inner.step, (model_output, timestep, sample), args, kwargs)

    @functools.wraps(inner.set_timesteps)
    def set_timesteps(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = inner.set_timesteps(self, *args, **kwargs)
        if self.num_inference_steps != self.noise_correction.steps:
            raise CoefficientError(
                f"a noise correction measured with {self.noise_correction.steps} steps cannot serve "
                f"{self.num_inference_steps}: measure it with the same number of steps"
            )
        return result

    body = {"__module__": __name__, "inner_class": inner, "step": step, "set_timesteps": set_timesteps}
    return type(f"NoiseCorrected{inner.__name__}", (StepNumber, inner), body)


def corrected_step(
    scheduler: Any,
    inner_step: Callable[..., Any],
    inputs: tuple[Tensor, Any, Tensor],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """One step with the corrected estimate, and with less noise if it draws some."""
    model_output, timestep, sample = inputs
    correction: NoiseCorrection = scheduler.noise_correction
    i = scheduler.step_number(timestep)
    slope, variance = 1 + float(correction.k[i]), float(correction.variance[i])
    bias = correction.bias[i].to(device=model_output.device, dtype=torch.float32)
    if model_output.shape[1 if model_output.ndim == 4 else -1] != len(bias):
        raise CoefficientError(
            f"a noise correction of {len(bias)} channels cannot serve a model output of shape "
            f"{tuple(model_output.shape)}: measure it with this model"
        )
    wide = model_output.to(torch.float32) - (bias.view(-1, 1, 1) if model_output.ndim == 4 else bias)
    corrected = (wide / slope).to(model_output.dtype)
    generators = _generators(kwargs.get("generator"))
    before = copy.copy(scheduler)
    states = [generator.get_state() for generator in generators]
    result = inner_step(scheduler, corrected, timestep, sample, *args, **kwargs)
    if all(torch.equal(state, g.get_state()) for state, g in zip(states, generators, strict=True)):
        return result  # no noise was drawn
    share = noise_share(before, timestep, variance / slope**2, args, kwargs)
    after = [generator.get_state() for generator in generators]
    _set_states(generators, states)
    # The same noise again: an affine step makes nothing else of zeros.
    noise = inner_step(before, torch.zeros_like(corrected), timestep, torch.zeros_like(sample), *args, **kwargs)
    _set_states(generators, after)
    previous = _previous(result).to(torch.float32) - (1 - share) * _previous(noise).to(torch.float32)
    return _with_previous(result, previous.to(_previous(result).dtype))


def noise_share(scheduler: Any, timestep: Any, variance: float, args: tuple[Any, ...], kwargs: dict[str, Any]) -> float:
    """The factor, 0 to 1, that the coming step's noise is multiplied by to make room for a residual's variance."""
    stock: Any = getattr(type(scheduler), "qsched_stock", None) or type(scheduler).inner_class
    zeros, ones = torch.zeros(_PROBE_SHAPE), torch.ones(_PROBE_SHAPE)

    def probe(e: Tensor, x: Tensor, seed: int = 0) -> Tensor:
        chosen = {**kwargs, "generator": Generator("cpu").manual_seed(seed)}
        return _previous(stock.step(copy.copy(scheduler), e, timestep, x, *args, **chosen)).to(torch.float64)

    noise = probe(zeros, zeros)
    added, kept = probe(ones, zeros) - noise, probe(zeros, ones) - noise
    both = probe(ones, -ones) - noise
    constant = all(bool((part - part.mean()).abs().max() <= 1e-4 * (1 + part.abs().max())) for part in (added, kept))
    if not constant or not torch.allclose(both, added - kept, rtol=1e-3, atol=1e-4):
        raise UnsupportedSchedulerError(
            f"{stock.__name__} draws noise and its step is not affine in the model output and the sample, so ptqd "
            "cannot lower its noise; use Euler ancestral, LCM, TCD or a deterministic scheduler"
        )
    draw = torch.randn(_PROBE_SHAPE, generator=Generator("cpu").manual_seed(0), dtype=torch.float32).to(torch.float64)
    sigma = float((noise * draw).sum() / draw.square().sum())
    if not torch.allclose(noise, sigma * draw, rtol=1e-3, atol=1e-4):
        raise UnsupportedSchedulerError(f"{stock.__name__} draws noise that is not normal; ptqd cannot lower it")
    if sigma == 0:
        return 1.0
    return math.sqrt(max(0.0, 1 - float(added.mean()) ** 2 * variance / sigma**2))


def _generators(given: Any) -> list[Generator]:
    if given is None:
        return []
    return list(given) if isinstance(given, list | tuple) else [given]


def _set_states(generators: list[Generator], states: list[Tensor]) -> None:
    for generator, state in zip(generators, states, strict=True):
        generator.set_state(state)


def _previous(result: Any) -> Tensor:
    previous: Tensor = result[0] if isinstance(result, tuple) else result.prev_sample
    return previous


def _with_previous(result: Any, previous: Tensor) -> Any:
    if isinstance(result, tuple):
        return (previous, *result[1:])
    result.prev_sample = previous
    return result
