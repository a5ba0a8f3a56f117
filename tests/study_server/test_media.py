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
from qsched.generation.verify import verify_set
from qsched.records import image_id_of, iter_rows
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
    assert (cleaned.header.width, cleaned.header.height, cleaned.removed) == (9, 7, ())


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


def built(*chunks, header=(4, 2, 8, 2, 0, 0, 0)):
    """A PNG of 4x2 RGB pixels from parts, every checksum right."""
    return b"".join([SIGNATURE, chunk(b"IHDR", struct.pack(">IIBBBBB", *header)), *chunks, chunk(b"IEND", b"")])


LINES = (b"\0" + bytes(12)) * 2
IDAT = chunk(b"IDAT", zlib.compress(LINES))
PLTE = chunk(b"PLTE", bytes(6))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (built(chunk(b"IDAT", zlib.compress(b"\x05" + LINES[1:]))), "unknown filter 5"),
        (built(chunk(b"IDAT", zlib.compress(LINES) + b"the arm is w4a8")), "15 bytes hidden after its pixels"),
        (built(chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 2, 8, 2, 0, 0, 0)), IDAT), "two headers"),
        (built(IDAT, header=(4, 2, 3, 2, 0, 0, 0)), "colour type 2 at depth 3"),
        (built(IDAT, header=(4, 2, 16, 3, 0, 0, 0)), "colour type 3 at depth 16"),
        (built(IDAT, header=(4, 2, 8, 2, 0, 0, 2)), "interlacing"),
        (built(chunk(b"IDAT", zlib.compress(bytes(10))), header=(4, 2, 8, 3, 0, 0, 0)), "no palette"),
        (built(PLTE, PLTE, IDAT), "second or misplaced"),
        (built(IDAT, PLTE), "second or misplaced"),
        (built(IDAT, chunk(b"tEXt", b"a\0b"), IDAT), "interrupted by a b'tEXt'"),
        (built(chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(200_000_000))), IDAT), "over 4 MiB"),
        (built(chunk(b"iCCP", b"p\0\0nonsense"), IDAT), "does not unpack"),
        (built(chunk(b"PLTE", bytes(7)), IDAT), "palette of 7 bytes"),
        (built(), "do not unpack|another size"),
        (built(chunk(b"IDAT", zlib.compress(LINES)[:-4])), "another size"),
    ],
    ids=[
        "filter",
        "after-stream",
        "two-headers",
        "depth",
        "palette-depth",
        "interlace",
        "no-palette",
        "two-palettes",
        "late-palette",
        "interrupted",
        "profile-bomb",
        "profile",
        "palette-size",
        "no-pixels",
        "no-checksum",
    ],
)
def test_a_picture_that_breaks_the_specification_is_refused_although_checksums_hold(data, words):
    with pytest.raises(InputError, match=words):
        clean_png(data, name="odd.png")


def test_the_pieces_of_the_compressed_pixels_are_joined_and_the_pixels_stay():
    stream = zlib.compress(LINES)
    pieces = built(*(chunk(b"IDAT", stream[at : at + 3]) for at in range(0, len(stream), 3)))
    assert clean_png(pieces, name="x.png").data == clean_png(built(IDAT), name="x.png").data == built(IDAT)


def test_pictures_have_one_look_if_and_only_if_their_pixels_and_colours_are_equal():
    first = clean_png(built(IDAT), name="x")
    packed_less = clean_png(built(chunk(b"IDAT", zlib.compress(LINES, 0))), name="x")
    other_pixels = clean_png(built(chunk(b"IDAT", zlib.compress(LINES[:-1] + b"x"))), name="x")
    other_gamma = clean_png(built(chunk(b"gAMA", bytes(4)), IDAT), name="x")
    assert first.pixels == packed_less.pixels
    assert len({first.pixels, other_pixels.pixels, other_gamma.pixels}) == 3


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


def rename_by_content(folder):
    """Give every row the id that follows from its hash, and its file the name."""
    rows = list(iter_rows(folder))
    for row in rows:
        (folder / row.file_name).rename(folder / "images" / f"{image_id_of(row)}.png")
    honest = [row.model_copy(update={"image_id": image_id_of(row)}) for row in rows]
    (folder / "images.jsonl").write_text("".join(row.model_dump_json() + "\n" for row in honest), encoding="utf-8")


def first_file(folder):
    return folder / next(iter_rows(folder)).file_name


def flip_a_byte(folder):
    data = bytearray(first_file(folder).read_bytes())
    data[100] ^= 1
    first_file(folder).write_bytes(bytes(data))


def link_to_secret(folder):
    path = first_file(folder)
    copy = folder / "secret.png"
    path.rename(copy)
    path.symlink_to(copy)


def replace_by_html(folder):
    path = first_file(folder)
    path.write_bytes(b"<script>")
    sha = hashlib.sha256(b"<script>").hexdigest()
    rewrite(folder, lambda rows: rows[0].update(sha256=sha))
    rename_by_content(folder)


def name_an_arm_twice(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["arms"].append(manifest["arms"][0])
    (folder / "manifest.json").write_text(json.dumps(manifest))


# What `qsched verify` refuses, an import refuses too.
@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (flip_a_byte, "sha256"),
        (link_to_secret, "link"),
        (replace_by_html, "not a PNG"),
        (lambda f: first_file(f).unlink(), "missing"),
        (lambda f: rewrite(f, lambda rows: rows[0].update(width=65)), "65x64 pixels; the set 64x64"),
        (lambda f: rewrite(f, lambda rows: rows[0].update(image_id="../../../../etc/passwd")), "image_id"),
        (lambda f: rewrite(f, lambda rows: rows.append(rows[0])), "2 rows for one image"),
        (lambda f: rewrite(f, lambda rows: rows[0].update(arm="other")), "'other' is not in manifest.json"),
        (lambda f: rewrite(f, lambda rows: rows[0].update(prompt="another text")), "prompt or category differs"),
        (lambda f: rewrite(f, lambda rows: rows.pop()), "no row; run the same command again and 1 other problem"),
        (lambda f: rewrite(f, lambda rows: rows[0].update(seed=7)), "seed 0, but fp32 has 7"),
        (lambda f: rewrite(f, lambda rows: rows[0].update(batch=["p9/0"])), "made in another batch"),
        (lambda f: rewrite(f, lambda rows: rows[0].update(simulated=True)), "simulated differs from arm"),
        (lambda f: rewrite(f, lambda rows: rows[0].update(sample_index=3)), "image_id does not follow"),
        (lambda f: (f / "images" / "stray.png").write_bytes(b""), "no row names this file"),
        (name_an_arm_twice, "named 2 times in manifest.json"),
    ],
    ids=[
        "flipped",
        "link",
        "html",
        "missing",
        "size",
        "traversal",
        "twice",
        "arm",
        "texts",
        "incomplete",
        "seed",
        "batch",
        "simulated",
        "place",
        "stray",
        "arms",
    ],
)
def test_a_set_that_contradicts_itself_is_refused_and_makes_no_open_study(settings, database, own_set, harm, words):
    harm(own_set)
    assert not verify_set(own_set).ok
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


def save_first_as(folder, **changes):
    """Write the first picture again with other settings, and its row with it."""
    path = first_file(folder)
    with Image.open(path) as picture:
        picture.load()
        changed = picture.convert(changes.pop("mode", picture.mode))
        changed = changed.resize(changes.pop("size", changed.size))
    changed.save(path, "PNG", **changes)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    rewrite(folder, lambda rows: rows[0].update(sha256=digest, width=changed.width, height=changed.height))
    rename_by_content(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mode": "RGBA"}, "RGBA, 8 bits"),
        ({"mode": "L"}, "grey, 8 bits"),
        ({"size": (32, 32)}, "32x32 pixels; the set 64x64"),
        ({"compress_level": 1}, "compressed with different settings"),
    ],
    ids=["alpha", "grey", "size", "compression"],
)
def test_arms_whose_files_differ_in_more_than_pixels_are_refused(settings, database, own_set, change, words):
    save_first_as(own_set, **change)
    with pytest.raises((InputError, IntegrityError), match=words):
        create(database, settings, own_set)
    assert query(database, "SELECT COUNT(*) FROM pairs") == [(0,)]


def give_arms_the_same_picture(folder, *, prompts):
    """The second arm's picture of each of these prompts becomes a copy of the first arm's."""
    rows = list(iter_rows(folder))
    arms = list(dict.fromkeys(row.arm for row in rows))[:2]
    by_place = {(row.prompt_id, row.arm): row for row in rows}
    changed = {}
    for prompt in prompts:
        source, target = (by_place[(prompt, arm)] for arm in arms)
        (folder / target.file_name).write_bytes((folder / source.file_name).read_bytes())
        changed[target.image_id] = source.sha256

    def change(values):
        for value in values:
            value["sha256"] = changed.get(value["image_id"], value["sha256"])

    rewrite(folder, change)
    rename_by_content(folder)
    return arms


def test_pairs_of_identical_pictures_are_left_out_and_counted(settings, database, own_set):
    give_arms_the_same_picture(own_set, prompts=["p0", "p3"])
    made = create(database, settings, own_set)
    assert (made.pairs, made.identical) == (16, 2)
    assert query(database, "SELECT COUNT(*) FROM pairs") == [(16,)]


def test_a_study_shows_identical_pairs_if_its_design_says_so(settings, database, own_set):
    give_arms_the_same_picture(own_set, prompts=["p0"])
    design = StudyDesign(slug="s", title="t", images=str(own_set), show_identical=True)
    made = create_study(database, design, set_folder=own_set, data_folder=settings.data_folder, progress=lambda n: None)
    assert (made.pairs, made.identical) == (18, 0)


def test_identical_pictures_are_no_gold_and_no_study(settings, database, own_set):
    arms = give_arms_the_same_picture(own_set, prompts=[f"p{n}" for n in range(6)])
    gold = ({"prompt": "p0", "better": arms[0], "worse": arms[1]},)
    for values, words in (({"gold": gold}, "gold: the pictures"), ({"arms": arms}, "in all 6 pairs")):
        design = StudyDesign(slug="s", title="t", images=str(own_set), **values)
        with pytest.raises(InputError, match=words):
            create_study(
                database, design, set_folder=own_set, data_folder=settings.data_folder, progress=lambda n: None
            )
    assert query(database, "SELECT COUNT(*) FROM studies") == [(0,)]


def test_two_identical_pictures_may_be_gold_if_the_known_answer_is_a_tie(settings, database, own_set):
    arms = give_arms_the_same_picture(own_set, prompts=["p0", "p1"])
    gold = ({"prompt": "p0", "better": "tie", "arms": arms},)
    design = StudyDesign(slug="s", title="t", images=str(own_set), gold=gold)
    made = create_study(database, design, set_folder=own_set, data_folder=settings.data_folder, progress=lambda n: None)
    assert made.identical == 1, "the other pair; the gold pair is shown"
    assert query(database, "SELECT better FROM pairs WHERE pool = 'gold'") == [("tie",)]
