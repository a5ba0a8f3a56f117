"""One open_clip model, loaded once: images and texts to unit vectors. Every CLIP scorer uses it.

Shapes: B images, D the width of the joint space.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from qsched.errors import InputError
from qsched.scoring.weights import UNREADABLE, Weights, reason_of, resolve_weights

CONFIG_NAME = "open_clip_config.json"
OPEN_CLIP_FILES = (CONFIG_NAME, "open_clip_model.safetensors", "*.json", "*.txt")


@dataclass(frozen=True, eq=False)
class ClipModel:
    """A CLIP with its own preprocessing and tokenizer; `eq=False`: two are equal only if they are the same object."""

    model: Any  # open_clip.CLIP, which has no types
    preprocess: Callable[[Image.Image], torch.Tensor]
    tokenize: Callable[[list[str]], torch.Tensor]
    weights: Weights
    device: str

    @property
    def logit_scale(self) -> float:
        """exp of the learnt temperature: what the cosine is multiplied by before a softmax."""
        return float(self.model.logit_scale.detach().exp())

    @torch.inference_mode()
    def image_features(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """Unit vectors [B, D] in float32."""
        pixels_BCHW = torch.stack([self.preprocess(image.convert("RGB")) for image in images]).to(self.device)
        return torch.nn.functional.normalize(self.model.encode_image(pixels_BCHW).float(), dim=-1)

    @torch.inference_mode()
    def text_features(self, texts: Sequence[str]) -> torch.Tensor:
        """Unit vectors [B, D] in float32; a text longer than the context is cut there, as CLIP does."""
        return torch.nn.functional.normalize(
            self.model.encode_text(self.tokenize(list(texts)).to(self.device)).float(), dim=-1
        )

    def count_unread(self, texts: Sequence[str]) -> int:
        """How many texts reach the end of the context, where CLIP cuts what is longer."""
        if not texts:
            return 0
        padding = self.tokenize([""])[0, -1]
        return int((self.tokenize(list(texts))[:, -1] != padding).sum())


def load_clip(weights: str | Path, *, device: str = "cpu") -> ClipModel:
    """The open_clip model in a folder with `open_clip_config.json`, or at a pinned hub id.

    The same weights on the same device are loaded once in the life of the process.
    """
    return _load(resolve_weights(weights, files=OPEN_CLIP_FILES), device)


@lru_cache(maxsize=4)
def _load(weights: Weights, device: str) -> ClipModel:
    import open_clip

    folder = weights.path
    if not (folder / CONFIG_NAME).is_file():
        raise InputError(
            f"{folder} has no {CONFIG_NAME}; an open_clip folder has that file, its weights "
            "(open_clip_model.safetensors) and, if the config names one, its tokenizer"
        )
    read_clip_config(folder / CONFIG_NAME)
    try:
        model, _, preprocess = open_clip.create_model_and_transforms(
            f"local-dir:{folder}", device=device, require_pretrained=True
        )
        tokenize = open_clip.get_tokenizer(f"local-dir:{folder}")
    except UNREADABLE as error:
        raise InputError(
            f"{folder} does not load as an open_clip model ({reason_of(error)}); {CONFIG_NAME} and the weights must be "
            "whole and belong together: fetch the folder again"
        ) from error
    return ClipModel(model.eval().requires_grad_(False), preprocess, tokenize, weights, device)


def build_clip(
    config: dict[str, Any], state: dict[str, torch.Tensor], weights: Weights, *, device: str, resize: str = "shortest"
) -> ClipModel:
    """An open_clip model from its config and a state dict that must fit it key by key.

    For checkpoints that do not come in open_clip's folder layout (HPSv2.1, PickScore); tokenizer and
    normalisation are the original CLIP's, `resize` is `shortest` (then centre crop) or `longest` (then pad).
    """
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2

    try:
        model = open_clip.CLIP(**config)
        model.load_state_dict(state, strict=True)
        preprocess = image_transform_v2(
            PreprocessCfg(size=config["vision_cfg"]["image_size"], resize_mode=resize), is_train=False
        )
        tokenize = open_clip.SimpleTokenizer(context_length=config["text_cfg"]["context_length"])
    except UNREADABLE as error:
        raise InputError(
            f"{weights.path} does not fit the architecture {config} ({reason_of(error)}); give the checkpoint and the "
            "config that belong together"
        ) from error
    return ClipModel(model.to(device).eval().requires_grad_(False), preprocess, tokenize, weights, device)


def clip_pixels(size: int) -> Callable[[Image.Image], torch.Tensor]:
    """CLIP's own preprocessing: the shortest side to `size` (bicubic), the middle square, CLIP's mean and spread."""
    from open_clip.transform import PreprocessCfg, image_transform_v2

    transform: Callable[[Image.Image], torch.Tensor] = image_transform_v2(PreprocessCfg(size=size), is_train=False)
    return transform


def read_clip_config(path: Path) -> dict[str, Any]:
    """The `model_cfg` of an open_clip_config.json."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))["model_cfg"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not an open_clip config with a `model_cfg`: {reason_of(error)}") from error
    if not isinstance(config, dict):
        raise InputError(f"{path}: `model_cfg` is {config!r:.60}; it must be a table of the architecture's settings")
    return config
