"""CLIPScore and CLIP-IQA on any open_clip model.

CLIPScore (Hessel et al. 2021, eq. 1):  w * max(cos(image, prompt), 0),  w = 2.5, so roughly 0..1.
The paper puts "A photo depicts" before its captions; a prompt is not a caption, so nothing is put before it
here, as in the common libraries. (Some libraries report 100 * cos: multiply ours by 40.)

CLIP-IQA (Wang et al. 2023, eq. 2): softmax over the logits of an antonym pair, the share of the good one:
    s = exp(t cos(x, good)) / (exp(t cos(x, good)) + exp(t cos(x, bad))),   0..1
with "Good photo." against "Bad photo.", the paper's default pair. The original takes OpenAI's RN50 without its
positional embedding, at the picture's own resolution; ours is any open_clip model as it is, at that model's
input size, so its values are not the published ones. `pyiqa:clipiqa` is the original.
"""

from __future__ import annotations

import math
from pathlib import Path

import open_clip
import torch
from PIL import Image

from qsched.errors import InputError
from qsched.scoring.clip_model import ClipModel, load_clip
from qsched.scoring.protocol import BatchedScorer, ScorerInfo

CLIPSCORE_W = 2.5
ANTONYMS = ("Good photo.", "Bad photo.")
# OpenAI's ViT-B/32, the CLIPScore paper's model, in open_clip's folder layout.
DEFAULT_WEIGHTS = "timm/vit_base_patch32_clip_224.openai@a6f597a30f7b82c51704746581f9a4e41421e878"


class ClipScorer(BatchedScorer):
    """A scorer that needs nothing of an image but its CLIP features, so two of them can share one pass."""

    clip: ClipModel

    def score_features(self, image_features_BD: torch.Tensor, prompts: list[str]) -> list[float]:
        """Scores from unit image features [B, D]."""
        raise NotImplementedError

    def _count_unread(self, prompts: list[str]) -> int:
        return self.clip.count_unread(prompts)

    def _score_batch(self, images: list[Image.Image], prompts: list[str]) -> list[float]:
        return self.score_features(self.clip.image_features(images), prompts)


class ClipScore(ClipScorer):
    """How well the image fits its prompt: 2.5 * max(cos, 0)."""

    def __init__(self, weights: str | Path = DEFAULT_WEIGHTS, *, device: str = "cpu", batch_size: int = 32) -> None:
        self.clip = load_clip(weights, device=device)
        super().__init__(clip_info("clipscore", "text", self.clip, "2.5 * max(cosine, 0): 0..2.5", batch_size))

    def score_features(self, image_features_BD: torch.Tensor, prompts: list[str]) -> list[float]:
        text_features_BD = self.clip.text_features(prompts)
        cosine_B = (image_features_BD * text_features_BD).sum(dim=-1)
        return (CLIPSCORE_W * cosine_B.clamp(min=0)).tolist()


class ClipScore100(ClipScore):
    """The paper's CLIPScore: 100 max(cos, 0), or its logarithm, which the released script ranks by.

    There is no default: the paper takes ViT-L/14. The logarithm of a cosine that is not above 0 is an error.
    """

    def __init__(
        self, weights: str | Path | None = None, *, log: bool, device: str = "cpu", batch_size: int = 32
    ) -> None:
        self._log = log
        name = "clipscore:log" if log else "clipscore:100"
        if weights is None:
            raise InputError(f"{name} has no default weights; the paper takes ViT-L/14: --weights {name}=FOLDER")
        self.clip = load_clip(weights, device=device)
        scale = "log(100 * max(cosine, 0)): up to 4.6" if log else "100 * max(cosine, 0): 0..100"
        BatchedScorer.__init__(self, clip_info(name, "text", self.clip, scale, batch_size))

    def score_features(self, image_features_BD: torch.Tensor, prompts: list[str]) -> list[float]:
        values = [100 / CLIPSCORE_W * value for value in super().score_features(image_features_BD, prompts)]
        # -inf is not a score: the check of every value names the picture.
        return [math.log(value) if value > 0 else -math.inf for value in values] if self._log else values


class ClipIqa(ClipScorer):
    """How good the picture looks, by the antonym pair: the softmax share of "Good photo.", 0..1."""

    def __init__(
        self,
        weights: str | Path = DEFAULT_WEIGHTS,
        *,
        device: str = "cpu",
        batch_size: int = 32,
        antonyms: tuple[str, str] = ANTONYMS,
    ) -> None:
        self.clip = load_clip(weights, device=device)
        self._antonyms_2D = self.clip.text_features(antonyms)
        pair = f"{antonyms[0]!r} against {antonyms[1]!r}"
        super().__init__(clip_info("clip-iqa", "image", self.clip, f"softmax share of {pair}: 0..1", batch_size))

    def score_features(self, image_features_BD: torch.Tensor, _prompts: list[str]) -> list[float]:
        logits_B2 = self.clip.logit_scale * image_features_BD @ self._antonyms_2D.T
        return logits_B2.softmax(dim=-1)[:, 0].tolist()


def clip_info(name: str, kind: str, clip: ClipModel, scale: str, batch_size: int) -> ScorerInfo:
    """The record of a scorer on an open_clip model."""
    return ScorerInfo(
        name=name,
        kind=kind,  # type: ignore[arg-type]
        version=f"open_clip {open_clip.__version__}, weights {clip.weights.identity}",
        scale=scale,
        higher_is_better=True,
        weights=clip.weights.name,
        batch_size=batch_size,
        device=clip.device,
    )
