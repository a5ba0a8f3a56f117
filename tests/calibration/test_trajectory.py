"""The trajectory cache: the plain pipeline's pictures, for the model evaluations of the formula."""

from __future__ import annotations

import numpy as np
import pytest

from qsched.calibration.errors import CalibrationError
from qsched.calibration.trajectory import BatchRow, TrajectoryRenderer
from qsched.generation import Prompt, render_batch
from qsched.scheduling import Coefficients
from tests.calibration.pipelines import random_flux, random_sdxl

PROMPTS = [Prompt("a", "a small red ring"), Prompt("b", "a large blue square left"), Prompt("c", "two green stars")]
SEEDS = [11, 22, 33]
CANDIDATES = [
    Coefficients.constant(),
    Coefficients.constant(model=1.1, sample=0.95),
    Coefficients.linear(model=(0.9, 1.0), sample=(1.05, 1.0)),
    Coefficients.per_step(model=[1.1, 1.0, 0.9, 1.2], sample=[0.95, 1.0, 1.0, 1.1]),
]


def rows(candidates=CANDIDATES) -> list[BatchRow]:
    return [BatchRow(prompt, seed, c) for c in candidates for prompt, seed in zip(PROMPTS, SEEDS, strict=True)]


def plain(backbone, work: list[BatchRow], steps: int = 4) -> list[np.ndarray]:
    """Each picture alone, by the path that `generate-pairs` takes."""
    return [
        np.asarray(render_batch(backbone, [r.prompt], [r.seed], steps=steps, coefficients=r.coefficients)[0], dtype=int)
        for r in work
    ]


def count_rows(backbone):
    """Wrap the real denoiser's forward and count the rows it is given."""
    counted = []
    denoiser = backbone.denoiser
    original = denoiser.forward

    def forward(*args, **kwargs):
        counted.append(len(args[0] if args else kwargs["hidden_states"]))
        return original(*args, **kwargs)

    denoiser.forward = forward
    return counted


@pytest.mark.parametrize("build", [random_flux, random_sdxl, lambda: random_sdxl(guidance_scale=3.0)])
def test_cached_pictures_equal_those_of_the_plain_pipeline(build):
    backbone = build()
    work = rows()
    reference = plain(backbone, work)
    cached = TrajectoryRenderer(backbone, steps=4, batch_rows=5).render(work)
    for ours, theirs in zip(cached, reference, strict=True):
        # One 8-bit level: BLAS rounds differently for another batch size.
        assert np.abs(np.asarray(ours, dtype=int) - theirs).max() <= 1
    flat = [image.tobytes() for image in cached]
    assert len(set(flat)) == len(flat), "the candidates must differ, or the comparison shows nothing"


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_model_evaluations_agree_with_the_formula_and_with_a_wrapped_backbone(steps):
    backbone = random_flux(steps=steps)
    counted = count_rows(backbone)
    candidates = [Coefficients.constant(model=m, sample=s) for m in (0.9, 1.0, 1.1) for s in (0.9, 1.1)]
    work = rows(candidates)
    renderer = TrajectoryRenderer(backbone, steps=steps, batch_rows=4)
    renderer.render(work)
    t, p = len(PROMPTS), len(work)
    assert renderer.nfe == sum(counted) == t + p * (steps - 1)


def test_the_first_step_is_shared_from_call_to_call():
    renderer = TrajectoryRenderer(random_flux(), steps=4)
    renderer.render(rows(CANDIDATES[:1]))
    assert renderer.nfe == 3 * 4
    renderer.render(rows([Coefficients.constant(model=1.2)]))
    assert renderer.nfe == 3 * 4 + 3 * 3


@pytest.mark.parametrize("build", [random_flux, lambda: random_sdxl(guidance_scale=3.0)])
def test_the_first_step_can_be_evaluated_alone_and_leaves_the_backbone_as_it_was(build):
    backbone = build()
    renderer = TrajectoryRenderer(backbone, steps=4, batch_rows=2)
    renderer.evaluate_first_step(PROMPTS, SEEDS)
    assert renderer.nfe == 3 and "forward" not in vars(backbone.denoiser)
    ours = renderer.render(rows(CANDIDATES[1:2]))
    assert renderer.nfe == 3 + 3 * 3
    for image, theirs in zip(ours, plain(backbone, rows(CANDIDATES[1:2])), strict=True):
        assert np.abs(np.asarray(image, dtype=int) - theirs).max() <= 1


def test_a_common_prefix_of_coefficients_is_evaluated_once():
    backbone = random_flux()
    counted = count_rows(backbone)
    last_differs = [Coefficients.per_step(model=[1.1, 0.9, 1.0, m], sample=[1.0] * 4) for m in (0.9, 1.0, 1.1)]
    TrajectoryRenderer(backbone, steps=4).render(rows(last_differs))
    assert sum(counted) == 3 * 4, "only the scheduler's last update differs, which no model call follows"


def test_guidance_evaluates_two_rows_for_one_picture():
    backbone = random_sdxl(guidance_scale=3.0)
    counted = count_rows(backbone)
    renderer = TrajectoryRenderer(backbone, steps=4)
    renderer.render(rows(CANDIDATES[:2]))
    assert renderer.nfe == 3 + 6 * 3 and sum(counted) == 2 * renderer.nfe


def test_the_same_prompt_with_another_seed_shares_nothing():
    renderer = TrajectoryRenderer(random_flux(), steps=4)
    one, two = renderer.render([BatchRow(PROMPTS[0], seed, Coefficients.constant()) for seed in (1, 2)])
    assert renderer.nfe == 8 and one.tobytes() != two.tobytes()


def test_the_backbone_is_left_as_it_was():
    backbone = random_flux()
    before = render_batch(backbone, ["a small red ring"], [5])[0].tobytes()
    TrajectoryRenderer(backbone, steps=4).render(rows())
    assert "forward" not in vars(backbone.denoiser) and "encode_prompt" not in vars(backbone.pipeline)
    assert render_batch(backbone, ["a small red ring"], [5])[0].tobytes() == before


def test_a_pipeline_that_calls_its_model_twice_a_step_is_refused():
    from diffusers import HeunDiscreteScheduler

    backbone = random_sdxl()
    backbone.pipeline.scheduler = HeunDiscreteScheduler()
    with pytest.raises(CalibrationError, match="one call per step"):
        TrajectoryRenderer(backbone, steps=4).render(rows(CANDIDATES[:1]))


def test_a_bound_on_memory_costs_evaluations_and_changes_no_picture():
    work = rows([Coefficients.constant(model=1.1), Coefficients.constant(model=1.1, sample=0.9)])
    twice = [*work, *work]
    roomy = TrajectoryRenderer(random_flux(), steps=4, batch_rows=3)
    tight = TrajectoryRenderer(random_flux(), steps=4, batch_rows=3, kept_bytes=0)
    assert [i.tobytes() for i in roomy.render(twice)] == [i.tobytes() for i in tight.render(twice)]
    assert roomy.nfe == 3 + 6 * 3 and tight.nfe == 3 + 12 * 3
