"""Shards become one image set: every shard there, of the same request, unbroken; then their rows in one order.

The rows stand in the order of a run in one process: precision by precision, arm by arm, batch by batch. Pictures are
linked (copied where the file system cannot link) after their hash was checked, and a merge that was stopped goes on.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from qsched.errors import InputError, IntegrityError
from qsched.files import write_atomic
from qsched.generation.growth import identity_of_requests
from qsched.generation.sheet import write_contact_sheet
from qsched.generation.store import (
    SHARDS_FOLDER,
    Key,
    Store,
    differences,
    identity_of,
    locked,
    open_store,
)
from qsched.locations import Location
from qsched.records import ImageRow, Manifest, ShardRecord, iter_rows, read_manifest
from qsched.records.image_set import MANIFEST_NAME
from qsched.threads import in_order, threads_for

_ROWS_AT_ONCE = 200


@dataclass(frozen=True)
class Shard:
    """One part, read from its folder."""

    folder: Location
    manifest: Manifest
    part: ShardRecord
    rows: dict[Key, ImageRow]


@dataclass(frozen=True)
class MergeReport:
    """What a merge did; `kept` were in the set already."""

    folder: Location
    shards: int
    n_images: int
    merged: int
    kept: int
    contact_sheet: Location


def merge_shards(out: Location, folders: Sequence[Location] = ()) -> MergeReport:
    """Merge the shards below `out`, or those in `folders`, into the image set `out`.

    Raises InputError for a missing, foreign, unfinished or running shard, and IntegrityError for a picture whose bytes
    are not those of its row; the set then holds what was merged before, and the same call goes on.
    """
    with ExitStack() as stack:
        shards = [_read(folder, stack) for folder in (folders or _found(out))]
        shards.sort(key=lambda shard: shard.part.index)
        _refuse_incomplete(out, shards)
        _refuse_foreign(shards)
        order = _order(shards)
        manifest = _manifest(shards)
        with open_store(out, manifest) as store:
            kept = len(store.rows)
            _add(store, shards, order)
            store.put_in_order(order)
            sheet = write_contact_sheet(out)
    return MergeReport(out, len(shards), len(order), len(order) - kept, kept, sheet)


def _found(out: Location) -> list[Location]:
    folder = out / SHARDS_FOLDER
    try:
        found = sorted((p for p in folder.iterdir() if p.is_dir()), key=lambda p: p.name) if folder.is_dir() else []
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror or error}; name another folder") from error
    if not found:
        raise InputError(
            f"{folder} holds no shards; make them with `qsched generate-pairs ... --shard 1/4 --out {out}` and so on, "
            f"or name their folders: qsched merge {out} FOLDER FOLDER"
        )
    return found


def _read(folder: Location, stack: ExitStack) -> Shard:
    if not (folder / MANIFEST_NAME).is_file():
        raise InputError(f"{folder} is not a shard: it has no {MANIFEST_NAME}; run it again, or remove the folder")
    stack.enter_context(locked(folder))
    manifest = read_manifest(folder)
    if manifest.shard is None:
        raise InputError(f"{folder} is a whole image set, not a shard; merge takes what `--shard` made")
    rows = {(row.arm, row.prompt_id, row.sample_index): row for row in iter_rows(folder)}
    return Shard(folder, manifest, manifest.shard, rows)


def _refuse_incomplete(out: Location, shards: Sequence[Shard]) -> None:
    counts = sorted({shard.part.count for shard in shards})
    if len(counts) > 1:
        named = "; ".join(f"{shard.folder} is {shard.part.index} of {shard.part.count}" for shard in shards)
        raise InputError(f"shards of different divisions do not make one set ({named}); remove the foreign ones")
    indices = [shard.part.index for shard in shards]
    doubled = sorted({index for index in indices if indices.count(index) > 1})
    if doubled:
        raise InputError(f"shard {doubled[0]} of {counts[0]} is named twice; name each once")
    lacking = [index for index in range(1, counts[0] + 1) if index not in indices]
    if lacking:
        raise InputError(
            f"missing of {counts[0]} shards: {', '.join(map(str, lacking))}; run them with --shard "
            f"{lacking[0]}/{counts[0]} --out {out} and so on, then merge again"
        )
    for shard in shards:
        expected = {(arm.name, *_place(key)) for arm in shard.manifest.arms for b in shard.part.batches for key in b}
        missing = len(expected - shard.rows.keys())
        if missing:
            raise InputError(
                f"shard {shard.part.index} of {shard.part.count} in {shard.folder} lacks {missing} of {len(expected)} "
                f"pictures; run it again with --shard {shard.part.index}/{shard.part.count}, and it is finished"
            )


def _refuse_foreign(shards: Sequence[Shard]) -> None:
    """InputError for a shard of another request, of other weights, or with other statistics than the first one."""
    first = shards[0]
    for other in shards[1:]:
        found = differences(_identity(first.manifest), _identity(other.manifest))
        if found:
            raise InputError(
                f"{other.folder} is a shard of another set than {first.folder} ({'; '.join(found[:4])}); remove it, or "
                "run it again with the options of the others"
            )


def _identity(manifest: Manifest) -> dict[str, object]:
    reports = manifest.provenance.get("arms")
    statistics = {
        f"statistics of {name}": report.get("statistics_sha256")
        for name, report in (reports.items() if isinstance(reports, dict) else ())
        if isinstance(report, dict)
    }
    return {**identity_of(manifest), **identity_of_requests(manifest), **statistics}


def _order(shards: Sequence[Shard]) -> list[Key]:
    """The places of all rows as one process writes them: batch k of the set is in shard k modulo the count."""
    dealt = [list(shard.part.batches) for shard in shards]
    batches = [one[k] for k in range(max(map(len, dealt))) for one in dealt if k < len(one)]
    keys = [_place(key) for batch in batches for key in batch]
    manifest = shards[0].manifest
    groups: dict[tuple[str, object], list[str]] = {}
    copies = {arm.name for arm in manifest.arms if arm.same_as is not None}
    for arm in manifest.arms:
        groups.setdefault((arm.precision, arm.recipe.get("base_dtype")), []).append(arm.name)
    arms = [name for group in groups.values() for name in sorted(group, key=lambda name: name in copies)]
    order = [(arm, *key) for arm in arms for key in keys]
    expected = len(manifest.arms) * manifest.n_prompts * manifest.samples
    if len(set(order)) != expected or len(order) != expected:
        raise InputError(
            f"the shards hold {len(set(order))} places, the request has {expected}; a shard was made before the set "
            "grew: run all shards with the newest options, then merge"
        )
    return order


def _place(key: str) -> tuple[str, int]:
    prompt_id, _, sample = key.rpartition("/")
    return prompt_id, int(sample)


def _manifest(shards: Sequence[Shard]) -> Manifest:
    earliest = min(shards, key=lambda shard: shard.manifest.created_at).manifest
    return earliest.model_copy(update={"shard": None})


def _add(store: Store, shards: Sequence[Shard], order: Sequence[Key]) -> None:
    """Bring over the pictures and then the rows that the set lacks, some hundred at a time."""
    brought: list[ImageRow] = []
    bring = partial(_bring, store.folder)
    for row in in_order(bring, _lacking(store, shards, order), threads=threads_for(store.folder)):
        brought.append(row)
        if len(brought) == _ROWS_AT_ONCE:
            store.add_rows(brought)
            brought.clear()
    store.add_rows(brought)


def _lacking(store: Store, shards: Sequence[Shard], order: Sequence[Key]) -> Iterator[tuple[ImageRow, Location]]:
    owners = {key: shard for shard in shards for key in shard.rows}
    for key in order:
        row, there = owners[key].rows[key], store.rows.get(key)
        if there is None:
            yield row, owners[key].folder
        elif there.sha256 != row.sha256:
            raise InputError(
                f"{store.folder} has another picture for {key[0]} {key[1]}/{key[2]} than {owners[key].folder}; the "
                "shard was made again since. Choose another folder for the merge, or remove the set"
            )


def _bring(folder: Location, found: tuple[ImageRow, Location]) -> ImageRow:
    """Link or copy a picture of a shard; returns its row."""
    row, shard = found
    source, target = shard / row.file_name, folder / row.file_name
    try:
        data = source.read_bytes()
    except OSError as error:
        raise IntegrityError(f"{source} cannot be read: {error.strerror or error}; run its shard again") from error
    if hashlib.sha256(data).hexdigest() != row.sha256:
        raise IntegrityError(f"{source} does not have the bytes of its row; run its shard again, and it is made anew")
    if isinstance(source, Path) and isinstance(target, Path):
        target.unlink(missing_ok=True)
        try:
            os.link(source, target)
            return row
        except OSError:  # another file system, or one without links
            pass
    write_atomic(target, data)
    return row


def remove_shards(out: Location) -> None:
    """Delete the shards below a merged set."""
    folder = out / SHARDS_FOLDER
    if isinstance(folder, Path):
        shutil.rmtree(folder)
    else:
        folder.remove_all()
