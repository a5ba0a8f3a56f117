"""Check an image set against its own records: every file, every row, every pair."""

from __future__ import annotations

import hashlib
import io
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError
from pydantic import ValidationError

from qsched.files import TEMPORARY_PREFIX
from qsched.generation.manifest import TOOL
from qsched.generation.noise import image_seed
from qsched.precision import hash_of
from qsched.records import ImageRow, Manifest, image_id_of, read_manifest
from qsched.records.image_set import IMAGES_FOLDER, MANIFEST_NAME, ROWS_NAME, first_problem

# What a picture needs and what only describes its pixels; everything else could show which arm it comes from.
_CHUNKS = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"sRGB", b"cHRM", b"sBIT"}


@dataclass(frozen=True)
class Finding:
    """Something wrong: which check, where, and what was found."""

    check: str
    where: str
    problem: str


@dataclass(frozen=True)
class VerifyReport:
    """Outcome of a verification; `notes` are worth knowing but are not faults."""

    folder: Path
    n_rows: int
    n_expected: int
    checks: tuple[str, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True when nothing was found."""
        return not self.findings


CHECKS = ("rows", "files", "hashes", "pictures", "metadata", "arms", "duplicates", "missing", "pairing", "extra")


def verify_set(folder: Path) -> VerifyReport:
    """Check everything that the image-set contract promises; raises InputError only if there is no set."""
    manifest = read_manifest(folder)
    rows, findings = _read_rows(folder)
    found = [
        *findings,
        *_check_arms(manifest),
        *(finding for row in rows for finding in _check_row(folder, manifest, row)),
        *_check_duplicates(rows),
        *_check_missing(manifest, rows),
        *_check_pairing(manifest, rows),
        *_check_extra(folder, rows),
    ]
    expected = len(manifest.arms) * manifest.n_prompts * manifest.samples
    return VerifyReport(folder, len(rows), expected, CHECKS, tuple(found), tuple(_notes(rows)))


def _read_rows(folder: Path) -> tuple[list[ImageRow], list[Finding]]:
    rows: list[ImageRow] = []
    findings = []
    path = folder / ROWS_NAME
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    for number, line in enumerate(lines, start=1):
        where = f"{ROWS_NAME}:{number}"
        if not line.endswith(b"\n"):
            findings.append(Finding("rows", where, "half-written row"))
            continue
        try:
            rows.append(ImageRow.model_validate_json(line))
        except ValidationError as error:
            findings.append(Finding("rows", where, first_problem(error)))
    return rows, findings


def _check_arms(manifest: Manifest) -> Iterator[Finding]:
    for arm in manifest.arms:
        if manifest.provenance.get("tool") == TOOL and hash_of(arm.recipe) != arm.recipe_hash:
            yield Finding("arms", arm.name, "recipe_hash is not the hash of the recipe")
    for name, count in Counter(arm.name for arm in manifest.arms).items():
        if count > 1:
            yield Finding("arms", name, f"named {count} times in {MANIFEST_NAME}")


def _check_row(folder: Path, manifest: Manifest, row: ImageRow) -> Iterator[Finding]:
    where = f"{row.arm} {row.prompt_id}/{row.sample_index}"
    arm = next((a for a in manifest.arms if a.name == row.arm), None)
    if arm is None:
        yield Finding("arms", where, f"arm {row.arm!r} is not in {MANIFEST_NAME}")
    elif (arm.recipe_hash, arm.simulated) != (row.recipe_hash, row.simulated):
        yield Finding("arms", where, f"recipe or simulated differs from arm {row.arm!r} in {MANIFEST_NAME}")
    if row.image_id != image_id_of(row):
        yield Finding("hashes", where, "image_id does not follow from the content hash")
    try:
        data = (folder / row.file_name).read_bytes()
    except OSError as error:
        yield Finding("files", row.file_name, f"{where}: {error.strerror or error}")
        return
    if hashlib.sha256(data).hexdigest() != row.sha256:
        yield Finding("hashes", row.file_name, f"{where}: the bytes are not those of the row")
    yield from _check_picture(manifest, row, data)


def _check_picture(manifest: Manifest, row: ImageRow, data: bytes) -> Iterator[Finding]:
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            image.load()
            size = image.size
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        yield Finding("pictures", row.file_name, f"not a readable PNG: {error}")
        return
    if size != (row.width, row.height) or size != (manifest.width, manifest.height):
        yield Finding(
            "pictures",
            row.file_name,
            f"{size[0]}x{size[1]} pixels; row {row.width}x{row.height}, set {manifest.width}x{manifest.height}",
        )
    surplus = sorted(name.decode("latin-1") for name in png_chunks(data) if name not in _CHUNKS)
    if surplus:
        yield Finding("metadata", row.file_name, f"holds {', '.join(surplus)}; a picture must not carry metadata")


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


def _check_duplicates(rows: list[ImageRow]) -> Iterator[Finding]:
    for key, count in Counter((row.arm, row.prompt_id, row.sample_index) for row in rows).items():
        if count > 1:
            yield Finding("duplicates", f"{key[0]} {key[1]}/{key[2]}", f"{count} rows for one image")
    for image_id, count in Counter(row.image_id for row in rows).items():
        if count > 1:
            yield Finding("duplicates", image_id, f"{count} rows share an image id")


def _check_missing(manifest: Manifest, rows: list[ImageRow]) -> Iterator[Finding]:
    jobs = {(row.prompt_id, row.sample_index) for row in rows}
    prompts = {prompt for prompt, _ in jobs}
    have = {(row.arm, row.prompt_id, row.sample_index) for row in rows}
    if len(prompts) != manifest.n_prompts:
        yield Finding("missing", ROWS_NAME, f"{len(prompts)} prompts have images, {manifest.n_prompts} were asked for")
    for arm in manifest.arms:
        for prompt in sorted(prompts):
            for sample in range(manifest.samples):
                if (arm.name, prompt, sample) not in have:
                    yield Finding("missing", f"{arm.name} {prompt}/{sample}", "no row; run the same command again")
    for row in rows:
        if row.sample_index >= manifest.samples:
            where = f"{row.arm} {row.prompt_id}/{row.sample_index}"
            yield Finding("missing", where, f"sample {row.sample_index} of {manifest.samples} (counted from 0)")


def _check_pairing(manifest: Manifest, rows: list[ImageRow]) -> Iterator[Finding]:
    first: dict[tuple[str, int], ImageRow] = {}
    texts: dict[str, ImageRow] = {}
    for row in rows:
        where = f"{row.arm} {row.prompt_id}/{row.sample_index}"
        other = first.setdefault((row.prompt_id, row.sample_index), row)
        if row.seed != other.seed:
            yield Finding("pairing", where, f"seed {row.seed}, but {other.arm} has {other.seed}")
        elif manifest.provenance.get("tool") == TOOL:
            seed = image_seed(manifest.set_seed, row.prompt_id, row.sample_index)
            if row.seed != seed:
                yield Finding("pairing", where, f"seed {row.seed} is not the hash of its place, {seed}")
        if row.batch != other.batch or f"{row.prompt_id}/{row.sample_index}" not in row.batch:
            yield Finding("pairing", where, f"made in another batch than in {other.arm}")
        text = texts.setdefault(row.prompt_id, row)
        if (row.prompt, row.category) != (text.prompt, text.category):
            yield Finding("pairing", where, f"prompt or category differs from that of {text.arm}")


def _check_extra(folder: Path, rows: list[ImageRow]) -> Iterator[Finding]:
    owned = {row.file_name for row in rows}
    pictures = folder / IMAGES_FOLDER
    for path in sorted(pictures.iterdir()) if pictures.is_dir() else ():
        if f"{IMAGES_FOLDER}/{path.name}" not in owned:
            yield Finding("extra", f"{IMAGES_FOLDER}/{path.name}", "no row names this file")
    for path in sorted(folder.glob(f"{TEMPORARY_PREFIX}*")):
        yield Finding("extra", path.name, "left by an interrupted write; run the same command again")


def _notes(rows: list[ImageRow]) -> Iterator[str]:
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
