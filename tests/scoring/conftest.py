"""Random-weight CLIPs, small in width but whole in layout, saved to disk as the real checkpoints are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.scoring.pictures import picture

# ViT-H-14 with its depth and width scaled down; tokenizer and context length are the real ones.
SMALL_CLIP = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 28, "layers": 2, "width": 32, "head_width": 16, "patch_size": 14},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An open_clip folder: open_clip_config.json and open_clip_model.safetensors."""
    import open_clip
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(2)
    model = open_clip.CLIP(**SMALL_CLIP)
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    # Freshly drawn embeddings are so small that all texts look the same; larger, prompts differ.
    state["token_embedding.weight"] = state["token_embedding.weight"] * 50
    save_file(state, folder / "open_clip_model.safetensors")
    config = {"model_cfg": SMALL_CLIP, "preprocess_cfg": {"size": 28}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="session")
def hps_folder(clip_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """HPSv2.1's layout: a torch file with the key `state_dict`, here with its own small architecture beside it."""
    from safetensors.torch import load_file

    folder = tmp_path_factory.mktemp("hps")
    state = load_file(clip_folder / "open_clip_model.safetensors")
    torch.save({"epoch": 1, "state_dict": state}, folder / "HPS_v2.1_compressed.pt")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": SMALL_CLIP}))
    return folder


@pytest.fixture(scope="session")
def pickscore_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PickScore's layout: a transformers CLIPModel saved with save_pretrained."""
    from transformers import CLIPConfig, CLIPModel

    folder = tmp_path_factory.mktemp("pickscore")
    torch.manual_seed(1)
    tower = {"num_attention_heads": 2, "num_hidden_layers": 2, "hidden_act": "gelu"}
    config = CLIPConfig(
        text_config={**tower, "hidden_size": 16, "intermediate_size": 64, "eos_token_id": 49407, "bos_token_id": 49406},
        vision_config={**tower, "hidden_size": 32, "intermediate_size": 128, "image_size": 28, "patch_size": 14},
        projection_dim=24,
    )
    CLIPModel(config).eval().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    """Seven different pictures: more than one batch of three, and not a multiple of it."""
    return [picture(seed) for seed in range(7)]
