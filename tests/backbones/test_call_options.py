"""Negative prompts, eta, variants and a VAE's own dtype do what they say, or are refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from qsched.backbones import BackboneError, load_backbone
from qsched.backbones.find import find_spec
from qsched.generation import render_batch
from tests.backbones.zoo import save


def rendered(backbone) -> list[bytes]:
    return [picture.tobytes() for picture in render_batch(backbone, ["a red ring", "a dot"], [1, 2])]


def test_a_negative_prompt_acts_through_guidance_or_is_refused(random_pipelines) -> None:
    folder, negative = str(random_pipelines["sd15"]), {"negative_prompt": "a blue ring"}
    guided = load_backbone(folder, guidance_scale=3.0)
    assert rendered(load_backbone(folder, guidance_scale=3.0, call_options=negative)) != rendered(guided)
    with pytest.raises(BackboneError, match="acts through guidance, and the guidance scale is 0"):
        load_backbone(folder, call_options=negative)


def test_eta_changes_the_noise_of_a_step_or_is_refused(random_pipelines, tmp_path) -> None:
    folder = str(save("StableDiffusionPipeline, TCD", tmp_path))
    assert rendered(load_backbone(folder, call_options={"eta": 0.9})) != rendered(load_backbone(folder))
    with pytest.raises(BackboneError, match=r"eta 0\.9: LCMScheduler has no eta"):
        load_backbone(str(random_pipelines["sd15"]), call_options={"eta": 0.9})
    with pytest.raises(BackboneError, match="StableDiffusionPipeline has no etta"):
        load_backbone(folder, call_options={"etta": 0.9})


@pytest.mark.parametrize("kind", ["flux", "sdxl", "sd15"])
def test_a_vae_may_have_a_dtype_of_its_own(random_pipelines, kind) -> None:
    backbone = load_backbone(str(random_pipelines[kind]), dtype=torch.bfloat16, vae_dtype=torch.float32)
    assert backbone.pipeline.vae.dtype is torch.float32 and backbone.denoiser.dtype is torch.bfloat16
    assert len(rendered(backbone)) == 2


def test_a_variant_is_read_if_it_is_there_and_refused_if_not(random_pipelines, tmp_path) -> None:
    folder = Path(shutil.copytree(random_pipelines["sd15"], tmp_path / "model"))
    spec = replace(find_spec(str(folder)), variant="ema")
    with pytest.raises(BackboneError, match=r"--variant ema: .* has no \*\.ema\.safetensors"):
        load_backbone(spec)
    plain = load_backbone(str(folder))
    with torch.no_grad():
        plain.denoiser.conv_out.bias.add_(1.0)
    plain.denoiser.save_pretrained(folder / "unet", variant="ema")
    assert load_backbone(spec).identity != load_backbone(str(folder)).identity
    changed = load_backbone(spec).denoiser.conv_out.bias - load_backbone(str(folder)).denoiser.conv_out.bias
    assert torch.allclose(changed, torch.ones_like(changed))
