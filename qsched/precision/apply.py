"""Apply a recipe to the denoiser of a loaded backbone, and report what was done and what it weighs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

import torch
from torch import nn

from qsched.precision import bitsandbytes_kernels, torchao_kernels
from qsched.precision.formats import activation_format, weight_format
from qsched.precision.names import find_recipe
from qsched.precision.recipe import PrecisionError, Recipe
from qsched.precision.report import PrecisionReport, bytes_of, nominal_bits_to_bytes, tensor_bytes
from qsched.precision.selection import Selection, layers_of, select_layers
from qsched.precision.simulated import Layer, packed_bytes, simulate

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_MARK = "_qsched_precision"


class HasDenoiser(Protocol):
    """What a recipe needs of a backbone; `qsched.backbones.Backbone` has it."""

    @property
    def name(self) -> str: ...

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def denoiser(self) -> nn.Module: ...

    @property
    def denoiser_name(self) -> str: ...


def apply_precision(backbone: HasDenoiser, precision: str | Recipe) -> PrecisionReport:
    """Quantize the backbone's denoiser in place; nothing else of the pipeline is touched.

    A dtype recipe converts nothing: the backbone must have been loaded in that dtype. Raises PrecisionError
    for a recipe that matches no layer, for a second recipe on one denoiser and for a dtype that differs.
    """
    recipe = precision if isinstance(precision, Recipe) else find_recipe(precision)
    denoiser = backbone.denoiser
    _check_applicable(backbone, recipe)
    layers = layers_of(denoiser)
    selection = select_layers(layers, recipe)
    if recipe.method != "dtype" and not selection.converted:
        reasons = [*selection.kept, *selection.skipped]
        raise PrecisionError(
            f"precision {recipe.name} matches no layer of {backbone.name}'s {backbone.denoiser_name}: "
            f"{len(layers)} candidates, none left to convert ({reasons[0] if reasons else 'no Linear or Conv2d'})"
        )
    before = tensor_bytes(denoiser)
    chosen = {name: layers[name] for name in selection.converted}
    others = before - sum(bytes_of(layer.weight) for layer in chosen.values())
    nominal = others + sum(_nominal(layer, recipe, selection.converted[name]) for name, layer in chosen.items())
    packed: int | None = None
    if recipe.simulated:
        packed = others + sum(_packed(layer, recipe, selection.converted[name]) for name, layer in chosen.items())
    if recipe.method != "dtype":
        _CONVERTERS[recipe.method](denoiser, selection, recipe)
        setattr(denoiser, _MARK, recipe.name)
    resident = tensor_bytes(denoiser)
    return PrecisionReport(
        precision=recipe.name,
        converted=tuple(selection.converted),
        skipped=selection.skipped,
        kept=selection.kept,
        original_bytes=before,
        nominal_bytes=nominal,
        packed_bytes=resident if packed is None else packed,
        resident_bytes=resident,
        simulated=recipe.simulated,
        recipe=recipe.to_dict(),
        recipe_hash=recipe.hash,
        statistics_sha256={},
    )


def is_untouched(denoiser: nn.Module) -> bool:
    """True while no quantizing recipe was applied."""
    return getattr(denoiser, _MARK, None) is None


def _check_applicable(backbone: HasDenoiser, recipe: Recipe) -> None:
    if not is_untouched(backbone.denoiser):
        raise PrecisionError(
            f"{backbone.name} already has precision {getattr(backbone.denoiser, _MARK)}; load the backbone again "
            f"before applying {recipe.name}"
        )
    if recipe.dtype_name is not None and _DTYPES[recipe.dtype_name] is not backbone.dtype:
        raise PrecisionError(
            f"precision {recipe.name} of a backbone loaded in {backbone.dtype}: load it with "
            f"dtype={_DTYPES[recipe.dtype_name]} instead, so that every component agrees"
        )


def _nominal(layer: Layer, recipe: Recipe, bits: int | None) -> int:
    return nominal_bits_to_bytes(layer.weight.numel(), recipe.weight_bits if bits is None else bits)


def _packed(layer: Layer, recipe: Recipe, bits: int | None) -> int:
    if recipe.method == "torchao-w4a8":
        return torchao_kernels.packed_bytes(cast(nn.Linear, layer), recipe)
    return packed_bytes(layer, weight_format(recipe, bits))


def _convert_simulated(denoiser: nn.Module, selection: Selection, recipe: Recipe) -> None:
    for name, bits in selection.converted.items():
        layer = cast(Layer, denoiser.get_submodule(name))
        simulate(layer, weight_format(recipe, bits), activation_format(recipe))


def _convert_torchao(denoiser: nn.Module, selection: Selection, recipe: Recipe) -> None:
    torchao_kernels.convert(denoiser, list(selection.converted), recipe)


def _convert_bitsandbytes(denoiser: nn.Module, selection: Selection, recipe: Recipe) -> None:
    bitsandbytes_kernels.convert(denoiser, list(selection.converted), recipe)


_CONVERTERS: dict[str, Callable[[nn.Module, Selection, Recipe], None]] = {
    "fake": _convert_simulated,
    "format": _convert_simulated,
    "torchao-w8a8": _convert_torchao,
    "torchao-w4a8": _convert_torchao,
    "bitsandbytes-nf4": _convert_bitsandbytes,
    "bitsandbytes-int8": _convert_bitsandbytes,
}
