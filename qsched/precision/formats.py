"""Number formats by name: how values and the scales they share are stored."""

from __future__ import annotations

import math
from typing import Protocol

from torch import Tensor

from qsched.precision.fp8 import Fp8Format
from qsched.precision.gguf_types import GgufFormat
from qsched.precision.integer import IntegerFormat
from qsched.precision.mx import MxFormat
from qsched.precision.nvfp4 import NvFp4Format
from qsched.precision.recipe import Recipe


class NumberFormat(Protocol):
    """A number format.

    bits             bits of one value, scales not counted
    block            the last dimension must be a multiple of it; 1: any length
    along_channels   True if the blocks of a convolution's weight run along its input channels at one kernel
                     position; False if they run along (channel, row, column) in memory order
    """

    @property
    def bits(self) -> int: ...

    @property
    def block(self) -> int: ...

    @property
    def along_channels(self) -> bool: ...

    def rounded(self, x: Tensor) -> Tensor:
        """x as the format holds it, in the dtype of x; the first dimension separates independent tensors."""

    def packed_bytes(self, rows: int, inputs: int) -> int:
        """Bytes of the codes and scales of a [rows, inputs] weight."""


FORMATS: dict[str, NumberFormat] = {
    "e4m3-row": Fp8Format(per_row=True),
    "e4m3-tensor": Fp8Format(per_row=False),
    "mxfp8": MxFormat(8),
    "mxfp4": MxFormat(4),
    "nvfp4": NvFp4Format(),
    "q8_0": GgufFormat(8),
    "q5_0": GgufFormat(5),
    "q4_0": GgufFormat(4),
    "int4-g64": IntegerFormat(4, 64),
}


def weight_format(recipe: Recipe, bits: int | None = None) -> NumberFormat:
    """The format of a simulated recipe's weights; `bits` overrides the recipe's for one layer."""
    if recipe.weight_format is not None:
        return FORMATS[recipe.weight_format]
    return IntegerFormat(math.ceil(recipe.weight_bits) if bits is None else bits, recipe.group)


def activation_format(recipe: Recipe) -> NumberFormat | None:
    """The format of a simulated recipe's activations; None if they stay in the base dtype."""
    if recipe.activation_format is not None:
        return FORMATS[recipe.activation_format]
    if recipe.weight_format is not None or recipe.activation_bits >= 16:
        return None
    return IntegerFormat(recipe.activation_bits)
