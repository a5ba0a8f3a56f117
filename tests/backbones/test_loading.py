"""A denoiser that is read layer by layer is the one that diffusers loads, bit for bit, quantized or not."""

from __future__ import annotations

import gc
import json
import shutil
import weakref
from pathlib import Path

import diffusers
import pytest
import torch

from qsched.backbones import load_backbone
from qsched.backbones.components import module_classes, variant_of
from qsched.backbones.empty import empty_model
from qsched.backbones.families import family_of
from qsched.backbones.index import pipeline_class
from qsched.backbones.load import denoiser_name
from qsched.backbones.texts import encoder_names
from qsched.generation import render_batch
from qsched.precision import apply_precision
from tests.backbones.zoo import ZOO, save

PROMPTS, SEEDS = ["a red ring", "a blue dot on a large grey ring"], [1, 2]
RECIPES = [("flux", name) for name in ("fp32", "w8a8", "w4a8", "nf4", "int8", "w4a4", "fp8", "nvfp4", "gguf-q4_0")]
RECIPES += [("sdxl", "w3a8"), ("sdxl", "mxfp4:conv"), ("sdxl", "w8a8:keep=standard")]


def tensors(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """All parameters and buffers, those that are not saved among them."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


@pytest.mark.parametrize("name", ZOO)
def test_every_class_is_read_as_diffusers_reads_it(name, tmp_path) -> None:
    folder = save(name, tmp_path)
    classes = module_classes(folder)
    part = denoiser_name(family_of(pipeline_class(folder)), classes)
    for dtype in (torch.float32, torch.bfloat16):
        whole = classes[part].from_pretrained(folder / part, torch_dtype=dtype)
        source = empty_model(classes[part], folder / part, dtype=dtype, variant=None)
        assert source is not None, "its files fit"
        read = source.build()
        assert all(parameter.is_meta for parameter in read.parameters()), "nothing is read yet"
        for module_name, module in read.named_modules():
            source.fill(module_name, module, torch.device("cpu"))
        expected, found = tensors(whole), tensors(read)
        assert list(expected) == list(found) and not read.training
        for key, tensor in expected.items():
            # Lumina saves a parameter that it never sets: whatever was in memory, not-a-number included.
            torch.testing.assert_close(found[key], tensor, rtol=0, atol=0, equal_nan=True, msg=f"{key} in {dtype}")
            assert tensor.requires_grad == found[key].requires_grad and tensor.stride() == found[key].stride(), key


def test_text_encoders_leave_memory_without_a_search_for_cycles(random_pipelines, monkeypatch) -> None:
    """Such a search takes .4 s with the libraries imported: as long as five pictures of a tiny model."""
    backbone = load_backbone(str(random_pipelines["flux"]), later_denoiser=True)
    parts = [getattr(backbone.pipeline, name) for name in encoder_names(backbone.pipeline)]
    tensors = [weakref.ref(tensor) for part in parts for tensor in part.parameters()]
    monkeypatch.setattr("gc.collect", lambda: pytest.fail("searched"))
    gc.disable()
    try:
        backbone.read_texts([PROMPTS])
        assert tensors and not any(tensor() is not None for tensor in tensors)
    finally:
        gc.enable()


@pytest.mark.parametrize(("kind", "precision"), RECIPES)
def test_quantizing_while_loading_gives_what_quantizing_afterwards_gives(random_pipelines, kind, precision) -> None:
    folder = str(random_pipelines[kind])
    whole = load_backbone(folder)
    then = apply_precision(whole, precision)
    streamed = load_backbone(folder, later_denoiser=True)
    assert not streamed.is_complete and all(p.is_meta for p in streamed.denoiser.parameters())
    while_loading = apply_precision(streamed, precision, filler=streamed.slot)
    assert streamed.is_complete and while_loading == then
    pictures = [[p.tobytes() for p in render_batch(b, PROMPTS, SEEDS)] for b in (whole, streamed)]
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize("precision", ["nf4", "w8a8"])
def test_while_a_denoiser_is_read_one_layer_at_most_waits_to_be_converted(random_pipelines, precision) -> None:
    backbone = load_backbone(str(random_pipelines["flux"]), later_denoiser=True)
    whole, settle, seen = {}, backbone.slot.settle, []

    def look(module: torch.nn.Module) -> None:
        waiting = [n for n, p in backbone.denoiser.named_parameters() if n in whole and not p.is_meta and is_plain(p)]
        seen.append(len(waiting))
        settle(module)

    report = apply_precision(load_backbone(str(random_pipelines["flux"])), precision)
    whole = {f"{name}.weight" for name in report.converted}
    backbone.slot.settle = look
    apply_precision(backbone, precision, filler=backbone.slot)
    assert len(seen) > len(report.converted) and max(seen) == 0, "each is converted before the next module is read"


def is_plain(parameter: torch.Tensor) -> bool:
    """True for a weight that is not converted."""
    return type(parameter) is torch.nn.Parameter and type(parameter.data) is torch.Tensor


def test_shards_are_read_tensor_by_tensor_and_other_names_are_left_to_diffusers(random_pipelines, tmp_path) -> None:
    folder = Path(shutil.copytree(random_pipelines["flux"], tmp_path / "model"))
    model = diffusers.FluxTransformer2DModel.from_pretrained(folder / "transformer")
    (folder / "transformer" / "diffusion_pytorch_model.safetensors").unlink()
    model.save_pretrained(folder / "transformer", max_shard_size="20KB", variant="fp16")
    index = next((folder / "transformer").glob("*.index*.json"))
    assert len(set(json.loads(index.read_text())["weight_map"].values())) > 2
    own = folder / "transformer"
    source = empty_model(type(model), own, dtype=torch.float32, variant=variant_of(own, None))
    assert source is not None
    read = load_backbone(str(folder), later_denoiser=True)
    read.complete()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), read.denoiser.parameters(), strict=True))
    index.write_text(index.read_text().replace("proj_out.bias", "proj_out.shift"))
    assert empty_model(type(model), own, dtype=torch.float32, variant="fp16") is None


def test_a_fresh_denoiser_takes_the_place_of_a_quantized_one_without_another_load(random_pipelines) -> None:
    backbone = load_backbone(str(random_pipelines["sdxl"]), later_denoiser=True)
    vae, scheduler = backbone.pipeline.vae, backbone.pipeline.scheduler
    apply_precision(backbone, "fp32", filler=backbone.slot)
    first = [p.tobytes() for p in render_batch(backbone, PROMPTS, SEEDS)]
    apply_precision(backbone, "w4a4", filler=backbone.slot)
    backbone.pipeline.scheduler = type(scheduler).from_config(scheduler.config)
    backbone.slot.renew()
    assert not backbone.is_complete
    apply_precision(backbone, "fp32", filler=backbone.slot)
    assert [p.tobytes() for p in render_batch(backbone, PROMPTS, SEEDS)] == first
    assert backbone.pipeline.vae is vae and backbone.pipeline.scheduler is scheduler
