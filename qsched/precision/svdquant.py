"""SVDQuant (2411.05007): smooth, take a low-rank branch in 16 bits out of the weight, quantize the rest to 4 bits.

    X' = X / s,   W s = L1 L2 + R   (rank 32, by singular values),   Y = X' L1 L2 + Q(X') Q(R)

s is SmoothQuant's with an exponent a for each layer, searched on the output error of calibration inputs; no
smoothing at all is one of the candidates. Q is int4 in groups of 64, or nvfp4. The branch is rounded to 16 bits
before R is taken, so that R makes up for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from qsched.precision.formats import NumberFormat, activation_format, weight_format
from qsched.precision.recipe import Recipe
from qsched.precision.recording import DenoiserCall, replay_all, seen_inputs
from qsched.precision.selection import Selection
from qsched.precision.simulated import Layer, layer_named, packed_bytes, round_weight
from qsched.precision.smoothquant import channel_maxima, smoothed_weight, smoothing

RANK = 32
ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
# Rows of a layer's input that the exponent is searched on, spread evenly over the calls.
ROWS = 256


def measure(
    denoiser: nn.Module,
    batches: Sequence[Sequence[DenoiserCall]],
    recipe: Recipe,
    selection: Selection,
    done: Mapping[str, Tensor],
) -> Iterator[tuple[str, Tensor]]:
    """(layer name, smoothing scale s of its input channels) of each selected layer."""
    layers = {name: _linear(denoiser, name) for name in selection.converted if name not in done}
    maxima: dict[str, Tensor] = {}
    rows: dict[str, list[Tensor]] = {name: [] for name in layers}
    wanted = -(-ROWS // max(1, sum(map(len, batches))))

    def see(name: str, x: Tensor) -> None:
        seen = channel_maxima(x, layers[name])
        maxima[name] = torch.maximum(maxima[name], seen) if name in maxima else seen
        flat = x.detach().reshape(-1, x.shape[-1])
        rows[name].append(flat[:: max(1, len(flat) // wanted)][:wanted].to("cpu", copy=True))

    if layers:
        with seen_inputs(dict(layers), see):
            replay_all(denoiser, batches)
    for name, layer in layers.items():
        with torch.inference_mode():
            if name in maxima:
                x = torch.cat(rows.pop(name)).to(layer.weight.device)
                yield name, best_smoothing(layer, x, maxima[name], recipe)
            else:  # these prompts never reach the layer
                yield name, torch.ones(layer.in_features)


def best_smoothing(layer: nn.Linear, x: Tensor, x_max: Tensor, recipe: Recipe) -> Tensor:
    """The smoothing scale with the least squared output error on the rows x [N, in]."""
    exact = nn.functional.linear(x.to(torch.float32), layer.weight.to(torch.float32))
    candidates = [torch.ones_like(x_max), *(smoothing(x_max, layer.weight, alpha) for alpha in ALPHAS)]
    errors = []
    for scale in candidates:
        made = SvdQuantLinear.from_linear(layer, scale, recipe)
        bias = 0 if made.bias is None else made.bias
        errors.append(float((made(x) - bias - exact).to(torch.float64).square().sum()))
    return candidates[errors.index(min(errors))]


def convert(denoiser: nn.Module, name: str, recipe: Recipe, scale: Tensor) -> None:
    """Replace a layer by an SvdQuantLinear."""
    layer = _linear(denoiser, name)
    parent, _, leaf = name.rpartition(".")
    made = SvdQuantLinear.from_linear(layer, scale.to(layer.weight.device), recipe)
    setattr(denoiser.get_submodule(parent), leaf, made)


class SvdQuantLinear(nn.Linear):
    """A Linear as smoothing, a 16-bit low-rank branch and a rounded residual; `weight` is the residual."""

    def __init__(self, layer: nn.Linear, scale: Tensor, activations: NumberFormat) -> None:
        super().__init__(layer.in_features, layer.out_features, bias=False, device="meta")
        self.bias = layer.bias
        self.activations = activations
        self.scale: Tensor
        self.down: Tensor
        self.up: Tensor
        self.register_buffer("scale", scale)

    @classmethod
    def from_linear(cls, layer: nn.Linear, scale: Tensor, recipe: Recipe) -> SvdQuantLinear:
        """The layer, quantized; the layer itself is left as it is."""
        dtype = layer.weight.dtype
        activations = activation_format(recipe)
        assert activations is not None, "svdquant quantizes activations"
        new = cls(layer, scale.to(torch.float32), activations)
        with torch.no_grad():
            smooth = smoothed_weight(layer.weight, new.scale)
            up, down = low_rank(smooth, RANK, torch.bfloat16 if dtype is torch.float32 else dtype)
            residual = smooth - up.to(torch.float32) @ down.to(torch.float32)
            weight = round_weight(residual, weight_format(recipe)).to(dtype)
        new.weight = nn.Parameter(weight, requires_grad=False)
        new.register_buffer("up", up.to(dtype))
        new.register_buffer("down", down.to(dtype))
        return new.train(layer.training)

    def forward(self, x: Tensor) -> Tensor:
        """Y = X' L1 L2 + Q(X') Q(R) + bias."""
        smooth = (x.to(torch.float32) / self.scale).to(x.dtype)
        branch = nn.functional.linear(nn.functional.linear(smooth, self.down), self.up)
        return nn.functional.linear(self.activations.rounded(smooth), self.weight, self.bias) + branch


def low_rank(weight: Tensor, rank: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """(up [out, rank], down [rank, in]) of the largest singular values, rounded to a 16-bit dtype."""
    u, s, vh = torch.linalg.svd(weight.to(torch.float32), full_matrices=False)
    root = s[:rank].sqrt()
    return (u[:, :rank] * root).to(dtype), (root[:, None] * vh[:rank]).to(dtype)


def branch_bytes(layer: Layer) -> int:
    """Bytes of the 16-bit branch."""
    outputs, inputs = layer.weight.shape[:2]
    return 2 * min(RANK, outputs, inputs) * (outputs + inputs)


def packed_layer_bytes(layer: Layer, recipe: Recipe) -> int:
    """Codes and scales of the residual, the branch, and the smoothing scales in 16 bits."""
    return packed_bytes(layer, weight_format(recipe)) + branch_bytes(layer) + 2 * layer.weight.shape[1]


def _linear(denoiser: nn.Module, name: str) -> nn.Linear:
    return cast(nn.Linear, layer_named(denoiser, name))
