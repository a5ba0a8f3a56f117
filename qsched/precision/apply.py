"""Apply a recipe to the denoiser of a loaded backbone, and report what was done and what it weighs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from qsched.precision import bitsandbytes_kernels, gguf_file, mixdq, smoothquant, svdquant, torchao_kernels
from qsched.precision.formats import activation_format, weight_format
from qsched.precision.names import find_recipe
from qsched.precision.recipe import PrecisionError, Recipe, Statistic
from qsched.precision.report import PrecisionReport, bytes_of, nominal_bits_to_bytes, tensor_bytes
from qsched.precision.selection import Selection, layers_of, select_layers
from qsched.precision.simulated import layer_named, packed_bytes, simulate
from qsched.precision.statistics import Statistics

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


class Filler(Protocol):
    """Brings a denoiser's weights module by module; `qsched.backbones.slot.DenoiserSlot` does."""

    def fill(self, name: str, module: nn.Module) -> None:
        """Have the module's own tensors in memory, on the device where they are converted."""

    def settle(self, module: nn.Module) -> None:
        """The module is converted."""

    def finish(self) -> None:
        """All modules are."""


def apply_precision(
    backbone: HasDenoiser,
    precision: str | Recipe,
    *,
    statistics: Mapping[Statistic, Statistics] | None = None,
    filler: Filler | None = None,
) -> PrecisionReport:
    """Quantize the backbone's denoiser in place; nothing else of the pipeline is touched.

    statistics    what `recipe.statistics` names, except 'ptqd', which concerns the scheduler
    filler        brings the weights of a denoiser that is empty yet, each just before it is converted

    A dtype recipe converts nothing: the backbone must have been loaded in that dtype. Raises PrecisionError
    for a recipe that matches no layer or lacks its statistics, for a second recipe on one denoiser and for a
    dtype that differs.
    """
    recipe = precision if isinstance(precision, Recipe) else find_recipe(precision)
    denoiser, given = backbone.denoiser, statistics or {}
    check_applicable(backbone, recipe)
    selection = select(backbone, recipe)
    measured = _measured(recipe, selection, given)
    bits = _bits_of_layers(denoiser, selection, recipe, measured)
    before = tensor_bytes(denoiser)
    layers = {name: layer_named(denoiser, name) for name in selection.converted}
    others = before - sum(bytes_of(layer.weight) for layer in layers.values())
    nominal = others + sum(nominal_bits_to_bytes(layers[name].weight.numel(), bits[name]) for name in layers)
    if recipe.method == "gguf-file":
        packed = gguf_file.stored_bytes(recipe)
    else:
        packed = others + sum(_packed(denoiser, name, recipe, bits[name]) for name in layers)
    if recipe.method == "svdquant":
        nominal += sum(svdquant.branch_bytes(layer) for layer in layers.values())
    del layers  # those that are replaced go as soon as they are
    _convert(denoiser, recipe, measured, bits, filler)
    if recipe.method != "dtype":
        setattr(denoiser, _MARK, recipe.name)
    resident = tensor_bytes(denoiser)
    return PrecisionReport(
        precision=recipe.name,
        converted=tuple(selection.converted),
        skipped=selection.skipped,
        kept=selection.kept,
        weight_bits={name: int(b) for name, b in bits.items()}
        if recipe.bits or recipe.method in ("mixdq", "gguf-file")
        else {},
        original_bytes=before,
        nominal_bytes=nominal,
        packed_bytes=packed if recipe.simulated else resident,
        resident_bytes=resident,
        simulated=recipe.simulated,
        recipe=recipe.to_dict(),
        recipe_hash=recipe.hash,
        statistics_sha256={kind: given[kind].sha256 for kind in recipe.statistics if kind in given},
        notes=_notes(selection, recipe),
    )


def is_untouched(denoiser: nn.Module) -> bool:
    """True while no quantizing recipe was applied."""
    return getattr(denoiser, _MARK, None) is None


def check_applicable(backbone: HasDenoiser, recipe: Recipe) -> None:
    """PrecisionError if the denoiser has a precision already, or was loaded in another dtype than the recipe's."""
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


def select(backbone: HasDenoiser, recipe: Recipe) -> Selection:
    """The layers that the recipe converts, keeps and skips; PrecisionError if it converts none."""
    layers = layers_of(backbone.denoiser)
    if recipe.method == "gguf-file":
        selection = gguf_file.select(backbone.denoiser, recipe)
    else:
        selection = select_layers(layers, recipe)
    if recipe.method != "dtype" and not selection.converted:
        reasons = [*selection.kept, *selection.skipped]
        raise PrecisionError(
            f"precision {recipe.name} matches no layer of {backbone.name}'s {backbone.denoiser_name}: "
            f"{len(layers)} candidates, none left to convert ({reasons[0] if reasons else 'no Linear or Conv2d'})"
        )
    return selection


def _measured(recipe: Recipe, selection: Selection, given: Mapping[Statistic, Statistics]) -> dict[str, Tensor]:
    """The statistics of the recipe's method, by layer; nothing for a recipe that needs none."""
    kind = next((kind for kind in recipe.statistics if kind != "ptqd"), None)
    if kind is None:
        return {}
    if kind not in given:
        raise PrecisionError(
            f"precision {recipe.name} needs statistics of calibration prompts; `qsched generate-pairs "
            "--calibration-prompts FILE` measures them, or pass statistics="
        )
    missing = [name for name in selection.converted if name not in given[kind].tensors]
    if missing:
        raise PrecisionError(
            f"precision {recipe.name}: its statistics lack {missing[0]} and {len(missing) - 1} more of the layers to "
            "convert; they were measured on another model or with other options: measure them again"
        )
    return given[kind].tensors


def _bits_of_layers(
    denoiser: nn.Module, selection: Selection, recipe: Recipe, measured: Mapping[str, Tensor]
) -> dict[str, float]:
    if recipe.method == "mixdq":
        return dict(mixdq.choose_bits(denoiser, selection, recipe, measured))
    return {name: recipe.weight_bits if bits is None else bits for name, bits in selection.converted.items()}


def _packed(denoiser: nn.Module, name: str, recipe: Recipe, bits: float) -> int:
    layer = layer_named(denoiser, name)
    if recipe.method == "torchao-w4a8":
        return torchao_kernels.packed_bytes(cast(nn.Linear, layer), recipe)
    if recipe.method == "smoothquant":
        return smoothquant.packed_layer_bytes(layer, recipe)
    if recipe.method == "svdquant":
        return svdquant.packed_layer_bytes(layer, recipe)
    if recipe.method == "mixdq":
        return mixdq.packed_layer_bytes(name, layer, int(bits))
    return packed_bytes(layer, weight_format(recipe, int(bits)))


def _convert(
    denoiser: nn.Module,
    recipe: Recipe,
    measured: Mapping[str, Tensor],
    bits: Mapping[str, float],
    filler: Filler | None,
) -> None:
    """Convert the layers that have `bits` in module order, each as soon as its weights are there."""
    stored = gguf_file.read_gguf(recipe) if recipe.method == "gguf-file" else {}
    # Names, not modules: a list of them would keep in memory what has been replaced.
    for name in [name for name, _ in denoiser.named_modules()]:
        if filler is not None:
            filler.fill(name, denoiser.get_submodule(name))
        if stored:
            gguf_file.convert(denoiser.get_submodule(name), name, stored, recipe)
        elif name in bits:
            _convert_layer(denoiser, name, recipe, measured, int(bits[name]))
        if filler is not None and not any(True for _ in denoiser.get_submodule(name).children()):
            filler.settle(denoiser.get_submodule(name))
    if filler is not None:
        filler.finish()


def _convert_layer(denoiser: nn.Module, name: str, recipe: Recipe, measured: Mapping[str, Tensor], bits: int) -> None:
    if recipe.method.startswith("torchao"):
        torchao_kernels.convert(denoiser, name, recipe)
    elif recipe.method.startswith("bitsandbytes"):
        bitsandbytes_kernels.convert(denoiser, name, recipe)
    elif recipe.method == "smoothquant":
        smoothquant.convert(denoiser, name, recipe, measured[name])
    elif recipe.method == "svdquant":
        svdquant.convert(denoiser, name, recipe, measured[name])
    elif recipe.method == "mixdq":
        mixdq.convert(denoiser, name, bits, recipe)
    else:
        simulate(layer_named(denoiser, name), weight_format(recipe, bits), activation_format(recipe))


def _notes(selection: Selection, recipe: Recipe) -> tuple[str, ...]:
    if recipe.method != "mixdq":
        return ()
    n = len(mixdq.first_token_layers(selection))
    found = f"{n} text keys and values keep their first token in full precision"
    return (found if n else "no cross-attention keys and values were found, so no first token is kept",)
