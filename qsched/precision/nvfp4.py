"""nvfp4: e2m1 values, an e4m3 scale for each block of 16, and one float32 scale for each tensor.

    t = max|X| / (448 * 6)                            over the tensor
    s = e4m3(max|x| / 6 / t), at least 2**-6          over the block
    q = e2m1(x / (s t)), saturated at 6,   x' = q s t

Divisions are done as torchao does them, x * ((1 / t) / s), because that decides ties.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qsched.precision.fp8 import E4M3_MAX
from qsched.precision.mx import E2M1_MAX, to_e2m1

BLOCK = 16
# The smallest normal e4m3: a block far below the largest of its tensor keeps this scale.
_E4M3_TINY = 2.0**-6


@dataclass(frozen=True)
class NvFp4Format:
    """nvfp4: 16 consecutive values of a row share an e4m3 scale, a tensor shares a float32 scale."""

    bits = 4
    block = BLOCK
    along_channels = True

    def rounded(self, x: Tensor) -> Tensor:
        """x [tensors, ..., K] as the format holds it, in the dtype of x; K must be a multiple of 16."""
        wide = x.to(torch.float32)
        tensor_scale = wide.abs().amax(dim=tuple(range(1, x.ndim)), keepdim=True) / (E4M3_MAX * E2M1_MAX)
        # A tensor of zeros, or one so small that its scale underflows, becomes zeros.
        empty = tensor_scale == 0
        tensor_scale = torch.where(empty, torch.ones_like(tensor_scale), tensor_scale).unsqueeze(-1)
        blocks = wide.reshape(*x.shape[:-1], -1, BLOCK)
        block_scale = blocks.abs().amax(dim=-1, keepdim=True) / E2M1_MAX / tensor_scale
        block_scale = block_scale.clamp(_E4M3_TINY, E4M3_MAX).to(torch.float8_e4m3fn).to(torch.float32)
        codes = to_e2m1(blocks * ((1.0 / tensor_scale) / block_scale))
        values = (codes * (block_scale * tensor_scale)).flatten(-2)
        return torch.where(empty, torch.zeros_like(values), values).to(x.dtype)

    def packed_bytes(self, rows: int, inputs: int) -> int:
        """Bytes of the codes and scales of a [rows, inputs] weight."""
        return rows * inputs // 2 + rows * inputs // BLOCK + 4
