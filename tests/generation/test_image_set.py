"""Image sets on disk: pairing, resume after kill -9, refusal of other plans, the lock, verify, the sheet."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from qsched.errors import InputError
from qsched.files import WriteError
from qsched.generation import Request, generate_pairs, verify_set
from qsched.generation.store import open_store
from qsched.records import iter_rows, read_manifest
from qsched.scheduling import Coefficients

PROMPTS = {"one": "a red ring", "two": "a <b>blue</b> dot", "three": "a large green ring on grey"}


@pytest.fixture(scope="module")
def folder(random_pipelines, tmp_path_factory) -> Path:
    """A writable copy of the flux pipeline, with shipped coefficients for fp32 and w4a4, and a prompts file."""
    root = tmp_path_factory.mktemp("generation")
    shutil.copytree(random_pipelines["flux"], root / "flux")
    c = {"coefficients": Coefficients.linear(model=(0.8, 1.1), sample=(1.05, 0.9)).to_dict(), "provenance": {}}
    (root / "flux" / "qsched_coefficients.json").write_text(json.dumps({"fp32": c, "w4a4": c}))
    (root / "p.yaml").write_text("".join(f"{k}: {v}\n" for k, v in PROMPTS.items()))
    return root


def request(folder: Path, out: Path, **more) -> Request:
    return Request(
        **{
            "backbone": str(folder / "flux"),
            "arms": "fp32,fp32+qsched,w4a4,w4a4+qsched",
            "prompts": folder / "p.yaml",
            "out": out,
            "samples": 2,
            "batch_size": 4,
            "device": "cpu",
            **more,
        }
    )


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory) -> Path:
    """The uninterrupted set that others are compared with; not to be written to."""
    out = tmp_path_factory.mktemp("finished") / "set"
    report = generate_pairs(request(folder, out))
    assert (report.made, report.kept, report.unlike) == (24, 0, 0)
    return out


@pytest.fixture
def broken(finished, tmp_path) -> Path:
    """A copy of the finished set that a test may damage."""
    return Path(shutil.copytree(finished, tmp_path / "set"))


def pictures(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "images").iterdir())}


def rows_of(out: Path) -> dict[tuple, dict]:
    """Rows without what differs between two honest runs: the time they took, and uncommitted edits around them."""
    circumstance = {"seconds", "peak_memory_bytes", "git_commit"}
    return {(r.arm, r.prompt_id, r.sample_index): r.model_dump(exclude=circumstance) for r in iter_rows(out)}


def test_a_set_of_ours_cannot_call_its_pairing_unproven(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "set")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"pairing": "unproven", "set_seed": None}))
    findings = [finding for finding in verify_set(folder).findings if finding.where == "manifest.json"]
    assert "states set_seed, steps and pairing: seed" in findings[0].problem


def test_four_arms_start_from_the_same_noise_in_the_same_batches(finished) -> None:
    report = verify_set(finished)
    assert report.ok and (report.n_rows, report.n_expected) == (24, 24)
    rows = list(iter_rows(finished))
    by_place: dict[tuple, list] = {}
    for row in rows:
        by_place.setdefault((row.prompt_id, row.sample_index), []).append(row)
    for same in by_place.values():
        assert (
            len({r.arm for r in same}) == 4 and len({r.seed for r in same}) == 1 and len({r.batch for r in same}) == 1
        )
        assert len({r.sha256 for r in same}) == 4, "every arm must make a picture of its own"
    assert len({r.seed for r in rows}) == 6


def test_the_manifest_says_what_was_measured(finished) -> None:
    manifest = read_manifest(finished)
    arms = {arm.name: arm for arm in manifest.arms}
    assert arms["w4a4"].layers_converted == 28 and arms["w4a4"].simulated and not arms["fp32"].simulated
    assert arms["fp32"].denoiser_bytes == arms["w4a4"].denoiser_bytes == 1_004_224
    assert 0 < arms["w4a4"].packed_bytes < 200_000 and arms["fp32"].packed_bytes == arms["fp32"].denoiser_bytes
    assert 0 < arms["w4a4"].nominal_bytes < arms["w4a4"].packed_bytes
    assert arms["w4a4+qsched"].coefficients == {"family": "linear", "model": [0.8, 1.1], "sample": [1.05, 0.9]}
    assert (
        manifest.prompts_sha256
        == hashlib.sha256("".join(f"{k}: {v}\n" for k, v in PROMPTS.items()).encode()).hexdigest()
    )


def test_nothing_that_an_annotator_could_see_tells_the_arm(finished) -> None:
    names = [path.name for path in (finished / "images").iterdir()]
    assert all(len(name) == 28 and not set(name[:-4]) - set("0123456789abcdef") for name in names)
    order = [r.image_id for r in sorted(iter_rows(finished), key=lambda r: r.arm)]
    assert order != sorted(order), "ids must not sort by arm"
    for path in (finished / "images").iterdir():
        assert Image.open(path).info == {}
    assert len({path.stat().st_size for path in (finished / "images").iterdir()}) > 1


def test_running_again_changes_nothing(finished, folder) -> None:
    before, rows = pictures(finished), (finished / "images.jsonl").read_bytes()
    report = generate_pairs(request(folder, finished))
    assert (report.made, report.kept) == (0, 24)
    assert pictures(finished) == before and (finished / "images.jsonl").read_bytes() == rows


def killed_halfway(command: list[str], out: Path) -> bool:
    """Start a run afresh, kill it once it has five of its 24 rows; False where it had all of them by then."""
    shutil.rmtree(out, ignore_errors=True)
    rows = out / "images.jsonl"
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 600
    while process.poll() is None and not (rows.exists() and rows.read_bytes().count(b"\n") >= 5):
        assert time.monotonic() < deadline, "no row in ten minutes"
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert process.returncode in (0, -signal.SIGKILL), "the run failed by itself"
    return rows.read_bytes().count(b"\n") < 24


@pytest.mark.slow
def test_a_run_killed_with_sigkill_and_resumed_equals_an_uninterrupted_one(folder, finished, tmp_path) -> None:
    out = tmp_path / "set"
    command = [
        sys.executable,
        "-m",
        "qsched",
        "generate-pairs",
        "--backbone",
        str(folder / "flux"),
        "--device",
        "cpu",
        "--arms",
        "fp32,fp32+qsched,w4a4,w4a4+qsched",
        "--prompts",
        str(folder / "p.yaml"),
        "--out",
        str(out),
        "--samples",
        "2",
        "--batch-size",
        "4",
    ]
    # On a machine that is busy elsewhere the small run may be over before this process looks again.
    assert any(killed_halfway(command, out) for _ in range(5)), "the run was over before the signal came, five times"
    report = generate_pairs(request(folder, out))
    assert report.kept >= 5 and report.made == 24 - report.kept and report.unlike == 0
    assert pictures(out) == pictures(finished) and rows_of(out) == rows_of(finished)
    assert verify_set(out).ok


@pytest.mark.parametrize(
    "damage",
    ["torn row", "row without newline", "lost picture", "changed picture", "orphan", "garbage row", "doubled row"],
)
def test_whatever_a_crash_leaves_is_mended_to_the_same_set(folder, finished, broken, damage) -> None:
    rows = broken / "images.jsonl"
    data = rows.read_bytes()
    lines = data.splitlines(keepends=True)
    victim = next(iter_rows(broken))
    if damage == "torn row":
        rows.write_bytes(data[:-100])
    elif damage == "row without newline":
        rows.write_bytes(data[:-1])
    elif damage == "lost picture":
        (broken / victim.file_name).unlink()
    elif damage == "changed picture":
        (broken / victim.file_name).write_bytes((broken / victim.file_name).read_bytes()[:-1] + b"x")
    elif damage == "orphan":
        rows.write_bytes(b"".join(lines[:-1]))
        (broken / "images" / ".new-abc.png-1").write_bytes(b"half")
    elif damage == "garbage row":
        rows.write_bytes(b"".join([lines[0], b"\0" * 40 + b"\n", *lines[2:]]))
    else:
        rows.write_bytes(data + lines[3])
    assert not verify_set(broken).ok
    report = generate_pairs(request(folder, broken))
    assert report.made == (0 if damage == "doubled row" else 1) and report.unlike == 0
    assert pictures(broken) == pictures(finished) and rows_of(broken) == rows_of(finished)
    assert verify_set(broken).ok


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"arms": "fp32,w4a4"}, "arms"),
        ({"set_seed": 1}, "set_seed"),
        ({"samples": 1}, "samples"),
        ({"steps": 2}, "steps"),
        ({"limit": 2}, "n_prompts"),
        ({"dtype": "bf16"}, "base_dtype"),
        ({"guidance_scale": 2.0}, "guidance_scale"),
        ("prompts", "the text of 'two' was"),
        ("coefficients", r"arm fp32\+qsched: coefficients\.model was"),
        ("weights", "backbone_weights"),
    ],
)
def test_another_request_for_the_same_folder_is_refused_and_names_the_difference(
    folder, broken, tmp_path, change, named
) -> None:
    options: dict = change if isinstance(change, dict) else {}
    if isinstance(change, str):
        copy = Path(shutil.copytree(folder, tmp_path / "changed"))
        if change == "prompts":
            (copy / "p.yaml").write_text("one: a red ring\ntwo: other\nthree: x\n")
        elif change == "coefficients":
            path = copy / "flux" / "qsched_coefficients.json"
            path.write_text(path.read_text().replace("0.8", "0.9"))
        else:
            path = copy / "flux" / "transformer" / "diffusion_pytorch_model.safetensors"
            data = bytearray(path.read_bytes())
            data[-1] ^= 1
            path.write_bytes(data)
        folder = copy
    before = pictures(broken)
    with pytest.raises(InputError, match=rf"{named}.*--overwrite"):
        generate_pairs(request(folder, broken, **options))
    assert pictures(broken) == before


def test_overwrite_starts_again_and_leaves_files_that_are_not_ours(folder, broken) -> None:
    (broken / "notes.txt").write_text("mine")
    report = generate_pairs(request(folder, broken, arms="fp32", set_seed=5, limit=1, samples=1, overwrite=True))
    assert report.n_images == 1 and len(pictures(broken)) == 1 and (broken / "notes.txt").exists()
    assert verify_set(broken).ok


def test_a_folder_with_other_things_in_it_and_a_file_are_refused(folder, tmp_path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match="not empty and not an image set"):
        generate_pairs(request(folder, tmp_path))
    with pytest.raises(InputError, match="is a file"):
        generate_pairs(request(folder, tmp_path / "holiday.jpg"))


def test_two_runs_into_one_folder_are_kept_apart(folder, broken) -> None:
    manifest = read_manifest(broken)
    with open_store(broken, manifest), pytest.raises(InputError, match=rf"another run \(process {os.getpid()}\)"):
        generate_pairs(request(folder, broken))


def test_a_backbone_whose_scheduler_is_adapted_already_is_refused(folder, tmp_path) -> None:
    from diffusers import DiffusionPipeline

    from qsched.scheduling import apply_coefficients

    pipeline = DiffusionPipeline.from_pretrained(folder / "flux")
    pipeline.scheduler = apply_coefficients(pipeline.scheduler, Coefficients.constant(model=0.9))
    pipeline.save_pretrained(tmp_path / "adapted")
    with pytest.raises(InputError, match="already carries Q-Sched coefficients"):
        generate_pairs(request(folder, tmp_path / "out", backbone=str(tmp_path / "adapted"), arms="fp32"))


def test_prompts_that_the_text_encoder_cuts_off_are_counted_and_named(folder, tmp_path) -> None:
    (tmp_path / "long.yaml").write_text("short: a red ring\nlong: " + "a red ring on grey " * 8 + "\n")
    report = generate_pairs(request(folder, tmp_path / "set", prompts=tmp_path / "long.yaml", arms="fp32", samples=1))
    assert report.truncated == ("long",)
    assert read_manifest(tmp_path / "set").provenance["truncated_prompts"] == ["long"]


def test_a_full_disk_is_one_message_and_the_set_can_be_finished_later(folder, finished, broken, monkeypatch) -> None:
    lines = (broken / "images.jsonl").read_bytes().splitlines(keepends=True)
    (broken / "images.jsonl").write_bytes(b"".join(lines[:-1]))
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, data: real(file, data[:50]))
    with pytest.raises(WriteError, match=r"50 of .* disk space"):
        generate_pairs(request(folder, broken))
    monkeypatch.setattr(os, "write", real)
    assert generate_pairs(request(folder, broken)).made == 1
    assert pictures(broken) == pictures(finished) and verify_set(broken).ok


def edit_row(out: Path, **fields) -> None:
    lines = (out / "images.jsonl").read_text().splitlines()
    lines[0] = json.dumps({**json.loads(lines[0]), **fields})
    (out / "images.jsonl").write_text("\n".join(lines) + "\n")


def test_verify_finds_what_resume_would_not_look_for(broken) -> None:
    def problems() -> dict[str, str]:
        return {finding.check: finding.problem for finding in verify_set(broken).findings}

    rows = (broken / "images.jsonl").read_bytes()
    assert problems() == {}
    edit_row(broken, seed=1)
    assert "seed" in problems()["pairing"]
    edit_row(broken, seed=json.loads(rows.splitlines()[0])["seed"], arm="w9")
    assert {"arms", "missing", "hashes"} <= set(problems())
    (broken / "images.jsonl").write_bytes(rows)
    edit_row(broken, batch=["one/0"])
    assert "batch" in problems()["pairing"]
    (broken / "images.jsonl").write_bytes(rows)
    edit_row(broken, surprise=1)
    assert "surprise" in problems()["rows"]
    (broken / "images.jsonl").write_bytes(rows)
    (broken / "images" / "0123.png").write_bytes(b"x")
    assert "no row" in problems()["extra"]
    (broken / "images" / "0123.png").unlink()

    victim = json.loads(rows.splitlines()[0])
    path = broken / "images" / f"{victim['image_id']}.png"
    text = PngImagePlugin.PngInfo()
    text.add_text("arm", "fp32")
    Image.open(path).save(path, pnginfo=text)
    found = problems()
    assert "tEXt" in found["metadata"] and "hashes" in found


def test_the_contact_sheet_shows_every_picture_and_escapes_prompts(finished) -> None:
    page = (finished / "contact_sheet.html").read_text()
    assert all(f'src="{row.file_name}"' in page for row in iter_rows(finished))
    assert "<b>blue</b>" not in page and "&lt;b&gt;blue&lt;/b&gt;" in page
    assert "http" not in page.replace("https://", "http://").split("<style>")[0]
