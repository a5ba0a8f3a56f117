"""Adapters are fused before anything else, exactly, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline
from peft import LoraConfig
from safetensors.torch import load_file, save_file

from qsched.backbones import BackboneError, backbone_from_pipeline, load_backbone
from qsched.backbones.find import find_spec
from qsched.backbones.identity import lora_digest
from qsched.backbones.spec import Lora, parse_lora
from qsched.errors import InputError
from qsched.generation import Request, generate_pairs

LAYER = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"


@pytest.fixture(scope="module")
def adapter(random_pipelines, tmp_path_factory) -> Path:
    """A LoRA of rank 2 for the random sd15, and the matrices of one layer beside it."""
    torch.manual_seed(3)
    pipeline = DiffusionPipeline.from_pretrained(random_pipelines["sd15"])
    pipeline.unet.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q"], init_lora_weights=False))
    folder = tmp_path_factory.mktemp("lora")
    from peft.utils import get_peft_model_state_dict

    layer = pipeline.unet.get_submodule(LAYER)
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    torch.save((b @ a).detach(), folder / "delta.pt")  # lora_alpha / r = 1
    pipeline.save_lora_weights(folder, unet_lora_layers=get_peft_model_state_dict(pipeline.unet))
    tensors = folder / "pytorch_lora_weights.safetensors"
    assert tensors.is_file()
    return tensors


def weight(backbone) -> torch.Tensor:
    return backbone.denoiser.get_submodule(LAYER).weight.detach()


def spec_with(random_pipelines, *loras: Lora):
    return find_spec(str(random_pipelines["sd15"]), loras=loras)


def test_a_lora_is_fused_with_its_scale_and_becomes_part_of_the_model(random_pipelines, adapter) -> None:
    plain = load_backbone(str(random_pipelines["sd15"]))
    fused = load_backbone(spec_with(random_pipelines, parse_lora(f"{adapter}:0.5")))
    delta = weight(fused) - weight(plain)
    assert delta.abs().max() > 0.01
    assert torch.allclose(delta, 0.5 * torch.load(adapter.with_name("delta.pt")), atol=1e-5)
    assert not any("lora" in name for name, _ in fused.denoiser.named_modules())
    whole = load_backbone(spec_with(random_pipelines, parse_lora(str(adapter))))
    assert torch.allclose(weight(whole) - weight(plain), 2 * delta, atol=1e-5)
    assert len({plain.identity, fused.identity, whole.identity}) == 3


def test_the_alpha_in_a_header_is_part_of_the_adapter(random_pipelines, adapter, tmp_path) -> None:
    """diffusers reads alpha from there: the same tensors then make other weights."""
    tensors, digests, deltas = load_file(adapter), set(), []
    plain = weight(load_backbone(str(random_pipelines["sd15"])))
    for alpha in (2, 4):
        path = tmp_path / f"{alpha}.safetensors"
        settings = {"unet.r": 2, "unet.lora_alpha": alpha, "unet.target_modules": ["to_q"]}
        save_file(tensors, path, metadata={"format": "pt", "lora_adapter_metadata": json.dumps(settings)})
        digests.add(lora_digest(path))
        deltas.append(weight(load_backbone(spec_with(random_pipelines, parse_lora(str(path))))) - plain)
    assert torch.allclose(deltas[1], 2 * deltas[0], atol=1e-5) and len(digests | {lora_digest(adapter)}) == 3


def test_a_lora_of_another_model_is_refused(random_pipelines, adapter) -> None:
    with pytest.raises(BackboneError, match="LoRA"):
        load_backbone(find_spec(str(random_pipelines["flux"]), loras=(Lora(str(adapter)),)))


def test_an_unfused_adapter_is_an_error_in_memory_too(random_pipelines, adapter) -> None:
    pipeline = DiffusionPipeline.from_pretrained(random_pipelines["sd15"])
    pipeline.load_lora_weights(str(adapter.parent), weight_name=adapter.name)
    with pytest.raises(BackboneError, match=r"the unet carries a LoRA that is not fused.*fuse_lora"):
        backbone_from_pipeline(pipeline, name="mine", steps=2)


def test_what_is_not_a_lora_argument_is_said_before_anything_is_loaded(adapter) -> None:
    assert parse_lora(str(adapter)).scale == 1 and parse_lora(f"{adapter}:0.8").scale == 0.8
    for text, words in ((f"{adapter}:x", "is not a scale"), (f"{adapter}:0", "above 0"), ("no.safetensors", "not a")):
        with pytest.raises(BackboneError, match=words):
            parse_lora(text)


def test_the_record_names_the_fused_adapter(random_pipelines, adapter, tmp_path) -> None:
    prompts = tmp_path / "p.txt"
    prompts.write_text("a red ring\n")
    request = Request(str(random_pipelines["sd15"]), "fp32", prompts, tmp_path / "set", device="cpu")
    generate_pairs(request)
    from dataclasses import replace

    again = replace(request, loras=(Lora(str(adapter), 0.5),))
    with pytest.raises(InputError, match=r"weights"):
        generate_pairs(again)
    generate_pairs(replace(again, out=tmp_path / "fused"))
    provenance = json.loads((tmp_path / "fused" / "manifest.json").read_text())["provenance"]
    (record,) = provenance["loras"]
    assert record["scale"] == 0.5 and len(record["sha256"]) == 64 and record["file"] == adapter.name
