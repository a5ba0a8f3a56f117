"""`--dry-run`: what it counts is what a run makes, and its estimates are near what a run measures."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from qsched.cli.main import app
from qsched.errors import InputError
from qsched.generation import Request, generate_pairs
from qsched.generation.forecast import forecast
from qsched.records import iter_rows, read_manifest


def request(root: Path, backbone: Path, **more) -> Request:
    (root / "p.txt").write_text("".join(f"a ring number {n}\n" for n in range(5)))
    options = {"arms": "fp32,w8a8,nf4,w4a4", "batch_size": 2, "steps": 2, "device": "cpu", **more}
    return Request(backbone=str(backbone), prompts=root / "p.txt", out=root / "set", **options)


def test_what_is_foreseen_is_what_a_run_makes_and_measures(random_pipelines, tmp_path, monkeypatch) -> None:
    small = request(tmp_path, random_pipelines["flux"], limit=1)
    before = forecast(small, rates={"": 0.5, "w4a4": 2.0})
    assert not (tmp_path / "set").exists(), "nothing is written"
    assert [(arm.pictures, arm.nfe, arm.seconds) for arm in before.arms] == [(1, 2, 0.5)] * 3 + [(1, 2, 2.0)]
    generate_pairs(small)
    rest = [before.arms[0].memory_bytes - read_manifest(tmp_path / "set").arms[0].denoiser_bytes] * 4
    for arm, record, other in zip(before.arms, read_manifest(tmp_path / "set").arms, rest, strict=True):
        assert arm.memory_bytes - other == pytest.approx(record.denoiser_bytes, rel=0.1), arm.name
        assert arm.peak_bytes >= arm.memory_bytes
    size = sum((tmp_path / "set" / row.file_name).stat().st_size for row in iter_rows(tmp_path / "set"))
    assert size <= sum(arm.disk_bytes for arm in before.arms)

    after = forecast(request(tmp_path, random_pipelines["flux"], arms="fp32,w8a8,nf4,w4a4,w8a8:keep=proj_out"))
    assert (after.n_images, after.there) == (25, 4)
    assert [(arm.pictures, arm.nfe) for arm in after.arms] == [(4, 8)] * 4 + [(5, 10)]
    assert [arm.measured for arm in after.arms] == [True] * 4 + [False] and after.arms[0].seconds > 0
    assert after.arms[4].seconds is None
    whole = forecast(request(tmp_path, random_pipelines["flux"], samples=3))
    assert whole.n_images == 60 and len(list(iter_rows(tmp_path / "set"))) == 4


def test_a_shard_is_foreseen_as_its_part(random_pipelines, tmp_path) -> None:
    parts = [forecast(request(tmp_path, random_pipelines["flux"], arms="fp32", shard=(i, 2))) for i in (1, 2)]
    assert [part.n_images for part in parts] == [3, 2] and parts[0].folder.name == "1-of-2"


def test_the_command_prints_arms_assumptions_and_refuses_a_rate_of_an_unknown_arm(random_pipelines, tmp_path) -> None:
    asked = request(tmp_path, random_pipelines["flux"])
    command = ["generate-pairs", "--backbone", asked.backbone, "--arms", "fp32,w4a4", "--prompts", str(asked.prompts)]
    command += ["--out", str(asked.out), "--device", "cpu", "--dry-run"]
    shown = CliRunner().invoke(app, [*command, "--seconds-per-image", "3600"])
    assert shown.exit_code == 0 and "10 images" in shown.output and "10 h 00 min" in shown.output
    assert "simulated" in shown.output and "from the stated rate" in shown.output and not asked.out.exists()
    with pytest.raises(InputError, match="names the arm 'w9'; the arms are fp32"):
        forecast(asked, rates={"w9": 1.0})
    for wrong in ("x", "w4a4=", "1,2", "=3"):
        found = CliRunner().invoke(app, [*command, "--seconds-per-image", wrong])
        assert isinstance(found.exception, InputError), wrong
