"""Noise and rendering on real pipeline classes: pairing, independence of batch and order, whole-pipeline saves."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline

from qsched.backbones import load_backbone
from qsched.generation import Prompt, image_seed, initial_latents, render_batch, with_coefficients
from qsched.generation.render import RenderError, encode_png
from qsched.generation.verify import png_chunks
from qsched.scheduling import Coefficients, apply_coefficients, remove_coefficients

KINDS = ("flux", "sdxl", "sd15")
PROMPTS = ["a red ring", "a blue dot", "a large green ring"]
C = Coefficients.linear(model=(0.8, 1.1), sample=(1.1, 0.95))


@pytest.fixture(scope="module")
def backbones(random_pipelines):
    return {kind: load_backbone(str(random_pipelines[kind])) for kind in KINDS}


def pixels(images):
    return [np.asarray(image, dtype=np.int16) for image in images]


def test_the_seed_depends_on_set_prompt_and_sample_and_on_nothing_else() -> None:
    assert image_seed(0, "a", 0) == image_seed(0, "a", 0) == 7575093605049233
    seeds = {image_seed(s, p, i) for s in range(5) for p in ("a", "b", "a/0", '"a"') for i in range(5)}
    assert len(seeds) == 100 and all(0 <= seed < 2**53 for seed in seeds)
    assert image_seed(1, "1", 11) != image_seed(11, "1", 1) != image_seed(1, "11", 1)


@pytest.mark.parametrize("kind", KINDS)
def test_initial_latents_are_float32_cpu_draws_whatever_the_batch_and_its_order(backbones, kind) -> None:
    together, _ = initial_latents(backbones[kind], [3, 4, 5])
    turned, _ = initial_latents(backbones[kind], [5, 3])
    assert torch.equal(together[0], turned[1]) and torch.equal(together[2], turned[0])
    b = backbones[kind]
    channels = b.denoiser.config.in_channels // (4 if kind == "flux" else 1)
    scale = b.pipeline.vae_scale_factor
    draw = torch.randn(1, channels, b.height // scale, b.width // scale, generator=torch.Generator().manual_seed(4))
    if kind == "flux":
        draw = b.pipeline._pack_latents(draw, 1, channels, *draw.shape[2:])
    assert torch.equal(together[1:2], draw)


def test_latents_of_a_bf16_backbone_are_the_float32_draw_rounded(random_pipelines) -> None:
    wide, _ = initial_latents(load_backbone(str(random_pipelines["flux"])), [7])
    half, _ = initial_latents(load_backbone(str(random_pipelines["flux"]), dtype=torch.bfloat16), [7])
    assert half.dtype is torch.bfloat16 and torch.equal(half, wide.to(torch.bfloat16))


def test_step_noise_in_half_precision_is_the_float32_noise_rounded() -> None:
    """diffusers draws step noise in the dtype of the model output; torch makes that a rounding of one stream."""
    for dtype in (torch.bfloat16, torch.float16):
        wide = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
        half = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1), dtype=dtype)
        assert torch.equal(half, wide.to(dtype))


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_does_not_depend_on_its_company_or_its_place(backbones, kind) -> None:
    """Up to one grey level: BLAS may round differently at another batch size."""
    batch = pixels(render_batch(backbones[kind], PROMPTS, [1, 2, 3]))
    turned = pixels(render_batch(backbones[kind], PROMPTS[::-1], [3, 2, 1]))[::-1]
    alone = [pixels(render_batch(backbones[kind], [p], [s]))[0] for p, s in zip(PROMPTS, [1, 2, 3], strict=True)]
    for a, b, c in zip(batch, turned, alone, strict=True):
        assert np.abs(a - b).max() <= 1 and np.abs(a - c).max() <= 1
    assert np.abs(batch[0] - batch[1]).mean() > 5, "prompts and seeds must matter, or this test proves nothing"


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_batch_gives_the_same_bytes_again(backbones, kind) -> None:
    first = [encode_png(i) for i in render_batch(backbones[kind], PROMPTS, [1, 2, 3])]
    assert first == [encode_png(i) for i in render_batch(backbones[kind], PROMPTS, [1, 2, 3])]
    assert all(set(png_chunks(png)) == {b"IHDR", b"IDAT", b"IEND"} for png in first)


@pytest.mark.parametrize("kind", KINDS)
def test_rendering_equals_a_plain_diffusers_call_with_the_same_noise(backbones, kind) -> None:
    b = backbones[kind]
    latents, generators = initial_latents(b, [1, 2])
    plain = b.pipeline(
        PROMPTS[:2],
        latents=latents,
        generator=generators,
        num_inference_steps=4,
        guidance_scale=0.0,
        width=b.width,
        height=b.height,
        **b.call_options,
    ).images
    ours = render_batch(b, [Prompt("a", PROMPTS[0]), PROMPTS[1]], [1, 2])
    assert [i.tobytes() for i in plain] == [i.tobytes() for i in ours]


@pytest.mark.parametrize("kind", KINDS)
def test_coefficients_change_the_picture_and_leave_the_backbone_as_it_was(backbones, kind) -> None:
    b = backbones[kind]
    stock = b.pipeline.scheduler
    before = pixels(render_batch(b, PROMPTS, [1, 2, 3]))
    ones = pixels(render_batch(b, PROMPTS, [1, 2, 3], coefficients=Coefficients.linear()))
    scaled = pixels(render_batch(b, PROMPTS, [1, 2, 3], coefficients=C))
    assert b.pipeline.scheduler is stock
    assert all(np.array_equal(x, y) for x, y in zip(before, ones, strict=True))
    assert np.abs(before[0] - scaled[0]).max() > 3
    with pytest.raises(RuntimeError, match="inside"), with_coefficients(b, C):
        raise RuntimeError("inside")
    assert b.pipeline.scheduler is stock


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_saved_pipeline_comes_back_with_adapter_and_coefficients(backbones, kind, tmp_path) -> None:
    b = backbones[kind]
    expected = pixels(render_batch(b, PROMPTS, [1, 2, 3], coefficients=C))
    with with_coefficients(b, C):
        b.pipeline.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["scheduler"] == ["qsched.scheduling", f"QSched{type(b.pipeline.scheduler).__name__}"]
    again = DiffusionPipeline.from_pretrained(tmp_path)
    assert again.scheduler.coefficients == C
    again.set_progress_bar_config(disable=True)
    (tmp_path / "qsched.json").write_text('{"steps": 4, "guidance_scale": 0.0, "width": 32, "height": 32}')
    loaded = load_backbone(str(tmp_path))
    assert all(
        np.array_equal(x, y) for x, y in zip(expected, pixels(render_batch(loaded, PROMPTS, [1, 2, 3])), strict=True)
    )
    again.scheduler = remove_coefficients(again.scheduler)
    again.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "model_index.json").read_text())["scheduler"][0] == "diffusers"


def test_one_step_and_other_step_counts_work(backbones) -> None:
    for steps in (1, 2):
        assert render_batch(backbones["sdxl"], PROMPTS[:1], [1], steps=steps, coefficients=C)[0].size == (32, 32)


def test_batched_coefficients_equal_one_run_a_candidate(backbones) -> None:
    """What calibration relies on: rows of one batch carry the coefficients of different candidates."""
    b = backbones["flux"]
    model, sample = [[0.8, 0.9, 1.0, 1.1], [1.1, 1.0, 0.9, 1.0]], [[1.1, 1.0, 1.0, 0.95], [1.0, 1.05, 1.0, 1.0]]
    alone = [
        pixels(render_batch(b, PROMPTS[:1], [5], coefficients=Coefficients.per_step(model=m, sample=s)))[0]
        for m, s in zip(model, sample, strict=True)
    ]
    stock = b.pipeline.scheduler
    b.pipeline.scheduler = apply_coefficients(stock, Coefficients.constant())
    try:
        b.pipeline.scheduler.set_batch_coefficients(model, sample)
        rows = pixels(render_batch(b, PROMPTS[:1] * 2, [5, 5]))
    finally:
        b.pipeline.scheduler = stock
    assert all(np.abs(x - y).max() <= 1 for x, y in zip(alone, rows, strict=True))


def test_a_picture_that_is_not_a_number_is_an_error_that_names_the_prompt(random_pipelines) -> None:
    backbone = load_backbone(str(random_pipelines["sd15"]))
    with torch.no_grad():
        backbone.denoiser.conv_out.bias.fill_(float("inf"))
    with pytest.raises(RenderError, match=r"'a blue dot'.*--dtype"):
        render_batch(backbone, ["a blue dot"], [1])


def test_importing_the_package_and_the_command_line_does_not_import_torch() -> None:
    code = "import sys, qsched.generation, qsched.backbones, qsched.precision, qsched.cli.main; " + (
        "assert not {'torch', 'diffusers', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
