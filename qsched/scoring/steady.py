"""Scorers that give a picture another value in other company, or by the draw: found out, and made to behave.

A search compares candidates whose pictures were scored in different batches, and a resumed search cuts other batches
than the killed one. So every scorer from outside is asked once, on pictures of our own: the same picture alone and in
a batch, under two seeds. If the answers differ by more than rounding, each picture is scored alone under a seed made of
its pixels, and the scorer's version says so: it goes into every result and every journal.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from qsched.scoring.errors import ScoringError
from qsched.scoring.protocol import Scorer, ScorerInfo, image_labels, same_length

TOLERANCE = 1e-3  # of a value: batches of another size change the last bits of any network
SIDE = 224
ALONE = "one picture at a time, seeded by its pixels"


class AloneScorer:
    """Scores one picture at a time, under a seed made of its pixels."""

    def __init__(self, scorer: Scorer, why: str) -> None:
        self._scorer = scorer
        info = scorer.info
        self._info = replace(info, version=f"{info.version}; {ALONE}, because it {why}", batch_size=1)

    @property
    def info(self) -> ScorerInfo:
        return self._info

    def score(
        self, images: Sequence[Image.Image], prompts: Sequence[str], *, names: Sequence[str] | None = None
    ) -> list[float]:
        """One finite float per image, in order; raises ScoringError that names the image that failed."""
        same_length(self._info.name, images=images, prompts=prompts)
        labels = [label.removeprefix("image ") for label in image_labels(images, names)]
        values = []
        for image, prompt, label in zip(images, prompts, labels, strict=True):
            with seeded(pixel_seed(image)):
                values += self._scorer.score([image], [prompt], names=[label])
        return values

    def count_unread(self, prompts: Sequence[str]) -> int:
        """How many of the prompts are longer than the scorer reads."""
        return self._scorer.count_unread(prompts)


def steady(scorer: Scorer) -> Scorer:
    """The scorer, or one that scores each picture alone if its values depend on the batch or on chance."""
    why = unsteadiness(scorer)
    return scorer if not why else AloneScorer(scorer, why)


def unsteadiness(scorer: Scorer) -> str:
    """What is unsteady about the scorer, in words that follow "it"; empty if nothing is.

    A scorer that cannot score the pictures of the probe is not known to be steady.
    """
    images, prompts = probe_pictures(), [f"a picture of thing {number}" for number in range(3)]
    try:
        with seeded(1):
            alone = [scorer.score([image], [prompt])[0] for image, prompt in zip(images, prompts, strict=True)]
        with seeded(2):
            again = [scorer.score([image], [prompt])[0] for image, prompt in zip(images, prompts, strict=True)]
    except ScoringError:
        return "cannot score the pictures that would show whether it depends on the batch"
    if _differ(alone, again):
        return "draws at random"
    try:
        with seeded(1):
            together = scorer.score(images, prompts)
    except ScoringError:
        return ""  # it fails in a batch and not alone: the error is for the user to see
    return "depends on the batch" if _differ(alone, together) else ""


def _differ(first: Sequence[float], second: Sequence[float]) -> bool:
    size = max(1e-6, *(abs(value) for value in first))
    return any(abs(a - b) > TOLERANCE * size for a, b in zip(first, second, strict=True))


def probe_pictures() -> list[Image.Image]:
    """Three pictures that differ in everything: blocks, stripes and noise."""
    rng = np.random.default_rng(7)
    blocks = Image.fromarray(rng.integers(0, 256, (7, 7, 3), dtype=np.uint8)).resize(
        (SIDE, SIDE), Image.Resampling.BICUBIC
    )
    stripes = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    stripes[:, ::8] = (250, 120, 30)
    noise = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    return [blocks, Image.fromarray(stripes), Image.fromarray(noise)]


def pixel_seed(image: Image.Image) -> int:
    """A seed of 32 bits made of the picture's size and pixels."""
    digest = hashlib.sha256(repr((image.size, image.mode)).encode() + image.tobytes()).digest()
    return int.from_bytes(digest[:4], "big")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The generators of torch, numpy and Python start from the seed, and afterwards go on where they were."""
    before = random.getstate(), np.random.get_state()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        random.seed(seed)
        np.random.seed(seed)  # what others draw from, so that it must be set
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])
