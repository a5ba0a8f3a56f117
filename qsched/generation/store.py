"""The image-set folder on disk: one writer, atomic files, whole rows, and recovery after a crash.

A picture is written whole (`qsched.files`); then its row is appended in one write and synced. After a kill at any
point the folder holds whole pictures, whole rows and at most one torn row, which `open_store` removes together with
rows whose picture is missing or has other bytes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from qsched.errors import InputError
from qsched.files import TEMPORARY_PREFIX, append_synced, write_atomic
from qsched.generation.growth import NEWEST_PROVENANCE, grown
from qsched.generation.plan import Job
from qsched.records import ImageRow, Manifest, image_id_of, read_manifest
from qsched.records.curation import PAIRS_NAME
from qsched.records.image_set import IMAGES_FOLDER, MANIFEST_NAME, ROWS_NAME
from qsched.records.set_diff import MEASURED, flat

LOCK_NAME = ".qsched.lock"
_PAGES = ("contact_sheet.html", "metrics.html", "metrics.json", "metrics_images.jsonl", PAIRS_NAME)
# Calibration statistics of the arms; they are kept when the set in the folder is deleted.
STATISTICS_FOLDER = "statistics"
SHARDS_FOLDER = "shards"
_OURS = re.compile(rf"[0-9a-f]{{24}}\.png|{re.escape(TEMPORARY_PREFIX)}.*")

# Where and when a run happened may change between a run and its resumption; rows keep it for each image.
_CIRCUMSTANCE = (
    *("versions", "git_commit", "threads", "arms", "command", "machine", "backbone_licence"),
    *NEWEST_PROVENANCE,
)
_NOT_IDENTITY = {
    *("created_at", "set_id", "provenance", "arms", "requests", "shard"),
    *("prompts_sha256", "n_prompts", "samples"),
}

Key = tuple[str, str, int]


@dataclass
class Store:
    """An open image set. `rows` holds the finished images by (arm, prompt id, sample index)."""

    folder: Path
    manifest: Manifest
    rows: dict[Key, ImageRow] = field(default_factory=dict)
    dropped: int = 0

    def add(self, row: ImageRow, png: bytes) -> None:
        """Make one image durable: the picture first, then its row."""
        write_atomic(self.folder / row.file_name, png)
        append_synced(self.folder / ROWS_NAME, row.model_dump_json().encode() + b"\n")
        self.rows[(row.arm, row.prompt_id, row.sample_index)] = row

    def add_rows(self, rows: Sequence[ImageRow]) -> None:
        """Append rows whose pictures are in the folder already, and sync them together."""
        if rows:
            append_synced(self.folder / ROWS_NAME, b"".join(row.model_dump_json().encode() + b"\n" for row in rows))
            self.rows.update({(row.arm, row.prompt_id, row.sample_index): row for row in rows})

    def put_in_order(self, order: Sequence[Key]) -> None:
        """Rewrite the rows in this order if they are in another (after a repair, or several workers)."""
        wanted = [key for key in order if key in self.rows]
        if wanted == list(self.rows) or len(wanted) != len(self.rows):
            return
        self.rows = {key: self.rows[key] for key in wanted}
        lines = (row.model_dump_json().encode() + b"\n" for row in self.rows.values())
        write_atomic(self.folder / ROWS_NAME, b"".join(lines))

    def replace_manifest(self, manifest: Manifest) -> None:
        """Write the manifest anew, whole."""
        self.manifest = manifest
        write_atomic(self.folder / MANIFEST_NAME, (manifest.model_dump_json(indent=1) + "\n").encode())


@contextmanager
def open_store(
    folder: Path, manifest: Manifest, *, planned: Sequence[Job] = (), overwrite: bool = False
) -> Iterator[Store]:
    """Create the folder, or resume the set in it, under a lock that no second run can take.

    A row of a resumed set is kept if its picture has the bytes that it names and it is one of the `planned` images,
    with their seed, prompt and category. Raises InputError if another run holds the folder, if it holds something
    else, or if the set in it was asked for differently (then `overwrite` removes that set's own files first, and
    nothing else).
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; give --out a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made: {error.strerror or error}; choose another --out") from error
    with locked(folder):
        started = (folder / MANIFEST_NAME).exists()
        foreign = [p.name for p in folder.iterdir() if p.name != LOCK_NAME]
        if not started and foreign and not _is_unborn(folder):
            _refuse_foreign(folder, foreign, overwrite=overwrite)
        if overwrite:
            remove_set(folder)
            started = False
        (folder / IMAGES_FOLDER).mkdir(exist_ok=True)
        if started:
            found = read_manifest(folder)
            _refuse_other_plan(folder, found, manifest)
            store = Store(folder, grown(found, manifest))
            _recover(store, planned)
            if store.manifest is not found:
                store.replace_manifest(store.manifest)
        else:
            store = Store(folder, manifest)
            store.replace_manifest(manifest)
        yield store


def shard_folder(out: Path, index: int, count: int) -> Path:
    """Where shard `index` of `count` of the set in `out` is made; its name sorts by index."""
    digits = len(str(count))
    return out / SHARDS_FOLDER / f"{index:0{digits}d}-of-{count}"


def check_free_for(out: Path, shard: tuple[int, int] | None) -> None:
    """InputError for a whole set where shards wait for their merge, and for a shard below a set that has none."""
    has_set = (out / MANIFEST_NAME).exists()
    has_shards = (out / SHARDS_FOLDER).is_dir()
    if shard is None and has_shards and not has_set:
        raise InputError(
            f"{out} holds shards of a set: run the others, then `qsched merge {out}`, or choose another --out"
        )
    if shard is not None and has_set and not has_shards:
        raise InputError(
            f"{out} holds a set that was made whole, so it has no shards; finish or grow it without --shard, or choose "
            "another --out"
        )


def remove_set(folder: Path) -> None:
    """Delete the files of the image set in a folder; anything else in it is left."""
    # The manifest goes last: until then the folder is still recognised as a set.
    for path in (folder / IMAGES_FOLDER).glob("*"):
        if _OURS.fullmatch(path.name):
            _remove_picture(path)
    for name in (ROWS_NAME, *_PAGES, MANIFEST_NAME):
        (folder / name).unlink(missing_ok=True)


def _remove_picture(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path} is a folder where a picture belongs; remove it and run the same command again")
    path.unlink()


@contextmanager
def taking_turns(folder: Path) -> Iterator[None]:
    """One process at a time: the others wait. For statistics, which shards of a set share."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    try:
        file = (folder / LOCK_NAME).open("a+")
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror or error}; choose another --out") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise InputError(
                f"{folder} is being written by another run (process {file.read().strip() or 'unknown'}); wait for it, "
                "or choose another --out"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def _is_unborn(folder: Path) -> bool:
    """True for what a run killed before its manifest leaves: the lock, a temporary manifest, older statistics."""
    ours = (LOCK_NAME, IMAGES_FOLDER, STATISTICS_FOLDER, SHARDS_FOLDER)
    return all(p.name in ours or p.name.startswith(TEMPORARY_PREFIX) for p in folder.iterdir())


def _refuse_foreign(folder: Path, names: list[str], *, overwrite: bool) -> None:
    """A set whose manifest was deleted may be overwritten; a folder with anything else in it may not."""
    ours = (LOCK_NAME, IMAGES_FOLDER, STATISTICS_FOLDER, SHARDS_FOLDER, ROWS_NAME, *_PAGES)
    other = [name for name in names if name not in ours and not name.startswith(TEMPORARY_PREFIX)]
    if other:
        raise InputError(f"{folder} is not empty and not an image set ({other[0]} is in it); choose another --out")
    if not overwrite:
        raise InputError(
            f"{folder} holds pictures of an image set but no {MANIFEST_NAME}: it was deleted. Put it back, choose "
            "another --out, or pass --overwrite to delete what is left and start again"
        )


def _refuse_other_plan(folder: Path, found: Manifest, asked: Manifest) -> None:
    """InputError for anything but growth (`qsched.generation.growth`) that differs between the set and a request."""
    names = {arm.name for arm in found.arms}
    old, new = identity_of(found), identity_of(asked, arms=names)
    if not any(key.startswith("calibration") for key in old):  # the first arm that needs statistics
        new = {key: value for key, value in new.items() if not key.startswith("calibration")}
    different = differences(old, new)
    if different:
        raise InputError(
            f"{folder} holds a set that was asked for differently ({'; '.join(different[:4])}). Resume it with the "
            "options it was made with, choose another --out, or pass --overwrite to delete it and start again."
        )


def differences(old: dict[str, object], new: dict[str, object]) -> list[str]:
    """'name: value there, value now' for everything in which two identities differ."""
    return [
        f"{key}: {_short(old.get(key))} there, {_short(new.get(key))} now"
        for key in {**old, **new}
        if old.get(key) != new.get(key)
    ]


def identity_of(manifest: Manifest, *, arms: Collection[str] | None = None) -> dict[str, object]:
    """What never changes in the life of a set, flat and named for the error message; `arms` None: of all its arms."""
    data = {key: value for key, value in manifest.provenance.items() if key not in _CIRCUMSTANCE}
    data.update(manifest.model_dump(mode="json", exclude=_NOT_IDENTITY))
    for arm in manifest.arms:
        if arms is None or arm.name in arms:
            data[f"arm {arm.name}"] = arm.model_dump(mode="json", exclude={*MEASURED, "name", "recipe_hash"})
    return flat(data)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _recover(store: Store, planned: Sequence[Job]) -> None:
    """Keep the rows that can be trusted; rewrite the file without the others; delete pictures of no row."""
    path = store.folder / ROWS_NAME
    try:
        data = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}; remove it, or pass --overwrite") from error
    kept: list[bytes] = []
    hashes = {arm.name: arm.recipe_hash for arm in store.manifest.arms}
    wanted = {(job.prompt.prompt_id, job.sample_index): job for job in planned}
    for line in data.splitlines(keepends=True):
        row = _trusted(store.folder, line, hashes)
        key = (row.arm, row.prompt_id, row.sample_index) if row else None
        if row is None or key is None or key in store.rows or (wanted and not _is_planned(row, wanted)):
            store.dropped += 1
            continue
        store.rows[key] = row
        kept.append(line)
    if store.dropped:
        write_atomic(path, b"".join(kept))
    owned = {row.file_name for row in store.rows.values()}
    for picture in (store.folder / IMAGES_FOLDER).iterdir():
        if _OURS.fullmatch(picture.name) and f"{IMAGES_FOLDER}/{picture.name}" not in owned:
            _remove_picture(picture)
    for leftover in store.folder.glob(f"{TEMPORARY_PREFIX}*"):
        leftover.unlink()


def _trusted(folder: Path, line: bytes, recipe_hashes: dict[str, str]) -> ImageRow | None:
    """The row, if it is whole, belongs to the set and its picture has the bytes that it names; else None."""
    if not line.endswith(b"\n"):
        return None
    try:
        row = ImageRow.model_validate_json(line)
    except ValidationError:
        return None
    if recipe_hashes.get(row.arm) != row.recipe_hash or row.image_id != image_id_of(row):
        return None
    try:
        data = (folder / row.file_name).read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        return None
    return row if hashlib.sha256(data).hexdigest() == row.sha256 else None


def _is_planned(row: ImageRow, wanted: dict[tuple[str, int], Job]) -> bool:
    job = wanted.get((row.prompt_id, row.sample_index))
    if job is None:
        return False
    return (row.seed, row.prompt, row.category) == (job.seed, job.prompt.prompt, job.prompt.category)
