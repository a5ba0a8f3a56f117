"""Check an image set against its own records: every file, every row, every pair.

Every byte of every picture is read and compared with its row's hash. Whether the pixels can be decoded follows from
that for a set that `generate-pairs` made, which encoded them: there only those pictures are decoded whose bytes are not
those of the row, or that are so small that they may have a single colour. In any other set, and on request, all are.
"""

from __future__ import annotations

import hashlib
import io
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from PIL import Image, UnidentifiedImageError
from pydantic import ValidationError

from qsched.locations import Location
from qsched.records import Fault, ImageRow, Manifest, check_records, read_manifest
from qsched.records.image_set import GENERATE_PAIRS, first_problem, row_lines
from qsched.threads import in_order, threads_for

# What a picture needs and what only describes its pixels; everything else could show which arm it comes from.
_CHUNKS = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"sRGB", b"cHRM", b"sBIT"}
# The signature of a PNG and the head of its first chunk; width and height follow.
_BEGINNING = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s", 13, b"IHDR")
# Our encoder makes a picture of a single colour 50 to 1,000 times smaller than its pixels; a larger file is not one.
_LEAST_COMPRESSION = 20
_OVERHEAD = 400


@dataclass(frozen=True)
class VerifyReport:
    """Outcome of a verification; `notes` are worth knowing but are not faults. `decoded`: pictures that were opened."""

    folder: Location
    n_rows: int
    n_expected: int
    decoded: int
    checks: tuple[str, ...]
    findings: tuple[Fault, ...]
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True when nothing was found."""
        return not self.findings


CHECKS = ("rows", "files", "hashes", "pictures", "metadata", "arms", "duplicates", "missing", "pairing", "extra")


def verify_set(folder: Location, *, decode: bool = False) -> VerifyReport:
    """Check everything that the image-set contract promises; raises InputError only if there is no set.

    decode    open every picture, also those whose bytes are known to be what our encoder wrote
    """
    manifest = read_manifest(folder)
    check = partial(_check_file, folder, decode=decode or manifest.provenance.get("tool") != GENERATE_PAIRS)
    rows, findings = _read_rows(folder)
    plain: Counter[str] = Counter()
    found = list(findings)
    decoded = 0
    for row, checked in zip(rows, in_order(check, rows, threads=threads_for(folder)), strict=True):
        found += checked.findings
        plain[row.arm] += checked.is_plain
        decoded += checked.is_decoded
    found += check_records(folder, manifest, rows)
    expected = len(manifest.arms) * manifest.n_prompts * manifest.samples
    notes = tuple(_notes(manifest, rows, plain))
    return VerifyReport(folder, len(rows), expected, decoded, CHECKS, tuple(found), notes)


def _read_rows(folder: Location) -> tuple[list[ImageRow], list[Fault]]:
    rows: list[ImageRow] = []
    findings = []
    for line in row_lines(folder):
        where = f"{line.path.name}:{line.number}"
        if not line.is_whole:
            findings.append(Fault("rows", where, "half-written row"))
            continue
        try:
            rows.append(ImageRow.model_validate_json(line.data))
        except ValidationError as error:
            findings.append(Fault("rows", where, first_problem(error)))
    return rows, findings


@dataclass(frozen=True)
class _Checked:
    """What is wrong with a picture, and whether it was decoded and has a single colour."""

    findings: tuple[Fault, ...]
    is_plain: bool = False
    is_decoded: bool = False


def _check_file(folder: Location, row: ImageRow, *, decode: bool) -> _Checked:
    where = f"{row.arm} {row.prompt_id}/{row.sample_index}"
    path = folder / row.file_name
    if path.is_symlink() or path.parent.is_symlink():
        return _Checked((Fault("files", row.file_name, f"{where}: a link; an image set holds its own files"),))
    try:
        data = path.read_bytes()
    except OSError as error:
        return _Checked((Fault("files", row.file_name, f"{where}: {error.strerror or error}"),))
    found = []
    if hashlib.sha256(data).hexdigest() != row.sha256:
        found.append(Fault("hashes", row.file_name, f"{where}: the bytes are not those of the row"))
    may_be_plain = len(data) < row.width * row.height * 3 // _LEAST_COMPRESSION + _OVERHEAD
    if decode or found or may_be_plain:
        checked = _check_picture(row, data)
        return _Checked((*found, *checked.findings), checked.is_plain, is_decoded=True)
    size = struct.unpack(">II", data[16:24]) if data[:16] == _BEGINNING else (0, 0)
    return _Checked(tuple(_check_frame(row, data, size)))


def _check_picture(row: ImageRow, data: bytes) -> _Checked:
    """Decode the picture."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            image.load()
            size = image.size
            is_plain = all(channel.histogram().count(0) == 255 for channel in image.convert("RGB").split())
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return _Checked((Fault("pictures", row.file_name, f"not a readable PNG: {error}"),))
    return _Checked(tuple(_check_frame(row, data, size)), is_plain)


def _check_frame(row: ImageRow, data: bytes, size: tuple[int, int]) -> Iterator[Fault]:
    """What can be seen without decoding: the size, and chunks that a picture must not have."""
    if size != (row.width, row.height):
        yield Fault("pictures", row.file_name, f"{size[0]}x{size[1]} pixels; row {row.width}x{row.height}")
    surplus = sorted(name.decode("latin-1") for name in png_chunks(data) if name not in _CHUNKS)
    if surplus:
        yield Fault("metadata", row.file_name, f"holds {', '.join(surplus)}; a picture must not carry metadata")


def png_chunks(data: bytes) -> list[bytes]:
    """Names of the chunks of a PNG in order; b'after IEND' when bytes follow the end."""
    names, at = [], 8
    while at + 12 <= len(data):
        length, name = struct.unpack(">I4s", data[at : at + 8])
        names.append(name)
        at += 12 + length
        if name == b"IEND":
            break
    if at < len(data):
        names.append(b"bytes after IEND")
    return names


def _notes(manifest: Manifest, rows: list[ImageRow], plain: Counter[str]) -> Iterator[str]:
    if manifest.pairing_note is not None:
        yield manifest.pairing_note
    for arm, count in plain.items():
        if count:
            yield f"{count} picture(s) of {arm} have a single colour and are probably broken; `qsched pairs` lists them"
    by_hash: dict[str, list[ImageRow]] = {}
    for row in rows:
        by_hash.setdefault(row.sha256, []).append(row)
    equal: Counter[tuple[str, ...]] = Counter(
        tuple(sorted({row.arm for row in same})) for same in by_hash.values() if len(same) > 1
    )
    for arms, count in equal.items():
        where = " and ".join(arms) if len(arms) > 1 else f"{arms[0]}, in two places"
        yield f"{count} picture(s) are the same bytes in {where}"
    builds = {tuple(sorted(row.versions.items())) for row in rows}
    if len(builds) > 1:
        yield f"made in {len(builds)} different environments (versions, threads or GPU); see the rows"
