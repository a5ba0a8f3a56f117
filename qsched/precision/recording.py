"""Calls of a denoiser on calibration prompts: recorded while the pipeline renders them, replayed afterwards.

Statistics are measured on replays: the inputs are those of the full-precision run, whatever is being measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class DenoiserCall:
    """One call of a denoiser on one batch: what it was given and what it made, on the CPU."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Tensor


@contextmanager
def recorded_calls(denoiser: nn.Module) -> Iterator[list[DenoiserCall]]:
    """Yield a list that grows by one DenoiserCall whenever the denoiser is called inside the block."""
    calls: list[DenoiserCall] = []

    def record(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        # Pipelines ask for a plain tuple (return_dict=False); an output object has the same first field.
        calls.append(DenoiserCall(_moved(args, "cpu"), _moved(kwargs, "cpu"), _moved(output[0], "cpu")))

    handle = denoiser.register_forward_hook(record, with_kwargs=True)
    try:
        yield calls
    finally:
        handle.remove()


def replay(denoiser: nn.Module, call: DenoiserCall) -> Tensor:
    """What the denoiser makes of a recorded call now, on its own device."""
    device = next(denoiser.parameters()).device
    with torch.inference_mode():
        output: Tensor = denoiser(*_moved(call.args, device), **_moved(call.kwargs, device))[0]
    return output


@contextmanager
def seen_inputs(layers: dict[str, nn.Module], see: Any) -> Iterator[None]:
    """Inside the block `see(name, input)` is called with what each of the layers is fed."""

    def hook_of(name: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            see(name, inputs[0])

        return hook

    handles = [layer.register_forward_pre_hook(hook_of(name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def replay_all(denoiser: nn.Module, batches: Sequence[Sequence[DenoiserCall]]) -> None:
    """Replay the calls of all batches, for what hooks see of them."""
    for calls in batches:
        for call in calls:
            replay(denoiser, call)


def _moved(value: Any, device: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().to(device, copy=True)
    if isinstance(value, dict):
        return {key: _moved(item, device) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_moved(item, device) for item in value)
    return value
