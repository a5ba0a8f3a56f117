"""A transformers CLIPModel folder read as an open_clip config and state dict: the same function, other names.

transformers keeps query, key and value apart and projections as Linear; open_clip stacks q, k, v in one
matrix (as torch's MultiheadAttention) and stores projections transposed. A tensor that has no place is an
error, so nothing is left behind quietly.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from qsched.errors import InputError
from qsched.scoring.weights import UNREADABLE, reason_of

# (transformers, open_clip) inside one layer; q, k, v are handled apart.
LAYER_NAMES = (
    ("layer_norm1", "ln_1"),
    ("layer_norm2", "ln_2"),
    ("self_attn.out_proj", "attn.out_proj"),
    ("mlp.fc1", "mlp.c_fc"),
    ("mlp.fc2", "mlp.c_proj"),
)
VISION_NAMES = (
    ("vision_model.embeddings.class_embedding", "visual.class_embedding"),
    ("vision_model.embeddings.patch_embedding.weight", "visual.conv1.weight"),
    ("vision_model.embeddings.position_embedding.weight", "visual.positional_embedding"),
    ("vision_model.pre_layrnorm.weight", "visual.ln_pre.weight"),  # spelt so in transformers
    ("vision_model.pre_layrnorm.bias", "visual.ln_pre.bias"),
    ("vision_model.post_layernorm.weight", "visual.ln_post.weight"),
    ("vision_model.post_layernorm.bias", "visual.ln_post.bias"),
)
TEXT_NAMES = (
    ("text_model.embeddings.token_embedding.weight", "token_embedding.weight"),
    ("text_model.embeddings.position_embedding.weight", "positional_embedding"),
    ("text_model.final_layer_norm.weight", "ln_final.weight"),
    ("text_model.final_layer_norm.bias", "ln_final.bias"),
)
BUFFERS = ("vision_model.embeddings.position_ids", "text_model.embeddings.position_ids")


def read_hf_clip(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """(open_clip config, state dict) of a folder with `config.json` and `model.safetensors`."""
    config_path, weights_path = folder / "config.json", folder / "model.safetensors"
    for path in (config_path, weights_path):
        if not path.is_file():
            raise InputError(f"{folder} holds no {path.name}; a transformers CLIPModel folder has both files")
    try:
        hf_config = json.loads(config_path.read_text(encoding="utf-8"))
        config = convert_config(hf_config)
    except UNREADABLE as error:
        raise InputError(f"{config_path} is not the config of a CLIPModel: {error!r}") from error
    try:
        tensors = load_file(weights_path)
    except UNREADABLE as error:
        raise InputError(
            f"{weights_path} cannot be read as safetensors ({reason_of(error)}); it is cut short or another kind of "
            "file: fetch it again"
        ) from error
    return config, convert_state(tensors, where=weights_path)


def convert_config(hf: dict[str, Any]) -> dict[str, Any]:
    """The open_clip config that computes what this transformers CLIPConfig does; raises KeyError or ValueError."""
    text, vision = hf["text_config"], hf["vision_config"]
    activations = {part.get("hidden_act", "quick_gelu") for part in (text, vision)}
    if len(activations) > 1 or not activations <= {"gelu", "quick_gelu"}:
        raise ValueError(f"hidden_act is {sorted(activations)}; both towers must use gelu or both quick_gelu")
    return {
        "embed_dim": hf["projection_dim"],
        "vision_cfg": {
            "image_size": vision["image_size"],
            "layers": vision["num_hidden_layers"],
            "width": vision["hidden_size"],
            "head_width": vision["hidden_size"] // vision["num_attention_heads"],
            "mlp_ratio": vision["intermediate_size"] / vision["hidden_size"],
            "patch_size": vision["patch_size"],
        },
        "text_cfg": {
            "context_length": text.get("max_position_embeddings", 77),
            "vocab_size": text.get("vocab_size", 49408),
            "width": text["hidden_size"],
            "heads": text["num_attention_heads"],
            "layers": text["num_hidden_layers"],
            "mlp_ratio": text["intermediate_size"] / text["hidden_size"],
        },
        "quick_gelu": activations == {"quick_gelu"},
    }


def convert_state(hf: dict[str, torch.Tensor], *, where: Path) -> dict[str, torch.Tensor]:
    """Rename and restack the tensors of a transformers CLIPModel; raises InputError for one without a place."""
    rest = {name: tensor.float() for name, tensor in hf.items() if name not in BUFFERS}
    try:
        state = {
            "logit_scale": rest.pop("logit_scale"),
            "visual.proj": rest.pop("visual_projection.weight").T.contiguous(),
            "text_projection": rest.pop("text_projection.weight").T.contiguous(),
        }
        for theirs, ours in VISION_NAMES + TEXT_NAMES:
            state[ours] = rest.pop(theirs)
        for tower, blocks in (("vision_model", "visual.transformer"), ("text_model", "transformer")):
            for layer in _layer_numbers(rest, tower):
                source, target = f"{tower}.encoder.layers.{layer}", f"{blocks}.resblocks.{layer}"
                for part in ("weight", "bias"):
                    qkv = [rest.pop(f"{source}.self_attn.{name}_proj.{part}") for name in "qkv"]
                    state[f"{target}.attn.in_proj_{part}"] = torch.cat(qkv)
                    for theirs, ours in LAYER_NAMES:
                        state[f"{target}.{ours}.{part}"] = rest.pop(f"{source}.{theirs}.{part}")
    except KeyError as error:
        raise InputError(f"{where} lacks the tensor {error}; it is not a transformers CLIPModel") from error
    except (ValueError, RuntimeError) as error:
        raise InputError(f"{where} is not laid out as a transformers CLIPModel: {reason_of(error)}") from error
    if rest:
        raise InputError(f"{where} has tensors without a place in a CLIP: {sorted(rest)[:4]}")
    return state


def _layer_numbers(state: dict[str, torch.Tensor], tower: str) -> list[int]:
    prefix = f"{tower}.encoder.layers."
    return sorted({int(name[len(prefix) :].split(".")[0]) for name in state if name.startswith(prefix)})
