"""Arms that need statistics, from command to pictures: measured once, reused, refused when they changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from qsched.backbones import load_backbone
from qsched.cli.main import app
from qsched.errors import InputError
from qsched.generation import Request, generate_pairs, quantize, render_batch, verify_set, worker
from qsched.generation.paired_steps import forced_steps, observed_steps
from qsched.precision import apply_precision
from qsched.records import iter_rows, read_manifest
from qsched.scheduling import Coefficients

ARMS = "fp32,smoothquant,svdquant:keep=standard,mixdq-w6a8,ptqd,w4a4:ptqd+qsched:{c}"


def request(root: Path, backbone: Path, **more) -> Request:
    (root / "c.json").write_text(Coefficients.constant(model=0.9).to_json())
    (root / "p.txt").write_text("a red ring\na blue dot\n")
    (root / "cal.txt").write_text("a green ring\na grey dot\na red dot\n")
    defaults = {
        "backbone": str(backbone),
        "arms": ARMS.format(c=root / "c.json"),
        "prompts": root / "p.txt",
        "out": root / "set",
        "batch_size": 2,
        "steps": 2,
        "device": "cpu",
        "calibration_prompts": root / "cal.txt",
    }
    return Request(**{**defaults, **more})


@pytest.fixture(scope="module")
def made(random_pipelines, tmp_path_factory) -> tuple[Path, Request]:
    root = tmp_path_factory.mktemp("statistics")
    asked = request(root, random_pipelines["sdxl"])
    generate_pairs(asked)
    return root / "set", asked


def pictures(folder: Path) -> dict[tuple[str, str], str]:
    return {(row.arm, row.prompt_id): row.sha256 for row in iter_rows(folder)}


def test_every_arm_makes_pictures_and_its_record_says_what_was_done(made) -> None:
    folder, _ = made
    assert verify_set(folder).ok
    manifest = read_manifest(folder)
    reports = manifest.provenance["arms"]
    kinds = {name: set(report["statistics_sha256"]) for name, report in reports.items()}
    assert kinds == {
        "fp32": set(),
        "smoothquant": {"smoothquant"},
        "svdquant:keep=standard": {"svdquant"},
        "mixdq-w6a8": {"mixdq"},
        "ptqd": {"ptqd"},
        "w4a4:ptqd": {"ptqd"},
    }
    assert all(arm.simulated == (arm.name != "fp32") for arm in manifest.arms)
    kept = reports["svdquant:keep=standard"]["layers_kept"]
    assert "conv_in: keep=conv_in" in kept and "time_embedding.linear_1: keep=time_embedding" in kept
    assert set(reports["mixdq-w6a8"]["weight_bits"].values()) <= {2, 4, 8}
    assert reports["mixdq-w6a8"]["notes"][0].endswith("keep their first token in full precision")
    for name, report in reports.items():
        assert report["layers_converted"] == len(report["converted"])
        assert report["nominal_bytes"] <= report["packed_bytes"] <= report["original_bytes"], name
    assert len(set(pictures(folder).values())) == len(pictures(folder)), "no two arms are the same"
    assert manifest.provenance["calibration"]["n_prompts"] == 3


def test_a_resumed_run_reuses_the_statistics_and_makes_the_same_pictures(made, monkeypatch) -> None:
    folder, asked = made
    before, files = pictures(folder), {p.name: p.read_bytes() for p in (folder / "statistics").glob("[!.]*")}
    assert len(files) == 5
    for row in list(iter_rows(folder))[2:]:
        (folder / row.file_name).unlink()
    measured = []
    monkeypatch.setattr("qsched.precision.statistics.measure_statistics", lambda *a: measured.append(a))
    report = generate_pairs(asked)
    assert report.made == 10 and pictures(folder) == before and measured == []
    assert {p.name: p.read_bytes() for p in (folder / "statistics").glob("[!.]*")} == files


def test_lost_statistics_are_measured_again_and_changed_ones_refused(made, monkeypatch) -> None:
    folder, asked = made
    path = next((folder / "statistics").glob("smoothquant-*"))
    before, pairs = path.read_bytes(), pictures(folder)
    row = next(row for row in iter_rows(folder) if row.arm == "smoothquant")
    (folder / row.file_name).unlink()
    path.unlink()
    generate_pairs(asked)
    assert path.read_bytes() == before and pictures(folder) == pairs, "the same bytes again on the same machine"
    (folder / row.file_name).unlink()
    path.unlink()
    measure = quantize.image_seed
    monkeypatch.setattr(quantize, "image_seed", lambda *place: measure(*place) + 1)
    with pytest.raises(InputError, match="statistics of smoothquant are not those that its pictures were made with"):
        generate_pairs(asked)
    path.write_bytes(before)
    generate_pairs(asked)
    assert pictures(folder) == pairs


def test_other_calibration_prompts_are_another_request(made) -> None:
    _, asked = made
    with pytest.raises(InputError, match=r"calibration\.n_prompts: 3 there, 1 now"):
        generate_pairs(Request(**{**vars(asked), "calibration_limit": 1}))


@pytest.mark.parametrize("precision", ["smoothquant", "svdquant", "mixdq", "w8a8:ptqd"])
def test_a_recipe_that_needs_statistics_says_so_before_anything_is_loaded(
    precision: str, random_pipelines, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(worker, "_load", lambda *_: pytest.fail("loaded"))
    asked = request(tmp_path, random_pipelines["sdxl"], arms=f"fp32,{precision}", calibration_prompts=None)
    with pytest.raises(InputError, match=f"precision {precision} needs statistics .* --calibration-prompts FILE"):
        generate_pairs(asked)


def test_the_tiny_models_have_calibration_prompts_of_their_own(tmp_path) -> None:
    out = tmp_path / "set"
    arguments = ["--backbone", "tiny-sdxl", "--arms", "smoothquant", "--prompts", "demo", "--limit", "1"]
    arguments += ["--steps", "1", "--calibration-limit", "1", "--out", str(out)]
    result = CliRunner().invoke(app, ["generate-pairs", *arguments])
    assert result.exit_code == 0, result.output
    assert json.loads((out / "manifest.json").read_text())["provenance"]["calibration"]["n_prompts"] == 1


def test_a_led_run_stays_on_the_full_precision_trajectory(random_pipelines) -> None:
    backbone = load_backbone(str(random_pipelines["sdxl"]), steps=3)
    stock = backbone.pipeline.scheduler
    with observed_steps(backbone.pipeline) as exact:
        first = render_batch(backbone, ["a red ring"], [1])
    apply_precision(backbone, "w3a8")
    with forced_steps(backbone.pipeline, exact) as outputs:
        led = render_batch(backbone, ["a red ring"], [1])
    assert len(exact) == len(outputs) == 3
    assert all(not o.equal(e.model_output) for o, e in zip(outputs, exact, strict=True))
    assert led[0].tobytes() == first[0].tobytes(), "its last sample is the full-precision one"
    assert "step" not in vars(stock)
