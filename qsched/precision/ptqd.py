"""PTQD (2305.10657): what quantization does to the noise estimate, step by step, from paired runs.

    eps_q = (1 + k) eps + bias + residual

k is the slope of the error over eps (least squares, channel means taken out), bias the mean of what is left in each
channel, the residual's variance the mean square of the rest. The scheduler is given (eps_q - bias) / (1 + k); see
`qsched.scheduling.noise_correction`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from qsched.precision.recipe import PrecisionError

_SMALLEST_SLOPE = 0.1


@dataclass(frozen=True)
class NoiseStatistics:
    """Statistics of S steps and C channels.

    k          [S]
    bias       [S, C]
    variance   [S], of the residual
    """

    k: Tensor
    bias: Tensor
    variance: Tensor


def paired_sums(exact: Tensor, quantized: Tensor) -> Tensor:
    """[6, C] sums of a step on one batch: count, eps, eps**2, error, error**2 and eps * error in each channel.

    exact, quantized    the two noise estimates, [B, C, H, W] or [B, tokens, C]
    """
    eps, error = (_by_channel(t) for t in (exact, quantized.to(torch.float64) - exact.to(torch.float64)))
    count = torch.full((eps.shape[0],), float(eps.shape[1]), dtype=torch.float64)
    rows = [count, eps.sum(1), (eps * eps).sum(1), error.sum(1), (error * error).sum(1), (eps * error).sum(1)]
    return torch.stack(rows)


def fit_noise(batches: Iterable[Tensor]) -> NoiseStatistics:
    """The statistics of the [S, 6, C] sums of all batches; PrecisionError where the slope is lost."""
    n, e, ee, d, dd, ed = sum(batches, torch.zeros(())).unbind(1)
    spread = (ee - e * e / n).sum(-1)
    slope = (ed - e * d / n).sum(-1) / spread.clamp_min(torch.finfo(torch.float64).tiny)
    lost = [(i, float(k)) for i, k in enumerate(slope) if not 1 + k > _SMALLEST_SLOPE]
    if lost:
        step, k = lost[0]
        raise PrecisionError(
            f"ptqd: at step {step + 1} the quantized noise estimate follows the exact one by a factor of {1 + k:.2f} "
            f"only, and the correction divides by it; it must be above {_SMALLEST_SLOPE}. Use more bits."
        )
    bias = (d - slope[:, None] * e) / n
    # The sum of (error - k eps - bias)**2, from the sums alone.
    c = slope[:, None]
    rest = dd + c * c * ee + n * bias * bias - 2 * c * ed - 2 * bias * d + 2 * c * bias * e
    return NoiseStatistics(slope, bias, rest.sum(-1).clamp_min(0) / n.sum(-1))


def _by_channel(x: Tensor) -> Tensor:
    channels = x.movedim(1 if x.ndim == 4 else -1, 0)
    return channels.flatten(1).to(torch.float64)
