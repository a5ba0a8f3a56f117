"""Scorers whose values depend on the batch or on chance are scored alone, and say so."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from qsched.scoring import ScorerInfo, load_scorer
from qsched.scoring.protocol import BatchedScorer
from qsched.scoring.steady import AloneScorer, pixel_seed, probe_pictures, seeded, steady, unsteadiness
from tests.scoring.pictures import PROMPTS, picture

SOURCE = """
import numpy as np
import torch
from qsched.scoring import ScorerInfo
from qsched.scoring.protocol import BatchedScorer

class Crowd(BatchedScorer):
    def __init__(self):
        super().__init__(ScorerInfo("crowd", "image", "1", "levels", True, None, 8, "cpu"))
    def _score_batch(self, images, prompts):
        means = np.array([np.asarray(image, float).mean() for image in images])
        return list(means - means.mean() + 100)

class Dice(Crowd):
    def _score_batch(self, images, prompts):
        return [float(np.asarray(image, float).mean() + 5 * torch.rand(()) + np.random.rand()) for image in images]

class Calm(Crowd):
    def _score_batch(self, images, prompts):
        return [float(np.asarray(image, float).mean()) for image in images]

class Picky(Calm):
    def _score_batch(self, images, prompts):
        if any("thing" in prompt for prompt in prompts):
            raise ValueError("an unknown prompt")
        return super()._score_batch(images, prompts)
"""


@pytest.fixture
def source(tmp_path):
    (tmp_path / "mine.py").write_text(SOURCE)
    return tmp_path / "mine.py"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Crowd", "depends on the batch"),
        ("Dice", "draws at random"),
        ("Picky", "cannot score the pictures that would show"),
    ],
)
def test_a_scorer_that_is_not_steady_runs_alone_under_a_seed_and_says_so(source, pictures, name, why):
    scorer = load_scorer(f"{source}:{name}")
    assert f"one picture at a time, seeded by its pixels, because it {why}" in scorer.info.version
    assert scorer.info.batch_size == 1 and "mine.py sha256" in scorer.info.version
    whole = scorer.score(pictures, PROMPTS)
    alone = [scorer.score([image], [prompt])[0] for image, prompt in zip(pictures, PROMPTS, strict=True)]
    backwards = scorer.score(pictures[::-1], PROMPTS[::-1])[::-1]
    assert whole == alone == backwards
    assert name == "Crowd" or len(set(whole)) == len(pictures)


def test_a_steady_scorer_keeps_its_batches(source, clip_folder):
    calm = load_scorer(f"{source}:Calm")
    assert calm.info.batch_size == 8 and "at a time" not in calm.info.version
    assert unsteadiness(load_scorer("clipscore", weights=str(clip_folder))) == ""


def test_errors_still_name_the_picture(source, pictures):
    class Broken(BatchedScorer):
        def __init__(self):
            super().__init__(ScorerInfo("broken", "image", "1", "none", True, None, 8, "cpu"))

        def _score_batch(self, images, prompts):
            raise ValueError("nothing works")

    found = steady(Broken())
    assert isinstance(found, AloneScorer)
    with pytest.raises(Exception, match="broken cannot score image p7: ValueError: nothing works"):
        found.score(pictures[:1], PROMPTS[:1], names=["p7"])


def test_a_seed_belongs_to_the_pixels_and_leaves_the_generators_as_they_were():
    assert pixel_seed(picture(1)) == pixel_seed(picture(1)) != pixel_seed(picture(2))
    assert len({pixel_seed(image) for image in probe_pictures()}) == 3
    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    expected = float(torch.rand(())), float(np.random.rand()), random.random()
    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    with seeded(9):
        torch.rand(3), np.random.rand(3), random.random()
    assert (float(torch.rand(())), float(np.random.rand()), random.random()) == expected
