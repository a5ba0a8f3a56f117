"""How a pipeline takes its initial noise, found out by asking it, whatever its class.

The pipeline is run twice for two pictures, up to the first call of its denoiser. First it draws the noise itself, from
two generators of ours; then it is given noise from the same generators. The layout is accepted if the denoiser sees
the same tensors, bit for bit, both times. That proves for the class at hand that noise which is given is used, not
drawn again, and that it is the noise of the plain call `pipeline(prompt, generator=[...])`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.overrides import TorchFunctionMode

from qsched.backbones.errors import BackboneError
from qsched.backbones.standin import Reached, tensors_in

_PROBE = ("a", "a b")
# What a pipeline raises at an argument that it does not take.
_REFUSALS = (ValueError, RuntimeError, TypeError, IndexError, AttributeError, AssertionError, NotImplementedError)


@dataclass(frozen=True)
class NoiseLayout:
    """How initial noise is drawn and given.

    row       shape of one picture's draw, (1, ...)
    dtype     dtype that the pipeline itself draws in
    asked     arguments of the pipeline's `prepare_latents` if that arranges the draw (packs it); None: given as drawn
    """

    row: tuple[int, ...]
    dtype: torch.dtype
    asked: dict[str, Any] | None

    def draw(self, pipeline: Any, generators: Sequence[Generator]) -> Tensor:
        """Standard normal noise, float32 on the CPU, a row for each generator, as the pipeline's `latents` take it."""
        if self.asked is None:
            rows = [torch.randn(self.row, generator=g, dtype=torch.float32, device="cpu") for g in generators]
            return torch.cat(rows)
        on_cpu = {"dtype": torch.float32, "device": torch.device("cpu"), "latents": None}
        return _first(
            pipeline.prepare_latents(
                **{**self.asked, **on_cpu, "batch_size": len(generators), "generator": list(generators)}
            )
        )


def ask_layout(pipeline: Any, denoiser: nn.Module, call: Callable[..., Any]) -> NoiseLayout:
    """The layout of a pipeline that `call(prompt=..., generator=..., latents=...)` runs.

    BackboneError if noise that is given is not used, if it is drawn without the generators, or if the call fails.
    """
    kind = type(pipeline).__name__
    generators = _generators()
    try:
        with _recorded_draws(generators) as draws, _recorded_request(pipeline) as request:
            drawn = _inputs(pipeline, denoiser, call, generators, latents=None)
    except torch.OutOfMemoryError:
        raise
    except _REFUSALS as error:
        raise BackboneError(f"{kind} does not make a picture as it is called here: {error}") from error
    shapes = {shape for shape, _ in draws[:2]}
    if len(draws) < 2 or len(shapes) != 1:
        raise BackboneError(
            f"{kind} does not draw its noise from one generator per picture, so two arms could not start from the same "
            "noise; use a pipeline that takes a list of generators"
        )
    shape, dtype = draws[0]
    for asked in (None, *(arguments for arguments in request if "batch_size" in arguments)):
        layout = NoiseLayout(shape, dtype, asked)
        generators = _generators()
        try:
            latents = layout.draw(pipeline, generators).to(device=pipeline._execution_device, dtype=dtype)  # noqa: SLF001
            given = _inputs(pipeline, denoiser, call, generators, latents=latents)
        except torch.OutOfMemoryError:
            raise
        except _REFUSALS:
            continue  # noise in this form is not what the pipeline takes
        if _same(drawn, given):
            return layout
    raise BackboneError(
        f"{kind} does not take its initial noise from `latents`: its denoiser sees something else than when the noise "
        "is drawn from the same generators. Pairs need noise that is given; use another pipeline class"
    )


def _generators() -> list[Generator]:
    return [Generator("cpu").manual_seed(seed) for seed in range(len(_PROBE))]


def _inputs(
    pipeline: Any, denoiser: nn.Module, call: Callable[..., Any], generators: list[Generator], *, latents: Tensor | None
) -> list[Tensor]:
    """The tensors of the first denoiser call."""

    def reached(*args: Any, **kwargs: Any) -> Any:
        raise Reached(list(tensors_in([*args, *kwargs.values()])))

    before = vars(denoiser).get("forward")
    denoiser.forward = reached
    try:
        call(prompt=list(_PROBE), generator=generators, latents=latents)
    except Reached as end:
        return end.tensors
    finally:
        del denoiser.forward
        if before is not None:
            denoiser.forward = before
    raise BackboneError(
        f"{type(pipeline).__name__} made pictures without its denoiser, so no precision could act on it"
    )


class _Draws(TorchFunctionMode):
    def __init__(self, generators: list[Generator]) -> None:
        super().__init__()
        self.found: list[tuple[tuple[int, ...], torch.dtype]] = []
        self._generators = generators

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is torch.randn and any((kwargs or {}).get("generator") is g for g in self._generators):
            self.found.append((tuple(result.shape), result.dtype))
        return result


@contextmanager
def _recorded_draws(generators: list[Generator]) -> Any:
    with _Draws(generators) as mode:
        yield mode.found


@contextmanager
def _recorded_request(pipeline: Any) -> Any:
    """The arguments that the pipeline gives its own `prepare_latents` inside the block; nothing if it has none."""
    found: list[dict[str, Any]] = []
    stock = getattr(pipeline, "prepare_latents", None)
    if stock is None:
        yield found
        return
    signature = inspect.signature(stock)

    def prepare_latents(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        found.append(dict(bound.arguments))
        return stock(*args, **kwargs)

    pipeline.prepare_latents = prepare_latents
    try:
        yield found
    finally:
        del pipeline.prepare_latents


def _first(prepared: Any) -> Tensor:
    tensor: Tensor = prepared[0] if isinstance(prepared, tuple | list) else prepared
    return tensor


def _same(a: list[Tensor], b: list[Tensor]) -> bool:
    return len(a) == len(b) and all(x.shape == y.shape and torch.equal(x, y) for x, y in zip(a, b, strict=True))
