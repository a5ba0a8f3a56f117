"""What a run needs on its device, by arithmetic from numbers of weights. No torch.

Text encoders read all prompts first and leave. Then the denoiser is read layer by layer, each converted before the next
one comes, and renders beside the VAE. So three moments count, and the largest of them decides:

    texts       text encoders and the rest (VAE), in the base dtype
    loading     the rest, the denoiser as it will be, one layer as it was, and what its conversion takes
    rendering   the rest and the denoiser

Bytes of weights are weights times bits, scales of the formats included. What a forward pass takes beyond the weights is
not known before it runs: `WORKING` is an allowance for it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path

from qsched.backbones.classes import reads_texts_first
from qsched.backbones.errors import BackboneError
from qsched.backbones.families import family_of
from qsched.backbones.index import pipeline_class
from qsched.backbones.spec import BackboneSpec

WORKING = 2 * 1024**3
DTYPE_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
# Bits that one converted weight takes in memory, scales included, by method of the recipe; measured on one large layer.
# w4a8 keeps its 4-bit codes in 8 bits, with a scale and a zero point for each 32. Other methods keep the base dtype.
RESIDENT_BITS = {"torchao-w8a8": 8.01, "torchao-w4a8": 8.75, "bitsandbytes-int8": 8.0, "bitsandbytes-nf4": 4.51}
# Bytes for each weight of a layer while it is converted, beside the layer itself; the most that was measured.
CONVERTING = 25
_DENOISERS = ("transformer", "unet")
_MAX_HEADER = 100 * 2**20


@dataclass(frozen=True)
class Parts:
    """Numbers of weights of a backbone.

    encoders      of the text encoders
    others        of all that is neither encoder nor denoiser: the VAE
    matrices      weights of the denoiser's matrices, which a recipe converts
    largest       weights of the denoiser's largest tensor; 0: not known, and in the allowance for a forward pass
    texts_first   False if the class reads its prompts in a way that keeps the encoders in memory
    whole         True if all is read before anything is converted: adapters are fused first
    """

    encoders: int
    others: int
    denoiser: int
    matrices: int
    largest: int = 0
    texts_first: bool = True
    whole: bool = False

    @property
    def all(self) -> int:
        """Weights of all components."""
        return self.encoders + self.others + self.denoiser


@dataclass(frozen=True)
class Peaks:
    """Bytes of weights on the device at the three moments; the forward pass comes on top.

    machine    bytes in the machine's own memory if the device is a GPU
    """

    texts: int
    loading: int
    rendering: int
    machine: int

    @property
    def most(self) -> int:
        """The largest of the three."""
        return max(self.texts, self.loading, self.rendering)


def peaks(parts: Parts, method: str, *, dtype: str, offload: str = "none", on_gpu: bool = True) -> Peaks:
    """What a recipe's method needs of a backbone in a base dtype."""
    each = DTYPE_BYTES[dtype]
    converted = method != "dtype"
    denoiser = denoiser_bytes(parts, method, dtype=dtype)
    staying = 0 if parts.texts_first else parts.encoders * each
    if parts.whole and not on_gpu:
        everything = parts.all * each
        return Peaks(everything, everything, (parts.encoders + parts.others) * each + denoiser, everything)
    rest = parts.others * each + staying
    one_layer = parts.largest * (each + CONVERTING if converted else each)
    machine = parts.all * each if parts.whole else parts.largest * each
    if offload == "none":
        texts = (parts.encoders + parts.others) * each
        return Peaks(texts, rest + denoiser + one_layer, rest + denoiser, machine)
    waiting = max(machine, (parts.encoders + parts.others) * each, rest + denoiser)
    if offload == "sequential":
        return Peaks(one_layer, one_layer, one_layer, waiting)
    return Peaks(parts.encoders * each, one_layer, max(denoiser, rest), waiting)


def denoiser_bytes(parts: Parts, method: str, *, dtype: str) -> int:
    """Bytes of the denoiser in memory, every matrix converted."""
    each, bits = DTYPE_BYTES[dtype], RESIDENT_BITS.get(method)
    if bits is None:
        return parts.denoiser * each
    return (parts.denoiser - parts.matrices) * each + round(parts.matrices * bits / 8)


def parts_of(spec: BackboneSpec) -> Parts | None:
    """The parts of a backbone: from the headers of a folder's files, or as published; None if neither is known."""
    whole = bool(spec.loras)
    if not spec.is_local:
        if spec.parameters is None or spec.denoiser_parameters is None:
            return None
        encoders = spec.parameters - spec.denoiser_parameters - spec.vae_parameters
        return Parts(encoders, spec.vae_parameters, spec.denoiser_parameters, spec.denoiser_parameters, whole=whole)
    folder = Path(spec.source)
    kind = pipeline_class(folder)
    own = (spec.family or family_of(kind)).denoiser
    names = _DENOISERS if own is None else (own,)
    encoders = others = denoiser = matrices = largest = 0
    # By name: a tensor that is there in several variants is read from one of them.
    paths = sorted(folder.glob("*/*.safetensors"))
    tensors = {(path.parent.name, name): shape for path in paths for name, shape in _shapes(path)}
    for (part, name), shape in tensors.items():
        if part in names:
            denoiser += prod(shape)
            matrices += prod(shape) if len(shape) == 2 and name.endswith(".weight") else 0
            largest = max(largest, prod(shape))
        elif part.startswith("text_encoder"):
            encoders += prod(shape)
        else:
            others += prod(shape)
    return Parts(encoders, others, denoiser, matrices, largest, reads_texts_first(kind), whole)


def _shapes(path: Path) -> Iterable[tuple[str, tuple[int, ...]]]:
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, _MAX_HEADER)))
    except (OSError, struct.error, ValueError) as error:
        raise BackboneError(f"{path} is not a whole safetensors file ({error}); download or save it again") from error
    return [(name, tuple(entry["shape"])) for name, entry in header.items() if name != "__metadata__"]
