"""Number formats bit for bit against published implementations: ml_dtypes, torchao and gguf."""

from __future__ import annotations

import gguf
import ml_dtypes
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchao.prototype.mx_formats.mx_tensor import MXTensor
from torchao.prototype.mx_formats.nvfp4_tensor import NVFP4Tensor
from torchao.quantization.quant_primitives import (
    _choose_scale_float8,
    _dequantize_affine_float8,
    _quantize_affine_float8,
)

from qsched.precision.formats import FORMATS
from qsched.precision.fp8 import to_e4m3
from qsched.precision.integer import IntegerFormat
from qsched.precision.mx import to_e2m1
from qsched.precision.recipe import Recipe
from qsched.precision.simulated import inputs_of_block, packed_bytes, round_weight, simulate

DTYPES = (torch.float32, torch.bfloat16)
GGUF_TYPES = {
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
    "q5_0": gguf.GGMLQuantizationType.Q5_0,
    "q4_0": gguf.GGMLQuantizationType.Q4_0,
}


def reference(name: str, rows: Tensor) -> Tensor:
    """[rows, K] of one tensor through the published implementation of a format, in float32."""
    rows = rows.float().contiguous()
    if name.startswith("e4m3"):
        block = [1, rows.shape[1]] if name == "e4m3-row" else list(rows.shape)
        scale = _choose_scale_float8(rows, block)
        return _dequantize_affine_float8(_quantize_affine_float8(rows, scale), scale)
    if name.startswith("mxfp"):
        element = torch.float8_e4m3fn if name == "mxfp8" else torch.float4_e2m1fn_x2
        return MXTensor.to_mx(rows, element, 32).dequantize(torch.float32)
    if name == "nvfp4":
        scale = rows.abs().max() / (448.0 * 6.0)
        return NVFP4Tensor.to_nvfp4(rows, per_tensor_scale=scale).dequantize(torch.float32)
    if name in GGUF_TYPES:
        quantized = gguf.quants.quantize(rows.numpy(), GGUF_TYPES[name])
        return torch.from_numpy(gguf.quants.dequantize(quantized, GGUF_TYPES[name]))
    assert name == "int4-g64"
    groups = rows.numpy().reshape(rows.shape[0], -1, 64)
    scale = np.abs(groups).max(-1, keepdims=True) / np.float32(7)
    return torch.from_numpy((np.clip(np.rint(groups / scale), -7, 7) * scale).reshape(rows.shape))


def wild(rows: int, inputs: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    """Values of very different size, with ties, zeros and outliers among them."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, inputs, generator=generator)
    x *= torch.exp2(torch.randint(-12, 6, (rows, 1), generator=generator).float())
    x[0, :64] = torch.arange(64) / 8 - 4
    x[1, :64] = 0
    x[2, 3] = 1000
    return x.to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FORMATS)
def test_a_format_equals_its_published_implementation_bit_for_bit(name: str, dtype: torch.dtype) -> None:
    for seed in range(20):
        x = wild(12, 192, dtype, seed)
        if name == "int4-g64":
            x[1] = 1.0  # the formula divides by the scale, which is 0 for a group of zeros
        assert torch.equal(FORMATS[name].rounded(x[None])[0], reference(name, x).to(dtype)), seed


def test_elements_equal_ml_dtypes_for_every_float16_value() -> None:
    every = np.arange(65536, dtype=np.uint16).view(np.float16)
    every = every[np.isfinite(every)].astype(np.float32)
    within = every[np.abs(every) <= 448]
    theirs = within.astype(ml_dtypes.float8_e4m3fn).astype(np.float32)
    assert np.array_equal(to_e4m3(torch.from_numpy(within)).numpy(), theirs)
    within = every[np.abs(every) <= 6]
    theirs = within.astype(ml_dtypes.float4_e2m1fn).astype(np.float32)
    assert np.array_equal(to_e2m1(torch.from_numpy(within)).numpy(), theirs)
    assert to_e4m3(torch.tensor([1e9, -500.0])).tolist() == [448, -448]
    assert to_e2m1(torch.tensor([7.0, -1e9])).tolist() == [6, -6]


@pytest.mark.parametrize("name", ["mxfp8", "mxfp4"])
def test_a_microscaling_block_equals_the_formula_in_numpy(name: str) -> None:
    element, emax, top = {
        "mxfp8": (ml_dtypes.float8_e4m3fn, 8, 448.0),
        "mxfp4": (ml_dtypes.float4_e2m1fn, 2, 6.0),
    }[name]
    x = wild(9, 96, torch.float32, seed=5).numpy()
    x[1] = 2.0**-20
    blocks = x.reshape(9, 3, 32)
    scale = np.exp2(np.floor(np.log2(np.abs(blocks).max(-1, keepdims=True))) - emax)
    assert np.array_equal(scale.astype(ml_dtypes.float8_e8m0fnu).astype(np.float32), scale)
    codes = np.clip(blocks / scale, -top, top).astype(element).astype(np.float32)
    assert np.array_equal(FORMATS[name].rounded(torch.from_numpy(x)).numpy(), (codes * scale).reshape(9, 96))


@pytest.mark.parametrize("name", FORMATS)
def test_zeros_stay_zero_and_nan_stays_visible(name: str) -> None:
    assert torch.equal(FORMATS[name].rounded(torch.zeros(2, 3, 64)), torch.zeros(2, 3, 64))
    x = torch.ones(1, 2, 64)
    x[0, 0, 5] = torch.nan
    assert FORMATS[name].rounded(x).isnan().any()


@pytest.mark.parametrize("name", FORMATS)
def test_a_picture_does_not_depend_on_the_others_in_its_batch(name: str) -> None:
    x = torch.stack([wild(6, 64, torch.float32, seed) * 10**seed for seed in range(3)])
    together = FORMATS[name].rounded(x)
    assert all(torch.equal(together[i], FORMATS[name].rounded(x[i : i + 1])[0]) for i in range(3))


def linear_rows(layer: nn.Linear | nn.Conv2d, name: str) -> Tensor:
    """The layer's weight through the published implementation, laid out by hand."""
    weight = layer.weight.detach()
    if weight.ndim == 2:
        return reference(name, weight).to(weight.dtype)
    if FORMATS[name].along_channels:
        rows = weight.permute(0, 2, 3, 1).reshape(-1, weight.shape[1])
        rounded = reference(name, rows).reshape(weight.shape[0], *weight.shape[2:], weight.shape[1])
        return rounded.permute(0, 3, 1, 2).contiguous().to(weight.dtype)
    return reference(name, weight.reshape(weight.shape[0], -1)).reshape(weight.shape).to(weight.dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["Linear", "Conv2d"])
@pytest.mark.parametrize("name", [name for name in FORMATS if name != "int4-g64"])
def test_a_converted_layer_multiplies_what_the_published_implementation_gives(
    name: str, kind: str, dtype: torch.dtype
) -> None:
    torch.manual_seed(1)
    layer = (nn.Linear(64, 24) if kind == "Linear" else nn.Conv2d(64, 8, 3, padding=1)).to(dtype)
    weight = linear_rows(layer, name)
    x = torch.randn(1, 5, 64).to(dtype) if kind == "Linear" else torch.randn(1, 64, 4, 4).to(dtype)
    tokens = x[0] if kind == "Linear" else x[0].permute(1, 2, 0).reshape(16, 64)
    rounded = reference(name, tokens).to(dtype)
    simulate(layer, FORMATS[name], FORMATS[name])
    assert torch.equal(layer.weight, weight)
    if kind == "Linear":
        expected = nn.functional.linear(rounded[None], weight, layer.bias)
    else:
        pixels = rounded.reshape(1, 4, 4, 64).permute(0, 3, 1, 2).contiguous()
        expected = nn.functional.conv2d(pixels, weight, layer.bias, padding=1)
    assert torch.equal(layer(x), expected)


def test_packed_bytes_are_those_of_the_published_containers() -> None:
    layer = nn.Linear(192, 10)
    for name, kind in GGUF_TYPES.items():
        assert packed_bytes(layer, FORMATS[name]) == gguf.quants.quantize(layer.weight.detach().numpy(), kind).nbytes
    for name, element in (("mxfp8", torch.float8_e4m3fn), ("mxfp4", torch.float4_e2m1fn_x2)):
        tensor = MXTensor.to_mx(layer.weight.detach(), element, 32)
        assert packed_bytes(layer, FORMATS[name]) == tensor.qdata.nbytes + tensor.scale.nbytes
    scale = torch.tensor(1e-3)
    tensor = NVFP4Tensor.to_nvfp4(layer.weight.detach(), per_tensor_scale=scale)
    assert packed_bytes(layer, FORMATS["nvfp4"]) == tensor.qdata.nbytes + tensor.scale.nbytes + scale.nbytes
    assert packed_bytes(layer, FORMATS["e4m3-row"]) == 1920 + 40
    assert packed_bytes(layer, FORMATS["e4m3-tensor"]) == 1920 + 4
    assert packed_bytes(layer, IntegerFormat(4, 64)) == 960 + 4 * 30
    assert packed_bytes(nn.Conv2d(32, 5, 3), FORMATS["mxfp8"]) == 32 * 5 * 9 + 5 * 9


def test_blocks_of_a_convolution_run_along_its_channels() -> None:
    conv = nn.Conv2d(64, 4, 3)
    assert inputs_of_block(conv, FORMATS["mxfp4"]) == 64
    assert inputs_of_block(conv, IntegerFormat(4, 64)) == 64 * 9
    before = round_weight(conv.weight.detach(), FORMATS["mxfp4"])
    with torch.no_grad():
        conv.weight[0, 0, 1, 2] = 1e4  # only the 32 values that share its block lose resolution
    changed = (round_weight(conv.weight.detach(), FORMATS["mxfp4"]) != before).nonzero()
    assert set(map(tuple, changed[:, [0, 2, 3]].tolist())) == {(0, 1, 2)} and changed[:, 1].max() < 32


def test_a_recipe_of_a_format_is_simulated_and_names_it() -> None:
    recipe = Recipe("x", "format", 4, 4, weight_format="nvfp4")
    assert recipe.to_dict()["weight_format"] == "nvfp4" and "keep" not in recipe.to_dict()
