"""Apply a recipe to the denoiser of a loaded backbone, and report what was done and what it weighs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from qsched.errors import MissingExtraError
from qsched.precision.fake import fake_quantize, packed_bytes_of
from qsched.precision.recipe import PrecisionError, Recipe, find_recipe

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


@dataclass(frozen=True)
class PrecisionReport:
    """What a recipe did to a denoiser.

    converted        names of the layers that are now quantized
    skipped          'name: reason' of each Linear and Conv2d that is not
    original_bytes   parameters and buffers before, in the base dtype; measured
    resident_bytes   parameters and buffers now, as they lie in memory; measured
    packed_bytes     for a simulated recipe, what its codes and scales would take if packed; computed
    """

    precision: str
    converted: tuple[str, ...]
    skipped: tuple[str, ...]
    original_bytes: int
    resident_bytes: int
    packed_bytes: int | None
    simulated: bool
    recipe: dict[str, object]
    recipe_hash: str

    def to_dict(self) -> dict[str, object]:
        """JSON-ready, with counts instead of the list of converted layers."""
        return {
            "precision": self.precision,
            "layers_converted": len(self.converted),
            "layers_skipped": list(self.skipped),
            "original_bytes": self.original_bytes,
            "resident_bytes": self.resident_bytes,
            "packed_bytes": self.packed_bytes,
            "simulated": self.simulated,
        }


def apply_precision(backbone: HasDenoiser, precision: str | Recipe) -> PrecisionReport:
    """Quantize the backbone's denoiser in place; nothing else of the pipeline is touched.

    A dtype recipe converts nothing: the backbone must have been loaded in that dtype. Raises PrecisionError
    for a recipe that matches no layer, for a second recipe on one denoiser and for a dtype that differs.
    """
    recipe = precision if isinstance(precision, Recipe) else find_recipe(precision)
    denoiser = backbone.denoiser
    if not is_untouched(denoiser):
        earlier = getattr(denoiser, _MARK)
        raise PrecisionError(
            f"{backbone.name} already has precision {earlier}; load the backbone again before applying {recipe.name}"
        )
    if recipe.dtype_name is not None and _DTYPES[recipe.dtype_name] is not backbone.dtype:
        raise PrecisionError(
            f"precision {recipe.name} of a backbone loaded in {backbone.dtype}: load it with "
            f"dtype={_DTYPES[recipe.dtype_name]} instead, so that every component agrees"
        )
    before = tensor_bytes(denoiser)
    layers = {name: m for name, m in denoiser.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)}
    chosen, skipped = _choose(layers, recipe)
    packed = None
    if recipe.method != "dtype":
        if not chosen:
            raise PrecisionError(
                f"precision {recipe.name} matches no layer of {backbone.name}'s {backbone.denoiser_name}: "
                f"{len(layers)} candidates, all skipped ({skipped[0] if skipped else 'it has no Linear or Conv2d'})"
            )
        if recipe.simulated:
            plain = sum(_bytes_of(layers[name].weight) for name in chosen)
            packed = before - plain + sum(packed_bytes_of(layers[name], recipe) for name in chosen)
        _CONVERTERS[recipe.method](denoiser, chosen, recipe)
        setattr(denoiser, _MARK, recipe.name)
    return PrecisionReport(
        precision=recipe.name,
        converted=tuple(chosen),
        skipped=tuple(skipped),
        original_bytes=before,
        resident_bytes=tensor_bytes(denoiser),
        packed_bytes=packed,
        simulated=recipe.simulated,
        recipe=recipe.to_dict(),
        recipe_hash=recipe.hash,
    )


def is_untouched(denoiser: nn.Module) -> bool:
    """True while no quantizing recipe was applied."""
    return getattr(denoiser, _MARK, None) is None


def tensor_bytes(module: nn.Module) -> int:
    """Bytes of all parameters and buffers as they lie in memory; tensors used twice count once."""
    tensors = {id(t): t for t in [*module.parameters(), *module.buffers()]}
    return sum(_bytes_of(t) for t in tensors.values())


def _bytes_of(tensor: Tensor) -> int:
    """Bytes of a tensor, or of the tensors inside a quantized one (codes, scales, zero points)."""
    state = getattr(tensor, "quant_state", None)
    if state is not None:  # bitsandbytes: packed codes in the tensor, block maxima and code book beside it
        inner = [
            state.absmax,
            state.code,
            *([state.offset, state.state2.absmax, state.state2.code] if state.nested else []),
        ]
        return tensor.untyped_storage().nbytes() + sum(_bytes_of(t) for t in inner)
    if hasattr(tensor, "__tensor_flatten__") and type(tensor) not in (Tensor, nn.Parameter):
        return sum(_bytes_of(getattr(tensor, name)) for name in tensor.__tensor_flatten__()[0])
    return tensor.numel() * tensor.element_size()


def _choose(layers: dict[str, nn.Module], recipe: Recipe) -> tuple[list[str], list[str]]:
    """(layers to convert, 'name: reason' of the others), both in module order."""
    chosen, skipped = [], []
    if recipe.method == "dtype":
        return chosen, skipped
    for name, layer in layers.items():
        kind = "Conv2d" if isinstance(layer, nn.Conv2d) else "Linear"
        if kind not in recipe.layers:
            skipped.append(f"{name}: {kind}, and {recipe.name} converts {' and '.join(recipe.layers)} only")
        elif recipe.method == "torchao-w4a8" and recipe.group and layer.in_features % recipe.group:
            skipped.append(f"{name}: {layer.in_features} inputs are not a multiple of the group of {recipe.group}")
        else:
            chosen.append(name)
    return chosen, skipped


def _convert_fake(denoiser: nn.Module, chosen: list[str], recipe: Recipe) -> None:
    for name in chosen:
        fake_quantize(denoiser.get_submodule(name), recipe)


def _convert_torchao(denoiser: nn.Module, chosen: list[str], recipe: Recipe) -> None:
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
            weight_dtype=torch.int4, weight_granularity=ao.PerGroup(recipe.group)
        )
    wanted = set(chosen)
    ao.quantize_(denoiser, config, filter_fn=lambda module, name: name in wanted)


def _convert_nf4(denoiser: nn.Module, chosen: list[str], recipe: Recipe) -> None:
    try:
        from bitsandbytes.nn import Linear4bit, Params4bit
    except ModuleNotFoundError as error:
        raise MissingExtraError("bitsandbytes", "generate") from error
    for name in chosen:
        layer = denoiser.get_submodule(name)
        device, dtype = layer.weight.device, layer.weight.dtype
        new = Linear4bit(
            layer.in_features, layer.out_features, bias=layer.bias is not None, compute_dtype=dtype,
            compress_statistics=False, quant_type="nf4", device="meta",
        )  # fmt: skip
        new.weight = Params4bit(
            layer.weight.data.contiguous(), requires_grad=False, compress_statistics=False, quant_type="nf4",
            blocksize=recipe.group, module=new,
        )  # fmt: skip
        new.bias = layer.bias
        parent, _, leaf = name.rpartition(".")
        # Codes are made when the parameter moves to its device, a CPU included.
        setattr(denoiser.get_submodule(parent), leaf, new.to(device))


_CONVERTERS: dict[str, Callable[[nn.Module, list[str], Recipe], None]] = {
    "fake": _convert_fake,
    "torchao-w8a8": _convert_torchao,
    "torchao-w4a8": _convert_torchao,
    "bitsandbytes-nf4": _convert_nf4,
}
