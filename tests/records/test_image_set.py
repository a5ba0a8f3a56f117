from __future__ import annotations

import json

import pytest

from qsched.errors import InputError, RowError
from qsched.records import ImageRow, image_id_for, iter_rows, read_manifest

SHA = "ab" * 32


def row(**changes):
    fields = {
        "image_id": image_id_for(sha256=SHA, arm="fp32", prompt_id="a", sample_index=0),
        "prompt_id": "a",
        "prompt": "a red circle",
        "arm": "fp32",
        "sample_index": 0,
        "seed": 7,
        "width": 128,
        "height": 128,
        "sha256": SHA,
        "seconds": 0.5,
        "batch": ("a/0",),
        "simulated": False,
        "recipe_hash": SHA,
        "versions": {"torch": "2"},
    }
    return ImageRow(**{**fields, **changes})


def test_equal_bytes_in_two_arms_get_ids_that_do_not_show_it():
    ids = {image_id_for(sha256=SHA, arm=arm, prompt_id="a", sample_index=0) for arm in ("fp32", "w4a4")}
    assert len(ids) == 2
    assert not any("fp32" in one or "w4a4" in one for one in ids)


def test_the_file_name_tells_neither_arm_nor_prompt():
    assert row().file_name == f"images/{row().image_id}.png"


def test_a_half_written_row_is_an_error_with_its_line_number(tmp_path):
    (tmp_path / "images.jsonl").write_text(row().model_dump_json() + "\n" + row().model_dump_json()[:40])
    with pytest.raises(RowError, match=r"images\.jsonl:2: half-written"):
        list(iter_rows(tmp_path))


def test_a_folder_in_the_place_of_the_rows_is_an_error_and_not_a_traceback(tmp_path):
    (tmp_path / "images.jsonl").mkdir()
    with pytest.raises(InputError, match=r"images\.jsonl cannot be read: Is a directory"):
        list(iter_rows(tmp_path))


def test_an_unknown_field_is_refused_with_its_line_number(tmp_path):
    record = json.loads(row().model_dump_json()) | {"quality": 1}
    (tmp_path / "images.jsonl").write_text(json.dumps(record) + "\n")
    with pytest.raises(RowError, match=r":1: quality"):
        list(iter_rows(tmp_path))


def test_a_folder_that_is_no_image_set_names_the_remedy(tmp_path):
    with pytest.raises(InputError, match="generate-pairs"):
        read_manifest(tmp_path)


def test_a_manifest_of_an_older_version_gives_the_packed_sizes_that_it_kept_in_its_provenance(tmp_path):
    from qsched.records import ArmRecord, Manifest

    arms = tuple(
        ArmRecord(name=name, precision=name.partition("+")[0], recipe={}, recipe_hash=SHA, simulated=True)
        for name in ("fp32", "w4a4", "w4a4+qsched", "w3a8")
    )
    sizes = {"fp32": {"packed_bytes": None}, "w4a4": {"packed_bytes": 1234}, "w3a8": "unreadable"}
    manifest = Manifest(
        set_id="s",
        created_at="2026-01-01T00:00:00Z",
        backbone="b",
        arms=arms,
        prompts_sha256=SHA,
        n_prompts=1,
        samples=1,
        set_seed=0,
        steps=1,
        width=8,
        height=8,
    )
    old = json.loads(manifest.model_dump_json()) | {"provenance": {"arms": sizes}}
    for arm in old["arms"]:
        del arm["packed_bytes"]
    (tmp_path / "manifest.json").write_text(json.dumps(old))
    assert [arm.packed_bytes for arm in read_manifest(tmp_path).arms] == [None, 1234, 1234, None]
