"""SmoothQuant, SVDQuant, MixDQ and PTQD against a few lines of numpy, on denoisers of a few layers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from qsched.precision import PrecisionError, apply_precision, find_recipe, mixdq, smoothquant, svdquant
from qsched.precision.apply import select
from qsched.precision.integer import quantize_dequantize
from qsched.precision.ptqd import fit_noise, paired_sums
from qsched.precision.recording import DenoiserCall, recorded_calls
from qsched.precision.statistics import MEASURES, Statistics

DTYPES = (torch.float32, torch.bfloat16)


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


class Attention(nn.Module):
    """Cross-attention in name and shape: tokens of a picture look at tokens of a text."""

    def __init__(self) -> None:
        super().__init__()
        self.to_k, self.to_v = nn.Linear(16, 32), nn.Linear(16, 32)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        weights = (x @ self.to_k(text).transpose(1, 2) / 8).softmax(-1)
        return x + weights @ self.to_v(text)


class Denoiser(nn.Module):
    """A convolution, a cross-attention and a feed-forward layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(4, 32, 3, padding=1)
        self.attn2 = Attention()
        self.ff = nn.Linear(32, 32)
        self.proj_out = nn.Linear(32, 4)

    def forward(self, sample: Tensor, text: Tensor) -> tuple[Tensor]:
        x = self.conv_in(sample).flatten(2).transpose(1, 2)
        x = self.proj_out(self.ff(self.attn2(x, text)))
        return (x.transpose(1, 2).reshape(sample.shape),)


@dataclass(frozen=True)
class Model:
    denoiser: nn.Module
    dtype: torch.dtype
    name: str = "model"
    denoiser_name: str = "unet"


def model_and_calls(dtype: torch.dtype = torch.float32) -> tuple[Model, list[list[DenoiserCall]]]:
    """A denoiser and its recorded calls: two batches of two steps. The first text token is a large constant."""
    torch.manual_seed(0)
    denoiser = Denoiser().to(dtype)
    start = torch.randn(16) * 50
    batches = []
    for _ in range(2):
        text = torch.randn(3, 5, 16)
        text[:, 0] = start
        with recorded_calls(denoiser) as calls, torch.inference_mode():
            for _ in range(2):
                sample = torch.randn(3, 4, 4, 4)
                sample[:, 1] *= 20  # one channel with outliers
                denoiser(sample.to(dtype), text=text.to(dtype))
        batches.append(calls)
    return Model(denoiser, dtype), batches


def measured(precision: str, model: Model, batches: list[list[DenoiserCall]]) -> dict:
    recipe = find_recipe(precision)
    tensors = dict(MEASURES[recipe.method](model.denoiser, batches, recipe, select(model, recipe), {}))
    return {recipe.method: Statistics(recipe.method, tensors, {}, "0" * 64)}


def rounded(x: np.ndarray, bits: int, group: int | None = None) -> np.ndarray:
    """Symmetric integers along the last dimension, in float32, by the formula."""
    x = x.astype(np.float32)
    top = np.float32(2 ** (bits - 1) - 1)
    parts = []
    for i in range(0, x.shape[-1], group or x.shape[-1]):
        part = x[..., i : i + (group or x.shape[-1])]
        scale = np.abs(part).max(-1, keepdims=True) / top
        scale = np.where(scale > 0, scale, np.float32(1))
        parts.append(np.clip(np.rint(part / scale), -top, top) * scale)
    return np.concatenate(parts, -1)


def as_numpy(x: Tensor) -> np.ndarray:
    return x.detach().to(torch.float32, copy=True).numpy()


def cast(x: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    """Rounded to the dtype and back."""
    return torch.from_numpy(np.ascontiguousarray(x)).to(dtype).float().numpy()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("precision", ["smoothquant:conv", "smoothquant-w4a8:conv"])
def test_smoothquant_is_the_formula_in_both_layer_kinds(precision: str, dtype: torch.dtype) -> None:
    model, batches = model_and_calls(dtype)
    recipe = find_recipe(precision)
    layers = {name: model.denoiser.get_submodule(name) for name in ("conv_in", "ff")}
    exact = {name: as_numpy(layer.weight) for name, layer in layers.items()}
    fed = {name: [] for name in layers}
    hooks = [layer.register_forward_pre_hook(lambda _, i, n=n: fed[n].append(i[0])) for n, layer in layers.items()]
    statistics = measured(precision, model, batches)
    for hook in hooks:
        hook.remove()
    apply_precision(model, recipe, statistics=statistics)
    for name, layer in layers.items():
        conv = name == "conv_in"
        channels_last = [as_numpy(x.movedim(1, -1) if conv else x) for x in fed[name]]
        x_max = np.max([np.abs(x).reshape(-1, x.shape[-1]).max(0) for x in channels_last], axis=0)
        assert np.array_equal(x_max, statistics["smoothquant"].tensors[name].numpy())
        w_max = np.abs(exact[name]).max(axis=(0, 2, 3) if conv else 0)
        s = (torch.from_numpy(x_max) ** 0.5 / torch.from_numpy(w_max) ** 0.5).numpy()
        smooth = exact[name] * s.reshape(1, -1, *[1] * (exact[name].ndim - 2))
        weight = rounded(smooth.reshape(len(smooth), -1), int(recipe.weight_bits)).reshape(smooth.shape)
        assert np.array_equal(as_numpy(layer.weight), cast(weight, dtype)), name
        x = fed[name][0]
        tokens = torch.from_numpy(cast(rounded(channels_last[0] / s, 8), dtype)).to(dtype)
        if conv:
            expected = nn.functional.conv2d(tokens.movedim(-1, 1).contiguous(), layer.weight, layer.bias, padding=1)
        else:
            tokens = torch.empty_like(x).copy_(tokens)  # a product may round otherwise in another memory layout
            expected = nn.functional.linear(tokens, layer.weight, layer.bias)
        assert torch.equal(layer(x), expected), name


def test_smoothing_moves_an_outlier_into_the_weights_and_lowers_the_error() -> None:
    plain, batches = model_and_calls()
    smooth, _ = model_and_calls()
    apply_precision(plain, "w8a8-fake")
    apply_precision(smooth, "smoothquant:conv", statistics=measured("smoothquant:conv", smooth, batches))
    call = batches[0][0]
    off = [(m.denoiser(*call.args, **call.kwargs)[0] - call.output).square().mean() for m in (plain, smooth)]
    assert off[1] < off[0] * 0.7
    assert torch.equal(smoothquant.smoothing(torch.zeros(3), torch.ones(2, 3), 0.5), torch.ones(3))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("precision", ["svdquant", "svdquant-nvfp4"])
def test_svdquant_is_the_formula(precision: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(128, 96).to(dtype)
    exact = as_numpy(layer.weight)
    model = Model(nn.ModuleDict({"only": layer}), dtype)
    s = torch.rand(128) + 0.5
    apply_precision(model, precision, statistics={"svdquant": Statistics("svdquant", {"only": s}, {}, "0" * 64)})
    new = model.denoiser["only"]
    smooth = exact * s.numpy()
    sixteen = torch.bfloat16
    up, down = as_numpy(new.up), as_numpy(new.down)
    assert np.array_equal(up, cast(up, sixteen)) and np.array_equal(down, cast(down, sixteen))
    # The branch holds the 32 largest singular values, so what it leaves is the rest of the spectrum.
    singular = np.linalg.svd(smooth.astype(np.float64), compute_uv=False)
    assert np.linalg.norm(smooth - up @ down) == pytest.approx(np.sqrt((singular[32:] ** 2).sum()), rel=0.01)
    residual = torch.from_numpy(smooth) - torch.from_numpy(up) @ torch.from_numpy(down)
    x = (torch.randn(2, 5, 128) * 3).to(dtype)
    x_smooth = (x.float() / s).to(dtype)
    if precision == "svdquant":
        weight, tokens = rounded(residual.numpy(), 4, 64), rounded(as_numpy(x_smooth), 4, 64)
    else:
        from torchao.prototype.mx_formats.nvfp4_tensor import NVFP4Tensor

        def nvfp4(rows: Tensor) -> np.ndarray:
            scale = rows.abs().max() / (448.0 * 6.0)
            return NVFP4Tensor.to_nvfp4(rows.contiguous(), per_tensor_scale=scale).dequantize(torch.float32).numpy()

        weight, tokens = nvfp4(residual), np.stack([nvfp4(picture) for picture in x_smooth.float()])
    assert np.array_equal(as_numpy(new.weight), cast(weight, dtype))
    branch = nn.functional.linear(nn.functional.linear(x_smooth, new.down), new.up)
    expected = nn.functional.linear(torch.from_numpy(cast(tokens, dtype)).to(dtype), new.weight, layer.bias) + branch
    assert torch.equal(new(x), expected)


def test_the_search_of_svdquant_finds_the_best_candidate_by_output_error() -> None:
    torch.manual_seed(1)
    layer = nn.Linear(64, 64)
    x = torch.randn(200, 64) * torch.cat([torch.full((4,), 30.0), torch.ones(60)])
    recipe = find_recipe("svdquant")
    best = svdquant.best_smoothing(layer, x, x.abs().amax(0), recipe)
    exact = nn.functional.linear(x, layer.weight, layer.bias)

    def error(scale: Tensor) -> float:
        return float((svdquant.SvdQuantLinear.from_linear(layer, scale, recipe)(x) - exact).square().sum())

    alphas = [smoothquant.smoothing(x.abs().amax(0), layer.weight, alpha) for alpha in svdquant.ALPHAS]
    assert error(best) == pytest.approx(min(error(s) for s in [torch.ones(64), *alphas]), rel=1e-6)
    assert error(best) < error(torch.ones(64)) / 2


def test_svdquant_packs_codes_scales_the_branch_and_the_smoothing() -> None:
    model, batches = model_and_calls()
    floats = sum(p.numel() for p in model.denoiser.parameters())
    linear = 2 * 16 * 32 + 32 * 32 + 32 * 4
    report = apply_precision(model, "svdquant", statistics=measured("svdquant", model, batches))
    branch = 2 * (2 * 16 * (16 + 32) + 32 * (32 + 32) + 4 * (32 + 4))
    scales = 4 * (32 + 32 + 32 + 4) + 2 * (16 + 16 + 32 + 32)
    assert report.nominal_bytes == 4 * (floats - linear) + linear // 2 + branch
    assert report.packed_bytes == 4 * (floats - linear) + linear // 2 + scales + branch
    assert report.statistics_sha256 == {"svdquant": "0" * 64}


def naive_ssim(d: np.ndarray, q: np.ndarray) -> float:
    values = []
    for x, y in zip(d.reshape(-1, 16), q.reshape(-1, 16), strict=True):
        span = x.max() - x.min()
        c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
        cov = ((x - x.mean()) * (y - y.mean())).mean()
        values.append(
            (2 * x.mean() * y.mean() + c1)
            * (2 * cov + c2)
            / ((x.mean() ** 2 + y.mean() ** 2 + c1) * (x.var() + y.var() + c2))
        )
    return float(np.mean(values))


def test_mixdq_measures_content_at_the_first_step_and_quality_at_the_last() -> None:
    model, batches = model_and_calls()
    found = measured("mixdq", model, batches)["mixdq"].tensors
    assert [name for name in found if mixdq.is_content(name)] == ["attn2.to_k", "attn2.to_v", "ff"]
    for name, step in (("ff", 0), ("conv_in", -1)):
        layer = model.denoiser.get_submodule(name)
        exact = layer.weight.data.clone()
        for i, bits in enumerate(mixdq.BITS):
            layer.weight.data = quantize_dequantize(exact.flatten(1), bits=bits).view_as(exact)
            errors = []
            for calls in batches:
                call = calls[step]
                d, q = call.output.double().numpy(), model.denoiser(*call.args, **call.kwargs)[0].double()
                q = q.detach().numpy()
                errors.append(1 - naive_ssim(d, q) if name == "ff" else ((q - d) ** 2).sum() / (d**2).sum())
            assert float(found[name][i]) == pytest.approx(np.mean(errors), rel=1e-9)
        layer.weight.data = exact
    assert all(v[0] > v[1] > v[2] for v in found.values()), "fewer bits, more error"


def test_the_integer_programme_equals_an_exhaustive_search() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        values = np.sort(rng.exponential(size=(5, 3)), axis=1)[:, ::-1]
        sizes = rng.integers(10, 200, size=(5, 1)) * np.array([2, 4, 8]) + 7
        budget = rng.uniform(sizes[:, 0].sum(), sizes[:, 2].sum())
        options = [c for c in itertools.product(range(3), repeat=5) if sizes[range(5), c].sum() <= budget]
        best = min(values[range(5), c].sum() for c in options)
        chosen = [mixdq.BITS.index(b) for b in mixdq.allocate(values, sizes, budget)]
        assert sizes[range(5), chosen].sum() <= budget
        assert values[range(5), chosen].sum() == pytest.approx(best, rel=1e-9)
    with pytest.raises(PrecisionError, match="no choice of 2, 4, 8 bits fits"):
        mixdq.allocate(values, sizes, float(sizes[:, 0].sum() - 1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_mixdq_rounds_each_layer_to_its_bits_and_keeps_the_first_text_token(dtype: torch.dtype) -> None:
    model, batches = model_and_calls(dtype)
    exact = {name: as_numpy(layer.weight) for name, layer in model.denoiser.named_modules() if hasattr(layer, "weight")}
    report = apply_precision(model, "mixdq", statistics=measured("mixdq", model, batches))
    assert set(report.weight_bits) == set(exact) and set(report.weight_bits.values()) <= {2, 4, 8}
    for name, bits in report.weight_bits.items():
        weight = rounded(exact[name].reshape(len(exact[name]), -1), bits).reshape(exact[name].shape)
        assert np.array_equal(as_numpy(model.denoiser.get_submodule(name).weight), cast(weight, dtype)), name
    for content in (True, False):
        names = [name for name in exact if mixdq.is_content(name) is content]
        used = sum(exact[n].size * report.weight_bits[n] / 8 for n in names)
        assert used <= sum(exact[n].size for n in names) * 4 / 8
    to_k = model.denoiser.attn2.to_k
    text = batches[0][0].kwargs["text"]
    output = to_k(text)
    original = torch.from_numpy(exact["attn2.to_k"]).to(dtype)
    assert torch.equal(output[:, :1], nn.functional.linear(text[:, :1], original, to_k.bias))
    tokens = torch.from_numpy(cast(rounded(as_numpy(text), 8), dtype)).to(dtype)
    assert torch.equal(output[:, 1:], nn.functional.linear(tokens, to_k.weight, to_k.bias)[:, 1:])
    assert report.notes == ("2 text keys and values keep their first token in full precision",)
    sizes = sum(exact[n].size * b // 8 + 4 * len(exact[n]) for n, b in report.weight_bits.items())
    biases = (32 + 32 + 32 + 32 + 4) * dtype.itemsize
    assert report.packed_bytes == sizes + biases + 2 * 2 * 32


def test_more_bits_in_the_mean_never_make_a_layer_coarser_in_total() -> None:
    totals = []
    for name in ("mixdq-w3a8", "mixdq", "mixdq-w5.5a8", "mixdq-w8a8"):
        model, batches = model_and_calls()
        report = apply_precision(model, name, statistics=measured(name, model, batches))
        totals.append(report.nominal_bytes)
    assert totals == sorted(totals) and set(report.weight_bits.values()) == {8}


@pytest.mark.parametrize(("batch", "rows"), [(0, slice(1, 2)), (1, slice(0, 3))])
def test_a_first_token_that_depends_on_the_prompt_is_an_error(batch: int, rows: slice) -> None:
    model, batches = model_and_calls()
    text = batches[batch][0].kwargs["text"].clone()
    text[rows, 0] *= 1.5
    batches[batch][0].kwargs["text"] = text
    with pytest.raises(PrecisionError, match=r"first text token of attn2\.to_k differs between prompts"):
        measured("mixdq", model, batches)


@pytest.mark.parametrize("precision", ["smoothquant", "svdquant", "mixdq"])
def test_a_recipe_without_its_statistics_or_with_those_of_another_model_is_an_error(precision: str) -> None:
    model, batches = model_and_calls()
    with pytest.raises(PrecisionError, match="needs statistics of calibration prompts"):
        apply_precision(model, precision)
    statistics = measured(precision, model, batches)
    del next(iter(statistics.values())).tensors["ff"]
    with pytest.raises(PrecisionError, match="its statistics lack ff"):
        apply_precision(model, precision, statistics=statistics)


def test_measuring_goes_on_with_what_is_there() -> None:
    model, batches = model_and_calls()
    for name in ("smoothquant", "svdquant", "mixdq"):
        recipe = find_recipe(name)
        selection = select(model, recipe)
        whole = dict(MEASURES[name](model.denoiser, batches, recipe, selection, {}))
        half = dict(list(whole.items())[:2])
        rest = dict(MEASURES[name](model.denoiser, batches, recipe, selection, half))
        assert set(rest) == set(whole) - set(half)
        assert all(torch.equal(rest[key], whole[key]) for key in rest)


def test_ptqd_finds_a_planted_slope_and_bias_and_the_variance_of_the_rest() -> None:
    generator = torch.Generator().manual_seed(0)
    bias = torch.tensor([0.3, -0.1, 0.0, 0.7])
    batches = []
    for _ in range(3):
        eps = torch.randn(2, 5, 4, 8, 8, generator=generator) + torch.tensor([1.0, 0, -2, 0]).view(4, 1, 1)
        noise = 0.2 * torch.randn(eps.shape, generator=generator)
        quantized = torch.stack([0.9 * eps[0], 1.25 * eps[1] + bias.view(4, 1, 1) + noise[1]])
        batches.append(torch.stack([paired_sums(e, q) for e, q in zip(eps, quantized, strict=True)]))
        tokens = torch.stack(
            [paired_sums(e.flatten(2).mT, q.flatten(2).mT) for e, q in zip(eps, quantized, strict=True)]
        )
        assert torch.allclose(tokens, batches[-1], rtol=1e-12)
    found = fit_noise(batches)
    assert found.k[0].item() == pytest.approx(-0.1, abs=1e-6) and found.variance[0] < 1e-12
    assert found.bias[0].abs().max() < 1e-6
    assert found.k[1].item() == pytest.approx(0.25, abs=0.01)
    assert torch.allclose(found.bias[1], bias.double(), atol=0.03)
    assert found.variance[1].item() == pytest.approx(0.04, rel=0.05)


def test_ptqd_refuses_an_estimate_that_lost_its_slope() -> None:
    eps = torch.randn(4, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    with pytest.raises(PrecisionError, match=r"at step 2 .* by a factor of 0.00"):
        fit_noise([torch.stack([paired_sums(eps, eps), paired_sums(eps, torch.zeros_like(eps))])])
