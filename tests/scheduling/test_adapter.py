"""The one adapter: stock bit for bit at 1, METHOD's formulas otherwise, config round trips, traps."""

from __future__ import annotations

import copy
import inspect
import pickle
import re

import diffusers
import numpy as np
import pytest
import torch
from diffusers import SchedulerMixin

from qsched.scheduling import CoefficientError, Coefficients, apply_coefficients, remove_coefficients
from qsched.scheduling.adapter import UPCASTS_SAMPLE, UnsupportedSchedulerError, adapter_class

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # numpy 2 inside diffusers

SHAPE = (2, 4, 8, 8)
N = 4
# (class, config, keywords of step)
STOCK = [
    ("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}, {}),
    ("FlowMatchEulerDiscreteScheduler", {"stochastic_sampling": True}, {"generator": True}),
    ("FlowMatchHeunDiscreteScheduler", {}, {}),
    ("EulerAncestralDiscreteScheduler", {"timestep_spacing": "trailing"}, {"generator": True}),
    ("EulerDiscreteScheduler", {"timestep_spacing": "trailing"}, {}),
    ("TCDScheduler", {}, {"generator": True, "eta": 0.3}),
    ("LCMScheduler", {}, {"generator": True}),
    ("DDIMScheduler", {}, {"generator": True, "eta": 0.5}),
    ("DDPMScheduler", {}, {"generator": True}),
    ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}, {}),
    ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, {"generator": True}),
    ("DPMSolverSinglestepScheduler", {}, {}),
    ("UniPCMultistepScheduler", {}, {}),
    ("DEISMultistepScheduler", {}, {}),
    ("HeunDiscreteScheduler", {}, {}),
    ("KDPM2DiscreteScheduler", {}, {}),
    ("KDPM2AncestralDiscreteScheduler", {}, {"generator": True}),
    ("PNDMScheduler", {"skip_prk_steps": True}, {}),
    ("IPNDMScheduler", {}, {}),
]
# PNDM repeats a timestep, so only constant coefficients are defined for it (tested below).
PER_STEP = [case for case in STOCK if case[0] != "PNDMScheduler"]
IDS = [f"{name}-{'-'.join(map(str, config.values()))}" for name, config, _ in STOCK]


def run(scheduler: SchedulerMixin, keywords: dict, *, dtype=torch.float32, n: int = N, return_dict: bool = False):
    """Every prev_sample of a run on a fixed, nonlinear 'model'."""
    scheduler.set_timesteps(n)
    g = torch.Generator().manual_seed(3)
    keywords = {k: (torch.Generator().manual_seed(5) if k == "generator" else v) for k, v in keywords.items()}
    x = (torch.randn(SHAPE, generator=g) * float(getattr(scheduler, "init_noise_sigma", 1))).to(dtype)
    seen = []
    for t in scheduler.timesteps:
        inp = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        eps = (torch.sin(inp.float()) + 0.3).to(dtype)
        out = scheduler.step(eps, t, x, **keywords, return_dict=return_dict)
        x = out.prev_sample if return_dict else out[0]
        seen.append(x)
    return seen


def make(name: str, config: dict) -> SchedulerMixin:
    return getattr(diffusers, name)(**config)


@pytest.mark.parametrize(("name", "config", "keywords"), STOCK, ids=IDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_coefficients_of_one_give_the_stock_scheduler_bit_for_bit(name, config, keywords, dtype) -> None:
    families = [Coefficients.constant(model=1.0, sample=1.0)]
    if name != "PNDMScheduler":
        families += [Coefficients.linear(), Coefficients.per_step(model=[1.0] * N, sample=[1.0] * N)]
    expected = run(make(name, config), keywords, dtype=dtype)
    for family in families:
        adapted = apply_coefficients(make(name, config), family)
        for mine, stock in zip(run(adapted, keywords, dtype=dtype), expected, strict=True):
            assert mine.dtype == stock.dtype and torch.equal(mine, stock)


@pytest.mark.parametrize(("name", "config", "keywords"), PER_STEP, ids=[f"{c[0]}-{c[1]}" for c in PER_STEP])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_other_coefficients_equal_the_stock_step_on_scaled_inputs(name, config, keywords, dtype) -> None:
    """The slow twin scales by hand before each stock call; it knows nothing of the adapter."""
    model, sample = [0.9, 1.07, 1.1, 0.95], [1.05, 0.97, 1.02, 0.99]
    stock = make(name, config)
    stock.set_timesteps(N)
    order = stock.order
    adapted = apply_coefficients(make(name, config), Coefficients.per_step(model=model, sample=sample))
    real = stock.step
    calls = 0

    def by_hand(eps, t, x, **kw):
        nonlocal calls
        i = calls // order
        calls += 1
        c_x = torch.tensor(sample[i], dtype=torch.float32)
        c_eps = torch.tensor(model[i], dtype=torch.float32)
        x = x.float() * c_x
        return real((eps.float() * c_eps).to(dtype), t, x if name in UPCASTS_SAMPLE else x.to(dtype), **kw)

    stock.step = by_hand
    for mine, hand in zip(run(adapted, keywords, dtype=dtype), run(stock, keywords, dtype=dtype), strict=True):
        assert mine.dtype == hand.dtype == dtype
        assert torch.equal(mine, hand)


def linear(first: float, last: float) -> list[float]:
    return [first + (last - first) * i / (N - 1) for i in range(N)]


C = Coefficients.linear(model=(0.955, 1.099), sample=(1.012, 0.967))
C_EPS, C_X = linear(0.955, 1.099), linear(1.012, 0.967)


def close(mine: torch.Tensor, formula: np.ndarray) -> None:
    np.testing.assert_allclose(mine.double().numpy(), formula, rtol=2e-5, atol=2e-5)


def test_flow_match_euler_follows_the_formula_written_out_in_float64() -> None:
    scheduler = apply_coefficients(make("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}), C)
    scheduler.set_timesteps(N)
    sigma = scheduler.sigmas.double().numpy()
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    y = x.double().numpy()
    for i, t in enumerate(scheduler.timesteps):
        v = torch.cos(x)
        y = C_X[i] * y + (sigma[i + 1] - sigma[i]) * C_EPS[i] * np.cos(y)
        x = scheduler.step(v, t, x, return_dict=False)[0]
        close(x, y)


def test_euler_ancestral_follows_the_formula_written_out_in_float64() -> None:
    scheduler = apply_coefficients(make("EulerAncestralDiscreteScheduler", {"timestep_spacing": "trailing"}), C)
    scheduler.set_timesteps(N)
    s = scheduler.sigmas.double().numpy()
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)) * scheduler.init_noise_sigma
    y = x.double().numpy()
    g, h = torch.Generator().manual_seed(9), torch.Generator().manual_seed(9)
    for i, t in enumerate(scheduler.timesteps):
        scheduler.scale_model_input(x, t)
        up = np.sqrt(s[i + 1] ** 2 * (s[i] ** 2 - s[i + 1] ** 2) / s[i] ** 2)
        down = np.sqrt(max(s[i + 1] ** 2 - up**2, 0.0))
        y = C_X[i] * y + C_EPS[i] * np.tanh(y) * (down - s[i]) + up * torch.randn(SHAPE, generator=h).double().numpy()
        x = scheduler.step(torch.tanh(x), t, x, generator=g, return_dict=False)[0]
        close(x, y)


def test_lcm_scales_the_skip_term_too() -> None:
    scheduler = apply_coefficients(make("LCMScheduler", {}), C)
    scheduler.set_timesteps(N)
    alpha = scheduler.alphas_cumprod.double().numpy()
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    y = x.double().numpy()
    g, h = torch.Generator().manual_seed(9), torch.Generator().manual_seed(9)
    ts = [int(t) for t in scheduler.timesteps]
    for i, t in enumerate(scheduler.timesteps):
        a = alpha[ts[i]]
        scaled = ts[i] * scheduler.config.timestep_scaling
        skip = 0.5**2 / (scaled**2 + 0.5**2)
        out = scaled / np.sqrt(scaled**2 + 0.5**2)
        cx = C_X[i] * y
        x0 = (cx - np.sqrt(1 - a) * C_EPS[i] * np.cos(y)) / np.sqrt(a)
        y = out * x0 + skip * cx
        if i < N - 1:
            b = alpha[ts[i + 1]]
            y = np.sqrt(b) * y + np.sqrt(1 - b) * torch.randn(SHAPE, generator=h).double().numpy()
        x = scheduler.step(torch.cos(x), t, x, generator=g, return_dict=False)[0]
        close(x, y)


def test_tcd_follows_the_formula_written_out_in_float64() -> None:
    eta = 0.3
    scheduler = apply_coefficients(make("TCDScheduler", {}), C)
    scheduler.set_timesteps(N)
    alpha = scheduler.alphas_cumprod.double().numpy()
    ts = [int(t) for t in scheduler.timesteps] + [0]
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    y = x.double().numpy()
    g, h = torch.Generator().manual_seed(9), torch.Generator().manual_seed(9)
    for i, t in enumerate(scheduler.timesteps):
        a, b, s = alpha[ts[i]], alpha[ts[i + 1]], alpha[int(np.floor((1 - eta) * ts[i + 1]))]
        eps = C_EPS[i] * np.cos(y)
        x0 = (C_X[i] * y - np.sqrt(1 - a) * eps) / np.sqrt(a)
        y = np.sqrt(s) * x0 + np.sqrt(1 - s) * eps
        if i < N - 1:
            y = np.sqrt(b / s) * y + np.sqrt(1 - b / s) * torch.randn(SHAPE, generator=h).double().numpy()
        x = scheduler.step(torch.cos(x), t, x, eta=eta, generator=g, return_dict=False)[0]
        close(x, y)


def test_the_list_of_upcasting_schedulers_agrees_with_the_installed_diffusers() -> None:
    """A class belongs on the list when `step` upcasts the sample first and returns the model output's dtype."""
    found = set()
    for name in dir(diffusers):
        cls = getattr(diffusers, name) if name.endswith("Scheduler") else None
        if not isinstance(cls, type) or not issubclass(cls, SchedulerMixin) or "Flax" in name:
            continue
        try:
            source = inspect.getsource(cls.step)
        except (AttributeError, OSError, TypeError):
            continue
        upcast = re.search(r"sample = sample\.(to\(torch\.float32\)|float\(\))", source)
        if upcast and "convert_model_output" not in source[: upcast.start()]:
            found.add(name)
    inputs = {n: list(inspect.signature(getattr(diffusers, n).step).parameters)[1:4] for n in found}
    assert {n for n in found if inputs[n] == ["model_output", "timestep", "sample"]} == UPCASTS_SAMPLE


def test_it_is_an_instance_of_the_stock_class_with_its_signatures_order_and_compatibles() -> None:
    for name in ("LCMScheduler", "HeunDiscreteScheduler", "FlowMatchEulerDiscreteScheduler"):
        stock = make(name, {})
        adapted = apply_coefficients(stock, C)
        assert isinstance(adapted, type(stock)) and type(adapted).__name__ == f"QSched{name}"
        assert inspect.signature(adapted.step) == inspect.signature(stock.step)
        assert inspect.signature(adapted.set_timesteps) == inspect.signature(stock.set_timesteps)
        assert adapted.order == stock.order
        assert set(adapted.compatibles) == set(stock.compatibles)
        assert {k: v for k, v in adapted.config.items() if k != "qsched_coefficients"} == dict(stock.config)


def test_applying_leaves_the_given_scheduler_alone_and_replaces_earlier_coefficients() -> None:
    stock = make("FlowMatchEulerDiscreteScheduler", {})
    once = apply_coefficients(stock, Coefficients.constant(model=0.5))
    twice = apply_coefficients(once, C)
    assert type(stock).__name__ == "FlowMatchEulerDiscreteScheduler" and "qsched_coefficients" not in stock.config
    assert once.coefficients == Coefficients.constant(model=0.5)
    assert twice.coefficients == C and type(twice) is type(once)


def test_removing_gives_the_stock_scheduler_back() -> None:
    stock = make("EulerAncestralDiscreteScheduler", {"timestep_spacing": "trailing"})
    back = remove_coefficients(apply_coefficients(stock, C))
    assert type(back) is type(stock) and "qsched_coefficients" not in back.config
    keywords = {"generator": True}
    assert torch.equal(run(back, keywords)[-1], run(stock, keywords)[-1])


@pytest.mark.parametrize("name", ["LCMScheduler", "FlowMatchEulerDiscreteScheduler", "HeunDiscreteScheduler"])
def test_save_and_load_bring_back_adapter_and_coefficients(name, tmp_path) -> None:
    adapted = apply_coefficients(make(name, {}), C)
    adapted.save_pretrained(tmp_path)
    again = type(adapted).from_pretrained(tmp_path)
    assert type(again) is type(adapted) and again.coefficients == C
    keywords = {"generator": True} if name == "LCMScheduler" else {}
    assert all(torch.equal(a, b) for a, b in zip(run(adapted, keywords), run(again, keywords), strict=True))


@pytest.mark.parametrize("clone", [copy.deepcopy, copy.copy, lambda s: pickle.loads(pickle.dumps(s))])
def test_copies_and_pickles_keep_the_coefficients(clone) -> None:
    adapted = apply_coefficients(make("LCMScheduler", {}), C)
    again = clone(adapted)
    assert type(again) is type(adapted) and again.coefficients == C
    assert torch.equal(run(adapted, {"generator": True})[-1], run(again, {"generator": True})[-1])


def test_from_config_keeps_coefficients_in_the_adapter_and_drops_them_in_the_stock_class() -> None:
    adapted = apply_coefficients(make("FlowMatchEulerDiscreteScheduler", {"shift": 2.0}), C)
    assert type(adapted).from_config(adapted.config).coefficients == C
    plain = diffusers.FlowMatchEulerDiscreteScheduler.from_config(adapted.config)
    assert plain.config.shift == 2.0 and type(plain).__name__ == "FlowMatchEulerDiscreteScheduler"


def test_the_wrong_number_of_coefficients_is_an_error_at_set_timesteps() -> None:
    adapted = apply_coefficients(make("LCMScheduler", {}), Coefficients.per_step(model=[1, 1], sample=[1, 1]))
    with pytest.raises(CoefficientError, match="2 per-step coefficients for 4 inference steps"):
        adapted.set_timesteps(4)


def test_set_timesteps_starts_again_at_the_first_coefficient() -> None:
    adapted = apply_coefficients(make("FlowMatchEulerDiscreteScheduler", {}), C)
    first = run(adapted, {})
    assert all(torch.equal(a, b) for a, b in zip(first, run(adapted, {}), strict=True))


def test_a_run_that_begins_in_the_middle_uses_the_coefficient_of_that_step() -> None:
    adapted = apply_coefficients(make("FlowMatchEulerDiscreteScheduler", {}), C)
    adapted.set_timesteps(N)
    adapted.set_begin_index(2)
    x = torch.ones(1, 3)
    out = adapted.step(torch.ones(1, 3), adapted.timesteps[2], x, return_dict=False)[0]
    sigma = adapted.sigmas
    assert out[0, 0].item() == pytest.approx(C_X[2] + float(sigma[3] - sigma[2]) * C_EPS[2], abs=1e-6)


def test_runtime_state_of_the_given_scheduler_survives() -> None:
    stock = make("FlowMatchEulerDiscreteScheduler", {})
    stock.set_shift(2.5)
    assert apply_coefficients(stock, C).shift == 2.5


def test_rows_of_a_batch_may_carry_coefficients_of_their_own() -> None:
    a = Coefficients.per_step(model=[0.9, 1.0, 1.1, 1.0], sample=[1.0, 1.1, 1.0, 0.9])
    b = Coefficients.per_step(model=[1.0, 1.2, 0.8, 1.0], sample=[0.95, 1.0, 1.0, 1.0])
    alone = [run(apply_coefficients(make("FlowMatchEulerDiscreteScheduler", {}), c), {}) for c in (a, b)]
    both = apply_coefficients(make("FlowMatchEulerDiscreteScheduler", {}), Coefficients.constant())
    both.set_batch_coefficients([a.model, b.model], [a.sample, b.sample])
    for step, rows in enumerate(run(both, {})):
        assert torch.equal(rows[0], alone[0][step][0]) and torch.equal(rows[1], alone[1][step][1])
    both.set_batch_coefficients(None, None)
    stock = run(make("FlowMatchEulerDiscreteScheduler", {}), {})
    assert torch.equal(run(both, {})[-1], stock[-1])


def test_batch_coefficients_of_the_wrong_shape_are_refused() -> None:
    adapted = apply_coefficients(make("FlowMatchEulerDiscreteScheduler", {}), Coefficients.constant())
    with pytest.raises(CoefficientError, match="differ in shape"):
        adapted.set_batch_coefficients(torch.ones(2, 4), torch.ones(3, 4))
    with pytest.raises(CoefficientError, match="above 0"):
        adapted.set_batch_coefficients(torch.zeros(2, 4), torch.ones(2, 4))
    adapted.set_batch_coefficients(torch.ones(3, 4) * 0.9, torch.ones(3, 4))
    with pytest.raises(CoefficientError, match="row count 2"):
        run(adapted, {})
    with pytest.raises(CoefficientError, match="4 columns"):
        adapted.set_timesteps(3)


def test_pndm_takes_constant_coefficients_and_refuses_others_in_words() -> None:
    stock = make("PNDMScheduler", {"skip_prk_steps": True})
    scaled = run(apply_coefficients(stock, Coefficients.constant(model=0.9)), {})
    assert not torch.equal(scaled[-1], run(make("PNDMScheduler", {"skip_prk_steps": True}), {})[-1])
    with pytest.raises(UnsupportedSchedulerError, match="constant"):
        run(apply_coefficients(make("PNDMScheduler", {"skip_prk_steps": True}), C), {})


def test_a_scheduler_with_other_inputs_is_refused() -> None:
    with pytest.raises(UnsupportedSchedulerError, match="no step"):
        adapter_class(diffusers.ScoreSdeVeScheduler)


def test_the_first_released_example_of_the_method_is_reproduced() -> None:
    """METHOD.md section 1: SDXL-Turbo, 4 steps, W4A4: model 0.955 -> 1.099, sample 1.012 -> 0.967."""
    adapted = apply_coefficients(make("EulerAncestralDiscreteScheduler", {"timestep_spacing": "trailing"}), C)
    assert adapted.config.qsched_coefficients == {
        "family": "linear",
        "model": [0.955, 1.099],
        "sample": [1.012, 0.967],
    }
