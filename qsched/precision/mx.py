"""OCP microscaling formats: mxfp8 (e4m3) and mxfp4 (e2m1) in blocks of 32 that share a power of two.

    X = 2**(floor(log2 max|x|) - emax),   q = element(x / X), saturated,   x' = q X

emax is the exponent of the largest element (8 for e4m3, 2 for e2m1). X is stored as e8m0: 8 bits of exponent.
This is the specification's own rule (Microscaling Formats 1.0, section 6.3); torchao calls it FLOOR.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from qsched.precision.fp8 import to_e4m3

BLOCK = 32
E2M1_MAX = 6.0
_EMAX = {8: 8, 4: 2}
# Exponents of a normal float32; a block whose scale would be smaller holds only zeros.
_LOWEST, _HIGHEST = -126, 127


@dataclass(frozen=True)
class MxFormat:
    """mxfp8 or mxfp4: 32 consecutive values of a row share an e8m0 scale."""

    bits: Literal[4, 8]

    block = BLOCK
    along_channels = True

    def rounded(self, x: Tensor) -> Tensor:
        """x [..., K] as the format holds it, in the dtype of x; K must be a multiple of 32."""
        blocks = x.to(torch.float32).reshape(*x.shape[:-1], -1, BLOCK)
        largest = blocks.abs().amax(dim=-1, keepdim=True)
        # frexp gives a mantissa in [0.5, 1), so its exponent is floor(log2) + 1; of zero it is 0.
        exponent = torch.frexp(largest).exponent - 1 - _EMAX[self.bits]
        exponent = torch.where(largest > 0, exponent, torch.full_like(exponent, _LOWEST))
        scale = torch.ldexp(torch.ones_like(largest), exponent.clamp(_LOWEST, _HIGHEST))
        element = to_e4m3 if self.bits == 8 else to_e2m1
        # A NaN has no exponent: let it through, so that it stays visible in the picture.
        scale = torch.where(largest.isnan(), largest, scale)
        return (element(blocks / scale) * scale).flatten(-2).to(x.dtype)

    def packed_bytes(self, rows: int, inputs: int) -> int:
        """Bytes of the codes and scales of a [rows, inputs] weight."""
        return rows * inputs * self.bits // 8 + rows * inputs // BLOCK


def to_e2m1(x: Tensor) -> Tensor:
    """float32 values rounded half to even to 0, 0.5, 1, 1.5, 2, 3, 4, 6 with either sign, saturated at 6."""
    size = x.abs()
    step = torch.where(size < 2, 0.5, torch.where(size < 4, 1.0, 2.0))
    return ((x / step).round() * step).clamp(-E2M1_MAX, E2M1_MAX)
