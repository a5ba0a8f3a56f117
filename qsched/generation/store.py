"""The image set where it is made: one writer, atomic files, whole rows, and recovery after a crash.

In a folder a picture is written whole (`qsched.files`); then its row is appended in one write and synced. After a kill
at any point the folder holds whole pictures, whole rows and at most one torn row, which `open_store` removes together
with rows whose picture is missing or has other bytes.

In a bucket the pictures of a batch are put first, then their rows as one object below `rows/`, since an object cannot
be appended to; at its end, and at the begin of the next one, a run joins these parts into `images.jsonl`. After a kill
at any point the bucket holds whole objects, and lacks at most the batch that was being put. A picture that is listed is
taken as it is: its name comes from its hash, and only whole objects are listed. `qsched verify` reads them all.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from qsched.errors import InputError
from qsched.files import TEMPORARY_PREFIX, append_synced, write_atomic
from qsched.generation.growth import NEWEST_PROVENANCE, grown
from qsched.generation.plan import Job
from qsched.generation.remote_lock import refuse_held, remote_lock
from qsched.locations import Location, RemotePath
from qsched.records import ImageRow, Manifest, image_id_of, read_manifest
from qsched.records.curation import PAIRS_NAME
from qsched.records.image_set import (
    IMAGES_FOLDER,
    MANIFEST_NAME,
    PARTS_FOLDER,
    ROWS_NAME,
    RowLine,
    row_lines,
    row_parts,
)
from qsched.records.set_diff import MEASURED, flat
from qsched.threads import in_order, threads_for

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

    folder: Location
    manifest: Manifest
    rows: dict[Key, ImageRow] = field(default_factory=dict)
    dropped: int = 0
    _parts: int = 0
    _run: str = field(default_factory=lambda: secrets.token_hex(4))

    def add(self, pictures: Sequence[tuple[ImageRow, bytes]]) -> None:
        """Make images durable: the pictures first, then their rows."""
        if isinstance(self.folder, RemotePath):
            self._put(pictures)
            self.add_rows([row for row, _ in pictures])
            return
        for row, png in pictures:
            write_atomic(self.folder / row.file_name, png)
            self.add_rows([row])

    def _put(self, pictures: Sequence[tuple[ImageRow, bytes]]) -> None:
        def put(picture: tuple[ImageRow, bytes]) -> None:
            write_atomic(self.folder / picture[0].file_name, picture[1])

        for _ in in_order(put, pictures, threads=min(len(pictures), threads_for(self.folder)) or 1):
            pass

    def add_rows(self, rows: Sequence[ImageRow]) -> None:
        """Append rows whose pictures are there already, and sync them together."""
        if not rows:
            return
        data = b"".join(_line(row) for row in rows)
        if isinstance(self.folder, RemotePath):
            write_atomic(self.folder / PARTS_FOLDER / f"{self._parts:06d}-{self._run}.jsonl", data)
            self._parts += 1
        else:
            append_synced(self.folder / ROWS_NAME, data)
        self.rows.update({_key(row): row for row in rows})

    def put_in_order(self, order: Sequence[Key]) -> None:
        """Rewrite the rows in this order if they are in another (after a repair, or several workers) or in parts."""
        wanted = [key for key in order if key in self.rows]
        is_ordered = wanted == list(self.rows) or len(wanted) != len(self.rows)
        if not is_ordered:
            self.rows = {key: self.rows[key] for key in wanted}
        if not is_ordered or self._parts:
            self.write_rows()

    def write_rows(self) -> None:
        """Write all rows as one file, and remove the parts that they were in."""
        write_atomic(self.folder / ROWS_NAME, b"".join(_line(row) for row in self.rows.values()))
        for _ in in_order(_unlink, row_parts(self.folder), threads=threads_for(self.folder)):
            pass
        self._parts = 0

    def replace_manifest(self, manifest: Manifest) -> None:
        """Write the manifest anew, whole."""
        self.manifest = manifest
        write_atomic(self.folder / MANIFEST_NAME, (manifest.model_dump_json(indent=1) + "\n").encode())


@contextmanager
def open_store(
    folder: Location, manifest: Manifest, *, planned: Sequence[Job] = (), overwrite: bool = False
) -> Iterator[Store]:
    """Create the folder, or resume the set in it, under a lock that no second run can take.

    A row of a resumed set is kept if its picture has the bytes that it names and it is one of the `planned` images,
    with their seed, prompt and category. Raises InputError if another run holds the folder, if it holds something
    else, or if the set in it was asked for differently (then `overwrite` removes that set's own files first, and
    nothing else).
    """
    _make_folder(folder)
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
            refuse_other_plan(folder, found, manifest)
            store = Store(folder, grown(found, manifest))
            _recover(store, planned)
            if store.manifest is not found:
                store.replace_manifest(store.manifest)
        else:
            store = Store(folder, manifest)
            store.replace_manifest(manifest)
        yield store


def _make_folder(folder: Location) -> None:
    try:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file; give --out a folder")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made: {error.strerror or error}; choose another --out") from error


def check_writable(folder: Location) -> None:
    """InputError, before anything is loaded, if another run holds a bucket's set or the bucket takes no object."""
    if isinstance(folder, RemotePath):
        refuse_held(folder / LOCK_NAME)
        probe = folder / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
        write_atomic(probe, b"")
        probe.unlink(missing_ok=True)


def shard_folder(out: Location, index: int, count: int) -> Location:
    """Where shard `index` of `count` of the set in `out` is made; its name sorts by index."""
    digits = len(str(count))
    return out / SHARDS_FOLDER / f"{index:0{digits}d}-of-{count}"


def check_free_for(out: Location, shard: tuple[int, int] | None) -> None:
    """InputError for a whole set where shards wait for their merge, and for a shard below a set that has none."""
    try:
        has_set = (out / MANIFEST_NAME).exists()
        has_shards = (out / SHARDS_FOLDER).is_dir()
    except OSError as error:
        raise InputError(f"{out} cannot be read: {error.strerror or error}; choose another --out") from error
    if shard is None and has_shards and not has_set:
        raise InputError(
            f"{out} holds shards of a set: run the others, then `qsched merge {out}`, or choose another --out"
        )
    if shard is not None and has_set and not has_shards:
        raise InputError(
            f"{out} holds a set that was made whole, so it has no shards; finish or grow it without --shard, or choose "
            "another --out"
        )


def remove_set(folder: Location) -> None:
    """Delete the files of the image set in a folder; anything else in it is left."""
    # The manifest goes last: until then the folder is still recognised as a set.
    ours = [path for path in _pictures(folder) if _OURS.fullmatch(path.name)]
    for _ in in_order(_remove_picture, ours, threads=threads_for(folder)):
        pass
    for part in row_parts(folder):
        part.unlink(missing_ok=True)
    for name in (ROWS_NAME, *_PAGES, MANIFEST_NAME):
        (folder / name).unlink(missing_ok=True)


def _pictures(folder: Location) -> list[Location]:
    try:
        return list((folder / IMAGES_FOLDER).iterdir())
    except FileNotFoundError:
        return []


def _remove_picture(path: Location) -> None:
    if isinstance(path, Path) and path.is_dir():
        raise InputError(f"{path} is a folder where a picture belongs; remove it and run the same command again")
    path.unlink()


def _unlink(path: Location) -> None:
    path.unlink(missing_ok=True)


def _line(row: ImageRow) -> bytes:
    return row.model_dump_json().encode() + b"\n"


def _key(row: ImageRow) -> Key:
    return row.arm, row.prompt_id, row.sample_index


@contextmanager
def locked(folder: Location) -> Iterator[None]:
    """Hold the lock of a set; InputError if another run has it."""
    if isinstance(folder, RemotePath):
        with remote_lock(folder / LOCK_NAME):
            yield
        return
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


def _is_unborn(folder: Location) -> bool:
    """True for what a run killed before its manifest leaves: the lock, a temporary manifest, older statistics."""
    ours = (LOCK_NAME, IMAGES_FOLDER, STATISTICS_FOLDER, SHARDS_FOLDER)  # rows come after the manifest
    return all(p.name in ours or p.name.startswith(TEMPORARY_PREFIX) for p in folder.iterdir())


def _refuse_foreign(folder: Location, names: list[str], *, overwrite: bool) -> None:
    """A set whose manifest was deleted may be overwritten; a folder with anything else in it may not."""
    ours = (LOCK_NAME, IMAGES_FOLDER, STATISTICS_FOLDER, SHARDS_FOLDER, ROWS_NAME, PARTS_FOLDER, *_PAGES)
    other = [name for name in names if name not in ours and not name.startswith(TEMPORARY_PREFIX)]
    if other:
        raise InputError(f"{folder} is not empty and not an image set ({other[0]} is in it); choose another --out")
    if not overwrite:
        raise InputError(
            f"{folder} holds pictures of an image set but no {MANIFEST_NAME}: it was deleted. Put it back, choose "
            "another --out, or pass --overwrite to delete what is left and start again"
        )


def refuse_other_plan(folder: Location, found: Manifest, asked: Manifest) -> None:
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
    folder = store.folder
    hashes = {arm.name: arm.recipe_hash for arm in store.manifest.arms}
    wanted = {(job.prompt.prompt_id, job.sample_index): job for job in planned}
    listed = (folder / IMAGES_FOLDER).sizes() if isinstance(folder, RemotePath) else None
    trusted = partial(_trusted, folder, hashes, listed)
    in_parts = bool(row_parts(folder))
    try:
        for row in in_order(trusted, row_lines(folder), threads=threads_for(folder) if listed is None else 1):
            if row is None or _key(row) in store.rows or (wanted and not _is_planned(row, wanted)):
                store.dropped += 1
            else:
                store.rows[_key(row)] = row
    except InputError as error:
        raise InputError(f"{error}; remove the file, or pass --overwrite") from error
    if store.dropped or in_parts:
        store.write_rows()
    owned = {row.file_name for row in store.rows.values()}
    pictures = _pictures(folder) if listed is None else [folder / IMAGES_FOLDER / name for name in listed]
    for picture in pictures:
        if _OURS.fullmatch(picture.name) and f"{IMAGES_FOLDER}/{picture.name}" not in owned:
            _remove_picture(picture)
    leftovers: list[Location] = list(folder.iterdir())
    for leftover in leftovers:
        if leftover.name.startswith(TEMPORARY_PREFIX):
            leftover.unlink(missing_ok=True)


def _trusted(
    folder: Location, recipe_hashes: dict[str, str], listed: dict[str, int] | None, line: RowLine
) -> ImageRow | None:
    """The row, if it is whole, belongs to the set and its picture is there, with the bytes that it names; else None."""
    if not line.is_whole:
        return None
    try:
        row = ImageRow.model_validate_json(line.data)
    except ValidationError:
        return None
    if recipe_hashes.get(row.arm) != row.recipe_hash or row.image_id != image_id_of(row):
        return None
    if listed is not None:
        return row if listed.get(f"{row.image_id}.png") else None
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
