"""A model is every byte of its tensors: nothing else changes its identity, and no byte may change without it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from qsched.backbones import BackboneError, load_backbone
from qsched.backbones.identity import model_identity, tensor_digests

UNET = Path("unet", "diffusion_pytorch_model.safetensors")


@pytest.fixture
def folder(random_pipelines, tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return shutil.copytree(random_pipelines["sdxl"], tmp_path / "model")


def test_how_a_model_was_saved_does_not_change_its_identity(folder) -> None:
    before = model_identity(folder)
    tensors = load_file(folder / UNET)
    (folder / UNET).unlink()
    half = len(tensors) // 2
    for number, names in enumerate((list(tensors)[half:], list(tensors)[:half])):
        part = {name: tensors[name] for name in names}
        save_file(part, folder / "unet" / f"diffusion_pytorch_model-0000{number}-of-00002.safetensors", {"note": "x"})
    config = json.loads((folder / "vae" / "config.json").read_text())
    (folder / "vae" / "config.json").write_text(json.dumps({**config, "_name_or_path": "/somewhere/else"}, indent=7))
    (folder / "training.json").write_text("{}")
    assert model_identity(folder) == before


def test_one_byte_far_inside_a_large_file_changes_it_although_size_and_time_stay(folder) -> None:
    """Files over 64 MiB used to count by name and size."""
    path = folder / "unet" / "large.safetensors"
    save_file({"w": torch.zeros(70 * 2**20, dtype=torch.uint8)}, path)
    before, stat = model_identity(folder), path.stat()
    assert model_identity(folder) == before
    with path.open("r+b") as file:
        file.seek(-1_000_000, os.SEEK_END)
        file.write(b"\x01")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_size == stat.st_size and model_identity(folder) != before


@pytest.mark.parametrize("change", ["value", "name", "dtype", "scheduler", "tokenizer", "chat template"])
def test_whatever_changes_a_picture_changes_it(folder, change) -> None:
    before = model_identity(folder)
    tensors = load_file(folder / UNET)
    name = next(iter(tensors))
    if change == "value":
        tensors[name].view(-1)[0] += 1
    elif change == "name":
        tensors["renamed"] = tensors.pop(name)
    elif change == "dtype":
        tensors[name] = tensors[name].half()
    save_file(tensors, folder / UNET)
    if change == "scheduler":
        path = folder / "scheduler" / "scheduler_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "timestep_spacing": "leading"}))
    if change == "tokenizer":
        path = folder / "tokenizer" / "tokenizer.json"
        path.write_text(path.read_text().replace("red", "rod"))
    if change == "chat template":
        (folder / "tokenizer" / "chat_template.jinja").write_text("{{ messages }}")
    assert model_identity(folder) != before


def test_a_file_is_hashed_once(folder, monkeypatch) -> None:
    from qsched.backbones import identity

    before = tensor_digests(folder / UNET)
    monkeypatch.setattr(identity, "_hash_file", lambda path: pytest.fail(f"{path} is hashed again"))
    assert tensor_digests(folder / UNET) == before


def test_a_torn_file_is_named(folder) -> None:
    data = (folder / UNET).read_bytes()
    (folder / UNET).write_bytes(data[: len(data) // 2])
    with pytest.raises(BackboneError, match=r"unet/diffusion_pytorch_model\.safetensors is not a whole safetensors"):
        model_identity(folder)


def without_one(path: Path, part: str) -> str:
    tensors = load_file(path)
    name = next(name for name in tensors if part in name)
    del tensors[name]
    save_file(tensors, path, {"format": "pt"})
    return name


@pytest.mark.parametrize(
    ("place", "part"),
    [("text_encoder/model.safetensors", "fc1.weight"), ("unet/diffusion_pytorch_model.safetensors", "conv_in.weight")],
)
def test_a_component_with_a_missing_tensor_is_refused_by_name(folder, place, part) -> None:
    """A text encoder with missing tensors made pictures of random weights, exit 0."""
    name = without_one(folder / place, part)
    with pytest.raises(BackboneError, match=rf"{place.split('/')[0]} does not fit .*{name} is missing"):
        load_backbone(str(folder))


def test_a_lora_that_is_not_fused_is_refused(folder) -> None:
    tensors = load_file(folder / UNET)
    tensors["down_blocks.0.attn.lora_A.weight"] = torch.zeros(2, 2)
    save_file(tensors, folder / UNET, {"format": "pt"})
    with pytest.raises(BackboneError, match=r"lora_A\.weight is unknown .*fuse it"):
        load_backbone(str(folder))


def test_a_folder_that_has_only_half_precision_files_loads(folder) -> None:
    for path in [*folder.glob("*/*.safetensors")]:
        path.rename(path.with_name(path.name.replace(".safetensors", ".fp16.safetensors")))
    assert load_backbone(str(folder)).dtype is torch.float32


@pytest.mark.parametrize(
    ("defaults", "message"),
    [
        ({"steps": "4"}, "steps is '4'; it must be a whole number"),
        ({"guidance_scale": -1}, "guidance_scale is -1"),
        ({"call_options": []}, "call_options is \\[\\]"),
        ({"call_options": {"latents": 1}}, "call_options names latents, which generation sets itself"),
        ([1], "may hold only"),
    ],
)
def test_defaults_of_a_wrong_type_are_refused_before_anything_is_loaded(folder, defaults, message) -> None:
    (folder / "qsched.json").write_text(json.dumps(defaults))
    shutil.rmtree(folder / "unet")
    with pytest.raises(BackboneError, match=message):
        load_backbone(str(folder))


def test_what_no_one_states_is_said(folder) -> None:
    (folder / "qsched.json").unlink()
    assert load_backbone(str(folder)).assumed == ("steps 4", "guidance_scale 0")
    assert load_backbone(str(folder), steps=2, guidance_scale=0.0).assumed == ()
