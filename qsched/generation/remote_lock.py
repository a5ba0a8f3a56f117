"""The lock of an image set in a bucket: an object that its holder renews, since a store has no locks that die with it.

It keeps two runs from doing the same work by mistake. Of those that begin in the same moment one gets it, if the store
creates an object only where there is none (S3, GCS and their like). Of those that take over the lock of a dead run one
gets it, if the store replaces an object only while it is the one that was read (S3). Clocks that are minutes apart may
still let two in. Nothing is lost then: pictures are named by their hash, and parts of rows by their run.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
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
    """Who holds a lock, and when it last said so; `run` is drawn anew for each run."""

    host: str
    process: int
    at: float
    run: str = ""


@contextmanager
def remote_lock(lock: RemotePath) -> Iterator[None]:
    """Hold the lock; InputError if a living run holds it, or if the bucket cannot be used."""
    run = secrets.token_hex(8)
    _take(lock, run)
    released = threading.Event()
    renewing = threading.Thread(target=_keep_renewing, args=(lock, run, released), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        released.set()
        renewing.join()
        with suppress(OSError, InputError):  # it goes stale
            if _is_held_by(lock, run):
                lock.unlink(missing_ok=True)


def _take(lock: RemotePath, run: str) -> None:
    """Create the lock; InputError if another run has it, also one that was faster in this moment."""
    try:
        version = lock.version()  # before the look, so that a change after it is noticed
        is_there = refuse_held(lock)
        taken = lock.replace(_said_now(run), version) if is_there else lock.create(_said_now(run))
    except OSError as error:
        raise InputError(f"{lock} cannot be written: {error.strerror or error}; choose another --out") from error
    # A store that ignores the condition says to both that they have the lock: whose was put last has it.
    if not taken or not _is_held_by(lock, run):
        raise InputError(
            f"{lock.parent} is being written by another run, which began in the same moment; wait for it, or choose "
            "another --out"
        )


def _is_held_by(lock: RemotePath, run: str) -> bool:
    try:
        holder = _holder(lock)
    except FileNotFoundError:
        return False
    return holder is not None and holder.run == run


def _keep_renewing(lock: RemotePath, run: str, released: threading.Event) -> None:
    while not released.wait(RENEW_SECONDS):
        # The next one may come through; the run's own writing says what is wrong. A lock that was taken over is let be.
        with suppress(WriteError, InputError, OSError):
            version = lock.version()
            if _is_held_by(lock, run) and version is not None:
                lock.replace(_said_now(run), version)
            elif _is_held_by(lock, run):  # a store without versions
                write_atomic(lock, _said_now(run))


def _said_now(run: str) -> bytes:
    return json.dumps(asdict(Holder(platform.node(), os.getpid(), time.time(), run))).encode()


def refuse_held(lock: RemotePath) -> bool:
    """InputError if a living run holds the lock; True if one is there that nobody holds any more."""
    try:
        holder = _holder(lock)
    except FileNotFoundError:
        return False
    if holder is None:
        return True
    silent = time.time() - holder.at
    if silent > STALE_SECONDS or (holder.host == platform.node() and not _lives(holder.process)):
        return True
    raise InputError(
        f"{lock.parent} is being written by another run (process {holder.process} on {holder.host}, heard of "
        f"{max(0, silent):.0f} s ago); wait for it, or choose another --out. A run that was killed on another machine "
        f"lets go after {STALE_SECONDS:.0f} s"
    )


def _holder(lock: RemotePath) -> Holder | None:
    """Who holds the lock; None if something else is written there. FileNotFoundError if there is no lock."""
    try:
        return Holder(**json.loads(lock.read_bytes()))
    except FileNotFoundError:
        raise
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
