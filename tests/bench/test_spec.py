"""benchmark.yaml: every mistake is an error with its line; prompts are chosen as it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from qsched.bench.prompts import choose_prompts, prompts_text, stand_in_prompts
from qsched.bench.spec import Benchmark, PromptSource, read_benchmark
from qsched.errors import InputError, RowError
from qsched.generation import read_prompts

SPECS = Path(__file__).parents[2] / "benchmarks" / "specs"
WHOLE = """\
schema_version: 1
name: small
version: "1"
title: Small
models:
  - {name: tiny-sdxl}
  - {name: flux, backbone: tiny-flux, steps: 2}
arms: [fp32, w3a8, {arm: w3a8+qsched, coefficients: calibrate}]
prompts:
  - {file: demo, limit: 4}
calibration:
  prompts: {file: calibration, limit: 12}
  n_prompts: 4
  n_heldout: 8
studies:
  - name: preference
    votes: simulated
    simulation: {annotators: 4}
    study: {title: Better?, votes_per_pair: 2}
"""


def read(folder: Path, text: str) -> Benchmark:
    path = folder / "benchmark.yaml"
    path.write_text(text, encoding="utf-8")
    return read_benchmark(path)


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    found = read(tmp_path, WHOLE)
    assert [arm.arm for arm in found.arms_of(found.models[0])] == ["fp32", "w3a8", "w3a8+qsched"]
    assert (found.arms[2].precision, found.arms[2].method, found.arms[2].coefficients) == (
        "w3a8",
        "qsched",
        "calibrate",
    )
    assert found.models[1].source == "tiny-flux" and found.models[0].source == "tiny-sdxl"
    assert found.studies_of(found.models[1])[0].simulation.votes_each == 36


# (replaced, by, line, part of the message)
WRONG = [
    ("name: small", "name: Small One", 2, "not a name"),
    ('version: "1"', "version: 1", 3, "put it in quotes"),
    ("title: Small", "titel: Small", 1, "title: this key is missing"),
    ("{name: tiny-sdxl}", "{name: tiny-sdxl, step: 3}", 6, "models.0.step: this key is unknown"),
    ("{name: flux, ", "{name: tiny-sdxl, ", 5, "tiny-sdxl is named twice"),
    ("fp32, w3a8, {", "fp32, fp32, {", 1, "the arm fp32 of tiny-sdxl is named twice"),
    ("[fp32, w3a8,", "[w3a8+qsched, w3a8,", 1, "is a stock arm|named twice"),
    ("{arm: w3a8+qsched, coefficients", "{arm: w3a8, coefficients", 8, "w3a8 has no coefficients"),
    (
        "calibration:\n  prompts: {file: calibration, limit: 12}\n  n_prompts: 4\n  n_heldout: 8\n",
        "",
        1,
        "no calibration section",
    ),
    ("votes: simulated", "votes: people", 16, "simulation belongs to votes: simulated"),
    ("votes: simulated", "votes: robots", 17, "'people' or 'simulated'"),
    ("title: Better?, votes", "title: Better?, slug: x, votes", 16, "study has slug"),
    ("- name: preference", "- name: preference\n    models: [sdxl]", 1, "names the model sdxl"),
    ("{name: tiny-sdxl}", "{name: tiny-sdxl, guidance_scale: .inf}", 6, "should be a finite number"),
    ("{name: tiny-sdxl}", "{name: tiny-sdxl, seconds_per_image: {'': .nan}}", 6, "greater than 0|finite number"),
    ("{name: tiny-sdxl}", "{name: tiny-sdxl, seconds_per_image: {w3a9: 1}}", 1, "names w3a9; its arms are fp32, w3a8"),
    ("{arm: w3a8+qsched,", "{arm: w3a8+foo,", 8, r"w3a8\+foo: the part after \+ is qsched or qsched-bias"),
    ("title: Small", "title: Small\nsamples: 1000000000000", 5, "less than or equal to 1000"),
    ("limit: 4", "limit: 0", 10, "greater than or equal to 1"),
    ("schema_version: 1", "schema_version: 2", 1, "Input should be 1"),
    ("- {name: tiny-sdxl}\n", "- {name: tiny-sdxl\n", 7, "not valid YAML"),
]


@pytest.mark.parametrize(("old", "new", "line", "message"), WRONG)
def test_a_mistake_is_an_error_with_its_line(tmp_path: Path, old: str, new: str, line: int, message: str) -> None:
    assert WHOLE.count(old) == 1
    with pytest.raises(RowError, match=message) as caught:
        read(tmp_path, WHOLE.replace(old, new))
    assert caught.value.line == line


def source(folder: Path, **more: object) -> PromptSource:
    rows = "".join(f"p{n:02d},prompt {n},{'ab'[n % 2]}\n" for n in range(20))
    (folder / "p.csv").write_text("id,prompt,category\n" + rows, encoding="utf-8")
    return PromptSource.model_validate({"file": "p.csv", **more})


def test_prompts_are_the_first_or_drawn_or_so_many_of_each_category(tmp_path: Path) -> None:
    def ids(**more: object) -> list[str]:
        return [one.prompt_id for one in choose_prompts([source(tmp_path, **more)], folder=tmp_path)]

    assert ids(limit=3) == ["p00", "p01", "p02"]
    assert ids(per_category=1) == ["p00", "p01"]
    drawn = ids(limit=5, draw=0)
    assert (
        drawn == sorted(drawn) and drawn == ids(limit=5, draw=0) and drawn not in (ids(limit=5, draw=1), ids(limit=5))
    )
    one_each = choose_prompts([source(tmp_path, per_category=2, draw=3)], folder=tmp_path)
    assert sorted(one.category or "" for one in one_each) == ["a", "a", "b", "b"]
    with pytest.raises(InputError, match="has 20 prompts to choose from, and limit asks for 21"):
        ids(limit=21)


def test_prompts_without_a_category_are_not_one_category(tmp_path: Path) -> None:
    """They would be cut to the number of a single one, without a word."""
    (tmp_path / "p.txt").write_text("a ring\na disc\na star\n")
    with pytest.raises(InputError, match=r"per_category asks for categories, and prompt line-0001 has none"):
        choose_prompts([PromptSource(file="p.txt", per_category=2)], folder=tmp_path)


def test_ids_that_two_files_share_get_the_number_of_their_file(tmp_path: Path) -> None:
    twice = choose_prompts([source(tmp_path, limit=1), source(tmp_path, limit=2)], folder=tmp_path)
    assert [one.prompt_id for one in twice] == ["1-p00", "2-p00", "2-p01"]
    path = tmp_path / "prompts.json"
    path.write_text(prompts_text(twice), encoding="utf-8")
    assert read_prompts(path) == twice, "what is written is read again"


def test_prompts_that_are_judged_are_not_chosen_for_a_calibration(tmp_path: Path) -> None:
    """A file that serves both would have coefficients fitted to the pictures that they are judged by."""
    judged = choose_prompts([source(tmp_path, limit=2, draw=3)], folder=tmp_path)
    fitted = choose_prompts([source(tmp_path, limit=3)], folder=tmp_path, without=judged)
    assert len(fitted) == 3 and not {one.prompt for one in fitted} & {one.prompt for one in judged}
    with pytest.raises(InputError, match="is among the benchmark's own; calibrate on others"):
        choose_prompts([source(tmp_path)], folder=tmp_path, without=choose_prompts([source(tmp_path)], folder=tmp_path))


def test_a_plan_counts_prompts_that_are_not_here_by_their_limit(tmp_path: Path) -> None:
    prompts, notes = stand_in_prompts([PromptSource(file="sDCI.yaml", limit=7)], folder=tmp_path)
    assert len(prompts) == 7 and "its limit of 7 is taken" in notes[0]
    with pytest.raises(InputError, match="the number of prompts is unknown"):
        stand_in_prompts([PromptSource(file="sDCI.yaml")], folder=tmp_path)


def test_each_study_has_a_slug_of_its_own_that_a_server_takes(tmp_path: Path) -> None:
    """A slug that was cut short, or that two studies share, would give one model the votes on another."""
    long = WHOLE.replace("name: small", "name: " + 40 * "s").replace("name: preference", "name: " + 13 * "p")
    assert read(tmp_path, long.replace(13 * "p", 12 * "p")), "63 characters"
    with pytest.raises(RowError, match="-tiny-sdxl has 64 characters, at most 63"):
        read(tmp_path, long)
    twins = WHOLE.replace("{name: tiny-sdxl}", "{name: b-c, backbone: tiny-sdxl}").replace("name: flux,", "name: c,")
    study = "  - {name: a, models: [b-c], study: {title: A}}\n  - {name: a-b, models: [c], study: {title: B}}\n"
    with pytest.raises(RowError, match="two studies would have the slug small-a-b-c"):
        read(tmp_path, twins.partition("studies:\n")[0] + "studies:\n" + study)


@pytest.mark.parametrize("name", ["tiny", "paper", "2026"])
def test_the_benchmarks_that_come_along_are_valid(name: str) -> None:
    assert read_benchmark(SPECS / f"{name}.yaml").models
