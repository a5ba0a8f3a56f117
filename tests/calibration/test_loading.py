"""A calibration reads its texts first and converts the denoiser while it reads it, with the values of a whole model."""

from __future__ import annotations

from pathlib import Path

import pytest

from qsched.backbones import DTYPES, load_backbone
from qsched.backbones.slot import DenoiserSlot
from qsched.backbones.texts import RememberedTexts
from qsched.calibration.command import CalibrationRequest, load_for, quantize_for, run_in_full, split_prompts
from qsched.calibration.settings import CalibrationSettings
from qsched.calibration.trajectory import BatchRow, TrajectoryRenderer
from qsched.scheduling import Coefficients
from tests.calibration.pipelines import random_flux

TUNED = Coefficients.constant(model=0.9, sample=1.05)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    base = tmp_path_factory.mktemp("model")
    random_flux().pipeline.save_pretrained(base / "random-flux")
    (base / "random-flux" / "qsched.json").write_text('{"steps": 2, "guidance_scale": 0.0, "width": 32, "height": 32}')
    (base / "prompts.yaml").write_text("".join(f"p{i}: a red ring {'left ' * i}\n" for i in range(6)))
    return base


def request(folder: Path, out: Path, precision: str, strategy: str = "race") -> CalibrationRequest:
    settings = CalibrationSettings(strategy=strategy)
    model, prompts = str(folder / "random-flux"), folder / "prompts.yaml"
    return CalibrationRequest(model, precision, prompts, out / "c.json", settings, device="cpu", control=False)


def pixels(backbone, asked: CalibrationRequest) -> list[bytes]:
    prompts, heldout = split_prompts(asked)
    renderer = TrajectoryRenderer(backbone, steps=2, batch_rows=4)
    rows = [
        BatchRow(p, seed, c) for c in (Coefficients.constant(), TUNED) for seed, p in enumerate([*prompts, *heldout])
    ]
    return [picture.tobytes() for picture in renderer.render(rows)]


@pytest.mark.parametrize("precision", ["w4a4", "smoothquant", "ptqd", "fp32"])
def test_pictures_are_those_of_a_model_that_was_loaded_whole(folder, tmp_path, precision, monkeypatch) -> None:
    asked = request(folder, tmp_path, precision)
    came_back = []
    stock = RememberedTexts.bring_back
    monkeypatch.setattr(RememberedTexts, "bring_back", lambda texts: (came_back.append(len(texts._left)), stock(texts)))
    later = load_for(asked)
    assert not later.is_complete and later.texts._left, "no denoiser yet, and no text encoder any more"
    came_back.clear()
    report = quantize_for(asked, later, split_prompts(asked)[0])
    found = pixels(later, asked)
    assert not any(came_back), "every text was read before"

    whole = load_backbone(asked.spec(), dtype=DTYPES["fp32"])
    other = request(folder, tmp_path / "other", precision)
    assert quantize_for(other, whole, split_prompts(other)[0]).converted == report.converted
    assert pixels(whole, other) == found


def test_a_search_without_full_precision_never_has_the_whole_denoiser(folder, tmp_path, monkeypatch) -> None:
    asked = request(folder, tmp_path, "w4a4")
    monkeypatch.setattr(DenoiserSlot, "fill_whole", lambda _: pytest.fail("the whole denoiser was read"))
    quantize_for(asked, load_for(asked), split_prompts(asked)[0])


def test_the_full_precision_run_of_a_closed_form_comes_before_the_conversion(folder, tmp_path) -> None:
    asked = request(folder, tmp_path, "w4a4", "closed-form")
    prompts, _ = split_prompts(asked)
    later, whole = load_for(asked), load_backbone(asked.spec(), dtype=DTYPES["fp32"])
    runs = [run_in_full(backbone, asked.settings, prompts) for backbone in (later, whole)]
    assert later.is_complete and runs[0].nfe == runs[1].nfe
    reports = [quantize_for(asked, backbone, prompts) for backbone in (later, whole)]
    assert reports[0] == reports[1] and pixels(later, asked) == pixels(whole, asked)


def test_the_memory_of_texts_is_the_pipelines_again_after_a_batch(folder, tmp_path) -> None:
    asked = request(folder, tmp_path, "w4a4")
    backbone = load_for(asked)
    quantize_for(asked, backbone, split_prompts(asked)[0])
    pixels(backbone, asked)
    assert backbone.pipeline.encode_prompt == backbone.texts.encode
