"""Backbones: names, folders, what is refused and with which remedy."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from qsched.backbones import BACKBONES, BackboneError, find_spec, load_backbone
from qsched.backbones.load import _check_fits
from qsched.errors import InputError
from qsched.generation.render import RenderError, render_batch


def test_every_hub_backbone_is_pinned_to_a_commit() -> None:
    hub = [spec for spec in BACKBONES.values() if not spec.is_local]
    assert len(hub) == 10 and all(spec.licence and spec.steps for spec in hub)
    assert all(re.fullmatch("[0-9a-f]{40}", spec.revision or "") for spec in hub)


def test_a_backbone_without_a_known_commit_asks_for_it(monkeypatch) -> None:
    unpinned = replace(BACKBONES["sana-sprint"], revision=None, unpinned=True)
    monkeypatch.setitem(BACKBONES, "sana-sprint", unpinned)
    with pytest.raises(BackboneError, match=r"no public record gave a commit.*--revision COMMIT"):
        find_spec("sana-sprint")
    for wrong in ("main", "v1", "abc"):
        with pytest.raises(BackboneError, match="not a commit id of 40 hex digits"):
            find_spec("sana-sprint", revision=wrong)
    assert find_spec("sana-sprint", revision="a" * 40).revision == "a" * 40
    assert find_spec(f"org/model@{'b' * 40}").revision == "b" * 40


def test_an_adapter_of_the_hub_has_its_commit_or_asks_for_a_file(monkeypatch) -> None:
    adapters = [lora for spec in BACKBONES.values() for lora in spec.loras]
    assert len(adapters) == 3 and all(re.fullmatch("[0-9a-f]{40}", lora.revision or "") for lora in adapters)
    spec = BACKBONES["pcm-sd15"]
    unpinned = replace(spec, loras=tuple(replace(lora, revision=None) for lora in spec.loras))
    monkeypatch.setitem(BACKBONES, "pcm-sd15", unpinned)
    with pytest.raises(BackboneError, match=r"PCM_Weights, and no public record gave its commit.*--lora"):
        find_spec("pcm-sd15")


def test_an_unknown_name_lists_the_known_ones_and_says_how_a_hub_model_is_used() -> None:
    with pytest.raises(BackboneError, match=r"tiny-flux.*hf download"):
        find_spec("runwayml/stable-diffusion-v1-5")


def test_a_modular_pipeline_is_refused_with_the_reason_and_the_command(tmp_path) -> None:
    (tmp_path / "modular_model_index.json").write_text("{}")
    with pytest.raises(BackboneError, match=r"is a modular pipeline.*given noise included.*qsched convert"):
        find_spec(str(tmp_path))


def test_a_folder_that_is_no_pipeline_is_refused(tmp_path) -> None:
    with pytest.raises(BackboneError, match=r"model_index\.json"):
        find_spec(str(tmp_path))


def test_a_download_that_fails_names_the_remedy(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(BackboneError, match=r"sdxl-turbo.*hf download stabilityai/sdxl-turbo --revision 7115"):
        load_backbone("sdxl-turbo", dtype=torch.float16)


def test_a_machine_that_is_too_small_is_told_so_before_anything_is_downloaded(monkeypatch) -> None:
    monkeypatch.setattr("os.sysconf", lambda name: 4096 if name == "SC_PAGE_SIZE" else 2**30 // 4096)
    with pytest.raises(BackboneError, match=r"needs about 63 GiB.*has 1 GiB.*--device cuda --dtype bf16"):
        _check_fits(BACKBONES["flux-schnell"], torch.float32, torch.device("cpu"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_an_error_not_a_cpu_run(random_pipelines) -> None:
    with pytest.raises(BackboneError, match="no CUDA GPU"):
        load_backbone(str(random_pipelines["flux"]), device="cuda")


@pytest.mark.parametrize("device", ["gpu", "mps", "cuda:x", ""])
def test_an_unknown_device_is_an_error(random_pipelines, device) -> None:
    with pytest.raises(BackboneError, match="choose auto, cpu or cuda"):
        load_backbone(str(random_pipelines["flux"]), device=device)


def test_the_dtype_asked_for_is_the_dtype_of_every_component(random_pipelines) -> None:
    backbone = load_backbone(str(random_pipelines["sdxl"]), dtype=torch.bfloat16)
    modules = [m for m in backbone.pipeline.components.values() if isinstance(m, torch.nn.Module)]
    assert len(modules) == 4
    assert {p.dtype for m in modules for p in m.parameters()} == {torch.bfloat16}


def test_a_folder_without_defaults_takes_the_native_size_of_its_model(random_pipelines, tmp_path) -> None:
    for kind in ("flux", "sdxl", "sd15"):
        folder = tmp_path / kind
        shutil.copytree(random_pipelines[kind], folder)
        (folder / "qsched.json").unlink()
        backbone = load_backbone(str(folder))
        assert (backbone.width, backbone.height, backbone.steps, backbone.guidance_scale) == (32, 32, 4, 0.0)
        assert load_backbone(str(folder), width=48, steps=2).width == 48
        with pytest.raises(BackboneError, match="multiples of"):
            load_backbone(str(folder), height=33)
        (folder / "qsched.json").write_text(json.dumps({"step": 1}))
        with pytest.raises(BackboneError, match="may hold only"):
            load_backbone(str(folder))


def test_pickled_weights_are_not_read(random_pipelines, tmp_path) -> None:
    folder = tmp_path / "sd15"
    shutil.copytree(random_pipelines["sd15"], folder)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save({"x": torch.ones(1)}, folder / "unet" / "diffusion_pytorch_model.bin")
    weights.unlink()
    with pytest.raises(BackboneError, match="safetensors"):
        load_backbone(str(folder))


def test_a_flux_folder_that_samples_stochastically_is_refused(random_pipelines, tmp_path) -> None:
    folder = tmp_path / "flux"
    shutil.copytree(random_pipelines["flux"], folder)
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "stochastic_sampling": True}))
    with pytest.raises(BackboneError, match="could not be paired"):
        load_backbone(str(folder))


def test_a_pipeline_class_that_we_cannot_drive_is_refused(random_pipelines, tmp_path) -> None:
    folder = tmp_path / "sd15"
    shutil.copytree(random_pipelines["sd15"], folder)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "_class_name": "StableDiffusionImg2ImgPipeline"}))
    with pytest.raises(BackboneError, match=r"StableDiffusionImg2ImgPipeline.*starts from a picture"):
        load_backbone(str(folder))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"_class_name": "WanPipeline"}, r"makes videos"),
        ({"_class_name": "QwenImageControlNetPipeline"}, r"control picture"),
        ({"_class_name": "NotThere"}, r"does not have"),
        ({"scheduler": ["diffusers", "KarrasVeScheduler"]}, r"other inputs than model_output"),
        ({"scheduler": [None, None]}, r"without a scheduler"),
    ],
)
def test_a_model_is_refused_by_its_class_without_importing_torch(random_pipelines, tmp_path, change, words) -> None:
    folder = tmp_path / "model"
    shutil.copytree(random_pipelines["sd15"], folder)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, **change}))
    code = (
        "import sys; from pathlib import Path; from qsched.backbones.index import check_folder\n"
        "try: check_folder(Path(sys.argv[1]), 'the model')\n"
        "finally: assert not {'torch', 'diffusers'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False)
    assert re.search(words, done.stderr.splitlines()[-1]) and "BackboneError" in done.stderr, done.stderr


def test_a_folder_may_say_how_its_class_differs(random_pipelines, tmp_path) -> None:
    folder = tmp_path / "sd15"
    shutil.copytree(random_pipelines["sd15"], folder)
    (folder / "qsched.json").write_text(json.dumps({"family": {"one_at_a_time": "they talk"}}))
    backbone = load_backbone(str(folder))
    assert backbone.family.pipeline == "StableDiffusionPipeline"
    with pytest.raises(InputError, match="because they talk; use --batch-size 1"):
        render_batch(backbone, ["a", "b"], [1, 2])
    for wrong in ({"denoiser": 3}, {"scheduler": "x"}):
        (folder / "qsched.json").write_text(json.dumps({"family": wrong}))
        with pytest.raises(BackboneError, match="an object with denoiser, guidance"):
            load_backbone(str(folder))


def test_noise_that_no_picture_owns_is_an_error(random_pipelines, monkeypatch) -> None:
    backbone = load_backbone(str(random_pipelines["sd15"]))
    step = backbone.pipeline.scheduler.step
    monkeypatch.setattr(backbone.pipeline.scheduler, "step", lambda *a, **k: (torch.randn(1), step(*a, **k))[1])
    with pytest.raises(RenderError, match="not of the picture's own generator"):
        render_batch(backbone, ["a"], [1])
