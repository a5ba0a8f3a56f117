"""torchao's w8a8 (int8 kernels) and w4a8 (its arithmetic, simulated on every device)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from qsched.errors import MissingExtraError
from qsched.precision.recipe import Recipe


def convert(denoiser: nn.Module, name: str, recipe: Recipe) -> None:
    """Quantize the named Linear layer in place."""
    try:
        from torchao import quantization as ao
    except ModuleNotFoundError as error:
        raise MissingExtraError("torchao", "generate") from error
    config: Any
    if recipe.method == "torchao-w8a8":
        # The inductor settings are global and for compiled models; we do not compile.
        config = ao.Int8DynamicActivationInt8WeightConfig(set_inductor_config=False)
    else:
        config = ao.Int8DynamicActivationIntxWeightConfig(
            weight_dtype=torch.int4,  # type: ignore[attr-defined]  # torch leaves it out of its stubs
            weight_granularity=ao.PerGroup(recipe.group),
        )
    parent, _, leaf = name.rpartition(".")
    ao.quantize_(denoiser.get_submodule(parent), config, filter_fn=lambda _, found: found == leaf)


def packed_bytes(layer: nn.Linear, recipe: Recipe) -> int:
    """Bytes of w4a8's int4 codes and of its scales, which torchao keeps in the dtype of the weight."""
    weights = layer.weight.numel()
    return weights // 2 + layer.weight.element_size() * (weights // (recipe.group or weights))
