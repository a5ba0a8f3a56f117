"""JAQ, the joint alignment-quality score that calibration maximises (Q-Sched, arXiv 2509.01624).

    JAQ(image, prompt) = TC(image, prompt) + k IQ(image),   k = 2

TC and IQ come from scorers by name; IQ may want the prompt, as the paper's HPSv2.1 does. Their scales differ, so a JAQ
is only a number together with its scorers, their versions, their scales, k and its units: that is JaqRecord. In units
of their spread (`sd`), TC and IQ are divided by their standard deviation over pictures of the stock scheduler first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import torch
from PIL import Image

from qsched.errors import InputError
from qsched.scoring.clip_scorers import ClipScorer
from qsched.scoring.protocol import (
    LIBRARY_ERRORS,
    Scorer,
    ScorerInfo,
    as_rgb,
    checked_scores,
    image_labels,
    same_length,
)

DEFAULT_K = 2.0
LARGEST_K = 1e6  # IQ alone is left long before; above, a sum can leave the range of a float


UnitKind = Literal["raw", "sd"]
UNIT_KINDS: tuple[UnitKind, ...] = ("raw", "sd")


@dataclass(frozen=True)
class Units:
    """What TC and IQ are divided by before they are added: 1, or their spread over pictures of the stock scheduler."""

    kind: UnitKind = "raw"
    tc: float = 1.0
    iq: float = 1.0


RAW = Units()


def spread_units(tc: Sequence[float], iq: Sequence[float]) -> Units:
    """Units of the standard deviations of these values; InputError for a term that is the same for all of them."""
    spreads = {}
    for term, values in (("TC", tc), ("IQ", iq)):
        mean = sum(values) / len(values)
        spread = math.sqrt(sum((value - mean) ** 2 for value in values) / max(1, len(values) - 1))
        if spread <= 1e-9 * max(1e-3, abs(mean)):
            raise InputError(
                f"{term} is {mean:.6g} for all {len(values)} pictures, so it has no spread to be divided by; leave "
                "--k-units sd out, or use another scorer or other prompts"
            )
        spreads[term] = spread
    return Units("sd", spreads["TC"], spreads["IQ"])


@dataclass(frozen=True)
class JaqRecord:
    """What a JAQ was made of."""

    tc: ScorerInfo
    iq: ScorerInfo
    k: float
    units: Units = RAW

    @property
    def formula(self) -> str:
        """The sum in words."""
        return "TC + k * IQ" if self.units.kind == "raw" else "TC / sd(TC) + k * IQ / sd(IQ)"

    def to_json(self) -> dict[str, object]:
        """A plain dictionary for provenance."""
        terms = {"tc": self.tc.to_json(), "iq": self.iq.to_json()}
        return {"formula": self.formula, "k": self.k, "units": asdict(self.units), **terms}


@dataclass(frozen=True)
class JaqScores:
    """Per-image values, in the order of the images."""

    tc: tuple[float, ...]
    iq: tuple[float, ...]
    jaq: tuple[float, ...]


def jaq(tc: float, iq: float, *, k: float = DEFAULT_K, units: Units = RAW) -> float:
    """TC + k IQ of one image, each divided by its unit."""
    return tc / units.tc + k * (iq / units.iq)


def checked_k(k: float) -> float:
    """k itself; InputError for one that is negative, not finite or beyond all use."""
    if not (math.isfinite(k) and 0 <= k <= LARGEST_K):
        raise InputError(f"k is {k}; it must be a number from 0 to {LARGEST_K:,.0f} (the paper takes 2)")
    return k


def checked_unit_kind(kind: str) -> UnitKind:
    """`raw` or `sd`; InputError for anything else."""
    for known in UNIT_KINDS:
        if kind == known:
            return known
    raise InputError(f"k units {kind!r} are unknown; choose {' or '.join(UNIT_KINDS)}")


class Jaq:
    """Scores images by JAQ; one CLIP pass per image if both scorers use the same CLIP."""

    def __init__(self, tc: Scorer, iq: Scorer, *, k: float = DEFAULT_K, units: Units = RAW) -> None:
        if tc.info.kind != "text":
            raise InputError(f"TC scorer {tc.info.name!r} ignores the prompt; use clipscore, hpsv2.1 or pickscore")
        if iq.info.kind not in ("image", "text"):
            raise InputError(f"IQ scorer {iq.info.name!r} compares with another picture; use clip-iqa or pyiqa:<name>")
        if iq.info.name == tc.info.name:
            raise InputError(f"{tc.info.name!r} is both TC and IQ, so JAQ would be one score twice; choose another IQ")
        for scorer in (tc, iq):
            if not scorer.info.higher_is_better:
                raise InputError(f"{scorer.info.name!r} is better when lower; JAQ is a sum to be maximised")
        self.tc, self.iq, self.k, self.units = tc, iq, checked_k(k), units

    @property
    def record(self) -> JaqRecord:
        """Scorers, versions, scales, k and units."""
        return JaqRecord(self.tc.info, self.iq.info, self.k, self.units)

    def in_units(self, units: Units) -> Jaq:
        """The same scorers and k in other units."""
        return Jaq(self.tc, self.iq, k=self.k, units=units)

    def combined(self, tc: float, iq: float) -> float:
        """JAQ of one image from its two terms."""
        return jaq(tc, iq, k=self.k, units=self.units)

    def score(
        self, images: Sequence[Image.Image], prompts: Sequence[str], *, names: Sequence[str] | None = None
    ) -> JaqScores:
        """TC, IQ and JAQ of every image against its own prompt; raises ScoringError naming the image."""
        if self._one_clip():
            tc, iq = self._score_shared(images, prompts, names)
        else:
            tc = self.tc.score(images, prompts, names=names)
            iq = self.iq.score(images, prompts, names=names)
        return JaqScores(tuple(tc), tuple(iq), tuple(self.combined(t, i) for t, i in zip(tc, iq, strict=True)))

    def _one_clip(self) -> bool:
        return isinstance(self.tc, ClipScorer) and isinstance(self.iq, ClipScorer) and self.tc.clip is self.iq.clip

    def _score_shared(
        self, images: Sequence[Image.Image], prompts: Sequence[str], names: Sequence[str] | None
    ) -> tuple[list[float], list[float]]:
        assert isinstance(self.tc, ClipScorer) and isinstance(self.iq, ClipScorer)
        labels = image_labels(images, names)
        same_length("jaq", images=images, prompts=prompts)
        size = self.tc.info.batch_size
        tc: list[float] = []
        iq: list[float] = []
        for start in range(0, len(images), size):
            batch = slice(start, start + size)
            rgb = [as_rgb(image, "jaq", label) for image, label in zip(images[batch], labels[batch], strict=True)]
            texts = list(prompts[batch])
            try:
                with torch.inference_mode():
                    features_BD = self.tc.clip.image_features(rgb)
                    values = self.tc.score_features(features_BD, texts), self.iq.score_features(features_BD, texts)
            except LIBRARY_ERRORS:
                # The plain path scores one by one after a failure and names the image.
                values = self.tc.score(rgb, texts, names=labels[batch]), self.iq.score(rgb, texts, names=labels[batch])
            tc += checked_scores(self.tc.info.name, values[0], labels[batch])
            iq += checked_scores(self.iq.info.name, values[1], labels[batch])
        return tc, iq
