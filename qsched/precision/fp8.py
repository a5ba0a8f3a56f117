"""8-bit floating point (e4m3) with a float32 scale for each row or for each tensor.

    q = e4m3(clamp(x / s, -448, 448)),   s = max|x| / 448,   x' = q s

e4m3 has 4 exponent and 3 mantissa bits, no infinity, and rounds half to even. A row is an output channel of a
weight, and a token of an activation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

E4M3_MAX = 448.0


@dataclass(frozen=True)
class Fp8Format:
    """e4m3 values; `per_row`: a scale for each row, else one for each tensor along the first dimension."""

    per_row: bool

    bits = 8
    block = 1
    along_channels = False

    def rounded(self, x: Tensor) -> Tensor:
        """x [tensors, ..., K] as the format holds it, in the dtype of x; a row or tensor of zeros stays zero."""
        wide = x.to(torch.float32)
        dims = (-1,) if self.per_row else tuple(range(1, x.ndim))
        scale = wide.abs().amax(dim=dims, keepdim=True) / E4M3_MAX
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        return (to_e4m3(wide / scale) * scale).to(x.dtype)

    def packed_bytes(self, rows: int, inputs: int) -> int:
        """Bytes of the codes and scales of a [rows, inputs] weight."""
        return rows * inputs + 4 * (rows if self.per_row else 1)


def to_e4m3(x: Tensor) -> Tensor:
    """float32 values rounded to e4m3 and saturated at 448, as float32; NaN stays NaN."""
    return x.clamp(-E4M3_MAX, E4M3_MAX).to(torch.float8_e4m3fn).to(torch.float32)
