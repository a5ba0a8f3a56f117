"""Weights read from a GGUF file: every type that the `gguf` package decodes, K-quants among them.

The file holds the whole denoiser under the names that diffusers gives its tensors; a tensor that is missing or that
the denoiser does not have is an error. Quantized weights are decoded once, into the base dtype; activations stay.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qsched.errors import MissingExtraError
from qsched.precision.recipe import PrecisionError, Recipe
from qsched.precision.selection import Selection, layers_of

_FLOATS = {"F32": 32, "F16": 16, "BF16": 16}


@dataclass(frozen=True)
class GgufTensor:
    """One tensor of a file: its type in GGUF's words, its stored bytes, and a function that decodes it to float32."""

    kind: str
    stored_bytes: int
    decode: Any

    @property
    def bits(self) -> int:
        """Bits of one value, scales not counted: the number in the type's name."""
        number = re.search(r"\d+", self.kind)
        return _FLOATS.get(self.kind) or int(number[0] if number else 0)


def select(denoiser: nn.Module, recipe: Recipe) -> Selection:
    """Layers whose weight is quantized in the file, and the others; PrecisionError if the names do not fit."""
    tensors = read_gguf(recipe)
    _check_names(denoiser, tensors, recipe)
    converted: dict[str, int | None] = {}
    skipped = []
    for name in layers_of(denoiser):
        tensor = tensors[f"{name}.weight"]
        if tensor.kind in _FLOATS:
            skipped.append(f"{name}: {tensor.kind} in the file")
        else:
            converted[name] = tensor.bits
    return Selection(converted, (), tuple(skipped))


def convert(module: nn.Module, prefix: str, tensors: dict[str, GgufTensor], recipe: Recipe) -> None:
    """Load what the file has of the tensors that belong to a module itself, in the dtype of what is there."""
    own = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
    with torch.no_grad():
        for leaf, target in own:
            name = f"{prefix}.{leaf}" if prefix else leaf
            if name not in tensors:
                continue  # a computed buffer
            values = torch.from_numpy(tensors[name].decode())
            if values.shape != target.shape:
                raise PrecisionError(
                    f"precision {recipe.name}: {name} has shape {tuple(values.shape)} in the file and "
                    f"{tuple(target.shape)} in the denoiser; the file is of another model"
                )
            target.copy_(values)


def stored_bytes(recipe: Recipe) -> int:
    """Bytes of the file's tensors as they are stored."""
    return sum(tensor.stored_bytes for tensor in read_gguf(recipe).values())


def read_gguf(recipe: Recipe) -> dict[str, GgufTensor]:
    """Tensors of the recipe's file by name; nothing is decoded yet."""
    assert recipe.file is not None, "a gguf recipe names its file"
    try:
        import gguf
    except ModuleNotFoundError as error:
        raise MissingExtraError("gguf", "gguf") from error
    try:
        reader = gguf.GGUFReader(recipe.file)
    except (OSError, ValueError, IndexError) as error:
        raise PrecisionError(f"{recipe.file} cannot be read as GGUF: {error}") from error
    tensors = {}
    for tensor in reader.tensors:
        decode = functools.partial(gguf.quants.dequantize, tensor.data, tensor.tensor_type)
        tensors[str(tensor.name)] = GgufTensor(tensor.tensor_type.name, int(tensor.n_bytes), decode)
    return tensors


def _check_names(denoiser: nn.Module, tensors: dict[str, GgufTensor], recipe: Recipe) -> None:
    wanted, found = set(denoiser.state_dict()), set(tensors)
    problems = [
        f"{len(names)} {what} (for example {min(names)})"
        for what, names in (("are missing from it", wanted - found), ("are not the denoiser's", found - wanted))
        if names
    ]
    if problems:
        raise PrecisionError(
            f"precision {recipe.name}: of the tensors of {Path(recipe.file or '').name}, {' and '.join(problems)}; "
            "it must hold the whole denoiser under the names of diffusers"
        )
