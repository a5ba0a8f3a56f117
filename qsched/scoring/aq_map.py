"""AQ-Map: are the things that a prompt names in the picture? The paper's alignment term for SDXL-Turbo and FLUX.

    AQ-Map = mean over the nouns of the prompt's noun phrases of  sigmoid(10 <f, t_noun - t_empty>),   0..1

f is the picture's class token under CLIP (ViT-B/16 in the paper), t_noun the mean of the unit vectors of the noun in
open_clip's 80 prompt templates, made a unit vector, and t_empty that of the empty text. CLIP Surgery's class token is
the ordinary CLIP's, so no second architecture is needed. Nouns come from spaCy (extra `aq-map`).

The released script differs: it normalises the picture's features over tokens instead of channels, uses CLIP Surgery's
own list of templates, and turns every exception into a score of 0.0. Here a prompt without a noun is an error that
names it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import torch

from qsched.errors import InputError
from qsched.scoring.clip_model import load_clip
from qsched.scoring.clip_scorers import ClipScorer, clip_info
from qsched.scoring.extra_packages import import_extra

SHARPNESS = 10.0
NOUN_MODEL = "en_core_web_sm"
Nouns = Callable[[str], list[str]]


class AqMap(ClipScorer):
    """How clearly the picture holds what the prompt names, 0..1."""

    def __init__(
        self,
        weights: str | Path | None = None,
        *,
        device: str = "cpu",
        batch_size: int = 32,
        nouns: Nouns | None = None,
    ) -> None:
        if weights is None:
            raise InputError("aq-map has no default weights; give an open_clip ViT-B/16: --weights aq-map=FOLDER")
        self.clip = load_clip(weights, device=device)
        self._nouns, source = (nouns, "given nouns") if nouns is not None else spacy_nouns()
        self._directions: dict[str, torch.Tensor] = {}
        scale = f"mean over nouns ({source}) of sigmoid(10 <image, noun - empty>): 0..1"
        super().__init__(clip_info("aq-map", "text", self.clip, scale, batch_size))

    def score_features(self, image_features_BD: torch.Tensor, prompts: list[str]) -> list[float]:
        scores = []
        for features_D, prompt in zip(image_features_BD, prompts, strict=True):
            nouns = self._nouns(prompt)
            if not nouns:
                raise ValueError(f"no noun in the prompt {prompt!r}; a prompt must name something for aq-map")
            directions_ND = torch.stack([self._direction(noun) for noun in nouns])
            scores.append(float(torch.sigmoid(SHARPNESS * directions_ND @ features_D).mean()))
        return scores

    def _direction(self, noun: str) -> torch.Tensor:
        """t_noun - t_empty [D], computed once for each noun."""
        if noun not in self._directions:
            self._directions[noun] = self._ensembled(noun) - self._empty
        return self._directions[noun]

    @functools.cached_property
    def _empty(self) -> torch.Tensor:
        return self._ensembled("")

    def _ensembled(self, text: str) -> torch.Tensor:
        """The unit vector of a text's mean over the templates [D]."""
        features_TD = self.clip.text_features([template(text) for template in open_clip.OPENAI_IMAGENET_TEMPLATES])
        mean_D: torch.Tensor = torch.nn.functional.normalize(features_TD.mean(dim=0), dim=0)
        return mean_D


def spacy_nouns(model: str = NOUN_MODEL) -> tuple[Nouns, str]:
    """(a function from a prompt to its nouns, the model's name and version); InputError if the model is not there."""
    spacy = import_extra("spacy", "aq-map")
    try:
        parse = spacy.load(model)
    except OSError as error:
        raise InputError(f"aq-map needs spaCy's {model}: python -m spacy download {model}") from error
    return lambda prompt: nouns_of(parse(prompt)), f"spaCy {model} {parse.meta['version']}"


def nouns_of(parsed: Any) -> list[str]:
    """The nouns in the noun phrases of a parsed text, each once, in their order."""
    found = (token.text.lower() for chunk in parsed.noun_chunks for token in chunk if token.pos_ in ("NOUN", "PROPN"))
    return list(dict.fromkeys(found))
