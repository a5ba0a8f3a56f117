"""Two arms with the same pictures are never ranked, and what a scorer does not see is said."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from qsched.records import image_id_for
from qsched.scoring.image_set.figure import plan_points, render_figure
from qsched.scoring.image_set.report import render_set_scores, scores_to_json
from qsched.scoring.image_set.scores import _leads, score_set
from qsched.scoring.paired import paired_difference
from qsched.scoring.registry import load_metrics


def edit(folder: Path, change) -> None:
    lines = [json.loads(line) for line in (folder / "images.jsonl").read_text().splitlines()]
    (folder / "images.jsonl").write_text("".join(json.dumps(change(row)) + "\n" for row in lines))


@pytest.fixture
def twins(small_image_set, tmp_path) -> Path:
    """The small set, in which w4a4+qsched has the pictures of w4a4."""
    folder = Path(shutil.copytree(small_image_set, tmp_path / "set"))
    rows = [json.loads(line) for line in (folder / "images.jsonl").read_text().splitlines()]
    of_w4a4 = {row["prompt_id"]: row for row in rows if row["arm"] == "w4a4"}

    def same(row: dict) -> dict:
        if row["arm"] != "w4a4+qsched":
            return row
        twin = of_w4a4[row["prompt_id"]]
        image_id = image_id_for(
            sha256=twin["sha256"], arm=row["arm"], prompt_id=row["prompt_id"], sample_index=row["sample_index"]
        )
        shutil.copy(folder / "images" / f"{twin['image_id']}.png", folder / "images" / f"{image_id}.png")
        return {**row, "sha256": twin["sha256"], "image_id": image_id}

    edit(folder, same)
    manifest = json.loads((folder / "manifest.json").read_text())
    for arm in manifest["arms"]:
        arm["denoiser_bytes"] = 1_000_000
        if arm["name"].endswith("qsched"):
            arm.update(precision="w4a4", coefficients={"family": "constant", "model": 1.0, "sample": 1.0})
        else:
            arm.update(precision=arm["name"])
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def score(folder: Path, clip_folder: Path, **more):
    weights = {"clipscore": str(clip_folder), "clip-iqa": str(clip_folder)}
    scorers, references = load_metrics("clipscore,clip-iqa,psnr", weights=weights)
    return score_set(folder, scorers=scorers, references=references, **more)


def test_equal_pictures_have_equal_values_and_neither_arm_is_ranked(twins, clip_folder) -> None:
    scores = score(twins, clip_folder)
    by_place = {
        (i["arm"], i["prompt_id"]): {k: v for k, v in i.items() if k not in ("image_id", "arm")} for i in scores.images
    }
    assert all(by_place["w4a4", f"p{p}"] == by_place["w4a4+qsched", f"p{p}"] for p in range(6))
    assert [arm.same_as for arm in scores.arms] == [None, None, "w4a4"]
    assert [point.arm for point in plan_points(scores, "jaq")] == ["fp32", "w4a4"]
    assert "Not drawn: w4a4+qsched (the pictures of w4a4)" in render_figure(scores, "jaq").caption
    page = render_set_scores(scores)
    row = re.search(r"<td>w4a4\+qsched</td>.*?</tr>", page).group()
    assert "the pictures of w4a4" in row and "better" not in row and "worse" not in row
    assert "identical in 6 of 6 pictures" in page and "identical in 6 of 6" in " ".join(scores.warnings)
    assert scores_to_json(scores)["repairs"][0] == {
        "arm": "w4a4+qsched",
        "against": "w4a4",
        "pairs": 6,
        "identical": 6,
        "differences": {},
        "worst": {},
    }


def test_an_arm_with_the_pictures_of_the_baseline_has_no_difference(twins, clip_folder) -> None:
    scores = score(twins, clip_folder, baseline="w4a4")
    arm = scores.arms[2]
    assert (arm.n_identical, arm.n_pairs) == (6, 6) and arm.metric("jaq").difference is None


def test_a_picture_that_is_there_twice_is_scored_once(twins, clip_folder, monkeypatch) -> None:
    from qsched.scoring.clip_model import ClipModel

    seen = []
    real = ClipModel.image_features
    monkeypatch.setattr(
        ClipModel, "image_features", lambda self, images: seen.append(len(images)) or real(self, images)
    )
    score(twins, clip_folder)
    assert sum(seen) == 2 * 12, "two scorers, 12 distinct pictures of 18"


def test_the_repair_of_a_precision_is_a_comparison_of_its_own(small_image_set, clip_folder, twins, tmp_path) -> None:
    """Quantized + Q-Sched against quantized was missing: both were compared with full precision only."""
    assert score(small_image_set, clip_folder).repairs == (), "arms without coefficients repair nothing"
    other = Path(shutil.copytree(small_image_set, tmp_path / "other"))
    shutil.copy(twins / "manifest.json", other / "manifest.json")
    scores = score(other, clip_folder)
    (repair,) = scores.repairs
    assert (repair.arm, repair.against, repair.n_pairs, repair.n_identical) == ("w4a4+qsched", "w4a4", 6, 0)
    ours, theirs = ([i["jaq"] for i in scores.images if i["arm"] == arm] for arm in ("w4a4+qsched", "w4a4"))
    expected = paired_difference(ours, theirs)
    assert dict(repair.differences)["jaq"].mean == pytest.approx(expected.mean)
    near = {arm: [i["psnr"] for i in scores.images if i["arm"] == arm] for arm in ("w4a4+qsched", "w4a4")}
    nearer = paired_difference(near["w4a4+qsched"], near["w4a4"])
    assert dict(repair.differences)["psnr"].mean == pytest.approx(nearer.mean), "which is nearer to full precision"
    gains = [a - b for a, b in zip(ours, theirs, strict=True)]
    worst = dict(repair.worst)["jaq"]
    assert worst.difference == pytest.approx(min(gains)) and worst.prompt_id == f"p{gains.index(min(gains))}"
    page = render_set_scores(scores)
    assert "w4a4+qsched against w4a4" in page and worst.words in page
    assert f"he worst of w4a4+qsched against w4a4: {worst.difference:+.4f} jaq" in page


def test_an_arm_with_a_bias_is_compared_with_stock_and_with_q_sched(small_image_set, clip_folder, twins, tmp_path):
    other = Path(shutil.copytree(small_image_set, tmp_path / "other"))
    manifest = json.loads((twins / "manifest.json").read_text())
    arms = {arm["name"]: arm for arm in manifest["arms"]}
    plain, biased = {"family": "constant", "model": 1.1, "sample": 1.0}, {"family": "per_step", "bias": [[0.1]]}
    for arm, coefficients in ((arms["w4a4+qsched"], plain), (arms["fp32"], biased)):
        arm.update(precision="w4a4", coefficients=coefficients, recipe=arms["w4a4"]["recipe"])
    (other / "manifest.json").write_text(json.dumps(manifest))
    pairs = [(repair.arm, repair.against) for repair in score(other, clip_folder).repairs]
    assert pairs == [("fp32", "w4a4"), ("fp32", "w4a4+qsched"), ("w4a4+qsched", "w4a4")]


def test_the_command_says_identical(twins, clip_folder, tmp_path) -> None:
    from qsched.cli.main import app

    weights = ["--weights", f"clipscore={clip_folder}", "--weights", f"clip-iqa={clip_folder}"]
    done = CliRunner().invoke(app, ["score", str(twins), "--out", str(tmp_path / "out"), *weights])
    assert done.exit_code == 0, done.output
    assert "identical" in done.output and "in 6 of 6" in done.output


def test_a_difference_in_the_last_bits_is_no_lead() -> None:
    rows = {
        arm: [
            SimpleNamespace(image_id=f"{arm}{i}", prompt=f"p{i}", prompt_id=f"p{i}", sample_index=0) for i in range(9)
        ]
        for arm in "ab"
    }
    near = {f"{arm}{i}": {"m": 0.5 + i / 9 + (1e-12 if arm == "b" else 0)} for arm in "ab" for i in range(9)}
    assert _leads(rows, near, "m", True) == frozenset()
    far = {name: {"m": one["m"] + (0.1 if name[0] == "b" else 0)} for name, one in near.items()}
    assert _leads(rows, far, "m", True) == {("b", "a")} and _leads(rows, far, "m", False) == {("a", "b")}


def test_prompts_equal_up_to_case_count_as_one(twins, clip_folder) -> None:
    before = score(twins, clip_folder).arms[1].metric("jaq").difference
    edit(twins, lambda row: {**row, "prompt": "A  Red square" if row["prompt_id"] in ("p0", "p1") else row["prompt"]})
    edit(twins, lambda row: {**row, "prompt": "a red Square" if row["prompt_id"] == "p1" else row["prompt"]})
    scores = score(twins, clip_folder)
    assert before.n == 6 and scores.arms[1].metric("jaq").difference.n == 5
    assert "1 prompt(s) repeat the text of another" in " ".join(scores.warnings)


def test_prompts_that_are_read_in_part_are_counted(twins, clip_folder) -> None:
    edit(twins, lambda row: {**row, "prompt": "word " * 90 if row["prompt_id"] == "p3" else row["prompt"]})
    manifest = json.loads((twins / "manifest.json").read_text())
    manifest["provenance"]["truncated_prompts"] = ["p3"]
    (twins / "manifest.json").write_text(json.dumps(manifest))
    words = " ".join(score(twins, clip_folder).warnings)
    assert "1 prompt(s) are longer than clipscore reads" in words and "longer than the model's text encoder" in words
