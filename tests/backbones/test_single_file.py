"""A checkpoint in one file becomes a backbone like any other: the same pictures, fused adapters, quantized."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from qsched.backbones import BackboneError, load_backbone
from qsched.backbones.single_file import convert_single_file
from qsched.cli.main import app
from qsched.generation import render_batch
from qsched.precision import apply_precision

_RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0"}
_RESNET |= {"conv2": "out_layers.3", "conv_shortcut": "skip_connection"}
_VAE = {"norm_out": "conv_norm_out", "mid.block_1": "mid_block.resnets.0", "mid.block_2": "mid_block.resnets.1"}
_VAE |= {"mid.attn_1.norm": "mid_block.attentions.0.group_norm", "mid.attn_1.q": "mid_block.attentions.0.to_q"}
_VAE |= {"mid.attn_1.k": "mid_block.attentions.0.to_k", "mid.attn_1.v": "mid_block.attentions.0.to_v"}
_VAE |= {"mid.attn_1.proj_out": "mid_block.attentions.0.to_out.0", "nin_shortcut": "conv_shortcut"}
_ENDS = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2", "conv_out": "out.2"}
_ENDS |= {"conv_in": "input_blocks.0.0", "conv_norm_out": "out.0"}


def unet_name(name: str) -> str:
    """The original name of a tensor of a U-Net with two blocks of one layer."""
    for ours, theirs in _ENDS.items():
        if name.startswith(ours + "."):
            return name.replace(ours, theirs, 1)
    block, i, kind, j, rest = re.fullmatch(
        r"(down|up|mid)_block(?:s\.(\d))?\.(resnets|attentions|\w+samplers)\.(\d)\.(.*)", name
    ).groups()
    i, j = int(i or 0), int(j)
    if kind == "resnets":
        head, tail = rest.split(".", 1)
        rest = f"{_RESNET[head]}.{tail}"
    if block == "mid":
        return f"middle_block.{1 if kind == 'attentions' else 2 * j}.{rest}"
    if block == "down":
        where = f"{2 * i + 1}.{0 if kind == 'resnets' else 1}" if kind != "downsamplers" else f"{2 * i + 2}.0"
        return f"input_blocks.{where}.{rest.replace('conv.', 'op.') if kind == 'downsamplers' else rest}"
    if kind == "upsamplers":
        return f"output_blocks.{2 * i + 1}.2.{rest}"
    return f"output_blocks.{2 * i + j}.{0 if kind == 'resnets' else 1}.{rest}"


def vae_name(name: str) -> str:
    """The original name of a tensor of a VAE with two blocks."""
    for theirs, ours in _VAE.items():
        name = name.replace(ours, theirs)
    name = re.sub(r"down_blocks\.(\d)\.resnets\.(\d)", r"down.\1.block.\2", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets\.(\d)", lambda m: f"up.{1 - int(m[1])}.block.{m[2]}", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    return re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{1 - int(m[1])}.upsample", name)


def original(folder: Path) -> dict[str, torch.Tensor]:
    """The weights of an SD 1.5 folder under the names of its authors."""
    unet = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    vae = load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")
    text = load_file(folder / "text_encoder" / "model.safetensors")
    tensors = {f"model.diffusion_model.{unet_name(name)}": tensor for name, tensor in unet.items()}
    for name, tensor in vae.items():
        convolved = re.search(r"attn_1\.(q|k|v|proj_out)\.weight", vae_name(name))
        tensors[f"first_stage_model.{vae_name(name)}"] = tensor[..., None, None] if convolved else tensor
    prefix = "cond_stage_model.transformer."
    named = {name if name.startswith("text_model.") else f"text_model.{name}": t for name, t in text.items()}
    return tensors | {f"{prefix}{name}": tensor for name, tensor in named.items()}


@pytest.fixture(scope="module")
def checkpoint(random_pipelines, tmp_path_factory) -> tuple[Path, Path]:
    """(a file with an SD 1.5 under its original names, a folder of its configuration without weights)."""
    root = tmp_path_factory.mktemp("single")
    save_file({n: t.contiguous() for n, t in original(random_pipelines["sd15"]).items()}, root / "model.safetensors")
    config = Path(shutil.copytree(random_pipelines["sd15"], root / "config"))
    for weights in config.glob("*/*.safetensors"):
        weights.unlink()
    return root / "model.safetensors", config


def pictures(folder: Path, precision: str | None = None) -> list[bytes]:
    backbone = load_backbone(str(folder))
    if precision is not None:
        apply_precision(backbone, precision)
    return [picture.tobytes() for picture in render_batch(backbone, ["a red ring", "a dot"], [1, 2])]


def test_a_converted_file_makes_the_pictures_of_the_folder_it_was_made_from(
    random_pipelines, checkpoint, tmp_path
) -> None:
    file, config = checkpoint
    command = ["convert", str(file), "--config", str(config), "--out", str(tmp_path / "new")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "unet, vae" in result.output and "float32" in result.output
    for precision in (None, "w4a4"):
        assert pictures(tmp_path / "new", precision) == pictures(random_pipelines["sd15"], precision)
    with pytest.raises(BackboneError, match="is there already"):
        convert_single_file(file, config, tmp_path / "new")


def test_what_the_file_lacks_comes_from_the_configuration_or_is_named(random_pipelines, checkpoint, tmp_path) -> None:
    file, config = checkpoint
    only = {name: tensor for name, tensor in load_file(file).items() if name.startswith("model.diffusion_model.")}
    save_file(only, tmp_path / "unet.safetensors")
    with pytest.raises(BackboneError, match=r"no weights of the text_encoder and vae|vae and text_encoder"):
        convert_single_file(tmp_path / "unet.safetensors", config, tmp_path / "new")
    made = convert_single_file(tmp_path / "unet.safetensors", random_pipelines["sd15"], tmp_path / "new")
    assert made.from_file == ("unet",) and made.used == made.there
    assert pictures(tmp_path / "new") == pictures(random_pipelines["sd15"])
    only.pop("model.diffusion_model.out.2.bias")
    save_file(only, tmp_path / "torn.safetensors")
    with pytest.raises(BackboneError, match=r"does not load as the Stable|lacks 1 tensors of the unet"):
        convert_single_file(tmp_path / "torn.safetensors", random_pipelines["sd15"], tmp_path / "torn")
    assert not (tmp_path / "torn").exists()


def test_a_configuration_that_lacks_something_is_refused_by_name(checkpoint, tmp_path) -> None:
    file, config = checkpoint
    less = Path(shutil.copytree(config, tmp_path / "less"))
    (less / "unet" / "config.json").unlink()
    shutil.rmtree(less / "scheduler")
    with pytest.raises(BackboneError, match=r"lacks scheduler/scheduler_config\.json, unet/config\.json"):
        convert_single_file(file, less, tmp_path / "new")
    with pytest.raises(BackboneError, match=r"has no model_index\.json.*hf download"):
        convert_single_file(file, tmp_path, tmp_path / "new")
    with pytest.raises(BackboneError, match=r"not a \.safetensors file"):
        convert_single_file(tmp_path / "x.ckpt", config, tmp_path / "new")
