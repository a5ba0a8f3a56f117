"""Shards and their merge: the set of one run, whatever was killed, stopped or missing on the way."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from qsched.errors import InputError, IntegrityError
from qsched.generation import Request, generate_pairs, verify_set
from qsched.generation.merge import merge_shards
from qsched.generation.shard import parse_shard
from qsched.generation.store import locked
from qsched.records import iter_rows, read_manifest

N = 3


def request(backbone: Path, root: Path, out: Path, **more) -> Request:
    prompts = root / "p.txt"
    if not prompts.exists():
        prompts.write_text("".join(f"a ring number {n}\n" for n in range(7)))
    (root / "one.json").write_text('{"family": "constant", "model": 1.0, "sample": 1.0}')
    arms = f"fp32,w4a4,smoothquant,w4a4+qsched:{root / 'one.json'}"
    options = {"arms": arms, "samples": 1, "batch_size": 2, "steps": 1, "device": "cpu", **more}
    options.setdefault("calibration_prompts", prompts)
    return Request(backbone=str(backbone), prompts=prompts, out=out, calibration_limit=2, **options)


@pytest.fixture(scope="module")
def backbone(random_pipelines) -> Path:
    return random_pipelines["flux"]


@pytest.fixture(scope="module")
def whole(backbone, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    generate_pairs(request(backbone, root, root / "set"))
    return root / "set"


@pytest.fixture(scope="module")
def sharded(backbone, tmp_path_factory) -> Path:
    """A folder with three finished shards, made in another order than their numbers; not to be written to."""
    root = tmp_path_factory.mktemp("sharded")
    for index in (2, 3, 1):
        report = generate_pairs(request(backbone, root, root / "set", shard=(index, N)))
        assert report.contact_sheet is None
    return root / "set"


@pytest.fixture
def copy(sharded, tmp_path) -> Path:
    return Path(shutil.copytree(sharded, tmp_path / "set"))


def content(folder: Path) -> tuple[dict, list, dict]:
    """Pictures, rows in order, manifest: without times."""
    rows = [row.model_dump(exclude={"seconds", "peak_memory_bytes", "git_commit"}) for row in iter_rows(folder)]
    manifest = read_manifest(folder).model_dump(exclude={"created_at"})
    for asked in manifest["requests"]:
        del asked["asked_at"]
    for key in ("git_commit", "asked_sha256"):  # the latter covers the paths of files, which differ here
        del manifest["provenance"][key]
    return {path.name: path.read_bytes() for path in (folder / "images").iterdir()}, rows, manifest


def test_merged_shards_are_the_set_of_one_run_byte_for_byte(whole, copy, backbone) -> None:
    report = merge_shards(copy)
    assert (report.shards, report.merged, report.kept) == (N, 28, 0)
    assert content(copy) == content(whole) and verify_set(copy).ok
    again = merge_shards(copy)
    assert (again.merged, again.kept) == (0, 28) and content(copy) == content(whole)
    assert len(list((copy / "statistics").glob("*.safetensors"))) == 1, "shards share their statistics"
    assert not verify_set(copy / "shards" / "1-of-3").ok, "a part does not pass for a set"


def test_a_shard_that_was_killed_is_named_resumed_and_merged_to_the_same_bytes(
    whole, copy, sharded, backbone, tmp_path
) -> None:
    shard = copy / "shards" / "2-of-3"
    rows = (shard / "images.jsonl").read_bytes()
    (shard / "images.jsonl").write_bytes(rows[: len(rows) // 2])
    with pytest.raises(InputError, match=r"half-written row|shard 2 of 3 in .* lacks"):
        merge_shards(copy)
    shutil.copy(sharded.parent / "p.txt", tmp_path / "p.txt")
    assert generate_pairs(request(backbone, tmp_path, copy, shard=(2, N))).made > 0
    merge_shards(copy)
    assert content(copy) == content(whole)


def test_a_merge_that_was_stopped_goes_on(whole, copy, monkeypatch) -> None:
    monkeypatch.setattr("qsched.generation.merge._ROWS_AT_ONCE", 5)
    real, calls = os.link, []

    def stopped(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == 12:
            raise KeyboardInterrupt
        if len(calls) % 2:
            raise OSError("no links here")
        real(source, target)

    monkeypatch.setattr(os, "link", stopped)
    with pytest.raises(KeyboardInterrupt):
        merge_shards(copy)
    monkeypatch.setattr(os, "link", real)
    report = merge_shards(copy)
    # Threads run ahead: when the twelfth picture is brought, one or two rounds of five rows have been written.
    assert report.kept in (5, 10) and content(copy) == content(whole) and verify_set(copy).ok


def test_a_missing_a_doubled_a_running_and_a_damaged_shard_are_named(copy, tmp_path) -> None:
    shards = copy / "shards"
    with locked(shards / "3-of-3"), pytest.raises(InputError, match=r"3-of-3 is being written by another run"):
        merge_shards(copy)
    shutil.copytree(shards / "3-of-3", shards / "again")
    with pytest.raises(InputError, match="shard 3 of 3 is named twice"):
        merge_shards(copy)
    shutil.rmtree(shards / "again")
    picture = next((shards / "1-of-3" / "images").iterdir())
    kept = picture.read_bytes()
    picture.write_bytes(kept[:-1])
    with pytest.raises(IntegrityError, match="does not have the bytes of its row"):
        merge_shards(copy)
    picture.write_bytes(kept)
    shutil.rmtree(shards / "1-of-3")
    with pytest.raises(InputError, match=r"missing of 3 shards: 1; run them with --shard 1/3"):
        merge_shards(copy)


def test_a_foreign_shard_is_named_with_what_differs(copy, backbone, tmp_path) -> None:
    other = tmp_path / "other"
    generate_pairs(request(backbone, tmp_path, other, shard=(1, N), arms="fp32", set_seed=1))
    shutil.rmtree(copy / "shards" / "1-of-3")
    shutil.copytree(other / "shards" / "1-of-3", copy / "shards" / "1-of-3")
    with pytest.raises(InputError, match=r"of another set than .*set_seed: 1 there, 0 now"):
        merge_shards(copy)
    shutil.copytree(copy / "shards" / "2-of-3", tmp_path / "b")
    with pytest.raises(InputError, match="missing of 3 shards: 1, 3"):
        merge_shards(copy, [tmp_path / "b"])


def test_one_shard_at_a_time_writes_to_a_folder_and_shards_are_not_mixed_with_a_set(copy, whole, backbone) -> None:
    asked = request(backbone, copy.parent, copy, shard=(1, N))
    with locked(copy / "shards" / "1-of-3"), pytest.raises(InputError, match="another run"):
        generate_pairs(asked)
    with pytest.raises(InputError, match="holds shards of a set"):
        generate_pairs(request(backbone, copy.parent, copy))
    with pytest.raises(InputError, match="was made whole, so it has no shards"):
        generate_pairs(request(backbone, copy.parent, whole, shard=(1, N)))
    with pytest.raises(InputError, match="shard 1/9: the set has 4 batches, so some shards would be empty"):
        generate_pairs(request(backbone, copy.parent, copy, shard=(1, 9)))


def test_shards_are_counted_from_one_or_taken_from_torchrun() -> None:
    assert parse_shard("3/8", {}) == (3, 8)
    assert parse_shard("torchrun", {"RANK": "0", "WORLD_SIZE": "4"}) == (1, 4)
    for wrong in ("0/8", "9/8", "3", "3/", "-1/8", "slurm"):
        with pytest.raises(InputError, match="shard"):
            parse_shard(wrong, {})
    with pytest.raises(InputError, match="torchrun did not start this process"):
        parse_shard("torchrun", {})


def test_a_sharded_set_grows_by_running_all_shards_with_more_and_merging_again(backbone, tmp_path) -> None:
    small = {"arms": "fp32", "limit": 3, "batch_size": 2}
    more = {"arms": "fp32,w4a4", "limit": 7, "batch_size": 3}
    generate_pairs(request(backbone, tmp_path, tmp_path / "one", **small))
    generate_pairs(request(backbone, tmp_path, tmp_path / "one", **more))
    out = tmp_path / "parts"
    for index in (1, 2):
        generate_pairs(request(backbone, tmp_path, out, shard=(index, 2), **small))
    assert merge_shards(out).merged == 3
    generate_pairs(request(backbone, tmp_path, out, shard=(1, 2), **more))
    with pytest.raises(InputError, match="another set"):
        merge_shards(out)
    generate_pairs(request(backbone, tmp_path, out, shard=(2, 2), **more))
    report = merge_shards(out)
    assert (report.merged, report.kept) == (11, 3) and verify_set(out).ok
    assert content(out) == content(tmp_path / "one")
