"""Precision names -> recipes: what is done to the denoiser's layers, in words that can be hashed. No torch.

    fp32 bf16 fp16           the dtype of the whole pipeline
    w8a8                     torchao int8 weights per channel, int8 dynamic activations per token; Linear
    w4a8                     torchao int4 weights in groups of 32, int8 dynamic activations; Linear; simulated
    nf4                      bitsandbytes NormalFloat-4 weights, blocks of 64, 16/32-bit activations; Linear
    w{b}a{b}[-channel|-gN]   our fake quantization of Linear and Conv2d, b from 2 to 8; simulated. As w8a8 and
                             w4a8 are torchao's, ours are w8a8-fake and w4a8-fake. a16: weights only.

Fake quantization, with G consecutive inputs of an output channel as a group (default 64; `-channel`: all):

    q = clamp(round(w / s), -m, m),   s = max|w| over the group / m,   m = 2**(b-1) - 1,   w' = q s

and the same for activations, where the group is a token: the last dimension of a Linear's input, the channels
at one pixel of a Conv2d's. Rounding is half to even, in float32; a group of zeros stays zero.

    PrecisionError(InputError)    an unknown name, or a recipe that cannot be honoured here
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import Literal

from qsched.errors import InputError

Method = Literal["dtype", "torchao-w8a8", "torchao-w4a8", "bitsandbytes-nf4", "fake"]
DEFAULT_GROUP = 64
EXAMPLES = ("fp32", "bf16", "fp16", "w8a8", "w4a8", "nf4", "w4a4", "w3a8", "w4a6", "w4a4-channel", "w4a8-fake")
_FAKE = re.compile(r"w([2-8])a([2-8]|16)(-fake)?(?:-(channel)|-g(\d{1,4}))?")


class PrecisionError(InputError):
    """A precision that is unknown or cannot be honoured; never replaced by another one."""


@dataclass(frozen=True)
class Recipe:
    """One precision, completely described.

    group      inputs a weight scale is shared by; None: the whole output channel
    layers     layer kinds that are converted, wherever they are in the denoiser
    simulated  True where the low-precision arithmetic is imitated in floating point
    """

    name: str
    method: Method
    weight_bits: int
    activation_bits: int
    group: int | None = None
    layers: tuple[str, ...] = ()
    simulated: bool = False

    @property
    def dtype_name(self) -> str | None:
        """'fp32', 'bf16' or 'fp16' for a recipe that is only a dtype."""
        return self.name if self.method == "dtype" else None

    def to_dict(self) -> dict[str, object]:
        """JSON-ready fields."""
        return {**asdict(self), "layers": list(self.layers)}

    @property
    def hash(self) -> str:
        """sha256 of the fields."""
        return hash_of(self.to_dict())


def hash_of(recipe: object) -> str:
    """sha256 of a JSON-ready value in canonical form."""
    text = json.dumps(recipe, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


_NAMED: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("fp32", "dtype", 32, 32),
        Recipe("bf16", "dtype", 16, 16),
        Recipe("fp16", "dtype", 16, 16),
        Recipe("w8a8", "torchao-w8a8", 8, 8, layers=("Linear",)),
        Recipe("w4a8", "torchao-w4a8", 4, 8, group=32, layers=("Linear",), simulated=True),
        Recipe("nf4", "bitsandbytes-nf4", 4, 16, group=64, layers=("Linear",)),
    )
}


def find_recipe(name: str) -> Recipe:
    """The recipe of a name; PrecisionError lists the choices for one that is unknown."""
    if name in _NAMED:
        return _NAMED[name]
    match = _FAKE.fullmatch(name)
    if match is None:
        raise PrecisionError(
            f"precision {name!r} is unknown; choose for example {', '.join(EXAMPLES)} "
            "(w and a take 2 to 8 bits, a also 16)"
        )
    weight, activation, fake, channel, group = match.groups()
    if f"w{weight}a{activation}" in _NAMED and fake is None:
        raise PrecisionError(
            f"precision {name!r}: w{weight}a{activation} is torchao's; the fake one is named "
            f"w{weight}a{activation}-fake{name[4:]}"
        )
    if fake is not None and f"w{weight}a{activation}" not in _NAMED:
        raise PrecisionError(f"precision {name!r} is named w{weight}a{activation}{name.partition('-fake')[2]}")
    if group is not None and int(group) < 1:
        raise PrecisionError(f"precision {name!r}: a group has at least one weight")
    size = None if channel else int(group or DEFAULT_GROUP)
    return Recipe(name, "fake", int(weight), int(activation), group=size, layers=("Linear", "Conv2d"), simulated=True)
