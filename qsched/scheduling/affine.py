"""The three parts of a scheduler's step that is affine in its two inputs: step(e, x) = A x + B e + n.

Euler, Euler ancestral, flow-match Euler, LCM and TCD are. The parts are read off the stock step itself, with the same
noise n each time, so no scheduler is copied: n = step(0, 0), A x = step(0, x) - n, B e = step(e, 0) - n.

Refused, with an UnsupportedSchedulerError: steps that remember earlier ones (multistep), that call the model twice
(Heun), or whose parts do not add up to the step (clipping, thresholding).
"""

from __future__ import annotations

import copy
import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from qsched.scheduling.persist import UnsupportedSchedulerError

# Where diffusers' multistep schedulers keep what earlier steps made.
MEMORIES = ("model_outputs", "ets", "derivatives")
_REMEDY = "use Euler, Euler ancestral, flow-match Euler, LCM or TCD, or coefficients without a bias"
_PROBE_SHAPE = (1, 1, 2, 2)
_PROBE_SIZE = 30.0  # large, so that a scheduler that clips clips


@dataclass(frozen=True)
class StepParts:
    """A x, B e and n of one step, each in the shape of the latents, float32."""

    sample: Tensor
    model: Tensor
    noise: Tensor


def step_parts(scheduler: Any, inputs: tuple[Tensor, Any, Tensor], *args: Any, **kwargs: Any) -> StepParts:
    """The parts of the coming stock step; scheduler and generators are left as they were.

    inputs    (model output, timestep, sample), as the pipeline gives them to `step`
    args      what else the pipeline gives to `step`
    """
    stock = _stock(scheduler)
    _check_memory(scheduler, stock)
    e, timestep, x = inputs
    e, x = e.to(torch.float32), x.to(torch.float32)
    whole, from_x, from_e, noise = (
        _stock_step(scheduler, stock, (model, timestep, sample), args, kwargs)
        for model, sample in (
            (e, x),
            (torch.zeros_like(e), x),
            (e, torch.zeros_like(x)),
            (torch.zeros_like(e), torch.zeros_like(x)),
        )
    )
    parts = StepParts(from_x - noise, from_e - noise, noise)
    scale = 1 + max(float(part.abs().max()) for part in (parts.sample, parts.model))
    if float((parts.sample + parts.model + noise - whole).abs().max()) > 1e-3 * scale:
        raise UnsupportedSchedulerError(
            f"{stock.__name__} is not affine: its step is not the sum of what it makes of the sample and of the model "
            f"output (does it clip?); {_REMEDY}"
        )
    return parts


def check_affine(scheduler: Any) -> None:
    """Refuse a scheduler that uses several model outputs in a step; the rest is checked step by step."""
    _check_memory(scheduler, _stock(scheduler))


def sample_factor(scheduler: Any, timestep: Any, *args: Any, **kwargs: Any) -> float:
    """A of the coming step, which is refused unless it is affine and A is not 0."""
    ones = torch.full(_PROBE_SHAPE, _PROBE_SIZE)
    chosen = dict(kwargs)
    if "generator" in inspect.signature(_stock(scheduler).step).parameters:  # never the caller's, nor the global one
        chosen["generator"] = Generator("cpu").manual_seed(0)
    parts = step_parts(scheduler, (-ones, timestep, ones), *args, **chosen)
    factor = float(parts.sample.mean()) / _PROBE_SIZE
    if abs(factor) < 1e-6 or float((parts.sample / _PROBE_SIZE - factor).abs().max()) > 1e-4 * (1 + abs(factor)):
        raise UnsupportedSchedulerError(
            f"{_stock(scheduler).__name__} multiplies the sample by {factor:g} in this step; a bias needs one number "
            f"other than 0: {_REMEDY}"
        )
    return factor


def _stock(scheduler: Any) -> type[Any]:
    stock: type[Any] = getattr(type(scheduler), "qsched_stock", type(scheduler))
    if hasattr(stock, "inner_class"):
        raise UnsupportedSchedulerError(
            "the scheduler already corrects the noise estimate (ptqd), so no closed-form coefficients are fitted on "
            "top of it; search with --strategy race"
        )
    return stock


def _check_memory(scheduler: Any, stock: type[Any]) -> None:
    if int(getattr(scheduler, "order", 1)) != 1 or any(hasattr(scheduler, name) for name in MEMORIES):
        raise UnsupportedSchedulerError(
            f"{stock.__name__} uses more than one model output in a step, so the step is not affine in its two "
            f"inputs; {_REMEDY}"
        )


def _stock_step(
    scheduler: Any,
    stock: type[Any],
    inputs: tuple[Tensor, Any, Tensor],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Tensor:
    """The latents that the stock step makes, in float32, with copies of everything that it changes."""
    given = kwargs.get("generator")
    generators = list(given) if isinstance(given, list | tuple) else [] if given is None else [given]
    states = [generator.get_state() for generator in generators]
    result = stock.step(copy.copy(scheduler), *inputs, *args, **kwargs)
    for generator, state in zip(generators, states, strict=True):
        generator.set_state(state)
    made: Tensor = result[0] if isinstance(result, tuple) else result.prev_sample
    return made.to(torch.float32)
