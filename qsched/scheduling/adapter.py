"""One adapter for every stock diffusers scheduler: scale the two inputs of `step`, then delegate.

    x_t -> c_x[i] x_t        eps_t -> c_eps[i] eps_t        then the stock update

A bias b of `qsched-bias` reaches the result through the sample, x -> c_x x + b / A_i with the stock step's own factor
A_i (`qsched.scheduling.affine`); a scheduler that is not affine is refused.

No scheduler is copied. `qsched.scheduling.persist` makes the classes that diffusers can save and load.

Rounding. A stock scheduler that begins with `sample.to(torch.float32)` gets the product c_x x in float32, unrounded.
Everywhere else a product is computed in float32 and rounded once to the dtype that the stock scheduler would have
received, so step noise is drawn in the same dtype (hence the same numbers) and the pipeline gets the dtype it expects.
A coefficient of exactly 1 does not touch its tensor.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import torch
from diffusers import SchedulerMixin
from torch import Tensor

from qsched.scheduling.affine import check_affine, sample_factor
from qsched.scheduling.coefficients import CoefficientError, Coefficients
from qsched.scheduling.noise_correction import correct_noise, correction_of, uncorrected
from qsched.scheduling.persist import CONFIG_KEY, UnsupportedSchedulerError, make_class, stock_class_named

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


def apply_coefficients(scheduler: SchedulerMixin, coefficients: Coefficients) -> Any:
    """A new scheduler that scales its inputs by `coefficients`; the given one is left as it was.

    The result is an instance of the given scheduler's class and goes into any pipeline that takes it. A
    scheduler that already has coefficients gets these instead (they do not multiply).
    """
    if not isinstance(coefficients, Coefficients):
        raise CoefficientError(
            f"coefficients is a {type(coefficients).__name__}; pass Coefficients.constant, .linear or .per_step"
        )
    correction = correction_of(scheduler)
    if correction is not None and coefficients.bias:
        raise UnsupportedSchedulerError(
            "the scheduler corrects the noise estimate (ptqd) with a bias of its own, so it takes no qsched-bias; "
            "use +qsched, or a precision without ptqd"
        )
    if correction is not None:  # the noise estimate is corrected first, then scaled
        return correct_noise(apply_coefficients(uncorrected(scheduler), coefficients), correction)
    adapted: Any = copy.deepcopy(scheduler)
    adapted.__class__ = adapter_class(stock_class(type(scheduler)))
    adapted.qsched_attach(coefficients)
    return adapted


def remove_coefficients(scheduler: Any) -> Any:
    """A copy of the scheduler as stock diffusers has it; a stock scheduler is copied unchanged."""
    stock = stock_class(type(scheduler))
    if stock is type(scheduler):
        return copy.deepcopy(scheduler)
    config = {key: value for key, value in scheduler.config.items() if key != CONFIG_KEY}
    return stock.from_config(config)


def stock_class(cls: type[SchedulerMixin]) -> type[SchedulerMixin]:
    """The stock class behind an adapter class; any other class is its own stock class."""
    stock: type[SchedulerMixin] = getattr(cls, "qsched_stock", cls)
    return stock


@functools.cache
def adapter_class(stock: type[SchedulerMixin]) -> type[Any]:
    """The adapter subclass of a stock scheduler class; the same object at every call."""
    return make_class(stock, QSchedAdapter)


def adapter_class_named(name: str) -> type[Any]:
    """Adapter class for a name such as 'QSchedLCMScheduler'; AttributeError if diffusers has no such stock class."""
    return adapter_class(stock_class_named(name))


class QSchedAdapter:
    """What every adapter class adds to its stock class; mixed in before it."""

    qsched_stock: type[SchedulerMixin]
    # Class-level defaults: some stock classes call set_timesteps inside their __init__.
    qsched_coefficients: Coefficients = Coefficients.constant()
    qsched_batch: tuple[Tensor, Tensor] | None = None
    qsched_batch_bias: Tensor | None = None

    @property
    def coefficients(self) -> Coefficients:
        """The coefficients of a run whose images share them."""
        return self.qsched_coefficients

    def set_batch_coefficients(self, model_BS: Any, sample_BS: Any, bias_BSC: Any = None) -> None:
        """Give each row of the batch coefficients of its own; (None, None) goes back to the shared ones.

        model_BS, sample_BS: (batch, steps), anything `torch.as_tensor` takes; bias_BSC: (batch, steps, latent
        channels), or None for none. In calibration the rows are candidates. They are not part of the config.
        """
        if model_BS is None and sample_BS is None:
            self.qsched_batch = self.qsched_batch_bias = None
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
        bias = None if bias_BSC is None else torch.as_tensor(bias_BSC, dtype=torch.float64).cpu()
        if bias is not None and (bias.ndim != 3 or bias.shape[:2] != pair[0].shape or not bool(bias.isfinite().all())):
            raise CoefficientError(
                f"bias_BSC must be (batch, steps, channels) of finite numbers with the batch and steps of model_BS "
                f"{tuple(pair[0].shape)}, got shape {tuple(bias.shape)}"
            )
        self.qsched_batch, self.qsched_batch_bias = (pair[0], pair[1]), bias

    def qsched_attach(self, coefficients: Coefficients) -> None:
        self.qsched_coefficients = coefficients
        self.qsched_batch = self.qsched_batch_bias = None
        self.register_to_config(**{CONFIG_KEY: coefficients.to_dict()})  # type: ignore[attr-defined]

    def qsched_set_timesteps(self, stock: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        result = stock(self, *args, **kwargs)
        n = self.num_inference_steps  # type: ignore[attr-defined]
        if self.qsched_batch is None:
            self.qsched_coefficients.check_steps(n)
        elif self.qsched_batch[0].shape[1] != n:
            raise CoefficientError(
                f"{self.qsched_batch[0].shape[1]} columns of batch coefficients for {n} inference steps: the "
                "counts must be equal"
            )
        if self.qsched_batch is None and self.qsched_coefficients.bias:
            check_affine(self)  # before the model is called for the first time
        return result

    def qsched_step(
        self,
        stock: Callable[..., Any],
        model_output: Tensor,
        timestep: Any,
        sample: Tensor,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        model, scale = self.qsched_pair(timestep, sample)
        bias = self.qsched_bias(timestep)
        shift = 0.0 if bias is None else channel_bias(bias, sample) / sample_factor(self, timestep, *args, **kwargs)
        upcast = self.qsched_stock.__name__ in UPCASTS_SAMPLE
        return stock(
            self,
            _scaled(model_output, model, keep_dtype=True),
            timestep,
            _scaled(sample, scale, shift=shift, keep_dtype=not upcast),
            *args,
            **kwargs,
        )

    def qsched_bias(self, timestep: Any) -> Tensor | None:
        """The bias of the step about to be made, (channels,) or (batch, channels); None if there is none in it."""
        if self.qsched_batch is not None:
            if self.qsched_batch_bias is None:
                return None
            bias = self.qsched_batch_bias[:, self.qsched_index(timestep)]
        elif self.qsched_coefficients.bias:
            bias = torch.tensor(self.qsched_coefficients.bias[self.qsched_index(timestep)], dtype=torch.float64)
        else:
            return None
        return bias if bool(bias.any()) else None

    def qsched_pair(self, timestep: Any, sample: Tensor) -> tuple[float | Tensor, float | Tensor]:
        """(c_eps, c_x) of the step about to be made; read before `step`, which moves the index on."""
        n = getattr(self, "num_inference_steps", None)
        if self.qsched_batch is not None:
            i = self.qsched_index(timestep)
            model_BS, sample_BS = self.qsched_batch
            if model_BS.shape[0] != sample.shape[0] or not i < model_BS.shape[1]:
                raise CoefficientError(
                    f"batch coefficients of shape {tuple(model_BS.shape)} do not cover row count {sample.shape[0]} at "
                    f"step {i}; call set_batch_coefficients with one row per image and one column per step"
                )
            return model_BS[:, i], sample_BS[:, i]
        shared = self.qsched_coefficients
        if shared.family == "constant":
            return shared.model[0], shared.sample[0]
        if n is None:
            raise CoefficientError("the number of inference steps is unknown; call set_timesteps before step")
        i = self.qsched_index(timestep)
        return shared.model_at(i, n), shared.sample_at(i, n)

    def qsched_index(self, timestep: Any) -> int:
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
                f"{self.qsched_stock.__name__} visits timestep {timestep} {len(hits)} times in {len(timesteps)} "
                "calls: the number of its inference step is undefined; use constant coefficients or another scheduler"
            )
        return int(hits[0, 0])


def channel_bias(bias: Tensor, latents: Tensor) -> Tensor:
    """A bias, (channels,) or (batch, channels), in a shape that adds to the latents.

    Channels are dimension 1 of [B, C, H, W] (and of [B, C, F, H, W]) and the last one of [B, tokens, D]; packed latents
    have D = p C entries, of which p in a row belong to one channel (FLUX: p = 4).
    """
    rows = bias.to(device=latents.device, dtype=torch.float32)
    rows = rows[None] if rows.ndim == 1 else rows
    size = latents.shape[-1] if latents.ndim == 3 else latents.shape[1]
    if size % rows.shape[1] or (latents.ndim != 3 and size != rows.shape[1]):
        raise CoefficientError(
            f"a bias of {rows.shape[1]} channels cannot serve latents of shape {tuple(latents.shape)}: calibrate "
            "with this model"
        )
    if latents.ndim == 3:
        return rows.repeat_interleave(size // rows.shape[1], dim=1)[:, None, :]
    return rows.view(*rows.shape, *(1,) * (latents.ndim - 2))


def _scaled(tensor: Tensor, coefficient: float | Tensor, *, shift: float | Tensor = 0.0, keep_dtype: bool) -> Tensor:
    """coefficient * tensor + shift, in float32 or better; 1 and a shift of 0.0 return the tensor itself."""
    if isinstance(shift, float):
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
    product = wide * coefficient + shift if isinstance(shift, Tensor) else wide * coefficient
    return product.to(tensor.dtype) if keep_dtype else product
