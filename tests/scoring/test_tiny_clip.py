"""The shipped tiny-clip under our scorers: golden values for fixed pictures, and the sense of both scales."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageFilter

from qsched.scoring import load_scorer
from qsched.tiny import load_prompts, prompts_path
from qsched.tiny.domain import parse, render, sample_nuisance

GOLDEN = Path(__file__).parent.parent / "golden" / "tiny_clip_scores.json"


@pytest.fixture(scope="module")
def drawn():
    """Sixteen calibration prompts, drawn by the domain's own renderer."""
    prompts = list(load_prompts(prompts_path("calibration")).values())[:16]
    rng = np.random.default_rng(0)
    return [render(parse(prompt), sample_nuisance(rng)) for prompt in prompts], prompts


@pytest.mark.parametrize("name", ["clipscore", "clip-iqa"])
def test_fixed_pictures_have_their_golden_scores(drawn, name):
    golden = json.loads(GOLDEN.read_text())
    images, prompts = drawn
    scorer = load_scorer(name, weights="tiny-clip")
    assert golden["weights"] in scorer.info.version, f"other weights than the golden values': remake {GOLDEN.name}"
    assert scorer.score(images, prompts) == pytest.approx(golden[name], abs=2e-3)


def test_the_right_prompt_scores_above_another(drawn):
    images, prompts = drawn
    scorer = load_scorer("clipscore", weights="tiny-clip")
    right, wrong = (np.array(scorer.score(images, texts)) for texts in (prompts, prompts[5:] + prompts[:5]))
    assert (right > wrong).mean() >= 0.9


def test_a_blurred_picture_scores_below_a_clean_one(drawn):
    images, prompts = drawn
    scorer = load_scorer("clip-iqa", weights="tiny-clip")
    blurred = [image.filter(ImageFilter.GaussianBlur(3)) for image in images]
    clean, damaged = (np.array(scorer.score(some, prompts)) for some in (images, blurred))
    assert (clean > damaged).mean() >= 0.9


def test_the_ground_truth_check_is_a_scorer(drawn):
    images, prompts = drawn
    scorer = load_scorer("tiny-check")
    right, wrong = scorer.score(images, prompts), scorer.score(images, prompts[5:] + prompts[:5])
    assert np.mean(right) > 0.7 > 0.4 > np.mean(wrong)
