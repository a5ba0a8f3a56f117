"""Arms that make the same pictures, coefficients of another model, and rows that somebody edited."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from qsched.errors import InputError
from qsched.generation import Request, generate_pairs, verify_set
from qsched.records import iter_rows, read_manifest
from qsched.scheduling import Coefficients


@pytest.fixture(scope="module")
def folder(random_pipelines, tmp_path_factory) -> Path:
    """A copy of the small FLUX with prompts beside it."""
    place = tmp_path_factory.mktemp("twins")
    shutil.copytree(random_pipelines["flux"], place / "flux")
    (place / "prompts.yaml").write_text("one: a red ring\ntwo: a blue dot\n")
    return place


def coefficients(path: Path, value: float, **record) -> Path:
    path.write_text(json.dumps({"coefficients": Coefficients.constant(model=value).to_dict(), **record}))
    return path


def request(folder: Path, out: Path, **changes) -> Request:
    fields = {"backbone": str(folder / "flux"), "prompts": folder / "prompts.yaml", "out": out, "samples": 2}
    return Request(**{**fields, "batch_size": 2, "steps": 2, "device": "cpu", **changes})


def test_coefficients_of_one_make_no_pictures_of_their_own(folder, tmp_path, monkeypatch) -> None:
    """12 of 12 pictures were equal, and both arms were rendered without a word."""
    from qsched.generation import render

    rendered = []
    real = render.render_batch
    monkeypatch.setattr(render, "render_batch", lambda *a, **k: rendered.append(k["coefficients"]) or real(*a, **k))
    one = coefficients(tmp_path / "one.json", 1.0)
    report = generate_pairs(request(folder, tmp_path / "set", arms=f"w4a4,w4a4+qsched:{one}"))
    assert rendered == [None, None], "two batches of the stock arm"
    assert [arm.same_as for arm in report.arms] == [None, "w4a4"] and report.made == 8
    rows = list(iter_rows(tmp_path / "set"))
    by_arm = {
        arm: {r.prompt_id + str(r.sample_index): r.sha256 for r in rows if r.arm == arm}
        for arm in ("w4a4", "w4a4+qsched:one")
    }
    assert by_arm["w4a4"] == by_arm["w4a4+qsched:one"] and len(by_arm["w4a4"]) == 4
    assert len({row.image_id for row in rows}) == 8, "the file names do not show that the pictures are equal"
    assert read_manifest(tmp_path / "set").arms[1].same_as == "w4a4" and verify_set(tmp_path / "set").ok


def test_an_interrupted_set_with_copied_pictures_is_finished(folder, tmp_path) -> None:
    one = coefficients(tmp_path / "one.json", 1.0)
    wanted = request(folder, tmp_path / "set", arms=f"w4a4+qsched:{one},w4a4")
    generate_pairs(wanted)
    whole = (tmp_path / "set" / "images.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "set" / "images.jsonl").write_bytes(b"".join(whole[:3] + whole[5:6]))
    report = generate_pairs(wanted)
    assert (report.kept, report.made) == (4, 4) and verify_set(tmp_path / "set").ok
    assert [arm.same_as for arm in report.arms] == [None, "w4a4+qsched:one"]


def test_the_command_says_that_nobody_can_tell_the_arms_apart(folder, tmp_path) -> None:
    from qsched.cli.main import app

    one = coefficients(tmp_path / "one.json", 1.0)
    command = [
        "generate-pairs",
        "--backbone",
        str(folder / "flux"),
        "--arms",
        f"w4a4,w4a4+qsched:{one}",
        "--steps",
        "2",
    ]
    done = CliRunner().invoke(
        app, [*command, "--prompts", str(folder / "prompts.yaml"), "--out", str(tmp_path / "set")]
    )
    assert done.exit_code == 0, done.output
    assert "makes the same pictures as w4a4" in done.output.replace("\n", " ")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"backbone": "other"}, "backbone other, here flux"),
        ({"backbone": "flux", "provenance": {"arm": {"weights": "0" * 64}}}, "other weights"),
        ({"precision": "w4a8"}, "precision w4a8, here w4a4"),
        ({"steps": 4}, "4 steps, here 2"),
    ],
)
def test_coefficients_made_for_something_else_need_a_flag_and_are_recorded(folder, tmp_path, record, message) -> None:
    made = coefficients(tmp_path / "c.json", 0.9, **record)
    wanted = {"arms": f"w4a4+qsched:{made}", "limit": 1, "samples": 1}
    with pytest.raises(InputError, match=rf"c\.json were calibrated for .*{message}.*--allow-other-coefficients"):
        generate_pairs(request(folder, tmp_path / "set", **wanted))
    assert not (tmp_path / "set").exists()
    generate_pairs(request(folder, tmp_path / "set", **wanted, allow_other_coefficients=True))
    origin = read_manifest(tmp_path / "set").arms[0].coefficients_origin
    assert origin["file"] == "c.json" and origin["steps"] == record.get("steps")


def test_the_shipped_coefficients_belong_to_the_shipped_weights() -> None:
    from qsched.backbones.identity import model_identity
    from qsched.backbones.named import BACKBONES
    from qsched.generation.arms import check_origins, parse_arms

    for name in ("tiny-flux", "tiny-sdxl"):
        spec = BACKBONES[name]
        arms = parse_arms("w4a8+qsched,w4a4+qsched,w3a8+qsched", spec, steps=4, dtype=None, default_dtype="fp32")
        check_origins(arms, spec, weights=model_identity(Path(spec.source)), steps=4)
        with pytest.raises(InputError, match="4 steps, here 1"):
            check_origins(arms, spec, weights=None, steps=1)


@pytest.mark.parametrize("field", [{"seed": 1}, {"prompt": "a green dot"}, {"category": "x"}])
def test_a_row_that_was_edited_is_made_again(folder, tmp_path, field) -> None:
    """A resume kept such rows and said 'complete'."""
    wanted = request(folder, tmp_path / "set", arms="fp32,w4a4")
    generate_pairs(wanted)
    path = tmp_path / "set" / "images.jsonl"
    lines = path.read_text().splitlines()
    before = sorted(lines)
    lines[2] = json.dumps({**json.loads(lines[2]), **field})
    path.write_text("\n".join(lines) + "\n")
    report = generate_pairs(wanted)
    assert (report.kept, report.made, report.remade) == (7, 1, 1)
    shas = [sorted(json.loads(line)["sha256"] for line in some) for some in (before, path.read_text().splitlines())]
    assert shas[0] == shas[1]


def test_a_set_whose_manifest_was_deleted_can_be_overwritten(folder, tmp_path) -> None:
    wanted = request(folder, tmp_path / "set", arms="fp32", limit=1)
    generate_pairs(wanted)
    (tmp_path / "set" / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"no manifest\.json: it was deleted.*--overwrite"):
        generate_pairs(wanted)
    report = generate_pairs(request(folder, tmp_path / "set", arms="fp32", limit=1, overwrite=True))
    assert report.made == 2 and verify_set(tmp_path / "set").ok


def test_what_is_in_the_way_is_one_message(folder, tmp_path) -> None:
    wanted = request(folder, tmp_path / "set", arms="fp32", limit=1)
    generate_pairs(wanted)
    rows = list(iter_rows(tmp_path / "set"))
    picture = tmp_path / "set" / rows[0].file_name
    picture.unlink()
    picture.mkdir()
    with pytest.raises(InputError, match=r"\.png is a folder where a picture belongs"):
        generate_pairs(wanted)
    picture.rmdir()
    (tmp_path / "set" / "images.jsonl").unlink()
    (tmp_path / "set" / "images.jsonl").mkdir()
    with pytest.raises(InputError, match=r"images\.jsonl cannot be read"):
        generate_pairs(wanted)


def test_a_batch_that_does_not_fit_is_one_message(folder, tmp_path, monkeypatch) -> None:
    import torch
    from diffusers import FluxTransformer2DModel

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(FluxTransformer2DModel, "forward", full)
    from qsched.generation.render import RenderError

    with pytest.raises(RenderError, match=r"a batch of 2 pictures .* does not fit .*; try --batch-size 1 "):
        generate_pairs(request(folder, tmp_path / "set", arms="fp32"))
