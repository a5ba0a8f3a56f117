"""HPSv2.1 and PickScore: CLIP ViT-H-14 fine-tuned on people's choices, each from its own checkpoint layout.

HPSv2.1 (Wu et al. 2023): the cosine itself. `HPS_v2.1_compressed.pt` is a torch file whose key `state_dict` is an
open_clip ViT-H-14. The picture is fitted by its longest side and padded, as the original does; a square
picture is only resized. The original runs in mixed precision, ours in float32.

PickScore v1 (Kirstain et al. 2023): exp(temperature) * cosine. The checkpoint is a transformers `CLIPModel`; its
tensors are renamed to open_clip's (see hf_clip.py), which computes the same function.
"""

from __future__ import annotations

from pathlib import Path

import torch

from qsched.errors import InputError
from qsched.scoring.clip_model import CONFIG_NAME, ClipModel, build_clip, read_clip_config
from qsched.scoring.clip_scorers import ClipScorer, clip_info
from qsched.scoring.hf_clip import read_hf_clip
from qsched.scoring.weights import UNREADABLE, Weights, reason_of, resolve_weights

HPS_FILE = "HPS_v2.1_compressed.pt"
HPS_WEIGHTS = "xswu/HPSv2@697403c78157020a1ae59d23f111aa58ced35b0a"
PICKSCORE_WEIGHTS = "yuvalkirstain/PickScore_v1@a4e4367c6dfa7288a00c550414478f865b875800"


class HpsV21(ClipScorer):
    """Human preference for the image given its prompt: the cosine under HPSv2.1, about 0.2..0.35."""

    def __init__(self, weights: str | Path = HPS_WEIGHTS, *, device: str = "cpu", batch_size: int = 8) -> None:
        self.clip = load_hps(resolve_weights(weights, files=(HPS_FILE,)), device=device)
        super().__init__(clip_info("hpsv2.1", "text", self.clip, "cosine: -1..1, in use 0.2..0.35", batch_size))

    def score_features(self, image_features_BD: torch.Tensor, prompts: list[str]) -> list[float]:
        return (image_features_BD * self.clip.text_features(prompts)).sum(dim=-1).tolist()


class PickScore(ClipScorer):
    """Human preference for the image given its prompt: exp(temperature) * cosine, in use about 17..25."""

    def __init__(self, weights: str | Path = PICKSCORE_WEIGHTS, *, device: str = "cpu", batch_size: int = 8) -> None:
        found = resolve_weights(weights, files=("config.json", "model.safetensors"))
        config, state = read_hf_clip(found.path)
        self.clip = build_clip(config, state, found, device=device)
        scale = f"{self.clip.logit_scale:.4g} * cosine: in use 17..25"
        super().__init__(clip_info("pickscore", "text", self.clip, scale, batch_size))

    def score_features(self, image_features_BD: torch.Tensor, prompts: list[str]) -> list[float]:
        # Each image meets its own prompt: a sum over the pair, never one row of the whole table.
        cosine_B = (image_features_BD * self.clip.text_features(prompts)).sum(dim=-1)
        return (self.clip.logit_scale * cosine_B).tolist()


def load_hps(weights: Weights, *, device: str) -> ClipModel:
    """The HPSv2.1 model of a folder (or of the .pt file itself).

    The architecture is ViT-H-14 unless there is an open_clip_config.json next to the checkpoint.
    """
    import open_clip

    path = weights.path / HPS_FILE if weights.path.is_dir() else weights.path
    if not path.is_file():
        raise InputError(f"{weights.path} has no {HPS_FILE}; it comes from the hub repository {HPS_WEIGHTS}")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise InputError(
            f"{path} cannot be read as a torch checkpoint ({reason_of(error)}); it is cut short or another kind of "
            f"file: fetch it again from {HPS_WEIGHTS}"
        ) from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise InputError(f"{path} has no `state_dict`; HPSv2.1's checkpoint keeps the model under that key")
    config_path = path.with_name(CONFIG_NAME)
    config = read_clip_config(config_path) if config_path.is_file() else open_clip.get_model_config("ViT-H-14")
    return build_clip(config, checkpoint["state_dict"], weights, device=device, resize="longest")
