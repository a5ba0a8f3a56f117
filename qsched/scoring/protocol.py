"""What a scorer is: images and prompts in, one finite float per image out, in the order given.

Four kinds, by what a score is about:
    text       image and prompt          clipscore, hpsv2.1, pickscore, tiny-check
    image      the image alone           clip-iqa, pyiqa:<no-reference metric>
    reference  image against its twin    psnr, ssim, lpips, pyiqa:<full-reference metric>
    set        one number for a folder   fid, clip-frechet (see frechet.py; not a Scorer)
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from PIL import Image

from qsched.errors import InputError
from qsched.scoring.errors import ScoringError

Kind = Literal["text", "image", "reference"]

# What the libraries underneath raise on an image they cannot digest. Anything else is our own mistake
# and passes through untouched.
LIBRARY_ERRORS = (RuntimeError, ValueError, TypeError, OSError, AssertionError)


@dataclass(frozen=True)
class ScorerInfo:
    """Everything that must accompany a score for it to mean something."""

    name: str
    kind: Kind
    version: str  # of the formula and of the weights: library version, weights' revision or sha256
    scale: str  # in words: range and unit
    higher_is_better: bool
    weights: str | None  # folder, hub id @ revision, or None for a formula without weights
    batch_size: int
    device: str

    def to_json(self) -> dict[str, object]:
        """A plain dictionary for manifests and reports."""
        return asdict(self)


@runtime_checkable
class Scorer(Protocol):
    """Scores images against prompts (kinds `text` and `image`; the latter ignores the prompts)."""

    @property
    def info(self) -> ScorerInfo: ...

    def score(
        self, images: Sequence[Image.Image], prompts: Sequence[str], *, names: Sequence[str] | None = None
    ) -> list[float]: ...

    def count_unread(self, prompts: Sequence[str]) -> int: ...


class BatchedScorer(ABC):
    """Splits the work into batches and checks every value; a subclass says how one batch is scored."""

    def __init__(self, info: ScorerInfo) -> None:
        if info.batch_size < 1:
            raise InputError(f"batch size {info.batch_size} is below 1; give a positive number")
        self._info = info

    @property
    def info(self) -> ScorerInfo:
        return self._info

    def count_unread(self, prompts: Sequence[str]) -> int:
        """How many of the prompts are longer than the scorer reads; 0 for one that reads all or none of a prompt."""
        return self._count_unread(list(prompts)) if self.info.kind == "text" else 0

    def _count_unread(self, _prompts: list[str]) -> int:
        return 0

    @abstractmethod
    def _score_batch(self, images: list[Image.Image], prompts: list[str]) -> list[float]:
        """Scores of one batch; `images` are RGB."""

    def score(
        self, images: Sequence[Image.Image], prompts: Sequence[str], *, names: Sequence[str] | None = None
    ) -> list[float]:
        """One finite float per image, in order; raises ScoringError that names the image that failed.

        `names` are used in error messages only (default: "image 0", "image 1", ...).
        """
        labels = image_labels(images, names)
        same_length(self.info.name, images=images, prompts=prompts)
        rgb = [as_rgb(image, self.info.name, label) for image, label in zip(images, labels, strict=True)]
        scores: list[float] = []
        # Start, stop and step are all counted in images: a slice counted in batches loses most of them.
        for start in range(0, len(rgb), self.info.batch_size):
            batch = slice(start, start + self.info.batch_size)
            scores += self._checked(rgb[batch], list(prompts[batch]), labels[batch])
        return scores

    def _checked(self, images: list[Image.Image], prompts: list[str], labels: list[str]) -> list[float]:
        try:
            with torch.inference_mode():
                scores = self._score_batch(images, prompts)
        except LIBRARY_ERRORS as error:
            if len(images) == 1:
                raise ScoringError(self.info.name, labels[0], f"{type(error).__name__}: {error}") from error
            # One by one, so that the message names the image and not a batch of 32.
            return [
                self._checked([image], [prompt], [label])[0]
                for image, prompt, label in zip(images, prompts, labels, strict=True)
            ]
        return checked_scores(self.info.name, scores, labels)


def checked_scores(scorer: str, scores: Sequence[float], labels: Sequence[str]) -> list[float]:
    """The scores as floats, or an error: one finite number for each image is the contract."""
    if len(scores) != len(labels):
        raise ScoringError(scorer, labels[0], f"{len(scores)} scores came back for {len(labels)} images")
    for score, label in zip(scores, labels, strict=True):
        if not math.isfinite(score):
            raise ScoringError(scorer, label, f"the score is {score}, not a finite number")
    return [float(score) for score in scores]


def same_length(scorer: str, **lists: Sequence[object]) -> None:
    """Raises InputError if the lists that belong together differ in length."""
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(f"{scorer}: {lengths} differ in length; give one of each for every image")


def image_labels(images: Sequence[Image.Image], names: Sequence[str] | None) -> list[str]:
    """How the images are called in error messages."""
    if names is None:
        return [f"image {index}" for index in range(len(images))]
    same_length("names", images=images, names=names)
    return [f"image {name}" for name in names]


def as_rgb(image: object, scorer: str, label: str) -> Image.Image:
    """The image in RGB, loaded; a truncated file fails here, under its own name."""
    if not isinstance(image, Image.Image):
        raise ScoringError(scorer, label, f"expected a PIL image, got {type(image).__name__}")
    if min(image.size) < 1:
        raise ScoringError(scorer, label, f"the image is empty: {image.size[0]}x{image.size[1]}")
    try:
        return image.convert("RGB")
    except (OSError, ValueError) as error:
        raise ScoringError(scorer, label, f"the picture cannot be read: {error}") from error
