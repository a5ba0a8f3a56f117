"""Paired runs of one pipeline: what its scheduler is given at each step, at the same points of the same trajectory.

The full-precision run is observed. The quantized one is then led along it: whatever its denoiser says, the next step
begins where the full-precision run went, so that the two outputs of a step differ by quantization alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qsched.errors import QschedError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Step:
    """One scheduler step, on the CPU: the model output after guidance, and the sample that the step made."""

    model_output: Tensor
    previous: Tensor


@contextmanager
def observed_steps(pipeline: Any) -> Iterator[list[Step]]:
    """Yield a list that grows by a Step whenever the pipeline's scheduler makes one inside the block."""
    run: list[Step] = []

    def after(model_output: Tensor, result: Any) -> Any:
        run.append(Step(_kept(model_output), _kept(result[0])))
        return result

    with _after_each_step(pipeline.scheduler, after):
        yield run


@contextmanager
def forced_steps(pipeline: Any, run: list[Step]) -> Iterator[list[Tensor]]:
    """Yield the model outputs of a run whose every step ends where the observed run's did."""
    outputs: list[Tensor] = []

    def after(model_output: Tensor, result: Any) -> Any:
        outputs.append(_kept(model_output))
        previous = result[0]
        forced = run[len(outputs) - 1].previous.to(device=previous.device, dtype=previous.dtype)
        if isinstance(result, tuple):
            return (forced, *result[1:])
        result.prev_sample = forced
        return result

    with _after_each_step(pipeline.scheduler, after):
        yield outputs
    if len(outputs) != len(run):
        raise QschedError(f"{type(pipeline).__name__} made {len(outputs)} steps, and {len(run)} in full precision")


@contextmanager
def _after_each_step(scheduler: Any, after: Callable[[Tensor, Any], Any]) -> Iterator[None]:
    stock = scheduler.step

    # Pipelines look for eta and generator in the signature.
    @functools.wraps(stock)
    def step(model_output: Tensor, *args: Any, **kwargs: Any) -> Any:
        return after(model_output, stock(model_output, *args, **kwargs))

    scheduler.step = step
    try:
        yield
    finally:
        del scheduler.step


def _kept(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True)
