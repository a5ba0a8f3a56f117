"""Which layers of a denoiser a recipe converts, keeps and skips, with the reason for each that it does not convert."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from qsched.precision.formats import weight_format
from qsched.precision.recipe import STANDARD_KEEP, PrecisionError, Recipe
from qsched.precision.simulated import Layer, inputs_of_block


@dataclass(frozen=True)
class Selection:
    """Every Linear and Conv2d of a denoiser, once, in module order.

    converted   layer name -> its weight bits if a bit map gives them, else None
    kept        'name: keep=PATTERN', left in the base dtype because the recipe says so
    skipped     'name: reason', left because the recipe cannot convert it
    """

    converted: dict[str, int | None]
    kept: tuple[str, ...]
    skipped: tuple[str, ...]


def layers_of(denoiser: nn.Module) -> dict[str, Layer]:
    """The Linear and Conv2d layers by name, in module order; a layer used twice has its first name."""
    return {name: module for name, module in denoiser.named_modules() if isinstance(module, Layer)}


def select_layers(layers: dict[str, Layer], recipe: Recipe) -> Selection:
    """Sort the layers; PrecisionError for a pattern that matches none of them or two that disagree."""
    if recipe.method == "dtype":
        return Selection({}, (), ())
    keep = _expanded(recipe.keep)
    used: set[str] = set()
    converted: dict[str, int | None] = {}
    kept, skipped = [], []
    for name, layer in layers.items():
        pattern = next((p for p in keep if matches(p, name)), None)
        used.update(p for p in keep if matches(p, name))
        bits = _mapped_bits(name, recipe, used)
        if pattern is not None:
            kept.append(f"{name}: keep={pattern}")
        elif bits == 16:
            kept.append(f"{name}: 16 bits in the bit map")
        elif (reason := _obstacle(layer, recipe, bits)) is not None:
            skipped.append(f"{name}: {reason}")
        else:
            converted[name] = bits
    _check_used(recipe, used)
    return Selection(converted, tuple(kept), tuple(skipped))


def matches(pattern: str, name: str) -> bool:
    """True if the pattern matches the module's name or that of a module around it."""
    parts = name.split(".")
    return any(fnmatchcase(".".join(parts[: i + 1]), pattern) for i in range(len(parts)))


def _expanded(keep: tuple[str, ...]) -> tuple[str, ...]:
    named = tuple(pattern for pattern in keep if pattern != "standard")
    return named + (STANDARD_KEEP if "standard" in keep else ())


def _mapped_bits(name: str, recipe: Recipe, used: set[str]) -> int | None:
    hits = {pattern: bits for pattern, bits in recipe.bits if matches(pattern, name)}
    used.update(hits)
    if name in hits:  # the layer's own name overrides patterns
        return hits[name]
    if len(set(hits.values())) > 1:
        said = ", ".join(f"{pattern}: {bits}" for pattern, bits in hits.items())
        raise PrecisionError(
            f"precision {recipe.name}: the bit map gives {name} different bits ({said}); name the layer itself, or "
            "narrow a pattern"
        )
    return next(iter(hits.values()), None)


def _check_used(recipe: Recipe, used: set[str]) -> None:
    asked = [("keep", pattern) for pattern in recipe.keep if pattern != "standard"]
    asked += [("bits", pattern) for pattern, _ in recipe.bits]
    if "standard" in recipe.keep and not used.intersection(STANDARD_KEEP):
        asked.append(("keep", "standard"))
    unused = [f"{option} pattern {pattern!r}" for option, pattern in asked if pattern not in used]
    if unused:
        raise PrecisionError(
            f"precision {recipe.name}: {' and '.join(unused)} matches no Linear or Conv2d of the denoiser; "
            "manifest.json of a set made without the option lists the names of its layers"
        )


def _obstacle(layer: Layer, recipe: Recipe, bits: int | None) -> str | None:
    """Why the recipe cannot convert the layer; None if it can."""
    kind = "Conv2d" if isinstance(layer, nn.Conv2d) else "Linear"
    if kind not in recipe.layers:
        return f"{kind}, and {recipe.name.partition(':')[0]} converts {' and '.join(recipe.layers)} only"
    if recipe.method == "torchao-w4a8":
        block, inputs = recipe.group or 1, layer.weight[0].numel()
    elif recipe.simulated:
        if recipe.method == "smoothquant" and isinstance(layer, nn.Conv2d) and layer.groups > 1:
            return f"its {layer.groups} groups share no input channels, which smoothing scales"
        number_format = weight_format(recipe, bits)
        block, inputs = number_format.block, inputs_of_block(layer, number_format)
    else:
        return None
    if inputs % block:
        return f"{inputs} inputs are not a multiple of the group of {block}"
    return None
