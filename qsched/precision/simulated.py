"""Simulated arithmetic of one layer: weights rounded once, activations rounded at every call."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qsched.precision.formats import NumberFormat

Layer = nn.Linear | nn.Conv2d


def simulate(layer: Layer, weights: NumberFormat, activations: NumberFormat | None) -> None:
    """Round the weight of a Linear or Conv2d in place, and hook the rounding of what it is fed."""
    with torch.no_grad():
        layer.weight.copy_(round_weight(layer.weight, weights))
    if activations is not None:
        layer.register_forward_pre_hook(ActivationHook(activations))


def round_weight(weight: Tensor, number_format: NumberFormat) -> Tensor:
    """A Linear's [out, in] or Conv2d's [out, in, kh, kw] weight as the format holds it, in the same shape."""
    if weight.ndim == 4 and number_format.along_channels:
        return number_format.rounded(weight.permute(0, 2, 3, 1)[None])[0].permute(0, 3, 1, 2)
    return number_format.rounded(weight.flatten(1)[None])[0].view(weight.shape)


def round_activation(x: Tensor, number_format: NumberFormat, *, pixels: bool) -> Tensor:
    """Tokens [B, ..., C], or pixels [B, C, H, W], as the format holds them; each picture of a batch by itself."""
    if not pixels:
        return number_format.rounded(x)
    return number_format.rounded(x.movedim(1, -1)).movedim(-1, 1).contiguous()


def inputs_of_block(layer: Layer, number_format: NumberFormat) -> int:
    """Length of the dimension that the format's blocks run along."""
    if isinstance(layer, nn.Conv2d) and number_format.along_channels:
        return layer.weight.shape[1]
    return layer.weight[0].numel()


def packed_bytes(layer: Layer, number_format: NumberFormat) -> int:
    """Bytes of the layer's weight if its codes and scales were packed."""
    inputs = inputs_of_block(layer, number_format)
    return number_format.packed_bytes(layer.weight.numel() // inputs, inputs)


class ActivationHook:
    """A forward pre-hook that rounds a layer's input; unlike a closure it can be copied and pickled."""

    def __init__(self, number_format: NumberFormat) -> None:
        self.number_format = number_format

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        rounded = round_activation(inputs[0], self.number_format, pixels=isinstance(layer, nn.Conv2d))
        return (rounded, *inputs[1:])


def layer_named(denoiser: nn.Module, name: str) -> Layer:
    """The Linear or Conv2d of that name."""
    layer = denoiser.get_submodule(name)
    assert isinstance(layer, Layer), "only Linear and Conv2d layers are selected"
    return layer
