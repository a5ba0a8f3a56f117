"""Pictures at import: what could tell the arm is left out, what is hostile or broken is refused by name."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from qsched.errors import InputError, IntegrityError
from qsched.records import iter_rows
from study_server.media.importing import stored_path
from study_server.media.png import SIGNATURE, clean_png
from study_server.studies.creation import create_study
from study_server.studies.design import StudyDesign
from tests.study_server.visiting import query


def png(mode="RGB", size=(9, 7), **options):
    rng = np.random.default_rng(1)
    picture = Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), "uint8")).convert(mode)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"])
def test_a_picture_without_telling_chunks_stays_as_it_is_byte_for_byte(mode):
    data = png(mode) if mode != "I;16" else png("L")
    cleaned = clean_png(data, name="x.png")
    assert cleaned.data == data
    assert (cleaned.width, cleaned.height, cleaned.removed) == (9, 7, ())


def test_text_time_and_private_chunks_are_left_out_and_pixels_are_untouched():
    info = PngImagePlugin.PngInfo()
    info.add_text("Software", "w4a8")
    info.add_itxt("Comment", "arm")
    data = png(pnginfo=info, exif=b"Exif\0\0tell")
    end = data.index(b"IEND") - 4
    data = data[:end] + chunk(b"prVt", b"w4a8") + chunk(b"tIME", bytes(7)) + data[end:] + b"after the end"
    cleaned = clean_png(data, name="x.png")
    assert set(cleaned.removed) >= {"tEXt", "iTXt", "prVt", "tIME", "bytes after the end"}
    for word in (b"w4a8", b"arm", b"Exif", b"after"):
        assert word not in cleaned.data
    with Image.open(io.BytesIO(cleaned.data)) as a, Image.open(io.BytesIO(data)) as b:
        assert np.array_equal(np.asarray(a), np.asarray(b))


def bomb():
    header = struct.pack(">IIBBBBB", 100, 100, 8, 2, 0, 0, 0)
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(50_000_000))) + chunk(b"IEND", b"")


def huge():
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"x")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<html>", "not a PNG"),
        (b"", "not a PNG"),
        (SIGNATURE, "cut off"),
        (png()[:-20], "cut off"),
        (png()[:40] + b"\xff" + png()[41:], "damaged"),
        (bomb(), "another size"),
        (huge(), "pixels are taken"),
        (png().replace(b"IEND", b"IEMD", 1), "damaged|cut off"),
        (SIGNATURE + chunk(b"IDAT", b"x"), "does not begin"),
    ],
    ids=["html", "empty", "signature", "cut", "bitflip", "bomb", "huge", "noend", "noheader"],
)
def test_hostile_and_broken_files_are_refused(data, words):
    with pytest.raises(InputError, match=words):
        clean_png(data, name="evil.png")


@pytest.fixture
def own_set(small_image_set, tmp_path):
    return shutil.copytree(small_image_set, tmp_path / "own")


def create(database, settings, folder):
    design = StudyDesign(slug="s", title="t", images=str(folder))
    return create_study(database, design, set_folder=folder, data_folder=settings.data_folder, progress=lambda n: None)


def rewrite(folder, change):
    rows = [json.loads(row.model_dump_json()) for row in iter_rows(folder)]
    change(rows)
    (folder / "images.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def first_file(folder):
    return folder / next(iter_rows(folder)).file_name


def flip_a_byte(folder):
    data = bytearray(first_file(folder).read_bytes())
    data[100] ^= 1
    first_file(folder).write_bytes(bytes(data))


def link_to_secret(folder):
    path = first_file(folder)
    copy = path.with_suffix(".copy")
    path.rename(copy)
    path.symlink_to(copy)


def replace_by_html(folder):
    path = first_file(folder)
    path.write_bytes(b"<script>")
    sha = hashlib.sha256(b"<script>").hexdigest()
    rewrite(folder, lambda rows: rows[0].update(sha256=sha))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (flip_a_byte, "sha256"),
        (link_to_secret, "link"),
        (replace_by_html, "not a PNG"),
        (lambda f: first_file(f).unlink(), "missing"),
        (lambda f: rewrite(f, lambda rows: rows[0].update(width=65)), "its row says 65"),
        (lambda f: rewrite(f, lambda rows: rows[0].update(image_id="../../../../etc/passwd")), "image_id"),
        (lambda f: rewrite(f, lambda rows: rows.append(rows[0])), "two images"),
        (lambda f: rewrite(f, lambda rows: rows[0].update(arm="other")), "not in the manifest"),
        (lambda f: rewrite(f, lambda rows: rows[0].update(prompt="another text")), "two texts"),
    ],
    ids=["flipped", "link", "html", "missing", "size", "traversal", "twice", "arm", "texts"],
)
def test_a_set_that_contradicts_itself_is_refused_and_makes_no_open_study(settings, database, own_set, harm, words):
    harm(own_set)
    with pytest.raises((InputError, IntegrityError), match=words):
        create(database, settings, own_set)
    assert query(database, "SELECT COUNT(*) FROM studies WHERE status = 'open'") == [(0,)]


def test_a_half_made_study_is_made_again_and_a_whole_one_is_left_alone(settings, database, own_set):
    broken = first_file(own_set).read_bytes()
    first_file(own_set).unlink()
    with pytest.raises(IntegrityError):
        create(database, settings, own_set)
    first_file(own_set).write_bytes(broken)
    made = create(database, settings, own_set)
    again = create(database, settings, own_set)
    assert (made.created, again.created) == (True, False)
    assert made.pairs == again.pairs == 18
    assert query(database, "SELECT COUNT(*) FROM studies") == [(1,)]
    other = own_set / "manifest.json"
    other.write_text(other.read_text().replace("drawn-drawn", "other"), encoding="utf-8")
    with pytest.raises(InputError, match="exists with the image set"):
        create(database, settings, own_set)


@pytest.mark.parametrize("name", ["../x.png", "/etc/passwd", "a.png", "0" * 32 + ".gif", ""])
def test_only_names_that_the_import_made_are_read(tmp_path, name):
    with pytest.raises(IntegrityError):
        stored_path(tmp_path, name)
