"""PTQD's scheduler: the formula, what it does to a sampler's noise, and how it goes with Q-Sched."""

from __future__ import annotations

import copy
import inspect
import math

import diffusers
import numpy as np
import pytest
import torch

from qsched.scheduling import CoefficientError, Coefficients, NoiseCorrection, apply_coefficients, correct_noise
from qsched.scheduling.adapter import UnsupportedSchedulerError
from qsched.scheduling.noise_correction import uncorrected

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # numpy 2 inside diffusers

N = 4
SHAPE = (2, 4, 8, 8)
STOCHASTIC = [
    ("EulerAncestralDiscreteScheduler", {"timestep_spacing": "trailing"}, {}),
    ("LCMScheduler", {}, {}),
    ("TCDScheduler", {}, {"eta": 0.3}),
]
DETERMINISTIC = [
    ("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}),
    ("EulerDiscreteScheduler", {}),
    ("DDIMScheduler", {}),
]
NOTHING = NoiseCorrection(torch.zeros(N), torch.zeros(N, 4), torch.zeros(N))


def scheduler_of(name: str, config: dict):
    scheduler = getattr(diffusers, name)(**config)
    scheduler.set_timesteps(N)
    return scheduler


def generators() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(i) for i in range(SHAPE[0])]


def run(scheduler, outputs: list[torch.Tensor], *, plain: bool = True, **more) -> list[torch.Tensor]:
    """The samples after each step; every step's noise comes from generators of its own run."""
    scheduler = copy.deepcopy(scheduler)
    scheduler.set_timesteps(N)
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(9))
    given = generators()
    samples = []
    for t, e in zip(scheduler.timesteps, outputs, strict=True):
        if hasattr(scheduler, "scale_model_input"):
            scheduler.scale_model_input(x, t)
        keywords = {"generator": given} if "generator" in inspect.signature(scheduler.step).parameters else {}
        result = scheduler.step(e, t, x, return_dict=not plain, **keywords, **more)
        x = result[0] if plain else result.prev_sample
        samples.append(x)
    return samples


def estimates(seed: int = 0) -> list[torch.Tensor]:
    return [torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed + i)) for i in range(N)]


@pytest.mark.parametrize(("name", "config", "more"), [*STOCHASTIC, *((n, c, {}) for n, c in DETERMINISTIC)])
def test_a_planted_slope_and_bias_are_taken_out(name: str, config: dict, more: dict) -> None:
    stock = scheduler_of(name, config)
    exact = estimates()
    k, bias = torch.tensor([0.2, -0.1, 0.05, 0.0]), torch.arange(16.0).reshape(N, 4) / 20
    quantized = [(1 + k[i]) * e + bias[i].view(4, 1, 1) for i, e in enumerate(exact)]
    corrected = correct_noise(stock, NoiseCorrection(k, bias, torch.zeros(N)))
    for ours, theirs in zip(run(corrected, quantized, **more), run(stock, exact, **more), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert isinstance(corrected, type(stock)) and type(stock).__name__ == name, "the given one is left as it was"


@pytest.mark.parametrize(("name", "config", "more"), [*STOCHASTIC, *((n, c, {}) for n, c in DETERMINISTIC)])
def test_a_correction_of_nothing_changes_no_bit(name: str, config: dict, more: dict) -> None:
    stock = scheduler_of(name, config)
    pairs = zip(run(correct_noise(stock, NOTHING), estimates(), **more), run(stock, estimates(), **more), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


def noise_and_gain(stock, more: dict) -> list[tuple[float, float]]:
    """(sigma, B) of each step in closed form of the stock step: zeros give the noise, ones the gain."""
    found = []
    stock = copy.deepcopy(stock)
    stock.set_timesteps(N)
    for t in stock.timesteps:

        def step(value: float, seed: int, t=t):
            e = torch.full((1, 4, 64, 64), value)
            generator = torch.Generator().manual_seed(seed)
            return copy.deepcopy(stock).step(e, t, torch.zeros_like(e), generator=generator, **more).prev_sample

        sigma = float(step(0.0, 1).double().std())
        found.append((sigma, float((step(1.0, 1) - step(0.0, 1)).mean())))
        stock.step(torch.zeros(SHAPE), t, torch.zeros(SHAPE), generator=generators(), **more)
    return found


@pytest.mark.parametrize(("name", "config", "more"), STOCHASTIC)
@pytest.mark.parametrize("plain", [True, False])
def test_the_samplers_noise_makes_room_for_the_residual(name: str, config: dict, more: dict, plain: bool) -> None:
    stock = scheduler_of(name, config)
    k, variance = 0.25, 0.04
    correction = NoiseCorrection(torch.full((N,), k), torch.zeros(N, 4), torch.full((N,), variance))
    corrected = correct_noise(stock, correction)
    zeros = [torch.zeros(SHAPE)] * N
    closed = noise_and_gain(stock, more)
    assert closed[0][0] > 0.01, "the case draws noise"
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(9))
    ours, theirs = copy.deepcopy(corrected), copy.deepcopy(stock)
    ours.set_timesteps(N)
    theirs.set_timesteps(N)
    for i, t in enumerate(ours.timesteps):
        mine, given = generators(), generators()
        without = copy.deepcopy(theirs).step(zeros[i], t, torch.zeros(SHAPE), generator=generators(), **more)[0]
        a = ours.step(zeros[i], t, x, generator=mine, return_dict=not plain, **more)
        b = theirs.step(zeros[i], t, x, generator=given, **more).prev_sample
        a = a[0] if plain else a.prev_sample
        sigma, gain = closed[i]
        share = math.sqrt(max(0, 1 - gain**2 * variance / (1 + k) ** 2 / sigma**2)) if sigma > 1e-6 else 1.0
        # What the two differ by is the part of the noise that was taken away.
        np.testing.assert_allclose((b - a).numpy(), ((1 - share) * without).numpy(), rtol=0.05, atol=2e-3)
        assert all(torch.equal(p.get_state(), q.get_state()) for p, q in zip(mine, given, strict=True))


def test_the_noise_is_never_less_than_none() -> None:
    stock = scheduler_of("EulerAncestralDiscreteScheduler", {"timestep_spacing": "trailing"})
    huge = NoiseCorrection(torch.zeros(N), torch.zeros(N, 4), torch.full((N,), 1e6))
    first = run(correct_noise(stock, huge), [torch.zeros(SHAPE)] * N)[0]
    again = copy.deepcopy(stock)
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(9))
    again.scale_model_input(x, again.timesteps[0])
    noise = copy.deepcopy(again).step(
        torch.zeros(SHAPE), again.timesteps[0], torch.zeros(SHAPE), generator=generators()
    )[0]
    silent = again.step(torch.zeros(SHAPE), again.timesteps[0], x, generator=generators())[0] - noise
    torch.testing.assert_close(first, silent, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "config", "more"), STOCHASTIC)
def test_coefficients_scale_what_is_corrected_already(name: str, config: dict, more: dict) -> None:
    stock = scheduler_of(name, config)
    k, bias = torch.full((N,), 0.5), torch.full((N, 4), 0.3)
    correction = NoiseCorrection(k, bias, torch.zeros(N))
    coefficients = Coefficients.per_step(model=(0.9, 0.8, 1.1, 1.2), sample=(1.0, 1.1, 0.9, 1.0))
    quantized = [1.5 * e + 0.3 for e in estimates()]
    expected = run(apply_coefficients(stock, coefficients), estimates(), **more)
    one_way = run(apply_coefficients(correct_noise(stock, correction), coefficients), quantized, **more)
    other_way = run(correct_noise(apply_coefficients(stock, coefficients), correction), quantized, **more)
    for a, b, c in zip(one_way, other_way, expected, strict=True):
        assert torch.equal(a, b)
        torch.testing.assert_close(a, c, rtol=1e-4, atol=1e-5)


def test_tokens_have_their_channels_last() -> None:
    stock = scheduler_of("FlowMatchEulerDiscreteScheduler", {})
    bias = torch.arange(6.0)
    correction = NoiseCorrection(torch.zeros(N), bias.expand(N, 6), torch.zeros(N))
    x, v = torch.zeros(2, 5, 6), torch.ones(2, 5, 6)
    t = stock.timesteps[0]
    ours = correct_noise(stock, correction).step(v + bias, t, x, return_dict=False)[0]
    torch.testing.assert_close(ours, copy.deepcopy(stock).step(v, t, x, return_dict=False)[0])


def test_other_steps_other_channels_and_other_samplers_are_errors() -> None:
    stock = scheduler_of("LCMScheduler", {})
    corrected = correct_noise(stock, NOTHING)
    with pytest.raises(CoefficientError, match="measured with 4 steps cannot serve 2"):
        corrected.set_timesteps(2)
    with pytest.raises(CoefficientError, match="correction of 4 channels cannot serve"):
        corrected.step(torch.zeros(1, 8, 4, 4), corrected.timesteps[0], torch.zeros(1, 8, 4, 4))
    clipped = scheduler_of("DDPMScheduler", {"clip_sample": True, "clip_sample_range": 0.5})
    with pytest.raises(UnsupportedSchedulerError, match="is not affine"):
        run(correct_noise(clipped, NOTHING), estimates())


def test_a_correction_comes_off_and_does_not_pile_up() -> None:
    stock = scheduler_of("LCMScheduler", {})
    twice = correct_noise(correct_noise(stock, NOTHING), NOTHING)
    assert type(twice) is type(correct_noise(stock, NOTHING))
    assert type(uncorrected(twice)) is type(stock) and uncorrected(stock) is stock
    assert "generator" in inspect.signature(twice.step).parameters
