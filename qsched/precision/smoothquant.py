"""SmoothQuant (2211.10438): move the outliers of activations into the weights, then quantize both.

    s_j = max|X_j|**a / max|W_j|**(1 - a)   for input channel j,   a = 0.5
    Y = Q(X / s) Q(W s)

max|X_j| is measured on calibration prompts. Weights are integers with a scale for each output channel, activations
integers with a scale for each token or pixel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from qsched.precision.formats import NumberFormat, activation_format, weight_format
from qsched.precision.recipe import Recipe
from qsched.precision.recording import DenoiserCall, replay_all, seen_inputs
from qsched.precision.selection import Selection
from qsched.precision.simulated import Layer, layer_named, packed_bytes, round_activation, round_weight

ALPHA = 0.5


def measure(
    denoiser: nn.Module,
    batches: Sequence[Sequence[DenoiserCall]],
    _recipe: Recipe,
    selection: Selection,
    done: Mapping[str, Tensor],
) -> Iterator[tuple[str, Tensor]]:
    """(layer name, max|X_j| over the calls) of each selected layer."""
    layers = {name: layer_named(denoiser, name) for name in selection.converted if name not in done}
    maxima: dict[str, Tensor] = {}

    def see(name: str, x: Tensor) -> None:
        seen = channel_maxima(x, layers[name])
        maxima[name] = torch.maximum(maxima[name], seen) if name in maxima else seen

    if layers:
        with seen_inputs(dict(layers), see):
            replay_all(denoiser, batches)
    for name, layer in layers.items():
        # A layer that these prompts never reach has no outliers to move.
        yield name, maxima.get(name, torch.zeros(input_channels(layer)))


def convert(denoiser: nn.Module, name: str, recipe: Recipe, x_max: Tensor) -> None:
    """Smooth and quantize a layer in place."""
    activations = activation_format(recipe)
    assert activations is not None, "smoothing is for quantized activations"
    layer = layer_named(denoiser, name)
    scale = smoothing(x_max.to(layer.weight.device), layer.weight, ALPHA)
    with torch.no_grad():
        layer.weight.copy_(round_weight(smoothed_weight(layer.weight, scale), weight_format(recipe)))
    layer.register_forward_pre_hook(SmoothingHook(scale, activations))


def smoothing(x_max: Tensor, weight: Tensor, alpha: float) -> Tensor:
    """s of each input channel, float32; 1 where the channel's activations or weights are all zero."""
    w_max = weight.detach().to(torch.float32).abs().amax(dim=[d for d in range(weight.ndim) if d != 1])
    x_max = x_max.to(torch.float32)
    usable = (x_max > 0) & (w_max > 0)
    scale = x_max**alpha / w_max ** (1 - alpha)
    return torch.where(usable & scale.isfinite() & (scale > 0), scale, torch.ones_like(scale))


def smoothed_weight(weight: Tensor, scale: Tensor) -> Tensor:
    """W s in float32: input channel j multiplied by s_j."""
    return weight.to(torch.float32) * scale.view(1, -1, *[1] * (weight.ndim - 2))


def channel_maxima(x: Tensor, layer: Layer) -> Tensor:
    """max|X_j| of each input channel, float32."""
    channels = x.movedim(1, -1) if isinstance(layer, nn.Conv2d) else x
    return channels.detach().reshape(-1, channels.shape[-1]).abs().amax(dim=0).to(torch.float32)


def input_channels(layer: Layer) -> int:
    """Channels of what the layer is fed."""
    return layer.in_channels if isinstance(layer, nn.Conv2d) else layer.in_features


def packed_layer_bytes(layer: Layer, recipe: Recipe) -> int:
    """Codes, scales, and the smoothing scale of each input channel in the layer's dtype."""
    return packed_bytes(layer, weight_format(recipe)) + input_channels(layer) * layer.weight.element_size()


class SmoothingHook:
    """A forward pre-hook that divides what a layer is fed by s and rounds it."""

    def __init__(self, scale: Tensor, number_format: NumberFormat) -> None:
        self.scale, self.number_format = scale, number_format

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        x, pixels = inputs[0], isinstance(layer, nn.Conv2d)
        scale = self.scale.to(x.device)
        smooth = x.to(torch.float32) / (scale.view(-1, 1, 1) if pixels else scale)
        return (round_activation(smooth, self.number_format, pixels=pixels).to(x.dtype), *inputs[1:])
