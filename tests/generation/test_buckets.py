"""An image set in a bucket: the set of a folder, byte for byte; killed, resumed, locked, grown, merged, curated."""

from __future__ import annotations

import json
import os
import platform
import time

import pytest

from qsched.errors import InputError
from qsched.generation import Request, generate_pairs, verify_set
from qsched.generation.curate import list_pairs, write_pairs
from qsched.generation.import_pictures import import_pictures
from qsched.generation.merge import merge_shards
from qsched.generation.picture_places import places_by_name
from qsched.generation.request import Silent
from qsched.generation.store import LOCK_NAME
from qsched.locations import Location, all_file_sizes, read_location
from qsched.records import ImageRow, iter_rows
from qsched.records.curation import read_curation
from qsched.records.set_diff import diff_sets

NAMES = {"one": "a red ring", "two": "a blue dot", "three": "a green ring", "four": "a grey dot"}


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    path = tmp_path_factory.mktemp("prompts") / "p.yaml"
    path.write_text("".join(f"{name}: {text}\n" for name, text in NAMES.items()))
    return path


@pytest.fixture(scope="module")
def asked(random_pipelines, prompts):
    def ask(out: Location, **more) -> Request:
        options = {"arms": "fp32,w4a4", "batch_size": 2, "steps": 1, "device": "cpu", **more}
        return Request(backbone=str(random_pipelines["flux"]), prompts=prompts, out=out, **options)

    return ask


@pytest.fixture(scope="module")
def local(asked, tmp_path_factory):
    """The set in a folder, to compare with."""
    out = tmp_path_factory.mktemp("local") / "set"
    generate_pairs(asked(out))
    return out


class Stop(Silent):
    """Stops a run after so many batches, as a kill would: nothing is tidied up but the lock."""

    def __init__(self, batches: int) -> None:
        self.left = batches

    def advanced(self, arm, images) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def bytes_of(rows: list[ImageRow]) -> list[tuple[str, str, str, tuple[str, ...]]]:
    return [(row.arm, row.prompt_id, row.sha256, row.batch) for row in rows]


def test_a_run_that_was_stopped_in_a_bucket_goes_on_to_the_set_of_a_folder(asked, local, bucket) -> None:
    out = read_location(f"{bucket}/set")
    with pytest.raises(KeyboardInterrupt):
        generate_pairs(asked(out), progress=Stop(2))
    there = all_file_sizes(out)
    assert sum(name.startswith("rows/") for name in there) == 2 and "images.jsonl" not in there
    assert len(list(iter_rows(out))) == 4

    report = generate_pairs(asked(out))
    assert (report.kept, report.made, report.remade) == (4, 4, 0)
    assert bytes_of(list(iter_rows(out))) == bytes_of(list(iter_rows(local)))
    assert {name for name in all_file_sizes(out) if not name.startswith("images/")} == {
        *("manifest.json", "images.jsonl", "contact_sheet.html")
    }
    assert verify_set(out).ok and diff_sets(out, local).is_empty
    text = "".join((out / name).read_text() for name in ("manifest.json", "images.jsonl", "contact_sheet.html"))
    assert not any(os.environ[name] in text for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))

    # What a kill while the parts were joined leaves: rows in both.
    lines = (out / "images.jsonl").read_bytes().splitlines(keepends=True)
    (out / "rows" / "000000-dead.jsonl").write_bytes(b"".join(lines[:2]))
    picture = next(iter_rows(out)).file_name
    (out / picture).unlink()
    (out / "images" / f"{'0' * 24}.png").write_bytes(b"of no row")
    assert len(list(iter_rows(out))) == 8 and not verify_set(out).ok
    report = generate_pairs(asked(out))
    assert (report.made, report.kept, report.remade) == (1, 7, 1) and verify_set(out).ok
    assert bytes_of(list(iter_rows(out))) == bytes_of(list(iter_rows(local)))


def test_a_living_run_has_the_bucket_to_itself_and_a_dead_one_does_not(asked, bucket) -> None:
    out = read_location(f"{bucket}/set")

    def held(host: str, process: int, seconds: float) -> None:
        holder = {"host": host, "process": process, "at": time.time() - seconds}
        (out / LOCK_NAME).write_bytes(json.dumps(holder).encode())

    held("elsewhere", 1, 20)
    with pytest.raises(InputError, match=r"by another run \(process 1 on elsewhere, heard of 2[0-9] s ago\)"):
        generate_pairs(asked(out, arms="fp32", limit=1))
    held(platform.node(), os.getpid(), 0)
    with pytest.raises(InputError, match="is being written by another run"):
        generate_pairs(asked(out, arms="fp32", limit=1))
    held("elsewhere", 1, 1000)
    assert generate_pairs(asked(out, arms="fp32", limit=1)).made == 1
    held(platform.node(), 2**22 + 1, 0)  # no process has this number
    assert generate_pairs(asked(out, arms="fp32", limit=1)).kept == 1
    assert not (out / LOCK_NAME).exists()


def test_nothing_is_loaded_for_a_bucket_that_cannot_be_written(asked, bucket, monkeypatch) -> None:
    def load(*_: object, **__: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("qsched.generation.worker._load", load)
    with pytest.raises(
        InputError, match=r"^s3://bucket-[0-9a-f]*-other/set cannot be read: the bucket .* does not exist"
    ):
        generate_pairs(asked(read_location(f"{bucket}-other/set")))
    foreign = read_location(f"{bucket}/notes")
    (foreign / "notes.txt").write_bytes(b"mine")
    with pytest.raises(AssertionError, match="the model was loaded"):
        generate_pairs(asked(foreign))
    assert all_file_sizes(foreign) == {"notes.txt": 4}


@pytest.mark.slow
def test_shards_in_a_bucket_are_merged_and_pairs_listed(asked, local, bucket) -> None:
    out = read_location(f"{bucket}/set")
    for part in (1, 2):
        generate_pairs(asked(out, shard=(part, 2)))
    report = merge_shards(out)
    assert (report.merged, report.shards) == (8, 2) and verify_set(out).ok
    assert bytes_of(list(iter_rows(out))) == bytes_of(list(iter_rows(local)))
    write_pairs(list_pairs(out), out)
    assert len(read_curation(out).pairs) == 4
    report = generate_pairs(asked(out, overwrite=True, limit=1))  # its own files go, the shards stay
    assert report.made == 2 and verify_set(out).ok and (out / "shards").is_dir()


def test_pictures_of_other_tools_are_imported_into_a_bucket(local, prompts, bucket, tmp_path) -> None:
    for row in iter_rows(local):
        target = tmp_path / row.arm / f"{row.prompt_id}.png"
        target.parent.mkdir(exist_ok=True)
        target.write_bytes((local / row.file_name).read_bytes())
    out = read_location(f"{bucket}/theirs")
    places = places_by_name({arm: tmp_path / arm for arm in ("fp32", "w4a4")}, prompts=prompts)
    assert import_pictures(places, out=out).images == 8
    assert verify_set(out).ok
    with pytest.raises(InputError, match="exists and is not an empty folder"):
        import_pictures(places, out=out)
