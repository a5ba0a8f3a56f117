"""A placeholder for a module of a pipeline that is not in memory: its configuration, without weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn


class Reached(BaseException):
    """Leaves a pipeline at the first call of a module that is not there. Never seen by a user."""

    def __init__(self, tensors: list[Tensor]) -> None:
        super().__init__()
        self.tensors = tensors


class StandIn:
    """Answers for a module what a pipeline asks before it calls it; a call leaves the pipeline (`Reached`).

    It is not an nn.Module, so a pipeline does not take its device for its own.
    """

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        self._module = module
        self.device = device

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise Reached(list(tensors_in([*args, *kwargs.values()])))


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in nested lists, tuples and dicts, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item)
