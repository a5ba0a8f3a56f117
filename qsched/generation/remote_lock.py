"""The lock of an image set in a bucket: an object that its holder renews, since a store has no locks that die with it.

It keeps two runs from doing the same work by mistake. Nothing is lost where it fails (two runs that begin in the same
moment, clocks that are minutes apart): pictures are named by their hash, and parts of rows by their run.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass

from qsched.errors import InputError
from qsched.files import WriteError, write_atomic
from qsched.locations import RemotePath

RENEW_SECONDS = 30.0
#: A holder that was not heard of for so long is dead.
STALE_SECONDS = 120.0


@dataclass(frozen=True)
class Holder:
    """Who holds a lock, and when it last said so."""

    host: str
    process: int
    at: float


@contextmanager
def remote_lock(lock: RemotePath) -> Iterator[None]:
    """Hold the lock; InputError if a living run holds it, or if the bucket cannot be used."""
    refuse_held(lock)
    _renew(lock)
    released = threading.Event()
    renewing = threading.Thread(target=_keep_renewing, args=(lock, released), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        released.set()
        renewing.join()
        with suppress(OSError):  # it goes stale
            lock.unlink(missing_ok=True)


def _keep_renewing(lock: RemotePath, released: threading.Event) -> None:
    while not released.wait(RENEW_SECONDS):
        with suppress(WriteError):  # the next one may come through; the run's own writing says what is wrong
            _renew(lock)


def _renew(lock: RemotePath) -> None:
    write_atomic(lock, json.dumps(asdict(Holder(platform.node(), os.getpid(), time.time()))).encode())


def refuse_held(lock: RemotePath) -> None:
    """InputError if a living run holds the lock."""
    holder = _holder(lock)
    if holder is None:
        return
    silent = time.time() - holder.at
    if silent > STALE_SECONDS or (holder.host == platform.node() and not _lives(holder.process)):
        return
    raise InputError(
        f"{lock.parent} is being written by another run (process {holder.process} on {holder.host}, heard of "
        f"{max(0, silent):.0f} s ago); wait for it, or choose another --out. A run that was killed on another machine "
        f"lets go after {STALE_SECONDS:.0f} s"
    )


def _holder(lock: RemotePath) -> Holder | None:
    try:
        return Holder(**json.loads(lock.read_bytes()))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{lock} cannot be read: {error.strerror or error}; choose another --out") from error
    except (ValueError, TypeError):
        return None  # nothing that a run of ours wrote


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
