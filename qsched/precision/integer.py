"""Symmetric integers with a scale for each group of consecutive values: the format of our fake quantization.

With m = 2**(b-1) - 1 and a group w of values that share a scale:

    q = clamp(round(w / s), -m, m),   s = max|w| / m,   w' = q s

Rounding is half to even, in float32; a group of zeros stays zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class IntegerFormat:
    """b-bit symmetric integers; `group` consecutive values share a float32 scale, None: the whole row."""

    bits: int
    group: int | None = None
    scale_bytes: int = 4

    block = 1
    along_channels = False

    def rounded(self, x: Tensor) -> Tensor:
        """x [..., K] as the format holds it, in the dtype of x. A last group may be shorter."""
        inputs = x.shape[-1]
        if self.group is None or self.group >= inputs:
            return quantize_dequantize(x, bits=self.bits)
        # Zeros appended to fill the last group do not change its largest magnitude, hence not its scale.
        padded = nn.functional.pad(x, (0, -inputs % self.group))
        grouped = quantize_dequantize(padded.reshape(*x.shape[:-1], -1, self.group), bits=self.bits)
        return grouped.flatten(-2)[..., :inputs]

    def packed_bytes(self, rows: int, inputs: int) -> int:
        """Bytes of the codes and scales of a [rows, inputs] weight."""
        groups = rows * -(-inputs // (self.group or inputs))
        return -(-rows * inputs * self.bits // 8) + self.scale_bytes * groups


def quantize_dequantize(x: Tensor, *, bits: int) -> Tensor:
    """Round to 2**bits - 1 symmetric levels with one scale for each vector along the last dimension.

    Computed in float32 and returned in the dtype of x, of the same shape.
    """
    top = 2 ** (bits - 1) - 1
    wide = x.to(torch.float32)
    low, high = torch.aminmax(wide, dim=-1, keepdim=True)
    scale = torch.maximum(-low, high) / top
    # A vector of zeros, or one so small that its scale underflows, becomes zeros instead of dividing by 0.
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    # One new tensor, then in place: on a CPU this is half of what a quantized step takes.
    return (wide / scale).round_().clamp_(-top, top).mul_(scale).to(x.dtype)
