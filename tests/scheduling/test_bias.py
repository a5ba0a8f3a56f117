"""qsched-bias: what the adapter adds, to which channel, in which schedulers, and what it refuses."""

from __future__ import annotations

import json

import diffusers
import pytest
import torch

from qsched.generation.arms import parse_arms
from qsched.scheduling import CoefficientError, Coefficients, apply_coefficients, read_coefficients
from qsched.scheduling.adapter import channel_bias
from qsched.scheduling.affine import step_parts
from qsched.scheduling.persist import UnsupportedSchedulerError
from tests.scheduling.test_adapter import STOCK as CASES
from tests.scheduling.test_adapter import N, make, run

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # numpy 2 inside diffusers

AFFINE = [
    ("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}, {}),
    ("FlowMatchEulerDiscreteScheduler", {"stochastic_sampling": True}, {"generator": True}),
    ("EulerAncestralDiscreteScheduler", {"timestep_spacing": "trailing"}, {"generator": True}),
    ("EulerDiscreteScheduler", {"prediction_type": "v_prediction"}, {}),
    ("TCDScheduler", {}, {"generator": True, "eta": 0.3}),
    ("LCMScheduler", {}, {"generator": True}),
    ("DDIMScheduler", {"clip_sample": False}, {"generator": True, "eta": 0.5}),
]
MODEL, SAMPLE = [0.9, 1.07, 1.1, 0.95], [1.05, 0.97, 1.02, 0.99]
BIAS = [[0.1 * (step + 1) * (-1) ** channel + 0.01 * channel for channel in range(4)] for step in range(N)]


@pytest.mark.parametrize(("name", "config", "keywords"), AFFINE, ids=[f"{n}-{c}" for n, c, _ in AFFINE])
def test_each_step_ends_a_bias_away_from_where_the_scaled_step_ends(name, config, keywords):
    """The slow twin adds the bias to the result of the step; the adapter adds it to the sample."""
    scaled = apply_coefficients(make(name, config), Coefficients.per_step(model=MODEL, sample=SAMPLE))
    real, calls = scaled.step, 0

    def by_hand(eps, t, x, **kw):
        nonlocal calls
        calls += 1
        made = real(eps, t, x, **{**kw, "return_dict": False})[0]
        return (made + torch.tensor(BIAS[calls - 1]).view(1, 4, 1, 1),)

    scaled.step = by_hand
    biased = apply_coefficients(make(name, config), Coefficients.per_step(model=MODEL, sample=SAMPLE, bias=BIAS))
    for mine, hand in zip(run(biased, keywords), run(scaled, keywords), strict=True):
        assert torch.allclose(mine, hand, rtol=1e-4, atol=1e-4 * float(hand.abs().max()))


def test_the_last_picture_of_lcm_has_the_bias_too_because_it_goes_through_the_sample():
    out = []
    for bias in ((), BIAS):
        scheduler = apply_coefficients(
            make("LCMScheduler", {}), Coefficients.per_step(model=[1.0] * N, sample=[1.0] * N, bias=bias)
        )
        scheduler.set_timesteps(N)
        scheduler._init_step_index(scheduler.timesteps[-1])
        x = torch.ones(1, 4, 2, 2)
        out.append(scheduler.step(x, scheduler.timesteps[-1], x, return_dict=False)[1])
    assert torch.allclose(out[1] - out[0], torch.tensor(BIAS[-1]).view(1, 4, 1, 1).expand(1, 4, 2, 2), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "config", "keywords"),
    [case for case in CASES if case[0] not in {n for n, _, _ in AFFINE} and case[0] != "PNDMScheduler"]
    + [("DDIMScheduler", {"clip_sample": True}, {})],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_scheduler_that_is_not_affine_is_refused(name, config, keywords):
    if name == "DDPMScheduler":
        config = {"clip_sample": True}
    biased = apply_coefficients(make(name, config), Coefficients.per_step(model=MODEL, sample=SAMPLE, bias=BIAS))
    with pytest.raises(UnsupportedSchedulerError, match="use Euler, Euler ancestral"):
        run(biased, keywords)


def test_packed_latents_have_four_entries_in_a_row_for_each_channel():
    packed = channel_bias(torch.tensor([1.0, 2.0]), torch.zeros(3, 5, 8))
    assert packed[0, 0].tolist() == [1, 1, 1, 1, 2, 2, 2, 2]
    latents = torch.arange(2 * 4 * 4).view(1, 2, 4, 4).float()
    pack = diffusers.FluxPipeline._pack_latents
    assert torch.equal(
        pack(latents + torch.tensor([1.0, 2.0]).view(1, 2, 1, 1), 1, 2, 4, 4), pack(latents, 1, 2, 4, 4) + packed
    )
    video = channel_bias(torch.tensor([[1.0, 2.0]]), torch.zeros(1, 2, 3, 4, 4))
    assert video.shape == (1, 2, 1, 1, 1)
    for wrong in (torch.zeros(1, 3, 2, 2), torch.zeros(1, 5, 7), torch.zeros(1, 4, 2, 2)):
        with pytest.raises(CoefficientError, match="calibrate with this model"):
            channel_bias(torch.tensor([1.0, 2.0]), wrong)


def test_rows_of_a_batch_may_have_biases_of_their_own_and_none():
    one = Coefficients.per_step(model=MODEL, sample=SAMPLE, bias=BIAS)
    alone = run(apply_coefficients(make("FlowMatchEulerDiscreteScheduler", {}), one), {})
    stock = run(make("FlowMatchEulerDiscreteScheduler", {}), {})
    both = apply_coefficients(make("FlowMatchEulerDiscreteScheduler", {}), Coefficients.constant())
    zeros = [[0.0] * 4] * N
    both.set_batch_coefficients([MODEL, [1.0] * N], [SAMPLE, [1.0] * N], [BIAS, zeros])
    for step, rows in enumerate(run(both, {})):
        assert torch.allclose(rows[0], alone[step][0], atol=1e-6) and torch.equal(rows[1], stock[step][1])
    both.set_batch_coefficients([MODEL] * 2, [SAMPLE] * 2)
    plain = apply_coefficients(
        make("FlowMatchEulerDiscreteScheduler", {}), Coefficients.per_step(model=MODEL, sample=SAMPLE)
    )
    assert torch.equal(run(both, {})[-1], run(plain, {})[-1]), "the bias of the call before is gone"
    with pytest.raises(CoefficientError, match="bias_BSC must be"):
        both.set_batch_coefficients([MODEL], [SAMPLE], [BIAS, BIAS])


def test_a_bias_of_zeros_is_the_stock_scheduler_bit_for_bit_and_is_called_so():
    zero = Coefficients.per_step(model=[1.0] * N, sample=[1.0] * N, bias=[[0.0] * 4] * N)
    stock = run(make("EulerAncestralDiscreteScheduler", {}), {"generator": True})
    ours = run(apply_coefficients(make("EulerAncestralDiscreteScheduler", {}), zero), {"generator": True})
    assert zero.is_identity and all(torch.equal(a, b) for a, b in zip(stock, ours, strict=True))
    assert not Coefficients.per_step(model=[1.0], sample=[1.0], bias=[[0.0, 0.1]]).is_identity


def test_save_and_load_bring_the_bias_back(tmp_path):
    biased = apply_coefficients(
        make("FlowMatchEulerDiscreteScheduler", {}), Coefficients.per_step(model=MODEL, sample=SAMPLE, bias=BIAS)
    )
    biased.save_pretrained(tmp_path)
    again = type(biased).from_pretrained(tmp_path)
    assert again.coefficients == biased.coefficients and again.coefficients.method == "qsched-bias"
    assert torch.equal(run(again, {})[-1], run(biased, {})[-1])


def test_the_parts_of_a_step_add_up_and_leave_scheduler_and_generators_alone():
    scheduler = make("EulerAncestralDiscreteScheduler", {"timestep_spacing": "trailing"})
    scheduler.set_timesteps(N)
    g = torch.Generator().manual_seed(1)
    x = torch.randn(2, 4, 8, 8, generator=g) * scheduler.init_noise_sigma
    scheduler.scale_model_input(x, scheduler.timesteps[0])
    generators = [torch.Generator().manual_seed(i) for i in (5, 6)]
    e = torch.randn(2, 4, 8, 8, generator=g)
    parts = step_parts(scheduler, (e, scheduler.timesteps[0], x), generator=generators)
    again = step_parts(scheduler, (e, scheduler.timesteps[0], x), generator=generators)
    made = scheduler.step(e, scheduler.timesteps[0], x, generator=generators, return_dict=False)[0]
    assert torch.equal(parts.noise, again.noise) and float(parts.noise.std()) > 0
    assert torch.allclose(parts.sample + parts.model + parts.noise, made, atol=1e-4)
    assert torch.allclose(parts.sample, x, atol=1e-4), "A is 1 in an Euler step"


@pytest.mark.parametrize(
    ("bias", "rule"),
    [
        ([[0.1]], "a bias of 1 step"),
        ([[0.1], [0.1, 0.2]], "every step has the same"),
        ([[float("nan")], [0.1]], "finite"),
        ([[True], [0.1]], "finite"),
    ],
)
def test_a_bias_that_breaks_the_rules_is_refused(bias, rule):
    with pytest.raises(CoefficientError, match=rule):
        Coefficients.per_step(model=[1, 1], sample=[1, 1], bias=bias)
    with pytest.raises(CoefficientError, match="belongs to per_step"):
        Coefficients("constant", (1.0,), (1.0,), ((0.1,),) * 2)


def test_one_file_serves_both_methods_and_neither_takes_the_others_coefficients(tmp_path):
    scalars = Coefficients.constant(model=1.1, sample=0.9)
    biased = Coefficients.per_step(model=[1.0] * 4, sample=[1.0] * 4, bias=BIAS)
    both, bare, without = (tmp_path / name for name in ("both.json", "bare.json", "without.json"))
    both.write_text(json.dumps({"coefficients": scalars.to_dict(), "qsched_bias": {"coefficients": biased.to_dict()}}))
    bare.write_text(biased.to_json())
    without.write_text(json.dumps({"coefficients": scalars.to_dict()}))
    assert read_coefficients(both) == scalars and read_coefficients(both, method="qsched-bias") == biased
    assert (
        read_coefficients(bare, method="qsched-bias")
        == biased
        == Coefficients.from_json(biased.to_json(), method="qsched-bias")
    )
    with pytest.raises(CoefficientError, match=r"write \+qsched-bias"):
        read_coefficients(bare)
    with pytest.raises(CoefficientError, match=r"no bias was fitted"):
        read_coefficients(without, method="qsched-bias")
    from qsched.backbones.spec import BackboneSpec

    arms = parse_arms(
        f"fp32,w4a4,w4a4+qsched:{both},w4a4+qsched-bias:{both}",
        BackboneSpec("x", str(tmp_path)),
        steps=4,
        dtype=None,
        default_dtype="fp32",
    )
    assert [a.name for a in arms] == ["fp32", "w4a4", "w4a4+qsched:both", "w4a4+qsched-bias:both"]
    assert arms[3].coefficients == biased and len({a.record().recipe_hash for a in arms}) == 4
    assert arms[3].record().coefficients["bias"] == BIAS


def test_a_scheduler_that_corrects_its_noise_takes_no_bias():
    """The correction finds the noise of a step from zeros, and would take the bias for noise and shrink it."""
    from qsched.scheduling import NoiseCorrection, correct_noise

    corrected = correct_noise(
        make("EulerAncestralDiscreteScheduler", {}),
        NoiseCorrection(torch.zeros(N), torch.zeros(N, 4), torch.zeros(N)),
    )
    with pytest.raises(UnsupportedSchedulerError, match="takes no qsched-bias"):
        apply_coefficients(corrected, Coefficients.per_step(model=MODEL, sample=SAMPLE, bias=BIAS))
    apply_coefficients(corrected, Coefficients.per_step(model=MODEL, sample=SAMPLE))
