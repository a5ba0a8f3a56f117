"""Adapter classes that diffusers saves and loads like its own schedulers.

For a stock class `S` one subclass `QSchedS` is made on demand and found again as `qsched.scheduling.QSchedS`. That is
the name which `save_pretrained` writes into `scheduler_config.json` and `model_index.json`, so
`DiffusionPipeline.from_pretrained` brings back the adapter together with its coefficients: they are one more keyword
of its `__init__`, and thereby part of the scheduler's config.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import diffusers
from diffusers import SchedulerMixin

from qsched.scheduling.coefficients import CoefficientError, Coefficients

PREFIX = "QSched"
CONFIG_KEY = "qsched_coefficients"


class UnsupportedSchedulerError(CoefficientError):
    """The scheduler has no `step(model_output, timestep, sample)` whose inputs could be scaled."""


def make_class(stock: type[SchedulerMixin], mixin: type[Any]) -> type[Any]:
    """The subclass `QSched<stock>` whose `step` and `set_timesteps` go through the mixin.

    The mixin's `qsched_step(stock_step, ...)` and `qsched_set_timesteps(stock_set_timesteps, ...)` receive the stock
    method; its `qsched_attach(coefficients)` receives what was saved. Raises UnsupportedSchedulerError for a class
    whose `step` has other inputs.
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
        "qsched_stock": stock,
        "__init__": _init_like(stock),
        # Pipelines look for eta, generator, sigmas and timesteps in these signatures.
        "step": _delegating(step, mixin.qsched_step),
        "set_timesteps": _delegating(getattr(stock, "set_timesteps", None), mixin.qsched_set_timesteps),
        # diffusers asks a class under this name which others may be loaded from its config.
        "_get_compatibles": classmethod(lambda _cls: stock._get_compatibles()),  # noqa: SLF001
    }
    return type(PREFIX + stock.__name__, (mixin, stock), body)


def stock_class_named(name: str) -> type[SchedulerMixin]:
    """Stock class behind a name such as 'QSchedLCMScheduler'; AttributeError if diffusers has no such class."""
    stock = getattr(diffusers, name.removeprefix(PREFIX), None)
    if not name.startswith(PREFIX) or not isinstance(stock, type) or not issubclass(stock, SchedulerMixin):
        raise AttributeError(f"module 'qsched.scheduling' has no attribute {name!r}")
    return stock


def _delegating(stock: Any, ours: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(stock)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return ours(self, stock, *args, **kwargs)

    return method


def _init_like(stock: type[SchedulerMixin]) -> Callable[..., None]:
    """The stock `__init__` and one more keyword, `qsched_coefficients`, which diffusers reads from the signature."""
    stock_init: Callable[..., None] = stock.__init__

    @functools.wraps(stock_init)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        stored = kwargs.pop(CONFIG_KEY, None)
        stock_init(self, *args, **kwargs)
        self.qsched_attach(Coefficients.constant() if stored is None else Coefficients.from_dict(dict(stored)))

    signature = inspect.signature(stock_init)
    extra = inspect.Parameter(CONFIG_KEY, inspect.Parameter.KEYWORD_ONLY, default=None)
    parameters = list(signature.parameters.values())
    tail = [p for p in parameters if p.kind is inspect.Parameter.VAR_KEYWORD]
    head = [p for p in parameters if p.kind is not inspect.Parameter.VAR_KEYWORD]
    init.__dict__["__signature__"] = signature.replace(parameters=[*head, extra, *tail])
    return init
