"""What an image set's records must say of each other, checked without opening a picture.

`qsched verify` adds the pictures themselves; an import of the study server runs these checks and reads the pictures as
it copies them. So both refuse the same sets, and no picture is read twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from qsched.errors import IntegrityError
from qsched.files import TEMPORARY_PREFIX
from qsched.locations import Location
from qsched.records.image_set import (
    GENERATE_PAIRS,
    IMAGES_FOLDER,
    MANIFEST_NAME,
    ROWS_NAME,
    ImageRow,
    Manifest,
    hash_of,
    image_id_of,
    image_seed,
)


@dataclass(frozen=True)
class Fault:
    """Something wrong: which check, where, and what was found."""

    check: str
    where: str
    problem: str


def check_records(folder: Location, manifest: Manifest, rows: Sequence[ImageRow]) -> Iterator[Fault]:
    """Every contradiction between the manifest, the rows and the names of the files."""
    yield from _check_arms(manifest)
    for row in rows:
        yield from _check_row(manifest, row)
    yield from _check_duplicates(rows)
    yield from _check_missing(manifest, rows)
    yield from _check_pairing(manifest, rows)
    yield from _check_extra(folder, rows)


def refuse_faulty(folder: Location, manifest: Manifest, rows: Sequence[ImageRow]) -> None:
    """IntegrityError if `check_records` finds anything."""
    findings = list(check_records(folder, manifest, rows))
    if findings:
        first = findings[0]
        more = f" and {len(findings) - 1} other problem(s)" if len(findings) > 1 else ""
        raise IntegrityError(f"{folder}: {first.where}: {first.problem}{more}; `qsched verify {folder}` names them all")


def _check_row(manifest: Manifest, row: ImageRow) -> Iterator[Fault]:
    where = f"{row.arm} {row.prompt_id}/{row.sample_index}"
    arm = next((a for a in manifest.arms if a.name == row.arm), None)
    if arm is None:
        yield Fault("arms", where, f"arm {row.arm!r} is not in {MANIFEST_NAME}")
    elif (arm.recipe_hash, arm.simulated) != (row.recipe_hash, row.simulated):
        yield Fault("arms", where, f"recipe or simulated differs from arm {row.arm!r} in {MANIFEST_NAME}")
    if row.image_id != image_id_of(row):
        yield Fault("hashes", where, "image_id does not follow from the content hash")
    if (row.width, row.height) != (manifest.width, manifest.height):
        sizes = f"{row.width}x{row.height} pixels; the set {manifest.width}x{manifest.height}"
        yield Fault("pictures", where, sizes)


def _check_arms(manifest: Manifest) -> Iterator[Fault]:
    for arm in manifest.arms:
        if manifest.provenance.get("tool") == GENERATE_PAIRS and hash_of(arm.recipe) != arm.recipe_hash:
            yield Fault("arms", arm.name, "recipe_hash is not the hash of the recipe")
    for name, count in Counter(arm.name for arm in manifest.arms).items():
        if count > 1:
            yield Fault("arms", name, f"named {count} times in {MANIFEST_NAME}")


def _check_duplicates(rows: Sequence[ImageRow]) -> Iterator[Fault]:
    for key, count in Counter((row.arm, row.prompt_id, row.sample_index) for row in rows).items():
        if count > 1:
            yield Fault("duplicates", f"{key[0]} {key[1]}/{key[2]}", f"{count} rows for one image")
    for image_id, count in Counter(row.image_id for row in rows).items():
        if count > 1:
            yield Fault("duplicates", image_id, f"{count} rows share an image id")


def _check_missing(manifest: Manifest, rows: Sequence[ImageRow]) -> Iterator[Fault]:
    if manifest.shard is not None:
        part = f"shard {manifest.shard.index} of {manifest.shard.count}"
        yield Fault("missing", ROWS_NAME, f"{part}, so only a part of a set; `qsched merge` makes the set")
        return
    jobs = {(row.prompt_id, row.sample_index) for row in rows}
    prompts = {prompt for prompt, _ in jobs}
    have = {(row.arm, row.prompt_id, row.sample_index) for row in rows}
    if len(prompts) != manifest.n_prompts:
        yield Fault("missing", ROWS_NAME, f"{len(prompts)} prompts have images, {manifest.n_prompts} were asked for")
    for arm in manifest.arms:
        for prompt in sorted(prompts):
            for sample in range(manifest.samples):
                if (arm.name, prompt, sample) not in have:
                    yield Fault("missing", f"{arm.name} {prompt}/{sample}", "no row; run the same command again")
    for row in rows:
        if row.sample_index >= manifest.samples:
            where = f"{row.arm} {row.prompt_id}/{row.sample_index}"
            yield Fault("missing", where, f"sample {row.sample_index} of {manifest.samples} (counted from 0)")


def _check_pairing(manifest: Manifest, rows: Sequence[ImageRow]) -> Iterator[Fault]:
    generated = manifest.provenance.get("tool") == GENERATE_PAIRS
    if generated and (manifest.set_seed is None or manifest.steps is None or manifest.pairing != "seed"):
        yield Fault("pairing", MANIFEST_NAME, f"{GENERATE_PAIRS} states set_seed, steps and pairing: seed")
    first: dict[tuple[str, int], ImageRow] = {}
    texts: dict[str, ImageRow] = {}
    for row in rows:
        where = f"{row.arm} {row.prompt_id}/{row.sample_index}"
        other = first.setdefault((row.prompt_id, row.sample_index), row)
        if (row.seed is None) != (manifest.pairing == "unproven"):
            yield Fault("pairing", where, f"seed {row.seed}, but the pairing of the set is {manifest.pairing!r}")
        elif row.seed != other.seed:
            yield Fault("pairing", where, f"seed {row.seed}, but {other.arm} has {other.seed}")
        elif generated and manifest.set_seed is not None:
            seed = image_seed(manifest.set_seed, row.prompt_id, row.sample_index)
            if row.seed != seed:
                yield Fault("pairing", where, f"seed {row.seed} is not the hash of its place, {seed}")
        if manifest.pairing == "seed" and not _same_batch(row, other):
            yield Fault("pairing", where, f"made in another batch than in {other.arm}")
        text = texts.setdefault(row.prompt_id, row)
        if (row.prompt, row.category) != (text.prompt, text.category):
            yield Fault("pairing", where, f"prompt or category differs from that of {text.arm}")


def _same_batch(row: ImageRow, other: ImageRow) -> bool:
    return row.batch == other.batch and f"{row.prompt_id}/{row.sample_index}" in row.batch


def _check_extra(folder: Location, rows: Sequence[ImageRow]) -> Iterator[Fault]:
    owned = {row.file_name for row in rows}
    pictures = folder / IMAGES_FOLDER
    for name in sorted(path.name for path in pictures.iterdir()) if pictures.is_dir() else ():
        if f"{IMAGES_FOLDER}/{name}" not in owned:
            yield Fault("extra", f"{IMAGES_FOLDER}/{name}", "no row names this file")
    for name in sorted(path.name for path in folder.iterdir()):
        if name.startswith(TEMPORARY_PREFIX):
            yield Fault("extra", name, "left by an interrupted write; run the same command again")
