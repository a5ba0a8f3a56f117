"""Recipes by name, fake quantization against a naive twin and golden values, and what the report says."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

from qsched.precision import PrecisionError, apply_precision, find_recipe
from qsched.precision.integer import IntegerFormat, quantize_dequantize
from qsched.precision.report import tensor_bytes
from qsched.precision.simulated import round_weight

GOLDEN = Path(__file__).parent.parent / "golden" / "fake_quantization.json"
FLOATS = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 4), st.integers(1, 9)), elements=st.floats(-1e4, 1e4, width=32)
)


def naive(vector: list[float], bits: int) -> list[float]:
    """The formula of `recipe`, number by number; float32 at every operation, ties to even."""
    f = np.float32
    top = 2 ** (bits - 1) - 1
    scale = f(max(abs(f(v)) for v in vector)) / f(top)
    if scale == 0:  # it underflowed: nothing of the vector is left
        return [0.0 for _ in vector]
    return [float(f(min(max(round(float(f(v) / scale)), -top), top)) * scale) for v in vector]


@settings(deadline=None, max_examples=200)
@given(x=FLOATS, bits=st.integers(2, 8))
@example(x=np.array([[1e-45]], dtype=np.float32), bits=3)  # the smallest subnormal: its scale underflows to 0
def test_fake_quantization_equals_the_naive_twin(x: np.ndarray, bits: int) -> None:
    ours = quantize_dequantize(torch.from_numpy(x), bits=bits).numpy()
    assert ours.tolist() == [naive(row.tolist(), bits) for row in x]


@settings(deadline=None, max_examples=100)
@given(x=FLOATS, bits=st.integers(2, 8), group=st.integers(1, 12))
def test_weight_groups_are_consecutive_inputs_and_the_last_may_be_short(x: np.ndarray, bits: int, group: int) -> None:
    ours = round_weight(torch.from_numpy(x), IntegerFormat(bits, group)).numpy()
    for row, mine in zip(x, ours, strict=True):
        parts = [naive(row[i : i + group].tolist(), bits) for i in range(0, len(row), group)]
        assert mine.tolist() == [v for part in parts for v in part]


@given(x=FLOATS, bits=st.integers(2, 8))
@settings(deadline=None, max_examples=100)
def test_quantizing_twice_changes_nothing_and_no_error_exceeds_half_a_step(x: np.ndarray, bits: int) -> None:
    once = quantize_dequantize(torch.from_numpy(x), bits=bits)
    top = 2 ** (bits - 1) - 1
    for row, q in zip(x, once.numpy(), strict=True):
        step = np.abs(row).max() / top
        assert np.abs(row - q).max() <= step * 0.5001 + 1e-30
        assert len(set(np.round(q / step))) <= 2 * top + 1 if step > 1e-30 else True
    assert torch.allclose(quantize_dequantize(once, bits=bits), once, rtol=1e-6, atol=0)


def test_golden_values_have_not_moved() -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert golden["origin"] and len(golden["cases"]) >= 4
    for case in golden["cases"]:
        weight = torch.tensor(case["weight"])
        assert round_weight(weight, IntegerFormat(case["bits"], case["group"])).tolist() == case["quantized"]


def test_convolutions_group_channel_and_kernel_together_and_tokens_are_pixels() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(5, 3, 3, padding=1)
    weight = conv.weight.detach().clone()
    model = Model(nn.Sequential(conv))
    apply_precision(model, "w4a4")
    rows = weight.reshape(3, -1)
    expected = torch.cat([quantize_dequantize(rows[:, i : i + 64], bits=4) for i in range(0, 45, 64)], 1)
    assert torch.equal(conv.weight.detach().reshape(3, -1), expected)
    x = torch.randn(2, 5, 6, 6)
    x[:, :, 0, 0] *= 100  # an outlier pixel must not cost the other pixels their resolution
    pixels = x.permute(0, 2, 3, 1).reshape(-1, 5)
    quantized = torch.stack([quantize_dequantize(p, bits=4) for p in pixels]).reshape(2, 6, 6, 5).permute(0, 3, 1, 2)
    torch.testing.assert_close(model.denoiser(x), nn.functional.conv2d(quantized, conv.weight, conv.bias, padding=1))


def test_activations_of_a_linear_are_quantized_per_token_and_biases_are_left() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(70, 4)
    bias = linear.bias.detach().clone()
    model = Model(nn.Sequential(linear))
    apply_precision(model, "w8a8-fake")
    x = torch.randn(2, 3, 70) * torch.tensor([1.0, 100.0, 0.01])[:, None]
    tokens = torch.stack([quantize_dequantize(t, bits=8) for t in x.reshape(-1, 70)]).reshape(2, 3, 70)
    torch.testing.assert_close(model.denoiser(x), nn.functional.linear(tokens, linear.weight, bias))
    again = copy.deepcopy(model.denoiser)
    assert torch.equal(again(x), model.denoiser(x))


def test_weights_only_leaves_activations_alone() -> None:
    torch.manual_seed(0)
    model = Model(nn.Sequential(nn.Linear(8, 4)))
    apply_precision(model, "w4a16-channel")
    x = torch.randn(3, 8)
    assert torch.equal(model.denoiser(x), nn.functional.linear(x, model.denoiser[0].weight, model.denoiser[0].bias))


def test_zeros_stay_zero_and_nan_stays_visible() -> None:
    assert torch.equal(quantize_dequantize(torch.zeros(2, 4), bits=4), torch.zeros(2, 4))
    assert torch.isnan(quantize_dequantize(torch.tensor([1.0, math.nan]), bits=4)).any()


@pytest.mark.parametrize(
    "bad", ["", "int4", "w4", "w1a4", "w9a8", "W4A4", "w4a4-g0", "w3a8-fake", "w4a8-channel", "w4a4 "]
)
def test_an_unknown_precision_is_an_error_that_lists_choices_or_names_the_right_one(bad: str) -> None:
    with pytest.raises(PrecisionError, match=r"choose|named|at least one"):
        find_recipe(bad)


def test_names_say_what_is_done_and_hashes_tell_recipes_apart() -> None:
    names = ["fp32", "w8a8", "w4a8", "nf4", "w4a4", "w4a4-channel", "w4a4-g32", "w8a8-fake", "w3a8", "w4a16"]
    recipes = [find_recipe(name) for name in names]
    assert len({r.hash for r in recipes}) == len(names)
    assert [r.simulated for r in recipes] == [False, False, True, False, True, True, True, True, True, True]
    assert (find_recipe("w4a4").group, find_recipe("w4a4-channel").group, find_recipe("w4a8").group) == (64, None, 32)


@dataclass(frozen=True)
class Model:
    """As much of a backbone as a recipe needs."""

    denoiser: nn.Module
    dtype: torch.dtype = torch.float32
    name: str = "model"
    denoiser_name: str = "unet"


def mixed() -> Model:
    torch.manual_seed(0)
    return Model(
        nn.Sequential(nn.Conv2d(4, 8, 1), nn.Flatten(), nn.Linear(8 * 4, 64), nn.Linear(64, 24), nn.Linear(24, 4))
    )


X = torch.randn(5, 4, 2, 2, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("precision", "converted", "skipped", "error"),
    [
        ("w8a8", ["2", "3", "4"], ["0: Conv2d, and w8a8 converts Linear only"], 0.03),
        (
            "w4a8",
            ["2", "3"],
            ["0: Conv2d, and w4a8 converts Linear only", "4: 24 inputs are not a multiple of the group of 32"],
            0.25,
        ),
        ("nf4", ["2", "3", "4"], ["0: Conv2d, and nf4 converts Linear only"], 0.25),
        ("int8", ["2", "3", "4"], ["0: Conv2d, and int8 converts Linear only"], 0.03),
        ("fp8", ["2", "3", "4"], ["0: Conv2d, and fp8 converts Linear only"], 0.1),
        ("mxfp4:keep=4", ["2", "3"], ["0: Conv2d, and mxfp4 converts Linear only"], 0.5),
        ("gguf-q8_0:keep=4", ["2", "3"], ["0: Conv2d, and gguf-q8_0 converts Linear only"], 0.02),
        ("w8a8-fake", ["0", "2", "3", "4"], [], 0.03),
        ("w4a4", ["0", "2", "3", "4"], [], 0.5),
    ],
)
def test_the_report_names_converted_and_skipped_layers_and_the_output_stays_near(
    precision, converted, skipped, error
) -> None:
    model = mixed()
    reference = copy.deepcopy(model.denoiser)(X)
    report = apply_precision(model, precision)
    assert list(report.converted) == converted and list(report.skipped) == skipped
    off = (model.denoiser(X) - reference).abs().mean() / reference.abs().mean()
    assert 0 < off < error


def test_bytes_are_measured_where_they_lie_and_packed_bytes_follow_from_the_recipe() -> None:
    floats = 4 * 8 + 8 + 32 * 64 + 64 + 64 * 24 + 24 + 24 * 4 + 4
    fake = apply_precision(mixed(), "w4a4")
    assert fake.original_bytes == fake.resident_bytes == 4 * floats
    weights, scales = 4 * 8 + 32 * 64 + 64 * 24 + 24 * 4, 8 + 64 + 24 + 4
    assert fake.packed_bytes == 4 * (floats - weights) + weights // 2 + 4 * scales
    int8 = apply_precision(mixed(), "w8a8")
    linear = 32 * 64 + 64 * 24 + 24 * 4
    assert int8.packed_bytes == int8.resident_bytes
    # int8 codes, and a float32 scale and an int8 zero point an output channel
    assert int8.resident_bytes == 4 * (floats - linear) + linear + (4 + 1) * (64 + 24 + 4)
    llm = apply_precision(mixed(), "int8")  # int8 codes and a float32 scale for each output channel
    assert llm.resident_bytes == llm.packed_bytes == 4 * (floats - linear) + linear + 4 * (64 + 24 + 4)
    assert llm.nominal_bytes == int8.nominal_bytes == 4 * (floats - linear) + linear
    assert fake.nominal_bytes == 4 * (floats - weights) + weights // 2
    nf4 = apply_precision(mixed(), "nf4")
    assert 4 * (floats - linear) + linear // 2 < nf4.resident_bytes < 4 * (floats - linear) + linear


def test_a_parameter_that_two_layers_share_is_counted_once() -> None:
    first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    second.weight = first.weight
    assert tensor_bytes(nn.Sequential(first, second)) == 64


def test_a_recipe_that_matches_no_layer_a_second_recipe_and_a_wrong_dtype_are_errors() -> None:
    with pytest.raises(PrecisionError, match="matches no layer"):
        apply_precision(Model(nn.Sequential(nn.Conv2d(1, 1, 1))), "w8a8")
    with pytest.raises(PrecisionError, match="matches no layer"):
        apply_precision(Model(nn.Sequential(nn.ReLU())), "w4a4")
    model = mixed()
    apply_precision(model, "w4a4")
    with pytest.raises(PrecisionError, match="already has precision w4a4"):
        apply_precision(model, "w8a8")
    with pytest.raises(PrecisionError, match="load it with dtype"):
        apply_precision(mixed(), "bf16")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_int8_is_the_formula_of_llm_int8(dtype: torch.dtype) -> None:
    """Also guards against bitsandbytes' training mode, which would leave the activations unquantized on a CPU."""
    torch.manual_seed(0)
    layer = nn.Linear(64, 24).to(dtype)
    weight, bias = layer.weight.detach().half().float().numpy(), layer.bias.detach().float().numpy()
    model = Model(nn.Sequential(layer), dtype=dtype)
    apply_precision(model, "int8")
    x = torch.randn(2, 5, 64).to(dtype)
    x[..., 3] *= 20
    with torch.inference_mode():
        output = model.denoiser(x).float().numpy().reshape(10, 24)
    rows = x.half().float().numpy().reshape(10, 64)
    outliers = (np.abs(rows) >= 6).any(0)
    assert outliers.sum() == 1
    weight_scale = np.abs(weight).max(1)
    weight_codes = np.rint(weight * (np.float32(127) / weight_scale)[:, None])
    row_scale = np.where(np.abs(rows) < 6, np.abs(rows), 0).max(1)
    row_codes = np.rint(np.where(outliers, 0, rows) * (np.float32(127) / row_scale)[:, None])
    expected = row_codes @ weight_codes.T * (row_scale[:, None] * weight_scale) / 127**2 + bias
    expected += (
        x.float().numpy().reshape(10, 64)[:, outliers] @ (weight_codes * weight_scale[:, None] / 127)[:, outliers].T
    )
    off = np.abs(output - expected).max()
    assert off < (1e-4 if dtype is torch.float32 else 0.02)  # bfloat16: the sum of two rounded products
    assert np.abs(expected - rows @ weight.T - bias).max() > 0.005
