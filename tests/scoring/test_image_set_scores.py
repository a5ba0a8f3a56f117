"""`qsched score`: the table, its pairing, and the files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from qsched.errors import InputError, IntegrityError
from qsched.records import iter_rows
from qsched.scoring import load_reference_metric
from qsched.scoring.frechet import ClipFeatures
from qsched.scoring.image_set.distance import DistanceRequest
from qsched.scoring.image_set.report import render_set_scores, scores_to_json, write_set_scores
from qsched.scoring.image_set.scores import score_set
from qsched.scoring.paired import paired_difference
from qsched.scoring.registry import load_metrics, parse_weights


def score(folder: Path, clip_folder: Path, **more):
    weights = {"clipscore": str(clip_folder), "clip-iqa": str(clip_folder)}
    scorers, references = load_metrics("clipscore,clip-iqa,psnr", weights=weights)
    return score_set(folder, scorers=scorers, references=references, **more)


def metric(scores, arm: str, name: str):
    found = next(a for a in scores.arms if a.arm.name == arm)
    return next(m for m in found.metrics if m.metric == name)


def without(folder: Path, copy: Path, arm: str, prompt: str) -> Path:
    """A copy of the set whose rows lack one picture."""
    shutil.copytree(folder, copy)
    lines = (copy / "images.jsonl").read_text().splitlines(keepends=True)
    gone = [line for line in lines if f'"arm":"{arm}"' in line and f'"prompt_id":"{prompt}"' in line]
    assert len(gone) == 1
    (copy / "images.jsonl").write_text("".join(line for line in lines if line not in gone))
    return copy


def test_differences_are_paired_by_prompt_and_means_are_over_images(small_image_set, clip_folder):
    scores = score(small_image_set, clip_folder)
    by_place = {(i["arm"], i["prompt_id"]): i for i in scores.images}
    assert len(by_place) == 18
    ours = [by_place["w4a4", f"p{p}"]["clipscore"] for p in range(6)]
    base = [by_place["fp32", f"p{p}"]["clipscore"] for p in range(6)]
    found = metric(scores, "w4a4", "clipscore")
    assert found.mean == pytest.approx(np.mean(ours)) and found.n_images == 6
    assert found.difference == paired_difference(ours, base)
    assert metric(scores, "fp32", "clipscore").difference is None


def test_jaq_is_the_sum_of_its_terms_for_every_image(small_image_set, clip_folder):
    for image in score(small_image_set, clip_folder, k=0.5).images:
        assert image["jaq"] == pytest.approx(image["clipscore"] + 0.5 * image["clip-iqa"])


def test_units_of_spread_are_those_of_the_baselines_pictures(small_image_set, clip_folder, tmp_path):
    scores = score(small_image_set, clip_folder, k=0.5, k_units="sd", baseline="w4a4")
    base = [image for image in scores.images if image["arm"] == "w4a4"]
    tc, iq = (np.std([image[name] for image in base], ddof=1) for name in ("clipscore", "clip-iqa"))
    for image in scores.images:
        assert image["jaq"] == pytest.approx(image["clipscore"] / tc + 0.5 * image["clip-iqa"] / iq)
    assert "units of their spread over the pictures of w4a4" in render_set_scores(scores)
    assert scores_to_json(scores)["jaq"]["units"]["kind"] == "sd"
    scorers, references = load_metrics("psnr", weights={})
    with pytest.raises(InputError, match="there is no JAQ"):
        score_set(small_image_set, scorers=scorers, references=references, k_units="sd")


def test_the_twin_is_the_picture_of_the_same_prompt(small_image_set, clip_folder):
    rows = {(r.arm, r.prompt_id): r for r in iter_rows(small_image_set)}
    pair = [Image.open(small_image_set / rows[arm, "p3"].file_name) for arm in ("w4a4", "fp32")]
    expected = load_reference_metric("psnr").score_against(pair[:1], pair[1:])[0]
    scores = score(small_image_set, clip_folder)
    assert next(i for i in scores.images if (i["arm"], i["prompt_id"]) == ("w4a4", "p3"))["psnr"] == expected


def test_another_baseline_turns_the_difference_round(small_image_set, clip_folder):
    forth = metric(score(small_image_set, clip_folder), "w4a4", "clipscore").difference
    back = metric(score(small_image_set, clip_folder, baseline="w4a4"), "fp32", "clipscore").difference
    assert back.mean == pytest.approx(-forth.mean)
    with pytest.raises(InputError, match="'fp16' is not an arm of this set; choose one of fp32"):
        score(small_image_set, clip_folder, baseline="fp16")


def test_the_frechet_distance_of_the_baseline_to_itself_is_zero(small_image_set, clip_folder):
    scores = score(
        small_image_set, clip_folder, distance=DistanceRequest("frechet", ClipFeatures(clip_folder), "baseline")
    )
    assert scores.distance.name.startswith("Fréchet distance on clip"), "it may not be called an FID"
    assert scores.arms[0].distance == pytest.approx(0.0, abs=1e-8) and scores.arms[1].distance > 0


def test_a_picture_that_cannot_be_read_is_an_error_with_its_name(small_image_set, clip_folder, tmp_path):
    copy = shutil.copytree(small_image_set, tmp_path / "set")
    victim = next(iter_rows(copy))
    (copy / victim.file_name).write_bytes(b"not a png")
    with pytest.raises(IntegrityError, match=victim.image_id):
        score(copy, clip_folder)


def test_an_arm_without_a_picture_is_counted_as_missing(small_image_set, clip_folder, tmp_path):
    scores = score(without(small_image_set, tmp_path / "set", "w4a4", "p2"), clip_folder)
    arm = scores.arms[1]
    assert (arm.n_images, arm.n_missing, arm.n_without_twin, arm.n_pairs) == (5, 1, 0, 5)
    assert arm.metrics[0].difference.n == 5
    assert scores.warnings == ("w4a4 lacks 1 picture(s) that fp32 has; 5 pair(s) are compared",)


@pytest.mark.parametrize("prompt", ["p0", "p3"])
def test_a_picture_without_a_twin_costs_its_own_pair_and_no_metric(small_image_set, clip_folder, tmp_path, prompt):
    # The first row once decided which metrics an arm has, so a hole there emptied the whole column.
    scores = score(without(small_image_set, tmp_path / "set", "fp32", prompt), clip_folder)
    assert [m.metric for m in scores.arms[1].metrics] == ["jaq", "clipscore", "clip-iqa", "psnr"]
    assert (scores.arms[1].n_missing, scores.arms[1].n_without_twin, scores.arms[1].n_pairs) == (0, 1, 5)
    assert metric(scores, "w4a4", "psnr").n_images == 5 and metric(scores, "w4a4", "clipscore").n_images == 6
    assert metric(scores, "w4a4", "clipscore").difference.n == 5
    assert "1 picture(s) of w4a4 have no twin in fp32" in render_set_scores(scores)
    assert scores_to_json(scores)["arms"][1]["without_twin"] == 1


def test_a_metric_against_the_twin_has_an_interval_of_its_mean_and_the_baseline_has_none(small_image_set, clip_folder):
    scores = score(small_image_set, clip_folder)
    values = [i["psnr"] for i in scores.images if i["arm"] == "w4a4"]
    found = metric(scores, "w4a4", "psnr")
    assert found.difference is None and found.interval.n == 6
    assert found.interval.mean == pytest.approx(np.mean(values)) and found.interval.low < found.mean
    assert scores.arms[0].metric("psnr") is None, "100 dB of the baseline against itself says nothing"
    assert not any("psnr" in i for i in scores.images if i["arm"] == "fp32")


def test_the_record_of_jaq_stands_in_the_json_and_on_the_page(small_image_set, clip_folder):
    scores = score(small_image_set, clip_folder, k=0.5)
    record = scores_to_json(scores)["jaq"]
    assert record["k"] == 0.5 and record["tc"]["name"] == "clipscore" and record["iq"]["name"] == "clip-iqa"
    page = render_set_scores(scores)
    assert "with k = 0.5; TC is clipscore" in page and record["tc"]["version"] in page
    assert page.index("<h3>jaq</h3>") < page.index("<h3>clipscore</h3>"), "JAQ comes first"


@pytest.mark.parametrize("k", [float("nan"), float("inf"), -5.0, 1e308])
def test_a_k_that_is_no_weight_is_refused_before_anything_is_scored(small_image_set, clip_folder, k):
    with pytest.raises(InputError, match="it must be a number from 0"):
        score(small_image_set, clip_folder, k=k)


def test_no_file_is_written_where_a_value_is_not_a_number(small_image_set, clip_folder, tmp_path):
    from dataclasses import replace

    scores = score(small_image_set, clip_folder)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_set_scores(tmp_path, replace(scores, images=({"jaq": float("nan")},)))
    assert list(tmp_path.iterdir()) == []


def test_another_picture_under_the_name_of_a_row_is_refused(small_image_set, clip_folder, tmp_path):
    copy = shutil.copytree(small_image_set, tmp_path / "set")
    first, second = list(iter_rows(copy))[:2]
    (copy / second.file_name).write_bytes((copy / first.file_name).read_bytes())
    with pytest.raises(IntegrityError, match=rf"{second.image_id}.*is not the picture of its row.*qsched verify"):
        score(copy, clip_folder)


def test_a_picture_of_another_size_than_its_row_is_refused(small_image_set, clip_folder, tmp_path):
    copy = shutil.copytree(small_image_set, tmp_path / "set")
    text = (copy / "images.jsonl").read_text()
    row = next(iter_rows(copy))
    assert text.count(f'"width":{row.width}') == 18
    (copy / "images.jsonl").write_text(text.replace(f'"width":{row.width}', '"width":7', 1))
    with pytest.raises(IntegrityError, match=rf"{row.image_id}.*its row says 7x"):
        score(copy, clip_folder)


def test_the_reference_of_the_distance_is_measured_once_and_few_pictures_are_warned_of(small_image_set, clip_folder):
    class Counted(ClipFeatures):
        calls = 0

        def extract(self, files):
            Counted.calls += 1
            return super().extract(files)

    scores = score(
        small_image_set,
        clip_folder,
        distance=DistanceRequest("frechet", Counted(clip_folder), str(small_image_set / "images")),
    )
    assert Counted.calls == 4, "three arms and one reference"
    assert (scores.distance.dimension, scores.distance.reference_count) == (24, 18)
    assert any("w4a4 has 6" in w and "fewer than the 24 features" in w for w in scores.warnings)
    assert any("the reference has 18 pictures" in w for w in scores.warnings)
    assert scores_to_json(scores)["distance"]["reference_count"] == 18
    assert "the reference has 18 pictures" in render_set_scores(scores)
    Counted.calls = 0
    score(small_image_set, clip_folder, distance=DistanceRequest("frechet", Counted(clip_folder), "baseline"))
    assert Counted.calls == 3, "the baseline is its own reference"


def test_memory_that_was_not_measured_is_said_so(small_image_set, clip_folder):
    page = render_set_scores(score(small_image_set, clip_folder))
    assert page.count("not measured on CPU") == 3 and 'name="viewport"' in page


def test_the_command_writes_table_values_and_a_self_contained_page(small_image_set, clip_folder, tmp_path):
    from qsched.cli.main import app

    weights = ["--weights", f"clipscore={clip_folder}", "--weights", f"clip-iqa={clip_folder}"]
    done = CliRunner().invoke(app, ["score", str(small_image_set), "--out", str(tmp_path), *weights])
    assert done.exit_code == 0, done.output
    table = json.loads((tmp_path / "metrics.json").read_text())
    assert [arm["arm"] for arm in table["arms"]] == ["fp32", "w4a4", "w4a4+qsched"]
    assert len((tmp_path / "metrics_images.jsonl").read_text().splitlines()) == 18
    page = (tmp_path / "metrics.html").read_text()
    assert "http" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    ).replace("https://matplotlib.org", "")
    assert "simulated" in page and "psnr" in page


def test_arms_and_names_are_escaped_and_the_figure_needs_two_sizes(small_image_set, clip_folder, tmp_path):
    scores = score(small_image_set, clip_folder)
    assert "No figure: fewer than two arms have a known size and an interval" in render_set_scores(scores)
    sized = [a.arm.model_copy(update={"denoiser_bytes": 10**6 * (3 - i)}) for i, a in enumerate(scores.arms)]
    from dataclasses import replace

    bad = sized[1].model_copy(update={"name": "<script>x</script>"})
    arms = tuple(replace(a, arm=s) for a, s in zip(scores.arms, [sized[0], bad, sized[2]], strict=True))
    page = render_set_scores(replace(scores, arms=arms))
    assert "<svg" in page and "<script>" not in page
    assert len(write_set_scores(tmp_path, scores)) == 3


def test_metric_lists_and_weights_that_make_no_sense_are_refused():
    with pytest.raises(InputError, match="psnr is named twice"):
        load_metrics("psnr,ssim,psnr", weights={})
    with pytest.raises(InputError, match="write scorer=path"):
        parse_weights(["clipscore"])
    with pytest.raises(InputError, match="psnr takes no weights"):
        load_metrics("psnr", weights={"psnr": "x"})
    with pytest.raises(InputError, match="'clipscor' takes no weights; choose one of clipscore"):
        parse_weights(["clipscor=/data"])
    with pytest.raises(InputError, match="names 'lpips' twice, 'a' and 'b'"):
        parse_weights(["lpips=a", "lpips=b"])
    with pytest.raises(InputError, match="weights are given for 'lpips', which is not among the metrics psnr"):
        load_metrics("psnr", weights={"lpips": "a.pth"})
    with pytest.raises(InputError, match="hold an empty name"):
        load_metrics("psnr,", weights={})


def test_the_paired_interval_is_the_hand_worked_one():
    # differences 1, 2, 3: mean 2, sd 1, t(0.975, 2) = 4.302653, half width 4.302653 / sqrt(3) = 2.484138
    d = paired_difference([2, 4, 6], [1, 2, 3])
    assert (d.mean, d.low, d.high, d.n) == (
        2.0,
        pytest.approx(-0.484138, abs=1e-5),
        pytest.approx(4.484138, abs=1e-5),
        3,
    )
    assert not d.is_gain
    with pytest.raises(InputError, match="two prompts or more"):
        paired_difference([1], [2])


def test_the_page_opens_with_the_prompts_where_the_arms_differ_most(small_image_set, clip_folder):
    scores = score(small_image_set, clip_folder)
    values: dict[str, list[float]] = {}
    for image in scores.images:
        values.setdefault(image["prompt_id"], []).append(image["jaq"])
    spread = {prompt: max(some) - min(some) for prompt, some in values.items()}
    assert [one.prompt_id for one in scores.shown[:3]] == sorted(spread, key=spread.__getitem__, reverse=True)[:3]
    page = render_set_scores(scores)
    assert page.index("<h2>Pictures to look at</h2>") < page.index("<h2>Quality</h2>")
    assert page.count("data:image/png;base64,") == 3 * len(scores.shown) and "prefers-color-scheme: dark" in page
    assert f"The arms differ by {max(spread.values()):.4f} in jaq." in page
