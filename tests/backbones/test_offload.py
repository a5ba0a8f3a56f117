"""Offloading and compiling as far as a CPU can carry them: accelerate's hooks are there, and the pictures are the same.

No GPU was at hand when these were written. What they cannot show is that weights really leave and enter a GPU's memory.
"""

from __future__ import annotations

from functools import cache

import accelerate
import pytest
import torch
from accelerate.hooks import AlignDevicesHook, CpuOffload

from qsched.backbones import BackboneError, load_backbone
from qsched.backbones import load as loading
from qsched.errors import InputError
from qsched.generation import Request, generate_pairs, render_batch
from qsched.precision import apply_precision
from qsched.records import read_manifest

PROMPTS, SEEDS = ["a red ring", "a blue dot"], [1, 2]


@pytest.fixture
def on_cpu(monkeypatch) -> None:
    """Offloading is refused on a CPU, because it gains nothing there; its hooks do the same work as on a GPU."""
    monkeypatch.setattr(loading, "check_offload", lambda *_: None)
    stock = accelerate.cpu_offload
    # diffusers numbers the device, and a tensor on "cpu" is not on "cpu:0" for torch: on a GPU both are "cuda:0".
    monkeypatch.setattr(accelerate, "cpu_offload", lambda model, _, **kw: stock(model, torch.device("cpu"), **kw))


def pixels(backbone) -> list[bytes]:
    return [picture.tobytes() for picture in render_batch(backbone, PROMPTS, SEEDS)]


@pytest.fixture(scope="module")
def plain_pixels(random_pipelines):
    """plain_pixels("flux", "w4a4") are the pictures of a model that is not offloaded; each is made once."""

    @cache
    def made(kind: str, precision: str) -> list[bytes]:
        plain = load_backbone(str(random_pipelines[kind]))
        apply_precision(plain, precision)
        return pixels(plain)

    return made


@pytest.mark.parametrize("offload", ["model", "sequential"])
def test_offloading_on_a_cpu_is_refused(random_pipelines, offload) -> None:
    with pytest.raises(BackboneError, match=f"--offload {offload} keeps weights in the machine's memory"):
        load_backbone(str(random_pipelines["flux"]), offload=offload)


@pytest.mark.parametrize("kind", ["flux", "sdxl"])
@pytest.mark.parametrize("precision", ["fp32", "w4a4", "w8a8", "nf4"])
def test_an_offloaded_model_has_a_hook_on_each_component_and_makes_the_same_pictures(
    random_pipelines, plain_pixels, kind, precision, on_cpu
) -> None:
    there = load_backbone(str(random_pipelines[kind]), offload="model", later_denoiser=True)
    there.read_texts([PROMPTS])
    apply_precision(there, precision, filler=there.slot)
    hooks = {name: getattr(part, "_hf_hook", None) for name, part in there.pipeline.components.items()}
    assert isinstance(hooks[there.denoiser_name], CpuOffload) and isinstance(hooks["vae"], CpuOffload)
    assert pixels(there) == plain_pixels(kind, precision)
    assert len(there.pipeline._all_hooks) >= 2, "after the call each component can be sent back"


@pytest.mark.parametrize("precision", ["fp32", "w4a4", "fp8"])
def test_a_layer_that_is_offloaded_waits_on_the_meta_device_and_the_pictures_are_the_same(
    random_pipelines, plain_pixels, precision, on_cpu
) -> None:
    there = load_backbone(str(random_pipelines["flux"]), offload="sequential", later_denoiser=True)
    there.read_texts([PROMPTS])
    apply_precision(there, precision, filler=there.slot)
    hooked = [module for module in there.denoiser.modules() if hasattr(module, "_hf_hook")]
    assert len(hooked) > 10 and any(isinstance(module._hf_hook, AlignDevicesHook) for module in hooked)
    waiting = [name for name, parameter in there.denoiser.named_parameters() if parameter.is_meta]
    assert waiting, "weights are in no device's memory until their layer is called"
    assert pixels(there) == plain_pixels("flux", precision)
    assert waiting == [name for name, parameter in there.denoiser.named_parameters() if parameter.is_meta]


@pytest.mark.parametrize("precision", ["w8a8", "w4a8", "nf4", "int8"])
def test_packed_tensors_cannot_be_offloaded_layer_by_layer(random_pipelines, tmp_path, precision) -> None:
    (tmp_path / "prompts.txt").write_text("a red ring\n")
    asked = Request(
        str(random_pipelines["flux"]), f"fp32,{precision}", tmp_path / "prompts.txt", tmp_path, offload="sequential"
    )
    with pytest.raises(InputError, match=rf"--offload sequential: .* {precision} .*--offload model"):
        generate_pairs(asked)


@pytest.mark.parametrize("offload", ["model", "sequential"])
def test_the_next_precision_comes_without_the_hooks_of_the_last(
    random_pipelines, plain_pixels, offload, on_cpu
) -> None:
    there = load_backbone(str(random_pipelines["flux"]), offload=offload, later_denoiser=True)
    there.read_texts([PROMPTS])
    apply_precision(there, "w4a4", filler=there.slot)
    pixels(there)
    there.slot.renew()
    apply_precision(there, "fp32", filler=there.slot)
    assert pixels(there) == plain_pixels("flux", "fp32")


def compiled_by(monkeypatch, backend: str) -> list[type]:
    """Let `module.compile()` use this backend; returns the classes that were compiled."""
    stock, seen = torch.nn.Module.compile, []

    def compile_with(module, *args, **kwargs) -> None:
        seen.append(type(module))
        stock(module, *args, backend=backend, **kwargs)

    monkeypatch.setattr(torch.nn.Module, "compile", compile_with)
    return seen


@pytest.mark.slow
def test_a_compiled_denoiser_is_the_one_that_runs(random_pipelines, plain_pixels, monkeypatch) -> None:
    seen = compiled_by(monkeypatch, "eager")
    compiled = load_backbone(str(random_pipelines["flux"]), compiled=True, later_denoiser=True)
    apply_precision(compiled, "w4a4", filler=compiled.slot)
    assert [cls.__name__ for cls in seen] == ["FluxTransformer2DModel"]
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    found, wanted = pixels(compiled), plain_pixels("flux", "w4a4")
    assert torch._dynamo.utils.counters["stats"]["calls_captured"] > 0, "dynamo traced the denoiser"
    assert found == wanted, "the same kernels, called one by one"


@pytest.mark.slow
def test_a_set_of_compiled_arms_says_so_and_is_not_finished_without(random_pipelines, tmp_path, monkeypatch) -> None:
    compiled_by(monkeypatch, "eager")
    (tmp_path / "prompts.txt").write_text("a red ring\n")

    def request(**more) -> Request:
        options = {"backbone": str(random_pipelines["flux"]), "arms": "fp32", "device": "cpu", "steps": 1}
        return Request(**options, prompts=tmp_path / "prompts.txt", out=tmp_path / "set", **more)

    assert generate_pairs(request(compiled=True)).made == 1
    assert read_manifest(tmp_path / "set").provenance["compiled"] is True
    with pytest.raises(Exception, match="compiled"):
        generate_pairs(request())
