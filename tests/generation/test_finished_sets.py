"""A finished set is resumed and verified without loading a model and, if it is ours, without decoding its pictures."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from qsched.errors import InputError
from qsched.generation import Request, generate_pairs, manifest, verify_set
from qsched.generation.executors import local_executor
from qsched.records import ImageRow, image_id_for, iter_rows, read_manifest


@pytest.fixture(scope="module")
def model(random_pipelines, tmp_path_factory) -> Path:
    return Path(shutil.copytree(random_pipelines["sdxl"], tmp_path_factory.mktemp("models") / "sdxl"))


def request(model: Path, out: Path, **more) -> Request:
    prompts = out.parent / "prompts.txt"
    prompts.write_text("a red ring\na blue dot\n")
    given = {"arms": "fp32,w4a4", "batch_size": 2, "device": "cpu", "steps": 1, "guidance_scale": 0.0}
    return Request(**{"backbone": str(model), "prompts": prompts, "out": out, **given, **more})


def nobody(*_):
    raise AssertionError("a worker was asked for")


class Counted:
    """An executor factory that counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, *given):
        self.asked += 1
        return local_executor(*given)


@pytest.fixture(scope="module")
def finished(model, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "set"
    assert generate_pairs(request(model, out)).made == 4
    return out


@pytest.fixture
def own(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "set"))


def test_a_finished_set_is_resumed_without_a_worker(model, own) -> None:
    before = {path: path.read_bytes() for path in own.rglob("*") if path.is_file()}
    report = generate_pairs(request(model, own), executor=nobody)
    assert (report.made, report.kept, report.n_images) == (0, 4, 4) and report.contact_sheet is not None
    assert {path: path.read_bytes() for path in own.rglob("*") if path.is_file()} == before


def test_a_missing_picture_is_made_by_a_worker_and_is_the_same(model, own) -> None:
    row = next(iter_rows(own))
    before = (own / row.file_name).read_bytes()
    (own / row.file_name).unlink()
    counted = Counted()
    report = generate_pairs(request(model, own), executor=counted)
    assert (report.made, report.kept, report.remade, counted.asked) == (1, 3, 1, 1)
    assert (own / row.file_name).read_bytes() == before


@pytest.mark.parametrize("option", [{"guidance_scale": 2.0}, {"steps": 2}, {"dtype": "bf16"}])
def test_other_options_are_refused_for_a_finished_set_too(model, own, option) -> None:
    with pytest.raises(InputError, match="asked for differently"):
        generate_pairs(request(model, own, **option))


def test_other_weights_of_the_same_shape_are_refused_for_a_finished_set(model, own, tmp_path) -> None:
    other = Path(shutil.copytree(model, tmp_path / "models" / "sdxl"))
    file = next((other / "unet").glob("*.safetensors"))
    tensors = load_file(file)
    name = next(iter(tensors))
    tensors[name].view(-1)[0] += 1
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(InputError, match="backbone_weights"):
        generate_pairs(request(other, own))


def test_other_libraries_have_the_set_described_again_once(model, own, monkeypatch) -> None:
    known = manifest.package_versions()
    monkeypatch.setattr(manifest, "package_versions", lambda: {**known, "diffusers": "99"})
    counted = Counted()
    assert generate_pairs(request(model, own), executor=counted).made == 0 and counted.asked == 1
    assert generate_pairs(request(model, own), executor=nobody).kept == 4, "the new libraries are remembered"


def test_a_set_that_grew_is_finished_without_a_worker(model, own) -> None:
    assert generate_pairs(request(model, own, samples=2)).made == 4
    assert generate_pairs(request(model, own, samples=2), executor=nobody).kept == 8


def test_pictures_of_ours_are_decoded_only_on_request(own) -> None:
    assert (verify_set(own).decoded, verify_set(own, decode=True).decoded) == (0, 4)
    record = json.loads((own / "manifest.json").read_text())
    record["provenance"]["tool"] = "another tool"
    (own / "manifest.json").write_text(json.dumps(record))
    assert verify_set(own).decoded == 4, "who knows what another tool wrote"


def test_a_changed_byte_is_found_without_decoding_and_the_picture_is_then_opened(own) -> None:
    path = own / next(iter_rows(own)).file_name
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    report = verify_set(own)
    assert {finding.check for finding in report.findings} >= {"hashes"} and report.decoded == 1


def put(out: Path, row: ImageRow, png: bytes) -> None:
    """Replace a picture and its row, hashes and all."""
    sha256 = hashlib.sha256(png).hexdigest()
    place = {"arm": row.arm, "prompt_id": row.prompt_id, "sample_index": row.sample_index}
    new = row.model_copy(update={"sha256": sha256, "image_id": image_id_for(sha256=sha256, **place)})
    (out / row.file_name).unlink()
    (out / new.file_name).write_bytes(png)
    rows = [new if one == row else one for one in iter_rows(out)]
    (out / "images.jsonl").write_text("".join(one.model_dump_json() + "\n" for one in rows))


@pytest.mark.parametrize("size", [16, 32, 512])
def test_a_picture_of_one_colour_is_noted_without_decoding_the_others(own, size) -> None:
    from qsched.generation.render import encode_png

    record = json.loads((own / "manifest.json").read_text())
    (own / "manifest.json").write_text(json.dumps({**record, "width": size, "height": size}))
    rows = [row.model_copy(update={"width": size, "height": size}) for row in iter_rows(own)]
    (own / "images.jsonl").write_text("".join(one.model_dump_json() + "\n" for one in rows))
    for number, row in enumerate(iter_rows(own)):
        noise = Image.effect_noise((size, size), 50).convert("RGB")
        put(own, row, encode_png(Image.new("RGB", (size, size), (17, 130, 201)) if number == 0 else noise))
    report = verify_set(own)
    assert report.ok and any("1 picture(s) of fp32 have a single colour" in note for note in report.notes)
    assert report.decoded == 1


def test_a_file_that_only_begins_like_a_picture_is_found_without_decoding(own) -> None:
    first, second = list(iter_rows(own))[:2]
    put(own, first, b"GIF89a" + bytes(5000))
    other = io.BytesIO()
    Image.effect_noise((48, 32), 50).convert("RGB").save(other, format="PNG")
    put(own, second, other.getvalue())
    problems = " ".join(finding.problem for finding in verify_set(own).findings)
    assert "0x0 pixels" in problems and "48x32 pixels; row 32x32" in problems


def test_the_manifest_of_a_set_keeps_the_hash_of_what_was_asked(finished) -> None:
    assert len(read_manifest(finished).provenance["asked_sha256"]) == 64
