"""ImageReward (Xu et al. 2023): what people prefer, by BLIP and a head of five linear layers.

    reward = (mlp(BLIP(prompt | picture) at the first token) - 0.16717...) / 1.03333...

BLIP is a ViT-L/16 at 224 pixels and a BERT with cross-attention; the head has no activations, so it is one linear map.
The package `image-reward` needs timm 0.6.13 and fairscale and cannot be installed beside ours; transformers has both
networks, and the names of the tensors are translated here.

A folder has `ImageReward.pt` and `med_config.json` (hub: THUDM/ImageReward) and a BERT tokenizer (bert-base-uncased).
A prompt is cut at 35 tokens, as in the original.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from qsched.errors import InputError
from qsched.scoring.checkpoints import State, find_file, load_whole, read_json, read_tensors, taken
from qsched.scoring.clip_model import clip_pixels
from qsched.scoring.extra_packages import import_extra
from qsched.scoring.protocol import BatchedScorer, ScorerInfo
from qsched.scoring.weights import UNREADABLE, Weights, reason_of, resolve_weights

MEAN, STD = 0.16717362830052426, 1.0333394966054072
CONTEXT = 35
HEAD_WIDTH = 64  # of an attention head, in ViT-B and ViT-L alike
MLP_LAYERS = (0, 2, 4, 6, 7)  # the linear ones of the head; between them are dropouts
WHAT = "an ImageReward folder has ImageReward.pt, med_config.json (THUDM/ImageReward) and a bert-base-uncased tokenizer"
VISION_NAMES = (
    (r"^cls_token$", "embeddings.class_embedding"),
    (r"^pos_embed$", "embeddings.position_embedding"),
    (r"^patch_embed\.proj\.", "embeddings.patch_embedding."),
    (r"^blocks\.(\d+)\.norm1\.", r"encoder.layers.\1.layer_norm1."),
    (r"^blocks\.(\d+)\.norm2\.", r"encoder.layers.\1.layer_norm2."),
    (r"^blocks\.(\d+)\.attn\.qkv\.", r"encoder.layers.\1.self_attn.qkv."),
    (r"^blocks\.(\d+)\.attn\.proj\.", r"encoder.layers.\1.self_attn.projection."),
    (r"^blocks\.(\d+)\.mlp\.", r"encoder.layers.\1.mlp."),
    (r"^norm\.", "post_layernorm."),
)


class ImageReward(BatchedScorer):
    """Human preference for the picture given its prompt: about -2 to 2."""

    def __init__(self, weights: str | Path | None = None, *, device: str = "cpu", batch_size: int = 8) -> None:
        if weights is None:
            raise InputError(f"image-reward has no default weights: --weights image-reward=FOLDER; {WHAT}")
        found = resolve_weights(weights)
        self._vision, self._text, self._head, self._tokenize = _load(found, device)
        size = self._vision.config.image_size
        self._pixels = clip_pixels(size)
        version = import_extra("transformers", "reward").__version__
        super().__init__(
            ScorerInfo(
                name="image-reward",
                kind="text",
                version=f"transformers {version}, weights {found.identity}",
                scale="standard deviations of the training rewards: in use -2..2",
                higher_is_better=True,
                weights=found.name,
                batch_size=batch_size,
                device=device,
            )
        )

    def _count_unread(self, prompts: list[str]) -> int:
        return sum(len(self._tokenize(prompt).input_ids) > CONTEXT for prompt in prompts)

    def _score_batch(self, images: list[Image.Image], prompts: list[str]) -> list[float]:
        pixels_BCHW = torch.stack([self._pixels(image) for image in images]).to(self.info.device)
        words = self._tokenize(
            prompts, padding="max_length", truncation=True, max_length=CONTEXT, return_tensors="pt"
        ).to(self.info.device)
        seen_BND = self._vision(pixels_BCHW).last_hidden_state
        read_BLD = self._text(
            input_ids=words.input_ids,
            attention_mask=words.attention_mask,
            encoder_hidden_states=seen_BND,
            encoder_attention_mask=torch.ones(seen_BND.shape[:2], dtype=torch.long, device=seen_BND.device),
        ).last_hidden_state
        rewards: list[float] = ((self._head(read_BLD[:, 0].float())[:, 0] - MEAN) / STD).tolist()
        return rewards


def _load(found: Weights, device: str) -> tuple[Any, Any, Any, Any]:
    """(vision network, text network, head, tokenizer), every tensor of the checkpoint in its place."""
    transformers = import_extra("transformers", "reward")
    from transformers.models.blip.modeling_blip_text import BlipTextModel

    folder = found.path
    path = find_file(folder, "ImageReward.pt", what=WHAT)
    config = read_json(find_file(folder, "med_config.json", what=WHAT))
    state = read_tensors(path)
    try:
        vision_state = _renamed(taken(state, "blip.visual_encoder."))
        text_state, head_state = taken(state, "blip.text_encoder."), taken(state, "mlp.layers.")
        text_state.pop("embeddings.position_ids", None)
        head_state = {
            f"{MLP_LAYERS.index(int(number))}.{part}": tensor
            for (number, part), tensor in ((name.split("."), tensor) for name, tensor in head_state.items())
        }
        for unused in ("blip.vision_proj.", "blip.text_proj."):
            taken(state, unused)
        if state:
            raise InputError(f"{path} holds {sorted(state)[:3]}, which this architecture does not have")
        vision = transformers.BlipVisionModel(transformers.BlipVisionConfig(**_vision_config(vision_state)))
        config["vocab_size"], width = text_state["embeddings.word_embeddings.weight"].shape
        text: Any = BlipTextModel(
            transformers.BlipTextConfig(
                **{key: config[key] for key in config if key not in ("architectures", "model_type", "encoder_width")},
                encoder_hidden_size=vision.config.hidden_size,
                projection_dim=width,
            ),
            add_pooling_layer=False,
        )
        sizes = [head_state[f"{i}.weight"].shape for i in range(len(MLP_LAYERS))]
        head: Any = torch.nn.Sequential(*(torch.nn.Linear(inside, outside) for outside, inside in sizes))
        tokenize = transformers.BertTokenizer.from_pretrained(folder)
    except UNREADABLE as error:
        raise InputError(f"{folder} does not load as ImageReward ({reason_of(error)}); {WHAT}") from error
    for module, tensors in ((vision, vision_state), (text, text_state), (head, head_state)):
        load_whole(module, tensors, where=path)
    vision, text, head = (module.to(device).eval().requires_grad_(False) for module in (vision, text, head))
    return vision, text, head, tokenize


def _renamed(state: State) -> State:
    """The vision tensors by the names of transformers."""
    found = {}
    for name, tensor in state.items():
        for pattern, ours in VISION_NAMES:
            if re.search(pattern, name):
                found[re.sub(pattern, ours, name)] = tensor
                break
        else:
            found[name] = tensor  # load_whole names it
    return found


def _vision_config(state: State) -> dict[str, Any]:
    """The architecture as the tensors show it; the checkpoint has no config of it."""
    width, _, patch, _ = state["embeddings.patch_embedding.weight"].shape
    side = round((state["embeddings.position_embedding"].shape[1] - 1) ** 0.5)
    return {
        "hidden_size": width,
        "intermediate_size": state["encoder.layers.0.mlp.fc1.weight"].shape[0],
        "num_hidden_layers": 1 + max(int(name.split(".")[2]) for name in state if name.startswith("encoder.layers.")),
        "num_attention_heads": max(1, width // HEAD_WIDTH),
        "image_size": side * patch,
        "patch_size": patch,
        "layer_norm_eps": 1e-6,
        "hidden_act": "gelu",
    }
