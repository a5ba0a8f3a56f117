"""One adapter for every stock diffusers scheduler: scale the two inputs of `step`, then delegate.

    x_t -> c_x[i] x_t        eps_t -> c_eps[i] eps_t        then the stock update

No scheduler is copied. For a stock class `S` a subclass `QSchedS` is made once, on demand, and is found
again as `qsched.scheduling.QSchedS`; that is the name which `save_pretrained` writes into
`scheduler_config.json` and `model_index.json`, so `DiffusionPipeline.from_pretrained` brings back the
adapter together with its coefficients, which are part of the scheduler's config (`qsched_coefficients`).

Rounding. A stock scheduler that begins with `sample.to(torch.float32)` gets the product c_x x in float32,
unrounded. Everywhere else a product is computed in float32 and rounded once to the dtype that the stock
scheduler would have received, so step noise is drawn in the same dtype (hence the same numbers) and the
pipeline gets the dtype it expects. A coefficient of exactly 1 does not touch its tensor.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from typing import Any

import diffusers
import torch
from diffusers import SchedulerMixin
from torch import Tensor

from qsched.scheduling.coefficients import CoefficientError, Coefficients

PREFIX = "QSched"
CONFIG_KEY = "qsched_coefficients"

# Stock classes whose `step` upcasts the sample before anything else and rounds its result to the dtype of
# the model output. tests/scheduling compares this list with the source of the installed diffusers.
UPCASTS_SAMPLE = frozenset(
    {
        "EDMEulerScheduler",
        "EulerAncestralDiscreteScheduler",
        "EulerDiscreteScheduler",
        "FlowMatchEulerDiscreteScheduler",
        "FlowMatchHeunDiscreteScheduler",
        "FlowMatchLCMScheduler",
    }
)


class UnsupportedSchedulerError(CoefficientError):
    """The scheduler has no `step(model_output, timestep, sample)` whose inputs could be scaled."""


def apply_coefficients(scheduler: SchedulerMixin, coefficients: Coefficients) -> SchedulerMixin:
    """A new scheduler that scales its inputs by `coefficients`; the given one is left as it was.

    The result is an instance of the given scheduler's class and goes into any pipeline that takes it. A
    scheduler that already has coefficients gets these instead (they do not multiply).
    """
    if not isinstance(coefficients, Coefficients):
        raise CoefficientError(
            f"coefficients is a {type(coefficients).__name__}; pass Coefficients.constant, .linear or .per_step"
        )
    adapted = copy.deepcopy(scheduler)
    adapted.__class__ = adapter_class(stock_class(type(scheduler)))
    adapted._qsched_attach(coefficients)
    return adapted


def remove_coefficients(scheduler: SchedulerMixin) -> SchedulerMixin:
    """A copy of the scheduler as stock diffusers has it; a stock scheduler is copied unchanged."""
    stock = stock_class(type(scheduler))
    if stock is type(scheduler):
        return copy.deepcopy(scheduler)
    config = {key: value for key, value in scheduler.config.items() if key != CONFIG_KEY}
    return stock.from_config(config)


def stock_class(cls: type[SchedulerMixin]) -> type[SchedulerMixin]:
    """The stock class behind an adapter class; any other class is its own stock class."""
    return getattr(cls, "_qsched_stock", cls)


@functools.cache
def adapter_class(stock: type[SchedulerMixin]) -> type[SchedulerMixin]:
    """The adapter subclass of a stock scheduler class; the same object at every call.

    Raises UnsupportedSchedulerError for a class whose `step` has other inputs.
    """
    step = getattr(stock, "step", None)
    inputs = list(inspect.signature(step).parameters)[1:4] if callable(step) else []
    if not issubclass(stock, SchedulerMixin) or inputs != ["model_output", "timestep", "sample"]:
        raise UnsupportedSchedulerError(
            f"{stock.__name__} has no step(model_output, timestep, sample), so Q-Sched cannot scale its inputs; "
            "use a diffusers scheduler such as FlowMatchEulerDiscreteScheduler or LCMScheduler"
        )
    body = {
        "__module__": "qsched.scheduling",
        "__doc__": f"{stock.__name__} with Q-Sched coefficients; made by `apply_coefficients`.",
        "_qsched_stock": stock,
        "__init__": _init_like(stock),
        # functools.wraps keeps the signatures: pipelines look for eta, generator, sigmas and timesteps there.
        "step": _delegating(stock.step, QSchedAdapter._qsched_step),
        "set_timesteps": _delegating(stock.set_timesteps, QSchedAdapter._qsched_set_timesteps),
    }
    return type(PREFIX + stock.__name__, (QSchedAdapter, stock), body)


def adapter_class_named(name: str) -> type[SchedulerMixin]:
    """Adapter class for a name such as 'QSchedLCMScheduler'; AttributeError when diffusers has no such stock class."""
    stock = getattr(diffusers, name.removeprefix(PREFIX), None)
    if not name.startswith(PREFIX) or not isinstance(stock, type) or not issubclass(stock, SchedulerMixin):
        raise AttributeError(f"module 'qsched.scheduling' has no attribute {name!r}")
    return adapter_class(stock)


class QSchedAdapter:
    """What every adapter class adds to its stock class; mixed in before it."""

    _qsched_stock: type[SchedulerMixin]
    # Class-level defaults: some stock classes call set_timesteps inside their __init__.
    _qsched_coefficients: Coefficients = Coefficients.constant()
    _qsched_batch: tuple[Tensor, Tensor] | None = None

    @property
    def coefficients(self) -> Coefficients:
        """The coefficients of a run whose images share them."""
        return self._qsched_coefficients

    def set_batch_coefficients(self, model_BS: Any, sample_BS: Any) -> None:
        """Give each row of the batch coefficients of its own; (None, None) goes back to the shared ones.

        model_BS, sample_BS: (batch, steps), anything `torch.as_tensor` takes. Used by calibration, where the
        rows are candidates. They are not part of the config.
        """
        if model_BS is None and sample_BS is None:
            self._qsched_batch = None
            return
        if model_BS is None or sample_BS is None:
            raise CoefficientError("give model_BS and sample_BS together, or None for both")
        pair = []
        for name, values in (("model_BS", model_BS), ("sample_BS", sample_BS)):
            tensor = torch.as_tensor(values, dtype=torch.float64).cpu()
            if tensor.ndim != 2 or not bool(torch.isfinite(tensor).all()) or not bool((tensor > 0).all()):
                raise CoefficientError(
                    f"{name} must be (batch, steps) of finite numbers above 0, got shape {tuple(tensor.shape)}"
                )
            pair.append(tensor)
        if pair[0].shape != pair[1].shape:
            raise CoefficientError(
                f"model_BS {tuple(pair[0].shape)} and sample_BS {tuple(pair[1].shape)} differ in shape"
            )
        self._qsched_batch = (pair[0], pair[1])

    def _qsched_attach(self, coefficients: Coefficients) -> None:
        self._qsched_coefficients = coefficients
        self._qsched_batch = None
        self.register_to_config(**{CONFIG_KEY: coefficients.to_dict()})  # type: ignore[attr-defined]

    def _qsched_set_timesteps(self, stock: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        result = stock(self, *args, **kwargs)
        n = self.num_inference_steps  # type: ignore[attr-defined]
        if self._qsched_batch is None:
            self._qsched_coefficients.check_steps(n)
        elif self._qsched_batch[0].shape[1] != n:
            raise CoefficientError(
                f"{self._qsched_batch[0].shape[1]} columns of batch coefficients for {n} inference steps: the "
                "counts must be equal"
            )
        return result

    def _qsched_step(
        self,
        stock: Callable[..., Any],
        model_output: Tensor,
        timestep: Any,
        sample: Tensor,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        model, scale = self._qsched_pair(timestep, sample)
        upcast = self._qsched_stock.__name__ in UPCASTS_SAMPLE
        return stock(
            self,
            _scaled(model_output, model, keep_dtype=True),
            timestep,
            _scaled(sample, scale, keep_dtype=not upcast),
            *args,
            **kwargs,
        )

    def _qsched_pair(self, timestep: Any, sample: Tensor) -> tuple[float | Tensor, float | Tensor]:
        """(c_eps, c_x) of the step about to be made; read before `step`, which moves the index on."""
        n = getattr(self, "num_inference_steps", None)
        if self._qsched_batch is not None:
            i = self._qsched_index(timestep)
            model_BS, sample_BS = self._qsched_batch
            if model_BS.shape[0] != sample.shape[0] or not i < model_BS.shape[1]:
                raise CoefficientError(
                    f"batch coefficients of shape {tuple(model_BS.shape)} do not cover row count {sample.shape[0]} at "
                    f"step {i}; call set_batch_coefficients with one row an image and one column a step"
                )
            return model_BS[:, i], sample_BS[:, i]
        shared = self._qsched_coefficients
        if shared.family == "constant":
            return shared.model[0], shared.sample[0]
        if n is None:
            raise CoefficientError("the number of inference steps is unknown; call set_timesteps before step")
        i = self._qsched_index(timestep)
        return shared.model_at(i, n), shared.sample_at(i, n)

    def _qsched_index(self, timestep: Any) -> int:
        """Number of the inference step, from 0, that the coming call of `step` belongs to.

        A second-order scheduler calls the model twice for one inference step: the `order` calls of a step
        share its coefficients.
        """
        if hasattr(type(self), "step_index"):
            if self.step_index is None:  # type: ignore[attr-defined]
                self._init_step_index(timestep)  # type: ignore[attr-defined]
            return int(self.step_index) // int(self.order)  # type: ignore[attr-defined]
        timesteps = self.timesteps  # type: ignore[attr-defined]
        hits = (timesteps == torch.as_tensor(timestep, device=timesteps.device)).nonzero()
        if len(hits) != 1 or len(timesteps) != self.num_inference_steps:  # type: ignore[attr-defined]
            raise UnsupportedSchedulerError(
                f"{self._qsched_stock.__name__} visits timestep {timestep} {len(hits)} times in {len(timesteps)} "
                "calls: the number of its inference step is undefined; use constant coefficients or another scheduler"
            )
        return int(hits[0, 0])

    @classmethod
    def _get_compatibles(cls) -> list[type]:
        return cls._qsched_stock._get_compatibles()  # type: ignore[no-any-return]


def _scaled(tensor: Tensor, coefficient: float | Tensor, *, keep_dtype: bool) -> Tensor:
    """coefficient * tensor, computed in float32 or better; a coefficient of 1 returns the tensor itself."""
    if isinstance(coefficient, float):
        if coefficient == 1.0:
            return tensor
    elif bool((coefficient == 1.0).all()):
        return tensor
    if not torch.is_floating_point(tensor):
        raise UnsupportedSchedulerError(f"Q-Sched scales floating-point inputs, got a tensor of {tensor.dtype}")
    wide = tensor.to(torch.promote_types(tensor.dtype, torch.float32))
    if isinstance(coefficient, Tensor):
        rows = (-1,) + (1,) * (tensor.ndim - 1)
        coefficient = coefficient.to(device=tensor.device, dtype=wide.dtype).view(rows)
    product = wide * coefficient
    return product.to(tensor.dtype) if keep_dtype else product


def _delegating(stock: Callable[..., Any], ours: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(stock)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return ours(self, stock, *args, **kwargs)

    return method


def _init_like(stock: type[SchedulerMixin]) -> Callable[..., None]:
    """The stock `__init__` and one more keyword, `qsched_coefficients`, which diffusers reads from the signature."""
    stock_init = stock.__init__

    @functools.wraps(stock_init)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        stored = kwargs.pop(CONFIG_KEY, None)
        stock_init(self, *args, **kwargs)
        self._qsched_attach(Coefficients.constant() if stored is None else Coefficients.from_dict(dict(stored)))

    signature = inspect.signature(stock_init)
    extra = inspect.Parameter(CONFIG_KEY, inspect.Parameter.KEYWORD_ONLY, default=None)
    parameters = list(signature.parameters.values())
    tail = [p for p in parameters if p.kind is inspect.Parameter.VAR_KEYWORD]
    head = [p for p in parameters if p.kind is not inspect.Parameter.VAR_KEYWORD]
    init.__signature__ = signature.replace(parameters=[*head, extra, *tail])  # type: ignore[attr-defined]
    return init
