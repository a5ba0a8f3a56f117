"""Files that are written whole or not at all, and rows that are on disk when the call returns.

    WriteError(InputError)    the disk did not take a file; what was there before is unchanged

A file is written under a temporary name in its own folder, synced, and renamed over the old one; then the folder is
synced, so that the name survives a power cut too. Temporary names begin with `.new-`: what a killed process leaves
behind can be recognised.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qsched.errors import InputError
from qsched.locations import Location, RemotePath

TEMPORARY_PREFIX = ".new-"


class WriteError(InputError):
    """A file cannot be written; the message names it, the reason and the remedy."""


@contextmanager
def atomic_file(path: Path, *, parents: bool = False, mode: int = 0o666) -> Iterator[Path]:
    """Yield a temporary path to write to; it becomes `path` when the block ends and disappears when it raises.

    parents    create the folders that are missing
    mode       permissions of a new file, less the process's umask

    An OSError of the block or of the disk is raised as WriteError.
    """
    try:
        draft = _make_draft(path, parents=parents, mode=mode)
        try:
            yield draft
            _sync(draft)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        _sync(path.parent)
    except OSError as error:
        raise _write_error(path, error) from error


def write_atomic(path: Location, data: bytes, *, parents: bool = False) -> None:
    """Write a file or an object so that it is there whole or not at all, even after a power cut."""
    if isinstance(path, RemotePath):
        try:
            path.write_bytes(data)
        except OSError as error:
            raise _write_error(path, error) from error
        return
    with atomic_file(path, parents=parents) as draft:
        draft.write_bytes(data)


def create_once(path: Path, data: bytes, *, mode: int) -> bool:
    """Write a file that does not exist yet; False, and nothing is changed, if another process was faster."""
    try:
        draft = _make_draft(path, parents=False, mode=mode)
        try:
            draft.write_bytes(data)
            _sync(draft)
            # Unlike a rename, a link fails if the name is taken.
            os.link(draft, path)
        except FileExistsError:
            return False
        finally:
            draft.unlink(missing_ok=True)
        _sync(path.parent)
    except OSError as error:
        raise _write_error(path, error) from error
    return True


def append_synced(path: Path, data: bytes) -> None:
    """Append bytes in one write and sync them; after a WriteError a part of them may be in the file."""
    try:
        is_new = not path.exists()
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            written = os.write(file, data)
            os.fsync(file)
        finally:
            os.close(file)
        if is_new:
            _sync(path.parent)
    except OSError as error:
        raise _write_error(path, error) from error
    if written != len(data):
        raise WriteError(f"{path}: only {written} of {len(data)} bytes were written; free some disk space and retry")


def _make_draft(path: Path, *, parents: bool, mode: int) -> Path:
    if parents:
        path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{path.suffix}")
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
    return draft


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_error(path: Location, error: OSError) -> WriteError:
    reason = error.strerror or str(error)
    if isinstance(path, RemotePath):
        return WriteError(f"{path} cannot be written: {reason}; then run the same command again")
    return WriteError(f"{path} cannot be written: {reason}; free some disk space or choose another path, and try again")


def sha256_of_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def link_or_copy(source: Path, target: Path) -> None:
    """Link a file where the file system can, else copy it; folders are made, and a file that is there stays."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
