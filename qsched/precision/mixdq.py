"""MixDQ (2405.17873): bits for each layer by measured sensitivity, and the first text token in full precision.

Layers that decide what is in the picture (cross-attention, feed-forward, everything on the text's side) are judged by
content, the others by quality; both on the denoiser's output d when one layer's weight is rounded to b bits:

    content   1 - SSIM(d, d_b)           at the first step of the calibration prompts
    quality   |d_b - d|**2 / |d|**2      at their last step

An integer programme chooses 2, 4 or 8 bits for each layer: least total sensitivity in each of the two groups, under a
budget of bytes for each group (the mean bits of the recipe's name). Weights have a scale for each output channel,
activations 8 bits and a scale for each token or pixel.

The first text token (BOS) has values far beyond the others. Its keys and values, the outputs of a cross-attention's
to_k and to_v, stay in full precision. With a causal text encoder they are the same for every prompt, so that a packed
model stores them as constants; an encoder that breaks this is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from qsched.errors import MissingExtraError
from qsched.precision.formats import NumberFormat, activation_format
from qsched.precision.integer import IntegerFormat
from qsched.precision.recipe import PrecisionError, Recipe
from qsched.precision.recording import DenoiserCall, replay, replay_all, seen_inputs
from qsched.precision.selection import Selection
from qsched.precision.simulated import Layer, layer_named, packed_bytes, round_weight, simulate

BITS = (2, 4, 8)
_CONTENT = re.compile(r"(^|\.)(attn2|ff|ff_context|ff_net|add_[qkv]_proj|to_add_out|context_embedder)(\.|$)")
_TEXT_KEYS = re.compile(r"(^|\.)attn2\.to_[kv]$")
# Rounding differs with the place in a batch; a prompt that reaches the first token changes it by far more.
_SAME_TOKEN = 0.02


def measure(
    denoiser: nn.Module,
    batches: Sequence[Sequence[DenoiserCall]],
    recipe: Recipe,
    selection: Selection,
    done: Mapping[str, Tensor],
) -> Iterator[tuple[str, Tensor]]:
    """(layer name, its sensitivity at 2, 4 and 8 bits) of each selected layer."""
    layers = {name: layer_named(denoiser, name) for name in selection.converted}
    _check_first_token(denoiser, batches, {n: x for n, x in layers.items() if _TEXT_KEYS.search(n)}, recipe)
    for name, layer in layers.items():
        if name in done:
            continue
        content = is_content(name)
        calls = [calls[0 if content else -1] for calls in batches]
        values = []
        for bits in BITS:
            with _rounded(layer, bits):
                pairs = [(call.output, replay(denoiser, call).cpu()) for call in calls]
            measured = [content_error(d, q) if content else quality_error(d, q) for d, q in pairs]
            values.append(sum(measured) / len(measured))
        yield name, torch.tensor(values, dtype=torch.float64)


def is_content(name: str) -> bool:
    """True for a layer that is judged by content: cross-attention, feed-forward, the text's side."""
    return _CONTENT.search(name) is not None


def content_error(d: Tensor, q: Tensor) -> float:
    """1 - SSIM of two outputs [B, C, H, W] or [B, tokens, C], one window for each picture and channel."""
    if not bool(q.isfinite().all()):
        raise PrecisionError("a layer rounded alone makes NaN; use another --dtype")
    x, y = (_channels_first(t) for t in (d, q))
    span = (x.amax(-1) - x.amin(-1)).clamp_min(1e-12)
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    mean_x, mean_y = x.mean(-1), y.mean(-1)
    var_x, var_y = x.var(-1, correction=0), y.var(-1, correction=0)
    cov = ((x - mean_x[..., None]) * (y - mean_y[..., None])).mean(-1)
    ssim = (2 * mean_x * mean_y + c1) * (2 * cov + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    return float(1 - ssim.mean())


def quality_error(d: Tensor, q: Tensor) -> float:
    """|q - d|**2 / |d|**2: one over the signal-to-quantization-noise ratio."""
    d, q = d.to(torch.float64), q.to(torch.float64)
    return float((q - d).square().sum() / d.square().sum().clamp_min(1e-30))


def choose_bits(
    denoiser: nn.Module, selection: Selection, recipe: Recipe, sensitivity: Mapping[str, Tensor]
) -> dict[str, int]:
    """Bits of each selected layer: the integer programme, solved for content and quality layers apart."""
    chosen: dict[str, int] = {}
    for content in (True, False):
        names = [name for name in selection.converted if is_content(name) is content]
        layers = [layer_named(denoiser, name) for name in names]
        sizes = np.array([[packed_bytes(layer, IntegerFormat(bits)) for bits in BITS] for layer in layers])
        values = np.array([sensitivity[name].tolist() for name in names])
        budget = sum(byte_budget(layer, recipe.weight_bits) for layer in layers)
        if names:
            chosen.update(zip(names, allocate(values, sizes, budget), strict=True))
    return {name: chosen[name] for name in selection.converted}


def byte_budget(layer: Layer, mean_bits: float) -> float:
    """Bytes of a layer's codes at the mean bits, and of its scales."""
    codes = layer.weight.numel() * mean_bits / 8
    return codes + packed_bytes(layer, IntegerFormat(8)) - layer.weight.numel()


def allocate(sensitivity_LB: np.ndarray, bytes_LB: np.ndarray, budget: float) -> list[int]:
    """Bits of each of L layers: least summed sensitivity with summed bytes within the budget."""
    try:
        from scipy.optimize import Bounds, LinearConstraint, milp
    except ModuleNotFoundError as error:
        raise MissingExtraError("scipy", "generate") from error
    n_layers, n_bits = sensitivity_LB.shape
    one_each = np.kron(np.eye(n_layers), np.ones(n_bits))
    result = milp(
        sensitivity_LB.ravel(),
        constraints=[
            LinearConstraint(one_each, 1, 1),
            LinearConstraint(bytes_LB.ravel()[None].astype(float), -np.inf, budget),
        ],
        integrality=np.ones(n_layers * n_bits),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": 0.0},
    )
    if result.x is None:
        raise PrecisionError(
            f"mixdq: no choice of {', '.join(map(str, BITS))} bits fits {budget:.0f} bytes ({result.message}); ask for "
            "more bits, for example mixdq-w4a8"
        )
    return [BITS[i] for i in result.x.reshape(n_layers, n_bits).argmax(axis=1)]


def convert(denoiser: nn.Module, name: str, bits: int, recipe: Recipe) -> None:
    """Round a layer to its bits in place; keys and values of the text keep their first token."""
    activations = activation_format(recipe)
    assert activations is not None, "mixdq quantizes activations"
    layer = layer_named(denoiser, name)
    if _TEXT_KEYS.search(name):
        parent, _, leaf = name.rpartition(".")
        new = FirstTokenLinear(cast(nn.Linear, layer), IntegerFormat(bits), activations)
        setattr(denoiser.get_submodule(parent), leaf, new)
    else:
        simulate(layer, IntegerFormat(bits), activations)


def packed_layer_bytes(name: str, layer: Layer, bits: int) -> int:
    """Codes and scales, and a text key's or value's constant for the first token in 16 bits."""
    constant = 2 * layer.weight.shape[0] if _TEXT_KEYS.search(name) else 0
    return packed_bytes(layer, IntegerFormat(bits)) + constant


def first_token_layers(selection: Selection) -> list[str]:
    """Names of the layers whose output for the first text token stays in full precision."""
    return [name for name in selection.converted if _TEXT_KEYS.search(name)]


class FirstTokenLinear(nn.Linear):
    """A rounded Linear on [B, tokens, C] whose first token is multiplied in full precision."""

    def __init__(self, layer: nn.Linear, weights: NumberFormat, activations: NumberFormat) -> None:
        super().__init__(layer.in_features, layer.out_features, bias=False, device="meta")
        self.bias = layer.bias
        self.activations = activations
        self.exact: Tensor
        self.register_buffer("exact", layer.weight.detach())
        self.weight = nn.Parameter(round_weight(layer.weight.detach(), weights), requires_grad=False)
        self.train(layer.training)

    def forward(self, x: Tensor) -> Tensor:
        """The rounded product, and the exact one for the first token."""
        rounded = nn.functional.linear(self.activations.rounded(x), self.weight, self.bias)
        first = nn.functional.linear(x[:, :1], self.exact, self.bias)
        return torch.cat([first, rounded[:, 1:]], dim=1)


@contextmanager
def _rounded(layer: Layer, bits: int) -> Iterator[None]:
    """Inside the block the layer's weight is rounded to so many bits."""
    exact = layer.weight.data
    layer.weight.data = round_weight(exact, IntegerFormat(bits))
    try:
        yield
    finally:
        layer.weight.data = exact


def _channels_first(x: Tensor) -> Tensor:
    """[B, C, positions] in float64."""
    return (x.flatten(2) if x.ndim == 4 else x.movedim(-1, 1).flatten(2)).to(torch.float64)


def _check_first_token(
    denoiser: nn.Module, batches: Sequence[Sequence[DenoiserCall]], layers: dict[str, Layer], recipe: Recipe
) -> None:
    """PrecisionError if the first text token depends on the prompt."""

    tokens: dict[str, Tensor] = {}

    def see(name: str, x: Tensor) -> None:
        first = x[:, 0].to(torch.float32)
        expected = tokens.setdefault(name, first[:1])
        off = (first - expected).abs().max() / expected.abs().max().clamp_min(1e-12)
        if x.ndim != 3 or float(off) > _SAME_TOKEN:
            raise PrecisionError(
                f"precision {recipe.name}: the first text token of {name} differs between prompts by "
                f"{100 * float(off):.1f} % of its size, so it cannot be stored as a constant; mixdq needs a "
                "causal text encoder"
            )

    if layers:
        with seen_inputs(dict(layers), see):
            replay_all(denoiser, [calls[:1] for calls in batches])
