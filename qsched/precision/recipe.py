"""A recipe: one precision, completely described in values that can be hashed. No torch.

PrecisionError(InputError)    an unknown name, or a recipe that cannot be honoured here
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Literal

from qsched.errors import InputError
from qsched.records import hash_of

Method = Literal[
    "dtype",
    "torchao-w8a8",
    "torchao-w4a8",
    "bitsandbytes-nf4",
    "bitsandbytes-int8",
    "fake",
    "format",
    "gguf-file",
    "smoothquant",
    "svdquant",
    "mixdq",
]
Statistic = Literal["smoothquant", "svdquant", "mixdq", "ptqd"]

# Fields added after sets and calibrations had been made: left out of the hash while they have their default.
_LATER = ("weight_format", "activation_format", "keep", "bits", "correction", "file", "file_sha256")

# What `keep=standard` keeps: the first and last layer of a denoiser and its embedders of time, text and size.
STANDARD_KEEP = (
    *("conv_in", "conv_out", "time_embedding", "add_embedding"),
    *("x_embedder", "context_embedder", "time_text_embed", "norm_out", "proj_out", "pos_embed", "time_embed*"),
)


class PrecisionError(InputError):
    """A precision that is unknown or cannot be honoured; never replaced by another one."""


@dataclass(frozen=True)
class Recipe:
    """One precision, completely described.

    weight_bits         bits of one weight, scales not counted; for mixdq the mean over the converted weights
    group               inputs that share a weight scale; None: the whole output channel
    layers              layer kinds that are converted, wherever they are in the denoiser
    simulated           True if the low-precision arithmetic is imitated in floating point
    weight_format       name of the number format of the weights (`formats.FORMATS`), for formats and svdquant
    activation_format   the same for activations; None: they stay in the base dtype
    keep                name patterns of modules that stay in the base dtype
    bits                (name pattern, weight bits) of the layers that differ from `weight_bits`
    correction          'ptqd': the noise estimate is corrected before the scheduler's step
    file, file_sha256   the GGUF file that the weights are read from, by name and by content
    """

    name: str
    method: Method
    weight_bits: float
    activation_bits: int
    group: int | None = None
    layers: tuple[str, ...] = ()
    simulated: bool = False
    weight_format: str | None = None
    activation_format: str | None = None
    keep: tuple[str, ...] = ()
    bits: tuple[tuple[str, int], ...] = ()
    correction: Literal["ptqd"] | None = None
    file: str | None = None
    file_sha256: str | None = None

    @property
    def dtype_name(self) -> str | None:
        """'fp32', 'bf16' or 'fp16' for a recipe that is only a dtype."""
        return self.name if self.method == "dtype" else None

    @property
    def statistics(self) -> tuple[Statistic, ...]:
        """What has to be measured on calibration prompts before this recipe can be applied; often nothing."""
        needed: list[Statistic] = []
        if self.method in ("smoothquant", "svdquant", "mixdq"):
            needed.append(self.method)
        if self.correction is not None:
            needed.append(self.correction)
        return tuple(needed)

    def to_dict(self) -> dict[str, object]:
        """JSON-ready fields; the path of a file is left out, its content's hash is not."""
        values = asdict(self)
        defaults = {field.name: field.default for field in fields(self)}
        for name in _LATER:
            if values[name] == defaults[name]:
                del values[name]
        if self.file is not None:
            values["file"] = self.file.rpartition("/")[2]
        if "standard" in self.keep:
            values["keep"] = tuple(p if p != "standard" else f"standard: {'|'.join(STANDARD_KEEP)}" for p in self.keep)
        return {name: _as_lists(value) for name, value in values.items()}

    @property
    def hash(self) -> str:
        """sha256 of the fields."""
        return hash_of(self.to_dict())


def _as_lists(value: object) -> object:
    return [_as_lists(item) for item in value] if isinstance(value, tuple) else value
