"""Where the statistics of a set's arms are while they are measured: its folder, or a local copy of its bucket's."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qsched.errors import InputError
from qsched.files import write_atomic
from qsched.locations import Location, RemotePath

_SUFFIX = ".safetensors"


@contextmanager
def statistics_folder(folder: Location) -> Iterator[Path]:
    """A local folder with the statistics of a set; one process at a time, the others wait.

    For a bucket it is a copy in the user's cache: what the bucket has is fetched first, what is new is put at the end.
    """
    if isinstance(folder, Path):
        with _taking_turns(folder):
            yield folder
        return
    local = _copy_of(folder)
    with _taking_turns(local):
        there = _fetch(folder, local)
        yield local
        for path in sorted(local.glob(f"*{_SUFFIX}")):
            if path.name not in there:
                write_atomic(folder / path.name, path.read_bytes())


def _fetch(folder: RemotePath, local: Path) -> set[str]:
    """Bring the copy to what the bucket has; returns the names."""
    try:
        names = {name for name in folder.sizes() if name.endswith(_SUFFIX)}
        for name in names - {path.name for path in local.glob(f"*{_SUFFIX}")}:
            write_atomic(local / name, (folder / name).read_bytes())
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror or error}; then run the command again") from error
    for path in local.glob(f"*{_SUFFIX}"):  # of a set that was deleted since
        if path.name not in names:
            path.unlink()
    return names


def _copy_of(folder: RemotePath) -> Path:
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "qsched" / "statistics" / hashlib.sha256(folder.url.encode()).hexdigest()[:24]


@contextmanager
def _taking_turns(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
