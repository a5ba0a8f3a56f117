"""Closed-form coefficients: planted faults come back, the sums are those of a slow twin, evaluations are few."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler, LCMScheduler, TCDScheduler

from qsched.calibration import last_step
from qsched.calibration.calibrate import calibrate, planned_pictures_of
from qsched.calibration.closed_form import LABELS, LAST_STEP, planned_closed_form
from qsched.calibration.errors import CalibrationError
from qsched.calibration.evaluate import Budget, Evaluator
from qsched.calibration.last_step import MOST
from qsched.calibration.least_squares import (
    FORMS,
    Fit,
    fit_steps,
    full_run,
    heldout_share,
    left_over,
    solve,
)
from qsched.calibration.record import build_record
from qsched.calibration.report import render_report
from qsched.calibration.settings import CalibrationSettings
from qsched.calibration.trajectory import TrajectoryRenderer
from qsched.calibration.words import linear_words
from qsched.generation import image_seed
from qsched.scheduling import Coefficients, read_coefficients
from qsched.scheduling.persist import UnsupportedSchedulerError
from qsched.scoring import Jaq
from tests.calibration.conftest import PROMPTS, Constant, Nearness, planted
from tests.calibration.pipelines import random_flux, random_sdxl
from tests.calibration.test_trajectory import count_rows

SEEDS = [image_seed(0, p.prompt_id, 0) for p in PROMPTS]


def sdxl_with(scheduler):
    def build(*, steps: int = 4):
        backbone = random_sdxl(steps=steps)
        backbone.pipeline.scheduler = scheduler.from_config(backbone.pipeline.scheduler.config)
        return backbone

    return build


def renderer_of(backbone, **more) -> TrajectoryRenderer:
    return TrajectoryRenderer(backbone, steps=backbone.steps, **more)


def shifted(backbone, shift: list[float]):
    """The backbone with a denoiser whose output has a number too much in each latent channel."""
    whole = backbone.denoiser.forward

    def forward(*args, **kwargs):
        output = whole(*args, **kwargs)[0]
        add = torch.tensor(shift)
        return (output + (add.repeat_interleave(4) if output.ndim == 3 else add.view(1, -1, 1, 1)),)

    backbone.denoiser.forward = forward
    return backbone


BUILDS = {
    "flow-match": random_flux,
    "Euler ancestral": random_sdxl,
    "LCM": sdxl_with(LCMScheduler),
    "TCD": sdxl_with(TCDScheduler),
    "Euler": sdxl_with(EulerDiscreteScheduler),
}


@pytest.mark.parametrize("name", BUILDS)
def test_a_planted_factor_comes_back_at_every_step(name):
    build = BUILDS[name]
    full = full_run(renderer_of(build()), PROMPTS, SEEDS)
    fit = fit_steps(renderer_of(planted(build(), 0.8)), full, PROMPTS, SEEDS, "scalars")
    # The ridge of 1 % pulls towards 1 where the model's output moves the latents little or is parallel to them.
    assert fit.coefficients.model == pytest.approx([1.25] * 4, abs=0.06)
    assert fit.coefficients.sample == pytest.approx([1.0] * 4, abs=0.01)
    # Later steps begin nearly where full precision is: what the ridge left is small, and no longer of this form.
    assert fit.shares["scalars"][0] > 0.99 and max(step.error for step in fit.steps[1:]) < 0.03


@pytest.mark.parametrize("name", ["flow-match", "Euler ancestral", "LCM"])
def test_a_planted_shift_of_channels_comes_back_as_a_bias(name):
    build = BUILDS[name]
    full = full_run(renderer_of(build()), PROMPTS, SEEDS)
    renderer = renderer_of(shifted(build(), [0.3, -0.2, 0.1, 0.0]))
    fit = fit_steps(renderer, full, PROMPTS, SEEDS, "bias")
    assert min(fit.shares["bias"]) > 0.95, "on prompts that were not fitted"
    # No scalar undoes it: what they remove of this error is little.
    assert max(fit.shares["scalars"]) < 0.5
    found = fit.coefficients
    assert found.method == "qsched-bias" and found.model == (1.0,) * 4
    assert all(abs(row[3]) < 0.05 * max(abs(b) for b in row) for row in found.bias)


def test_a_fit_repairs_the_pictures_of_a_batched_run_as_of_one_batch():
    full = full_run(renderer_of(random_flux(), batch_rows=3), PROMPTS, SEEDS)
    whole = full_run(renderer_of(random_flux()), PROMPTS, SEEDS)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(full.latents, whole.latents, strict=True))
    fits = [
        fit_steps(renderer_of(planted(random_flux(), 0.8), batch_rows=rows), full, PROMPTS, SEEDS, "bias and scalars")
        for rows in (3, 32)
    ]
    for one, other in zip(fits[0].steps, fits[1].steps, strict=True):
        assert (one.model, one.sample) == pytest.approx((other.model, other.sample), abs=1e-4)


@pytest.mark.parametrize("steps", [1, 4])
def test_a_fit_costs_one_run_of_each_model_and_others_share_the_first_step(steps):
    plain = random_flux(steps=steps)
    counted_full = count_rows(plain)
    full = full_run(renderer_of(plain), PROMPTS, SEEDS)
    n = len(PROMPTS)
    assert full.nfe == sum(counted_full) == n * steps
    backbone = planted(random_flux(steps=steps), 0.8)
    counted = count_rows(backbone)
    renderer = renderer_of(backbone)
    renderer.evaluate_first_step(PROMPTS, SEEDS)
    for number, form in enumerate(FORMS, start=1):
        fit_steps(renderer, full, PROMPTS, SEEDS, form)
        assert renderer.nfe == sum(counted) == n + number * n * (steps - 1)


def test_solving_the_sums_is_the_regression_of_a_slow_twin():
    rng = np.random.default_rng(0)
    n, c, p = 6, 3, 40
    a, b = rng.normal(size=(2, n, c, p)) + 0.5
    bias = np.array([0.4, -0.1, 0.2])[None, :, None]
    r = 0.1 * a - 0.2 * b + bias + 0.05 * rng.normal(size=a.shape)
    from qsched.calibration.least_squares import _sums

    sums = _sums(a, b, r)
    sample, model, beta = solve(sums.sum(axis=0), "bias and scalars", ridge=0.0)
    dummies = np.repeat(np.tile(np.eye(c), (n, 1)), p, axis=0)
    x = np.column_stack([a.ravel(), b.ravel(), dummies])
    expected, *_ = np.linalg.lstsq(x, r.ravel(), rcond=None)
    assert [sample - 1, model - 1, *beta] == pytest.approx(expected)
    for form in FORMS:
        found = solve(sums.sum(axis=0), form)
        residual = r - (found[0] - 1) * a - (found[1] - 1) * b - found[2][None, :, None]
        assert left_over(sums.sum(axis=0), *found) == pytest.approx((residual**2).sum())
    assert heldout_share(sums, "bias and scalars") > 0.9
    noise = _sums(a, b, rng.normal(size=a.shape))
    assert heldout_share(noise, "bias and scalars") < 0.02, "what is not linear is not promised"


def test_a_scheduler_that_clips_or_remembers_is_refused_by_the_fit():
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

    for scheduler in (DDIMScheduler, DPMSolverMultistepScheduler):
        build = sdxl_with(scheduler)
        full = full_run(renderer_of(build()), PROMPTS[:2], SEEDS[:2])
        with pytest.raises(UnsupportedSchedulerError, match="affine"):
            fit_steps(renderer_of(build()), full, PROMPTS[:2], SEEDS[:2], "scalars")


@pytest.mark.parametrize("which", ["full precision", "quantized"])
def test_latents_that_are_not_finite_are_an_error_and_not_a_share_of_zero(which):
    """Of NaN latents no share was linear: "there is hardly anything that coefficients could repair"."""
    backbone = random_flux(steps=1)
    full = full_run(renderer_of(backbone), PROMPTS[:2], SEEDS[:2])
    if which == "full precision":
        full = replace(full, latents=(full.latents[0] * torch.nan,))
    else:
        backbone = shifted(backbone, [0.0, torch.inf, 0.0, 0.0])
    with pytest.raises(CalibrationError, match=r"step 1 made latents that are NaN or infinite.*--dtype"):
        fit_steps(renderer_of(backbone), full, PROMPTS[:2], SEEDS[:2], "bias and scalars")


def search(tmp_path, objective, backbone, *, name="j", **settings):
    full = full_run(renderer_of(random_flux(steps=backbone.steps)), PROMPTS[:5], SEEDS[:5])
    return calibrate(
        backbone,
        objective,
        PROMPTS[:5],
        PROMPTS[5:],
        CalibrationSettings(**settings),
        journal=tmp_path / name,
        identity={},
        full=full,
    )


def test_the_default_search_finds_a_planted_factor_for_q_sched_and_a_shift_for_the_bias(tmp_path, nearness):
    factor = search(tmp_path, nearness, planted(random_flux(), 0.8))
    assert factor.qsched.verdict == "gain" and factor.qsched.found.model[0] == pytest.approx(1.25, abs=0.06)
    assert factor.search_nfe == planned_closed_form(5, 4) == factor.most_nfe
    shift = search(tmp_path, nearness, shifted(random_flux(), [0.5, -0.4, 0.3, 0.0]), name="k")
    assert shift.bias.verdict == "gain" and shift.best.method == "qsched-bias"
    assert shift.bias_over_qsched().low > 0
    record = build_record(shift, nearness, backbone="b", precision="w4a4", arm={})
    (tmp_path / "c.json").write_text(json.dumps(record))
    assert read_coefficients(tmp_path / "c.json", method="qsched-bias") == shift.bias.found
    assert read_coefficients(tmp_path / "c.json") == shift.qsched.coefficients
    page = render_report(shift, record)
    arms = 1 + sum(one.has_candidate for one in shift.outcomes)
    assert page.count("<img") == 3 * arms and "qsched-bias: gain." in page and "<title>a small" in page
    assert "no gain found" not in page or shift.qsched.verdict == "not found"


def test_a_fit_is_only_a_candidate_and_an_undamaged_model_keeps_the_stock_scheduler(tmp_path, nearness):
    result = search(tmp_path, nearness, random_flux())
    assert {one.verdict for one in result.outcomes} <= {"not found", "no gain"}
    assert all(one.coefficients == Coefficients.constant() for one in result.outcomes)


def test_a_fit_that_harms_is_not_used_and_the_last_step_is_searched_without_an_evaluation(tmp_path, undamaged):
    """Least squared error is not what the score likes here: it prefers the farthest picture. The budget is exact."""
    far, whole = Jaq(Nearness(undamaged, kind="text", sign=-1.0), Constant()), planned_closed_form(5, 4)
    result = search(tmp_path, far, planted(random_flux(), 0.8), budget=Budget(nfe=whole))
    found = result.qsched.found
    assert result.qsched.label == f"stock; {LAST_STEP}" and result.qsched.verdict == "gain"
    assert found.model[:3] == found.sample[:3] == (1.0,) * 3
    assert not result.budget_spent and result.search_nfe == whole
    assert len(result.gains) <= 1 + len(FORMS) + 2 * MOST
    values = {c: gains.mean() for c, gains in result.gains.items() if c.method == "qsched"}
    assert max(values, key=values.get) == found, "the compass ends at the best that it has seen"


def test_with_one_step_the_last_step_is_not_searched(tmp_path, undamaged):
    far = Jaq(Nearness(undamaged, kind="text", sign=-1.0), Constant())
    result = search(tmp_path, far, planted(random_flux(steps=1), 0.8))
    assert len(result.gains) <= 1 + len(FORMS) and not result.closed_form.notes
    assert (
        result.search_nfe == planned_closed_form(5, 1) and planned_pictures_of(result.settings, result.family, 5) == 20
    )


def test_a_budget_leaves_fits_out_and_says_which(tmp_path, nearness):
    whole = planned_closed_form(5, 4)
    result = search(tmp_path, nearness, planted(random_flux(), 0.8), budget=Budget(nfe=whole - 40))
    assert result.budget_spent and result.search_nfe <= whole - 40
    (note,) = result.closed_form.notes
    assert "the budget ended" in note and LABELS["bias and scalars"] in note
    too_little = r"25 NFE does not pay for full precision and the stock scheduler on 5 prompts \(40 NFE\)"
    with pytest.raises(CalibrationError, match=too_little):
        search(tmp_path, nearness, random_flux(), name="k", budget=Budget(nfe=25))


def test_time_that_ends_in_the_search_of_the_last_step_leaves_the_fits_and_what_was_measured(
    tmp_path, undamaged, monkeypatch
):
    started = []
    monkeypatch.setattr(last_step, "_know_steps", lambda *_: started.append(True))
    # Four candidates of two batches of ten pictures: the first batch is measured, then the time is over.
    monkeypatch.setattr(Evaluator, "seconds", property(lambda one: 1e9 if started and one._rendered >= 30 else 0.0))
    far = Jaq(Nearness(undamaged, kind="text", sign=-1.0), Constant())
    result = search(tmp_path, far, planted(random_flux(), 0.8), budget=Budget(minutes=1), batch_rows=10)
    assert result.budget_spent and set(result.closed_form.fits) == set(FORMS) and result.bias is not None
    assert any("the budget ended in the search of the last step" in note for note in result.closed_form.notes)
    values = {c: gains.mean() for c, gains in result.gains.items() if c.method == "qsched" and len(gains) == 5}
    assert result.qsched.label == f"stock; {LAST_STEP}" and max(values, key=values.get) == result.qsched.found


def test_what_the_renderer_cannot_remember_is_not_searched_at_the_price_of_evaluations(tmp_path, nearness, monkeypatch):
    monkeypatch.setattr(TrajectoryRenderer, "later_nfe", lambda *_: 1)
    result = search(tmp_path, nearness, planted(random_flux(), 0.8))
    assert result.search_nfe == planned_closed_form(5, 4) and len(result.gains) == 1 + len(FORMS)
    assert sum("do not fit in memory" in note for note in result.closed_form.notes) == 2


def test_a_resumed_search_has_the_same_candidates_and_values(tmp_path, nearness):
    first = search(tmp_path, nearness, planted(random_flux(), 0.8))
    lines = (tmp_path / "j").read_text().splitlines(keepends=True)
    (tmp_path / "cut").write_text("".join(lines[:12]))
    again = search(tmp_path, nearness, planted(random_flux(), 0.8), name="cut")
    assert list(again.gains) == list(first.gains) and again.qsched.found == first.qsched.found
    assert all(np.array_equal(again.gains[c], first.gains[c]) for c in first.gains)


def test_without_a_full_precision_run_the_strategy_is_refused(tmp_path, nearness):
    with pytest.raises(CalibrationError, match="needs a full-precision run"):
        calibrate(
            random_flux(),
            nearness,
            PROMPTS[:5],
            PROMPTS[5:],
            CalibrationSettings(),
            journal=tmp_path / "j",
            identity={},
        )


@pytest.mark.parametrize(
    ("share", "says"), [(0.0994, "hardly anything"), (0.0996, "10.0 % is linear (held out); coef")]
)
def test_the_share_of_a_step_that_is_linear_in_words(share, says) -> None:
    fit = Fit("bias", (), {"scalars": (-0.01, share), "bias": (0.02, 0.03)})
    assert says in linear_words([fit])
    assert linear_words([]) == ""
