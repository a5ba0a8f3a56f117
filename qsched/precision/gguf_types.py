"""GGUF's Q8_0, Q5_0 and Q4_0: blocks of 32 integers with a float16 scale, as llama.cpp rounds them.

    Q8_0   d = max|x| / 127,  q = round(x / d)                                  half away from zero
    Q5_0   d = x_m / -16,     q = min(31, trunc(x / d + 16.5)) - 16,  x_m: the value of largest magnitude, signed
    Q4_0   d = x_m / -8,      q = min(15, trunc(x / d + 8.5)) - 8
    x' = q float16(d)

Codes are computed with the float32 scale and read back with the float16 one. Weights only: programs that read
GGUF multiply in the base dtype.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

BLOCK = 32


@dataclass(frozen=True)
class GgufFormat:
    """Q8_0, Q5_0 or Q4_0, by its bits."""

    bits: Literal[8, 5, 4]

    block = BLOCK
    along_channels = True

    def rounded(self, x: Tensor) -> Tensor:
        """x [..., K] as the format holds it, in the dtype of x; K must be a multiple of 32."""
        blocks = x.to(torch.float32).reshape(*x.shape[:-1], -1, BLOCK)
        d = self._scale(blocks)
        inverse = torch.where(d == 0, torch.zeros_like(d), 1 / d)
        if self.bits == 8:
            size = (blocks * inverse).abs()
            floor = size.floor()
            codes = blocks.sign() * (floor + (2 * (size - floor)).floor())
        else:
            half = 1 << (self.bits - 1)
            codes = (blocks * inverse + (half + 0.5)).trunc().clamp(0, 2 * half - 1) - half
        return (codes * d.to(torch.float16).to(torch.float32)).flatten(-2).to(x.dtype)

    def _scale(self, blocks: Tensor) -> Tensor:
        sizes = blocks.abs()
        if self.bits == 8:
            return sizes.amax(dim=-1, keepdim=True) / 127
        largest = blocks.gather(-1, sizes.argmax(dim=-1, keepdim=True))
        return largest / -float(1 << (self.bits - 1))

    def packed_bytes(self, rows: int, inputs: int) -> int:
        """Bytes of the codes and scales of a [rows, inputs] weight."""
        return rows * inputs * self.bits // 8 + 2 * rows * inputs // BLOCK
