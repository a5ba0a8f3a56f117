"""A stand-in objective whose best picture is known, and prompts of the tiny domain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from qsched.generation import Prompt, image_seed, render_batch
from qsched.scoring import Jaq, ScorerInfo
from qsched.scoring.protocol import BatchedScorer
from tests.calibration.pipelines import random_flux
from tests.scoring.conftest import clip_folder

__all__ = ["clip_folder"]

WORDS = ["red ring", "blue square", "green star", "white disc", "pink cross", "gold heart", "black moon", "teal drop"]
PROMPTS = [Prompt(f"p{i}", f"a small {words} left") for i, words in enumerate(WORDS)]


class Nearness(BatchedScorer):
    """Minus the distance to a reference picture of the prompt: known best, no model needed."""

    def __init__(self, references: dict[str, Image.Image], *, kind: str, sign: float = 1.0) -> None:
        super().__init__(ScorerInfo(f"nearness-{kind}", kind, "1", "minus levels", True, None, 64, "cpu"))
        self._references, self._sign, self.seen = references, sign, 0

    def _score_batch(self, images: list[Image.Image], prompts: list[str]) -> list[float]:
        self.seen += len(images)
        far = [np.abs(_levels(i) - _levels(self._references[p])).mean() for i, p in zip(images, prompts, strict=True)]
        return [-self._sign * float(distance) for distance in far]


class Constant(BatchedScorer):
    """A quality that is the same for every picture."""

    def __init__(self) -> None:
        super().__init__(ScorerInfo("constant", "image", "1", "0.5", True, None, 64, "cpu"))

    def _score_batch(self, images: list[Image.Image], prompts: list[str]) -> list[float]:
        return [0.5] * len(images)


def _levels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=float)


def planted(backbone, factor: float):
    """The backbone with a denoiser whose output is `factor` times too large; undone by c_eps = 1 / factor."""
    denoiser = backbone.denoiser
    whole = denoiser.forward

    def forward(*args, **kwargs):
        return (factor * whole(*args, **kwargs)[0],)

    denoiser.forward = forward
    return backbone


def references_for(prompts: Sequence[Prompt], *, seed: int = 0) -> dict[str, Image.Image]:
    """The undamaged model's pictures by prompt."""
    backbone = random_flux()
    seeds = [image_seed(seed, p.prompt_id, 0) for p in prompts]
    images = render_batch(backbone, [p.prompt for p in prompts], seeds)
    return {p.prompt: image for p, image in zip(prompts, images, strict=True)}


@pytest.fixture(scope="session")
def undamaged() -> dict[str, Image.Image]:
    """Pictures of the random model before its output was scaled."""
    return references_for(PROMPTS)


@pytest.fixture
def nearness(undamaged) -> Jaq:
    """JAQ whose text term rises towards the undamaged pictures."""
    return Jaq(Nearness(undamaged, kind="text"), Constant(), k=2.0)
