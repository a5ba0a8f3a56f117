"""Pairs by stratum: what is broken, identical or nearly so is listed, left out or drawn, and counted everywhere."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from analysis.report.subjects.caveats import set_notes
from analysis.report.subjects.pictures import load_image_set
from qsched.cli.main import app
from qsched.errors import InputError, IntegrityError
from qsched.generation import verify_set
from qsched.records import image_id_of, iter_rows, read_manifest
from tests.conftest import write_image_set

ARMS = ("fp32", "w4a4")
PROMPTS = 8


@pytest.fixture
def own_set(tmp_path, monkeypatch):
    """p0 black in w4a4, p1 identical, p2 and p3 one level apart in one pixel, the others different."""
    monkeypatch.chdir(tmp_path)
    folder = write_image_set(tmp_path / "set", prompts=PROMPTS, arms=ARMS, size=16)
    rows = list(iter_rows(folder))
    of = {(row.prompt_id, row.arm): row for row in rows}
    changed = []
    for row in rows:
        if row.arm == "w4a4" and row.prompt_id in ("p0", "p1", "p2", "p3"):
            with Image.open(folder / of[row.prompt_id, "fp32"].file_name) as picture:
                pixels = np.array(picture)
            if row.prompt_id == "p0":
                pixels[:] = 0
            elif row.prompt_id != "p1":
                pixels[3, 3, 0] -= 1
            (folder / row.file_name).unlink()
            Image.fromarray(pixels).save(folder / "images" / "new.png")
            digest = hashlib.sha256((folder / "images" / "new.png").read_bytes()).hexdigest()
            row = row.model_copy(update={"sha256": digest})
            row = row.model_copy(update={"image_id": image_id_of(row)})
            (folder / "images" / "new.png").rename(folder / row.file_name)
        changed.append(row)
    (folder / "images.jsonl").write_text("".join(row.model_dump_json() + "\n" for row in changed), encoding="utf-8")
    report = verify_set(folder)
    assert report.ok
    assert "1 picture(s) of w4a4 have a single colour" in report.notes[0]
    return folder


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if done.exception is not None:
        raise done.exception
    return done.output


def listed(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "pairs.csv").open() as file:
        return {row["prompt_id"]: row for row in csv.DictReader(file)}


def test_each_pair_gets_its_stratum_and_broken_pairs_stay_unless_they_are_named(own_set):
    shown = run("pairs", own_set)
    rows = listed(own_set)
    strata = [rows[f"p{n}"]["stratum"] for n in range(PROMPTS)]
    assert strata == ["broken", "identical", "near-identical", "near-identical", *["different"] * 4]
    assert [row["use"] for row in rows.values()] == ["yes", "no", *["yes"] * 6]
    assert rows["p2"]["largest_difference"] == "1" and float(rows["p2"]["mean_difference"]) == pytest.approx(
        1 / 768, abs=1e-4
    )
    assert rows["p0"]["why"] == "w4a4 is all #000000"
    assert "broken: w4a4 is all #000000 (prompt p0, sample 0)" in shown and "7 of 8 pairs to show" in shown
    run("pairs", own_set, "--leave-out", "broken,identical", "--near-levels", "0")
    again = listed(own_set)
    assert (again["p0"]["use"], again["p2"]["stratum"]) == ("no", "different")
    assert again["p0"]["why"] == "w4a4 is all #000000; left out: broken"
    assert verify_set(own_set).ok, "the list is part of the set"


def test_so_many_pairs_of_a_stratum_are_drawn_for_each_comparison_by_the_seed(own_set):
    def drawn(seed: int) -> list[str]:
        run("pairs", own_set, "--leave-out", "none", "--sample", "different=2,near-identical=1", "--seed", seed)
        return [name for name, row in listed(own_set).items() if row["use"] == "yes"]

    first = drawn(1)
    assert first == drawn(1) and len(first) == 5
    assert len({tuple(drawn(seed)) for seed in range(8)}) > 1
    assert [row["why"] for row in listed(own_set).values() if row["use"] == "no"].count("not drawn: 2 of 4") == 2


def test_a_study_shows_what_the_list_says_and_counts_the_rest(own_set, tmp_path):
    Path("s.yaml").write_text("slug: s\ntitle: t\nimages: set\npairs: curated\n")
    with pytest.raises(InputError, match=r"pairs\.csv does not exist; `qsched pairs"):
        run("study", "check", "s.yaml")
    run("pairs", own_set, "--leave-out", "broken,identical", "--sample", "near-identical=1")
    shown = run("study", "check", "s.yaml")
    left_out = "1 broken, 1 identical, 1 near-identical (not drawn)"
    assert f"{left_out} pairs, as pairs.csv says" in shown and "5 x 5 votes" in shown
    database = f"sqlite:///{tmp_path / 'x.db'}"
    created = run("study", "create", "s.yaml", "--db", database)
    assert "5 pairs" in created and f"pairs.csv leaves out {left_out} pairs" in created
    exported = run("votes", "export", "v.parquet", "--study", "s", "--db", database)
    assert f"not show these pairs of its image set: {left_out}" in exported
    notes = set_notes(load_image_set(own_set), tuple(arm.name for arm in read_manifest(own_set).arms))
    assert any(f"leaves out {left_out} pairs of these arms" in note for note in notes)
    run("pairs", own_set)
    with pytest.raises(InputError, match=r"these keys differ: pairs_sha256"):
        run("study", "create", "s.yaml", "--db", database)
    Path("s.yaml").write_text("slug: s\ntitle: t\nimages: set\n")
    assert "pairs.csv of the image set (pairs: curated uses it)" in run("study", "check", "s.yaml")
    Path("s.yaml").write_text(f"slug: s\ntitle: t\nimages: set\npairs: curated\npairs_sha256: '{'0' * 64}'\n")
    with pytest.raises(InputError, match="it was changed after the study was designed"):
        run("study", "check", "s.yaml")


def edit(old: str, new: str):
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (edit(",yes,", ",maybe,"), r"use is 'maybe'; it must be yes or no"),
        (edit(",broken,", ",odd,"), r"stratum is 'odd'"),
        (edit("p0,0,", "p0,x,"), r"pairs\.csv:2: sample_index is 'x'"),
        (edit("use", "used"), r"column 'used' is not known"),
        (edit("p1,0,fp32,w4a4", "p0,0,w4a4,fp32"), "listed twice"),
        (lambda text: text.split("p5,")[0], "does not list prompt 'p[567]', sample 0, fp32 and w4a4"),
        (lambda text: text.replace(",yes,", ",no,"), "leaves all pairs out"),
    ],
)
def test_a_list_that_cannot_be_meant_is_refused(own_set, change, words):
    run("pairs", own_set)
    path = own_set / "pairs.csv"
    path.write_text(change(path.read_text()))
    Path("s.yaml").write_text("slug: s\ntitle: t\nimages: set\npairs: curated\n")
    with pytest.raises(InputError, match=words):
        run("study", "check", "s.yaml")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--leave-out", "ugly"), "--leave-out: 'ugly' is not one of broken, flagged, identical"),
        (("--sample", "broken"), "write STRATUM=NUMBER"),
        (("--baseline", "int8"), "'int8' is not an arm of the set; they are fp32, w4a4"),
    ],
)
def test_options_that_name_nothing_are_refused(own_set, options, words):
    with pytest.raises(InputError, match=words):
        run("pairs", own_set, *options)


def test_a_set_that_verify_refuses_is_not_listed(own_set):
    rows = [json.loads(line) for line in (own_set / "images.jsonl").read_text().splitlines()]
    (own_set / "images.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[1:]))
    with pytest.raises(IntegrityError, match="qsched verify"):
        run("pairs", own_set)


@pytest.mark.slow
def test_a_metric_of_the_scored_set_can_say_what_is_nearly_identical(own_set):
    with pytest.raises(InputError, match=r"metrics\.json does not exist; score the set first"):
        run("pairs", own_set, "--near", "psnr>=30", "--baseline", "fp32")
    run("score", own_set, "--metrics", "psnr")
    run("pairs", own_set, "--near", "psnr>=60", "--baseline", "fp32")
    strata = [row["stratum"] for row in listed(own_set).values()]
    assert strata == ["broken", "identical", "near-identical", "near-identical", *["different"] * 4]
    for options, words in (
        (("--near", "psnr"), "write METRIC>=NUMBER or METRIC<=NUMBER"),
        (("--near", "cvvdp>=9.9", "--baseline", "fp32"), r"no metric 'cvvdp' of two pictures \(it has psnr\)"),
        (("--near", "psnr<=60", "--baseline", "fp32"), "most different pairs near-identical.* write psnr>=60"),
        (("--near", "psnr>=60"), "measured against 'fp32'; add --baseline fp32"),
    ):
        with pytest.raises(InputError, match=words):
            run("pairs", own_set, *options)


@pytest.mark.slow
def test_the_prompts_where_the_difference_is_most_visible_come_first(own_set):
    run("score", own_set, "--metrics", "psnr")
    run("pairs", own_set, "--baseline", "fp32", "--visible-first", "psnr=3", "--leave-out", "none")
    rows = list(listed(own_set).values())
    by_damage = sorted(rows, key=lambda row: -float(row["mean_difference"]))
    assert {row["prompt_id"] for row in rows if row["use"] == "yes"} <= {row["prompt_id"] for row in by_damage[:4]}
    assert sum(row["use"] == "yes" for row in rows) == 3
    assert all("less visible: prompt" in row["why"] for row in rows if row["use"] == "no")
    for options, words in (
        (("--visible-first", "psnr"), "write METRIC=PROMPTS"),
        (("--visible-first", "psnr=0"), "write METRIC=PROMPTS"),
        (("--visible-first", "psnr=9", "--baseline", "fp32"), "the list has 8 prompts"),
        (("--visible-first", "cvvdp=3", "--baseline", "fp32"), "--visible-first: metrics.json has no metric 'cvvdp'"),
    ):
        with pytest.raises(InputError, match=words):
            run("pairs", own_set, *options)
