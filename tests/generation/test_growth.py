"""A set grows: what may be added, that nothing it has changes, and what is refused with which reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from qsched.errors import InputError
from qsched.generation import Request, generate_pairs, verify_set
from qsched.records import iter_rows, read_manifest

PROMPTS = [("one", "a red ring"), ("two", "a blue dot"), ("three", "a green ring"), ("four", "a grey dot")]


def write_prompts(path: Path, n: int) -> Path:
    path.write_text("".join(f"{name}: {text}\n" for name, text in PROMPTS[:n]))
    return path


def request(backbone: Path, prompts: Path, out: Path, **more) -> Request:
    options = {"arms": "fp32", "samples": 1, "batch_size": 2, "steps": 1, "device": "cpu", **more}
    return Request(backbone=str(backbone), prompts=prompts, out=out, **options)


@pytest.fixture(scope="module")
def backbone(random_pipelines) -> Path:
    return random_pipelines["flux"]


@pytest.fixture(scope="module")
def small(backbone, tmp_path_factory) -> Path:
    """Three prompts, one arm, one sample, in batches of two; not to be written to."""
    root = tmp_path_factory.mktemp("growth")
    generate_pairs(request(backbone, write_prompts(root / "p.yaml", 3), root / "set"))
    return root / "set"


@pytest.fixture
def copy(small, tmp_path) -> Path:
    return Path(shutil.copytree(small, tmp_path / "set"))


def content(folder: Path) -> dict[tuple[str, str, int], tuple[str, tuple[str, ...]]]:
    return {(r.arm, r.prompt_id, r.sample_index): (r.sha256, r.batch) for r in iter_rows(folder)}


def test_prompts_samples_and_an_arm_are_added_and_what_was_there_is_untouched(backbone, copy, tmp_path) -> None:
    before, lines = content(copy), (copy / "images.jsonl").read_bytes()
    files = {path.name: path.stat().st_mtime_ns for path in (copy / "images").iterdir()}
    more = write_prompts(tmp_path / "renamed.yaml", 4)
    report = generate_pairs(request(backbone, more, copy, arms="fp32,w4a4", samples=2, batch_size=3))
    assert report.made == 16 - 3 and "1 arm (w4a4), 1 prompt, 1 sample per prompt" in report.notes[0]
    after = content(copy)
    assert {key: after[key] for key in before} == before
    assert {name: (copy / "images" / name).stat().st_mtime_ns for name in files} == files
    assert lines.splitlines()[0] in (copy / "images.jsonl").read_bytes()
    assert verify_set(copy).ok
    batches = list(dict.fromkeys(batch for _, batch in after.values()))
    assert batches == [("one/0", "two/0"), ("three/0",), ("one/1", "two/1", "three/1"), ("four/0", "four/1")]
    first, second = read_manifest(copy).requests
    assert (first.n_prompts, first.samples, first.batch_size, first.arms) == (3, 1, 2, ("fp32",))
    assert (second.n_prompts, second.samples, second.batch_size, second.arms) == (4, 2, 3, ("fp32", "w4a4"))
    assert (first.prompts_file, second.prompts_file) == ("p.yaml", "renamed.yaml")
    assert (
        report.n_images == 16
        and generate_pairs(request(backbone, more, copy, arms="fp32,w4a4", samples=2, batch_size=3)).made == 0
    )
    assert len(read_manifest(copy).requests) == 2


def test_a_set_that_grew_and_lost_pictures_gets_them_back_in_their_own_batches(backbone, copy, tmp_path) -> None:
    more = request(backbone, write_prompts(tmp_path / "p.yaml", 4), copy, batch_size=1)
    generate_pairs(more)
    before = content(copy)
    for path in (copy / "images").iterdir():
        path.unlink()
    report = generate_pairs(more)
    assert report.made == 4 and content(copy) == before and verify_set(copy).ok


def test_a_renamed_file_and_a_larger_limit_on_one_file_are_no_other_request(backbone, tmp_path) -> None:
    prompts, out = write_prompts(tmp_path / "p.yaml", 4), tmp_path / "set"
    assert generate_pairs(request(backbone, prompts, out, limit=1)).made == 1
    assert generate_pairs(request(backbone, prompts.rename(tmp_path / "q.yaml"), out, limit=1)).made == 0
    assert generate_pairs(request(backbone, tmp_path / "q.yaml", out, limit=3)).made == 2
    assert [r.limit for r in read_manifest(out).requests] == [1, 3]


def test_another_batch_size_alone_changes_nothing_and_is_said(backbone, copy, tmp_path) -> None:
    before = without_hash(copy)
    report = generate_pairs(request(backbone, write_prompts(tmp_path / "p.yaml", 3), copy, batch_size=5))
    assert report.made == 0 and "keep their batches of 2" in report.notes[0]
    assert without_hash(copy) == before


def without_hash(folder: Path) -> dict:
    """The manifest, without the hash by which the same command finds out later that nothing is to do."""
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["provenance"]["asked_sha256"]
    return manifest


@pytest.mark.parametrize(
    ("prompts", "change", "reason"),
    [
        (3, {"limit": 2}, "3 there, 2 now; a set does not lose pictures"),
        (3, {"arms": "w4a4"}, "fp32 is there and not in --arms"),
        (3, {"arms": "w4a4,fp32"}, "the set has fp32 in this order"),
        (3, {"set_seed": 1}, "set_seed"),
        ("two: a blue dot\none: a red ring\nthree: a green ring\n", {}, "in another order"),
        ("one: a red ring\ntwo: a pink dot\nthree: a green ring\n", {}, "text of 'two' was 'a blue dot', is 'a pink"),
        ("zero: x\none: a red ring\ntwo: a blue dot\nthree: a green ring\n", {}, "'three' has pictures and is not"),
    ],
)
def test_what_would_change_the_set_is_refused_before_anything_is_loaded(
    backbone, copy, tmp_path, prompts, change, reason, monkeypatch
) -> None:
    path = tmp_path / "p.yaml"
    if isinstance(prompts, int):
        write_prompts(path, prompts)
    else:
        path.write_text(prompts)
    monkeypatch.setattr("qsched.generation.worker._load", lambda *_: pytest.fail("loaded"))
    with pytest.raises(InputError, match=reason):
        generate_pairs(request(backbone, path, copy, **change))


COEFFICIENTS = '{"family": "constant", "model": %s, "sample": 1.0}'


@pytest.mark.parametrize(
    ("arm", "name", "first", "second", "key"),
    [
        (
            "w4a4+qsched:{}",
            "own.json",
            COEFFICIENTS % 0.9,
            COEFFICIENTS % 0.8,
            "coefficients.model was 0.9, is 0.8 now",
        ),
        ("w4a4:bits={}", "map.json", '{"proj_out": 8}', '{"proj_out": 6}', r"precision.bits was .*8.*, is .*6.* now"),
    ],
)
def test_a_file_that_changed_under_its_name_is_no_finished_arm(
    backbone, copy, tmp_path, monkeypatch, arm, name, first, second, key
) -> None:
    """Arms are named after the stem of their file; its content may be another one in the next run."""
    path, prompts = tmp_path / name, write_prompts(tmp_path / "p.yaml", 3)
    arms = "fp32," + arm.format(path)
    path.write_text(first)
    assert generate_pairs(request(backbone, prompts, copy, arms=arms)).made == 3
    path.write_text(second)
    monkeypatch.setattr("qsched.generation.worker._load", lambda *_: pytest.fail("loaded"))
    with pytest.raises(InputError, match=f"{key}; a file of another name makes a new arm"):
        generate_pairs(request(backbone, prompts, copy, arms=arms))


def test_prompts_that_changed_behind_those_of_the_set_or_of_the_statistics_are_seen(backbone, copy, tmp_path) -> None:
    """A changed text is refused where it has pictures, or where statistics were measured on it."""
    prompts, calibration = write_prompts(tmp_path / "p.yaml", 3), write_prompts(tmp_path / "c.yaml", 1)
    ask = request(backbone, prompts, copy, arms="fp32,smoothquant", calibration_prompts=calibration)
    assert generate_pairs(ask).made == 3
    calibration.write_text("one: a red rod\n")
    with pytest.raises(InputError, match=r"calibration\.prompts_sha256"):
        generate_pairs(ask)
