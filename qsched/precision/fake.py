"""Fake quantization in place: weights rounded once, activations rounded at every call. See `recipe` for formulas."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qsched.precision.recipe import Recipe


def quantize_dequantize(x: Tensor, *, bits: int) -> Tensor:
    """Round to 2**bits - 1 symmetric levels with one scale for each vector along the last dimension.

    Computed in float32 and returned in the dtype of x, of the same shape.
    """
    top = 2 ** (bits - 1) - 1
    wide = x.to(torch.float32)
    low, high = torch.aminmax(wide, dim=-1, keepdim=True)
    scale = torch.maximum(-low, high) / top
    # A vector of zeros, or one so small that its scale underflows, becomes zeros instead of dividing by 0.
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    # One new tensor, then in place: on a CPU this is half of what a quantized step takes.
    return (wide / scale).round_().clamp_(-top, top).mul_(scale).to(x.dtype)


def quantize_weight(weight: Tensor, *, bits: int, group: int | None) -> Tensor:
    """Fake-quantize [out, in, ...]: groups of `group` consecutive inputs of an output channel; None: all of them.

    The inputs of a convolution are its (in, kh, kw) in memory order. A last group may be shorter.
    """
    rows = weight.reshape(weight.shape[0], -1)
    inputs = rows.shape[1]
    size = inputs if group is None else group
    # Zeros appended to fill the last group do not change its largest magnitude, hence not its scale.
    padded = nn.functional.pad(rows, (0, -inputs % size))
    grouped = padded.reshape(rows.shape[0], -1, size)
    return quantize_dequantize(grouped, bits=bits).reshape(rows.shape[0], -1)[:, :inputs].reshape(weight.shape)


def fake_quantize(layer: nn.Module, recipe: Recipe) -> None:
    """Give a Linear or Conv2d fake-quantized weights and a hook that fake-quantizes what it is fed."""
    with torch.no_grad():
        layer.weight.copy_(quantize_weight(layer.weight, bits=recipe.weight_bits, group=recipe.group))
    if recipe.activation_bits < 16:
        hook = _PixelHook if isinstance(layer, nn.Conv2d) else _TokenHook
        layer.register_forward_pre_hook(hook(recipe.activation_bits))


def packed_bytes_of(layer: nn.Module, recipe: Recipe) -> int:
    """Bytes of the layer's weight if its codes were packed: bits a weight, and one scale a group.

    Our own scales are float32; torchao keeps the scales of w4a8 in the dtype of the weight.
    """
    weight = layer.weight
    inputs = weight.numel() // weight.shape[0]
    groups = weight.shape[0] * -(-inputs // (recipe.group or inputs))
    scale_bytes = 4 if recipe.method == "fake" else weight.element_size()
    return -(-weight.numel() * recipe.weight_bits // 8) + scale_bytes * groups


class _TokenHook:
    """A forward pre-hook that remembers its bits; unlike a closure it can be copied and pickled."""

    def __init__(self, bits: int) -> None:
        self.bits = bits

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (quantize_dequantize(inputs[0], bits=self.bits), *inputs[1:])


class _PixelHook(_TokenHook):
    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        pixels = inputs[0].movedim(1, -1)
        return (quantize_dequantize(pixels, bits=self.bits).movedim(-1, 1).contiguous(), *inputs[1:])
