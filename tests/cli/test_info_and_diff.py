"""`qsched info` and `qsched diff` as a user meets them."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from qsched.cli.describe import describe
from qsched.cli.main import app
from qsched.errors import InputError
from tests.conftest import write_image_set


def shown(path: Path) -> str:
    return "\n".join(f"{label}: {text}" for label, text in describe(path))


def test_each_kind_of_file_is_recognised_by_its_content(tmp_path) -> None:
    folder = write_image_set(tmp_path / "set", prompts=2)
    assert "6 of 6 (complete)" in shown(folder) and shown(folder / "images.jsonl") == shown(folder)
    (folder / "images.jsonl").write_text("".join((folder / "images.jsonl").read_text().splitlines(True)[:-1]))
    assert "5 of 6 (incomplete" in shown(folder / "manifest.json")

    coefficients = tmp_path / "c.json"
    coefficients.write_text('{"family": "constant", "model": 0.9, "sample": 1.0}')
    assert "coefficients of Q-Sched" in shown(coefficients) and "made for: not stated" in shown(coefficients)

    votes = tmp_path / "votes.csv"
    head = "study,question,pair_id,prompt_id,left_arm,right_arm,choice,annotator,simulated\n"
    votes.write_text(head + "s,q,1,p,a,b,left,x,true\ns,q,2,p,a,b,tie,y,false\n")
    assert "2 answers (2 task)" in shown(votes) and "simulated: 1: given by software" in shown(votes)

    prompts = tmp_path / "p.csv"
    prompts.write_text("id,prompt,category\n1,a ring,ring\n2,a dot,dot\n")
    assert "2 prompts" in shown(prompts) and "dot 1, ring 1" in shown(prompts)

    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE t (x)")
    before = other.read_bytes()
    with pytest.raises(InputError, match="not a study database"):
        describe(other)
    assert other.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.bin", "abc", "none of the files"),
        ("x.json", "{", "cannot be read as JSON"),
        ("x.json", '{"a": 1}', "not a file that qsched knows"),
        ("x.safetensors", "abc", "not a whole safetensors file"),
    ],
)
def test_what_is_none_of_ours_is_an_error_with_the_reason(tmp_path, name, content, message) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        describe(tmp_path / name)
    with pytest.raises(InputError, match="does not exist"):
        describe(tmp_path / "absent")


def test_a_set_equals_its_copy_and_every_difference_of_another_is_named(tmp_path) -> None:
    a = write_image_set(tmp_path / "a", prompts=3)
    b = Path(shutil.copytree(a, tmp_path / "b"))
    same = CliRunner().invoke(app, ["diff", str(a), str(b)])
    assert same.exit_code == 0 and "9 have the same bytes, 0 do not" in same.output

    manifest = json.loads((b / "manifest.json").read_text())
    manifest["steps"] = 2
    manifest["arms"][1]["recipe"] = {"precision": {"group": 32}}
    manifest["arms"][2]["name"] = "w8a8"
    (b / "manifest.json").write_text(json.dumps(manifest))
    rows = [json.loads(line) for line in (b / "images.jsonl").read_text().splitlines()]
    for row in rows:
        row["versions"] = {"pillow": "y"}
        if row["arm"] == "w4a4+qsched":
            row["arm"] = "w8a8"
        if row["prompt_id"] == "p1":
            row["prompt"] = "another text"
        if row["prompt_id"] == "p2":
            row["prompt_id"] = "p9"
    rows[0]["sha256"] = "0" * 64
    (b / "images.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = CliRunner().invoke(app, ["diff", str(a), str(b)])
    assert found.exit_code == 1
    for line in (
        "setting   steps: 4 in A, 2 in B",
        "arms      only in A: w4a4+qsched",
        "arms      only in B: w8a8",
        "prompts   only in A: p2",
        "prompts   only in B: p9",
        "arm       w4a4: recipe.precision.group: not there in A, 32 in B",
        "prompts   text or category differs: p1",
        "pictures  4 in both: 3 have the same bytes, 1 do not",
        "other bytes by arm: fp32 1; 0 of them",
        "versions  pillow: x in A, y in B",
    ):
        assert line in found.output, f"{line} not in\n{found.output}"
    missing = CliRunner().invoke(app, ["diff", str(a), str(tmp_path / "absent")])
    assert missing.exit_code != 0
