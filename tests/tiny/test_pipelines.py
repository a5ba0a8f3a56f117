"""The shipped folders: they load by the ordinary paths, offline, and do what is claimed of them."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from qsched.tiny import load_prompts, model_path, prompts_path  # noqa: E402
from qsched.tiny.evaluate import call_options, measure_pass_rates, render_prompts  # noqa: E402

DIFFUSION = {
    "tiny-flux": ("FluxPipeline", "transformer", 0.8),
    "tiny-sdxl": ("StableDiffusionXLPipeline", "unet", 0.8),
}


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("a shipped model tried to reach the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="module", params=sorted(DIFFUSION))
def loaded(request: pytest.FixtureRequest) -> tuple[str, Any]:
    name = request.param
    pipeline = getattr(diffusers, DIFFUSION[name][0]).from_pretrained(
        model_path(name), torch_dtype=torch.float32, local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)
    return name, pipeline


def test_the_folders_together_stay_under_40_megabytes() -> None:
    files = [p for name in (*DIFFUSION, "tiny-clip") for p in model_path(name).rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) < 40_000_000
    assert {p.suffix for p in files} <= {".safetensors", ".json", ".txt"}


def test_plain_loading_gives_float32_throughout(loaded: tuple[str, Any]) -> None:
    pipeline = diffusers.DiffusionPipeline.from_pretrained(model_path(loaded[0]))
    dtypes = {part: model.dtype for part, model in pipeline.components.items() if hasattr(model, "dtype")}
    assert set(dtypes.values()) == {torch.float32}, dtypes


def test_every_linear_layer_can_be_quantized_in_groups_of_32(loaded: tuple[str, Any]) -> None:
    name, pipeline = loaded
    denoiser = getattr(pipeline, DIFFUSION[name][1])
    linears = {n: m for n, m in denoiser.named_modules() if isinstance(m, torch.nn.Linear)}
    assert len(linears) > 40
    assert {n: m.in_features for n, m in linears.items() if m.in_features % 32} == {}


def test_pictures_are_128_square_repeatable_and_follow_the_seed(loaded: tuple[str, Any]) -> None:
    _, pipeline = loaded
    prompts = {"a": "a large red circle in the center on a white background"}
    options = call_options(pipeline)
    first, again, other = (render_prompts(pipeline, prompts, options=options, seed=seed)[0] for seed in (1, 1, 2))
    assert first.size == (128, 128)
    assert first.tobytes() == again.tobytes() != other.tobytes()


@pytest.mark.slow
def test_most_held_out_prompts_pass_the_check(loaded: tuple[str, Any]) -> None:
    name, pipeline = loaded
    prompts = dict(list(load_prompts(prompts_path("eval")).items())[:24])
    rates = measure_pass_rates(pipeline, prompts, seed=1000)
    assert rates.rate >= DIFFUSION[name][2], str(rates)


def test_one_step_of_tiny_sdxl_makes_pictures_too() -> None:
    pipeline = diffusers.StableDiffusionXLPipeline.from_pretrained(model_path("tiny-sdxl"), torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    prompts = dict(list(load_prompts(prompts_path("eval")).items())[:12])
    rates = measure_pass_rates(pipeline, prompts, options={**call_options(pipeline), "num_inference_steps": 1})
    assert rates.rate >= 0.75, str(rates)


def test_a_prompt_outside_the_grammar_and_a_capital_do_not_crash(loaded: tuple[str, Any]) -> None:
    _, pipeline = loaded
    prompts = {"a": "Ein Zebra, naïve & 3 cats!", "b": "", "c": "word " * 60}
    assert len(render_prompts(pipeline, prompts, options=call_options(pipeline))) == 3


@pytest.mark.parametrize("name", [*DIFFUSION, "tiny-clip"])
def test_the_record_beside_the_weights_says_how_they_were_made(name: str) -> None:
    record = json.loads((model_path(name) / "training.json").read_text())
    for key in ("script", "arguments", "seed", "seconds", "samples", "machine", "versions", "git_commit"):
        assert record[key] not in (None, "", {}), key
    assert record["arguments"][:2] == ["--model", name.removeprefix("tiny-")]
    assert not any("/" in argument for argument in record["arguments"]), "no local paths in a shipped record"


def test_tiny_clip_ranks_the_right_caption_and_the_clean_picture_first() -> None:
    open_clip = pytest.importorskip("open_clip")
    from tools.train_tiny.clip import measure_clip

    folder = f"local-dir:{model_path('tiny-clip')}"
    model, _preprocess = open_clip.create_model_from_pretrained(folder)
    tokenizer = open_clip.get_tokenizer(folder)
    measured = measure_clip(model, tokenizer, seed=99, count=100)
    assert measured["right_caption_beats_near_miss"] > 0.8, measured
    assert measured["clean_beats_damaged"] > 0.9, measured
    assert Path(model_path("tiny-clip") / "open_clip_config.json").exists()


def test_tiny_clip_sees_the_same_pixels_through_open_clips_own_preprocessing() -> None:
    open_clip = pytest.importorskip("open_clip")
    import numpy as np

    from qsched.tiny.domain import Nuisance, parse, render
    from tools.train_tiny.clip import to_pixels

    _, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{model_path('tiny-clip')}")
    picture = render(parse("a large red circle in the center on a white background"), Nuisance())
    assert torch.allclose(preprocess(picture), to_pixels([np.asarray(picture)], "cpu")[0], atol=1e-5)
