"""`qsched gate`: exact bounds, three verdicts, limits in the right direction, and no way round it."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from qsched.cli.main import app
from qsched.errors import InputError
from qsched.records.metric_jnd import MetricMap, MetricMaps
from qsched.scoring.image_set.gate import Limit, judge_set, judge_share, parse_limit, prompts_needed
from qsched.scoring.reference_metrics import Psnr
from tests.conftest import write_image_set


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("cvvdp>=9.5", Limit("cvvdp", ">=", 9.5)),
        (" flip <= .1 ", Limit("flip", "<=", 0.1)),
        ("pyiqa:ms_ssim>=0.99", Limit("pyiqa:ms_ssim", ">=", 0.99)),
        ("ssimulacra2>=-10", Limit("ssimulacra2", ">=", -10.0)),
    ],
)
def test_a_limit_is_read_as_it_is_written(text, limit):
    assert parse_limit(text) == limit


@pytest.mark.parametrize("text", ["cvvdp=<9", "cvvdp>9", "cvvdp>=", ">=9", "cvvdp>=9JOD", "cvvdp>=nan", ""])
def test_what_is_not_a_limit_is_refused(text):
    with pytest.raises(InputError, match="is not METRIC<=NUMBER or METRIC>=NUMBER"):
        parse_limit(text)


def test_the_bounds_are_those_of_clopper_and_pearson():
    # 59 of 59 is the classical smallest sample for 95 % with 95 %: .05 ** (1/59) = .9505.
    assert judge_share(59, 59, share=0.95, level=0.95) == (pytest.approx(0.05 ** (1 / 59)), 1.0, "passed")
    assert judge_share(58, 58, share=0.95, level=0.95)[2] == "not shown"
    # 0 of 10: upper bound 1 - .05 ** (1/10).
    assert judge_share(0, 10, share=0.5, level=0.95) == (0.0, pytest.approx(1 - 0.05**0.1), "failed")
    assert prompts_needed(24, 24, share=0.95, level=0.95) == 59
    assert prompts_needed(19, 20, share=0.95, level=0.95) is None
    needed = prompts_needed(49, 50, share=0.95, level=0.95)
    assert needed is not None and judge_share(int(0.98 * needed), needed, share=0.95, level=0.95)[2] == "passed"


def test_a_true_share_below_the_wanted_one_seldom_passes():
    rng = np.random.default_rng(1)
    within = rng.binomial(120, 0.95, size=4000)
    passed = sum(judge_share(int(k), 120, share=0.95, level=0.95)[2] == "passed" for k in within)
    failed = sum(judge_share(int(k), 120, share=0.95, level=0.95)[2] == "failed" for k in within)
    assert passed / 4000 <= 0.05 and failed / 4000 <= 0.05


def change(folder: Path, arm: str, prompts: int) -> None:
    """Make the pictures of the first prompts of an arm unlike their twins, in file and row."""
    import hashlib

    rows = [json.loads(line) for line in (folder / "images.jsonl").read_text("utf-8").splitlines()]
    chosen = sorted({row["prompt_id"] for row in rows})[:prompts]
    twins = {row["prompt_id"]: row for row in rows if row["arm"] == "a"}
    lines = []
    for row in rows:
        if row["arm"] == arm:
            bad = row["prompt_id"] in chosen
            picture = Image.open(folder / file_of(twins[row["prompt_id"]])).convert("RGB")
            pixels = np.asarray(picture).astype(int)
            path = folder / file_of(row)
            Image.fromarray((pixels + (60 if bad else 1)).clip(0, 255).astype("uint8")).save(path)
            row["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        lines.append(json.dumps(row))
    (folder / "images.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def file_of(row: dict[str, str]) -> str:
    return f"images/{row['image_id']}.png"


@pytest.fixture
def image_set(tmp_path: Path) -> Path:
    return write_image_set(tmp_path / "set", prompts=30, arms=("a", "b"), size=16)


@pytest.mark.parametrize(("bad", "outcome"), [(0, "passed"), (3, "not shown"), (12, "failed")])
def test_three_verdicts_with_their_exit_codes_and_files(image_set, tmp_path, bad, outcome):
    change(image_set, "b", bad)
    out = tmp_path / "out"
    out.mkdir()
    arguments = ["gate", str(image_set), "--limit", "psnr>=40", "--share", "0.9"]
    files = [f"--{kind}={out / kind}" for kind in ("junit", "markdown", "json")]
    done = CliRunner().invoke(app, [*arguments, *files])
    assert done.exit_code == {"passed": 0, "failed": 1, "not shown": 3}[outcome], done.output
    assert f"{30 - bad} of 30 prompts are within psnr >= 40" in done.output.replace("\n", " ").replace("  ", " ")
    (result,) = json.loads((out / "json").read_text())["results"]
    assert (result["outcome"], result["within"], result["prompts"]) == (outcome, 30 - bad, 30)
    suite = ElementTree.fromstring((out / "junit").read_text())
    assert [f.get("type") for f in suite.iter("failure")] == ([] if outcome == "passed" else [outcome])
    assert f"**{outcome}**" in (out / "markdown").read_text()


def write_map(path: Path, *, version: str) -> Path:
    """x = 10^(-psnr/20); damage 20 x JND, known exactly: 1 JND at 26 dB."""
    one = MetricMap(
        metric="psnr",
        form="decibel",
        version=version,
        log_a=np.log(20.0),
        b=1.0,
        variance_log_a=0.0,
        variance_b=0.0,
        covariance=0.0,
        spread=0.2,
        t=1.7,
        low=0.0005,
        high=0.5,
        pictures=40,
        log_likelihood=-100.0,
    )
    maps = MetricMaps(
        set_id="s",
        reference="a",
        studies=("study",),
        votes=400,
        simulated_votes=0,
        people=20,
        people_sd=0.3,
        lapse=0.05,
        confidence=0.95,
        maps=(one,),
    )
    path.write_text(maps.model_dump_json(), encoding="utf-8")
    return path


def test_a_limit_in_jnd_is_placed_by_the_map_of_peoples_votes(image_set, tmp_path):
    from qsched.errors import QschedError

    change(image_set, "b", 3)  # three at 12.6 dB, the others at 48 dB
    path = write_map(tmp_path / "map.json", version=Psnr().info.version)
    gate = ["gate", str(image_set), "--share", "0.5", "--limit", "psnr<=1JND"]
    done = CliRunner().invoke(app, [*gate, "--jnd-map", str(path), f"--json={tmp_path / 'out.json'}"])
    assert done.exit_code == 0, done.output
    assert "(1 JND)" in done.output
    (result,) = json.loads((tmp_path / "out.json").read_text())["results"]
    assert result["limit"]["value"] == pytest.approx(26.02, abs=0.05)
    assert (result["limit"]["jnd"], result["within"]) == (1.0, 27)
    other = write_map(tmp_path / "other.json", version="another formula")
    for more, words in (([], "needs --jnd-map"), (["--jnd-map", str(other)], "another version")):
        refused = CliRunner().invoke(app, [*gate, *more])
        assert isinstance(refused.exception, QschedError) and words in str(refused.exception)


def test_a_limit_the_wrong_way_round_and_a_metric_without_a_twin_are_refused(image_set):
    from qsched.errors import QschedError

    for limit, words in (("psnr<=40", "let the worst pictures pass"), ("clipscore>=0.8", "against its twin")):
        done = CliRunner().invoke(app, ["gate", str(image_set), "--limit", limit])
        assert isinstance(done.exception, QschedError) and words in str(done.exception)


def test_leaving_pictures_out_does_not_pass_the_gate(image_set):
    lines = (image_set / "images.jsonl").read_text("utf-8").splitlines()
    kept = [line for line in lines if not (json.loads(line)["arm"] == "b" and "p0" in json.loads(line)["prompt_id"])]
    assert len(kept) < len(lines)
    (image_set / "images.jsonl").write_text("\n".join(kept) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match="lacks"):
        judge_set(image_set, [Limit("psnr", ">=", 10)], [Psnr()], share=0.9, level=0.95)


@pytest.mark.parametrize("kept", [3, 0])
def test_pictures_that_every_arm_lacks_are_missing_too(image_set, kept):
    """A set that was stopped passed by the prompts that it had, and an empty one ended in a division by zero."""
    lines = (image_set / "images.jsonl").read_text("utf-8").splitlines()
    some = sorted({json.loads(line)["prompt_id"] for line in lines})[:kept]
    left = [line + "\n" for line in lines if json.loads(line)["prompt_id"] in some]
    (image_set / "images.jsonl").write_text("".join(left), encoding="utf-8")
    with pytest.raises(InputError, match=rf"has {kept} of the 30 pictures that were asked for; finish the set"):
        judge_set(image_set, [Limit("psnr", ">=", 10)], [Psnr()], share=0.3, level=0.95)


def test_a_shard_is_not_judged_as_the_whole_set(image_set):
    manifest = json.loads((image_set / "manifest.json").read_text("utf-8"))
    manifest["shard"] = {"index": 1, "count": 2, "batches": []}
    (image_set / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(InputError, match="shard 1 of 2, a part of a set"):
        judge_set(image_set, [Limit("psnr", ">=", 10)], [Psnr()], share=0.3, level=0.95)


def test_an_arm_or_a_limit_that_is_named_twice_is_one_claim(image_set):
    limits = [Limit("psnr", ">=", 10), Limit("psnr", ">=", 10.0), Limit("psnr", ">=", 11)]
    found = judge_set(image_set, limits, [Psnr()], share=0.3, level=0.95, arms=["b", "b"])
    assert [(one.arm, one.limit.value) for one in found.results] == [("b", 10), ("b", 11)]
