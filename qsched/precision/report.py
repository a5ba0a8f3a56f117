"""What a recipe did to a denoiser, and what the result weighs: nominal, packed and resident bytes, apart.

nominal     weights times weight bits, without scales: the number that papers quote
packed      codes and scales as they would be stored; for real kernels as they are stored
resident    tensors as they are in memory; a simulated recipe takes as much as its base dtype
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class PrecisionReport:
    """What a recipe did to a denoiser.

    converted             names of the layers that are now quantized
    skipped               'name: reason' of each Linear and Conv2d that the recipe cannot convert
    kept                  'name: pattern' of each that the recipe keeps in the base dtype
    weight_bits           layer name -> bits of its weight, if a bit map or mixdq gives layers their own
    original_bytes        parameters and buffers before, in the base dtype; measured
    nominal_bytes         weights at their weight bits, scales not counted, and everything else; computed
    packed_bytes          codes, scales and everything else if packed; computed, measured for real kernels
    resident_bytes        parameters and buffers now, as they are in memory; measured
    statistics_sha256     kind -> hash of the calibration statistics that were used
    notes                 what else a reader of the numbers should know
    """

    precision: str
    converted: tuple[str, ...]
    skipped: tuple[str, ...]
    kept: tuple[str, ...]
    weight_bits: dict[str, int]
    original_bytes: int
    nominal_bytes: int
    packed_bytes: int
    resident_bytes: int
    simulated: bool
    recipe: dict[str, object]
    recipe_hash: str
    statistics_sha256: dict[str, str]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """JSON-ready, for the manifest."""
        return {
            "precision": self.precision,
            "layers_converted": len(self.converted),
            "converted": list(self.converted),
            "layers_skipped": list(self.skipped),
            "layers_kept": list(self.kept),
            "weight_bits": dict(self.weight_bits),
            "original_bytes": self.original_bytes,
            "nominal_bytes": self.nominal_bytes,
            "packed_bytes": self.packed_bytes,
            "resident_bytes": self.resident_bytes,
            "simulated": self.simulated,
            "statistics_sha256": dict(self.statistics_sha256),
            "notes": list(self.notes),
        }


def tensor_bytes(module: nn.Module) -> int:
    """Bytes of all parameters and buffers as they are in memory; tensors used twice count once."""
    tensors = {id(t): t for t in [*module.parameters(), *module.buffers()]}
    return sum(bytes_of(t) for t in tensors.values())


def bytes_of(tensor: Tensor) -> int:
    """Bytes of a tensor, or of the tensors inside a quantized one (codes, scales, zero points)."""
    state = getattr(tensor, "quant_state", None)
    if state is not None:  # bitsandbytes nf4: packed codes in the tensor, block maxima and code book in its state
        inner = [state.absmax, state.code]
        if state.nested:
            inner += [state.offset, state.state2.absmax, state.state2.code]
        return tensor.untyped_storage().nbytes() + sum(bytes_of(t) for t in inner)
    scales = getattr(tensor, "SCB", None)
    if scales is not None:  # bitsandbytes int8: codes in the tensor, a scale for each output channel
        return tensor.numel() * tensor.element_size() + bytes_of(scales)
    if hasattr(tensor, "__tensor_flatten__") and type(tensor) not in (Tensor, nn.Parameter):
        return sum(bytes_of(getattr(tensor, name)) for name in tensor.__tensor_flatten__()[0])
    return tensor.numel() * tensor.element_size()


def nominal_bits_to_bytes(weights: int, bits: float) -> int:
    """Bytes of so many weights at so many bits, rounded up."""
    return math.ceil(weights * bits / 8)
