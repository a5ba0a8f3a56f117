"""JOD as expected shares of votes, and what `qsched study check` says of a set that was scored with cvvdp."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from qsched.cli.main import app
from qsched.errors import InputError
from qsched.planning import measured_losses, preferred_share
from qsched.records import read_manifest
from tests.conftest import write_image_set


def test_one_jod_is_three_votes_of_four_and_none_is_half():
    assert preferred_share([9.0]) == pytest.approx(0.75)
    assert preferred_share([10.0]) == 0.5
    assert preferred_share([9.994]) == pytest.approx(0.5016, abs=1e-4)
    assert preferred_share([10.0, 9.0]) == pytest.approx(0.625), "shares are averaged, not JOD"


def score(folder: Path, jod: float, **table: object) -> None:
    set_id = read_manifest(folder).set_id
    scorers = [{"name": "cvvdp", "version": "cvvdp 0.5.7, standard_fhd"}]
    (folder / "metrics.json").write_text(json.dumps({"set_id": set_id, "baseline": "a", "scorers": scorers} | table))
    keys = [{"prompt_id": f"p{number}", "sample_index": 0} for number in range(6)]
    rows = [{**keys[0], "arm": "a"}, *({**key, "arm": "b", "cvvdp": jod} for key in keys)]
    (folder / "metrics_images.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def image_set(tmp_path: Path) -> Path:
    folder = write_image_set(tmp_path / "set", arms=("a", "b"), size=16)
    (folder / "study.yaml").write_text("slug: s\ntitle: t\nimages: .\n", encoding="utf-8")
    return folder


def check(folder: Path) -> str:
    done = CliRunner().invoke(app, ["study", "check", str(folder / "study.yaml")])
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


def test_the_check_says_what_people_can_see(image_set):
    assert "visible difference not measured; qsched score" in check(image_set)
    score(image_set, 9.994)
    assert "a against b: 0.006 JOD: people can hardly see it; 50.2 % of votes expected for a" in check(image_set)
    score(image_set, 9.0)
    said = check(image_set)
    assert "a against b: 1.000 JOD; 75.0 % of votes expected for a" in said
    assert "measured by cvvdp 0.5.7, standard_fhd; a prediction, not votes" in said


def test_results_of_another_set_or_broken_ones_are_an_error(image_set):
    score(image_set, 9.0, set_id="another")
    with pytest.raises(InputError, match="belongs to image set another"):
        measured_losses(image_set, set_id=read_manifest(image_set).set_id)
    (image_set / "metrics.json").write_text("{")
    with pytest.raises(InputError, match="run `qsched score` again or remove both"):
        measured_losses(image_set, set_id="x")


def test_a_fidelity_study_gets_no_forecast_of_preference(image_set):
    score(image_set, 9.0)
    (image_set / "study.yaml").write_text("slug: s\ntitle: t\nimages: .\ndesign: fidelity\n", encoding="utf-8")
    said = check(image_set)
    assert "a against b: 1.000 JOD" in said and "of votes expected" not in said
