"""The lock of a bucket: of runs that begin in the same moment one gets it, and nobody deletes another's."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from qsched.errors import InputError
from qsched.generation import remote_lock as module
from qsched.generation.remote_lock import remote_lock
from qsched.locations import RemotePath, read_location

WRITERS = 8


def take_at_once(lock: RemotePath) -> list[str]:
    """What so many writers that begin together come to: 'held', or the message."""
    begin, tried = threading.Barrier(WRITERS), threading.Barrier(WRITERS)

    def writer(_: int) -> str:
        begin.wait()
        try:
            with remote_lock(lock):
                tried.wait()
                return "held"
        except InputError as error:
            tried.wait()
            return str(error)

    with ThreadPoolExecutor(WRITERS) as pool:
        return list(pool.map(writer, range(WRITERS)))


def test_of_writers_that_begin_in_the_same_moment_exactly_one_gets_the_lock(bucket, monkeypatch) -> None:
    lock = read_location(f"{bucket}/set/.qsched.lock")
    # All have looked and seen nothing when the first of them writes.
    seen = threading.Barrier(WRITERS)
    look = module.refuse_held

    def together(path: RemotePath) -> bool:
        found = look(path)
        seen.wait()
        return found

    monkeypatch.setattr(module, "refuse_held", together)
    for _ in range(3):
        outcomes = take_at_once(lock)
        assert outcomes.count("held") == 1, outcomes
        assert sum("in the same moment" in one for one in outcomes) == WRITERS - 1
        assert not lock.exists()


def test_of_writers_that_take_over_the_lock_of_a_dead_run_exactly_one_gets_it(bucket, monkeypatch) -> None:
    """All have read the dead lock before the first replaces it, and half of them come when it has long done so."""
    lock = read_location(f"{bucket}/set/.qsched.lock")
    seen, look = threading.Barrier(WRITERS), module.refuse_held

    def together(path: RemotePath) -> bool:
        found = look(path)
        time.sleep(0.5 * (seen.wait() % 2))
        return found

    monkeypatch.setattr(module, "refuse_held", together)
    dead = {"host": "elsewhere", "process": 1, "at": 0.0, "run": "dead"}
    for left in (dead, "not ours"):
        lock.write_bytes(json.dumps(left).encode())
        outcomes = take_at_once(lock)
        assert outcomes.count("held") == 1, outcomes
        assert sum("in the same moment" in one for one in outcomes) == WRITERS - 1
        assert not lock.exists()


def test_an_object_is_replaced_only_while_it_is_the_one_that_was_read(bucket) -> None:
    path = read_location(f"{bucket}/one")
    assert path.version() is None
    path.write_bytes(b"first")
    first = path.version()
    assert path.replace(b"second", first) and path.read_bytes() == b"second"
    assert not path.replace(b"third", first) and path.read_bytes() == b"second"
    second = path.version()
    path.unlink()
    assert not path.replace(b"third", second) and not path.exists()


def test_a_store_that_ignores_conditions_lets_at_most_the_last_writer_in(bucket, monkeypatch) -> None:
    lock, written = read_location(f"{bucket}/set/.qsched.lock"), threading.Barrier(WRITERS)

    def create(path: RemotePath, data: bytes) -> bool:
        path.write_bytes(data)
        written.wait()
        return True

    monkeypatch.setattr(RemotePath, "create", create)
    monkeypatch.setattr(module, "refuse_held", lambda _: False)
    assert take_at_once(lock).count("held") == 1


@pytest.mark.parametrize("text", [b"{}", b"not json", b""])
def test_something_else_in_the_place_of_the_lock_is_replaced(bucket, text) -> None:
    lock = read_location(f"{bucket}/set/.qsched.lock")
    lock.write_bytes(text)
    with remote_lock(lock):
        assert json.loads(lock.read_bytes())["run"]
    assert not lock.exists()


def test_a_lock_that_another_run_took_over_is_neither_renewed_nor_deleted(bucket, monkeypatch) -> None:
    monkeypatch.setattr(module, "RENEW_SECONDS", 1.5)
    lock = read_location(f"{bucket}/set/.qsched.lock")
    with remote_lock(lock):
        other = {"host": "elsewhere", "process": 1, "at": time.time(), "run": "theirs"}
        lock.write_bytes(json.dumps(other).encode())  # before the first renewal
        time.sleep(2)
        assert json.loads(lock.read_bytes()) == other, "not renewed"
    assert json.loads(lock.read_bytes()) == other, "not deleted"


def test_an_object_is_created_once_and_a_store_without_conditions_gets_an_ordinary_put(bucket, monkeypatch) -> None:
    import s3fs

    path = read_location(f"{bucket}/one")
    assert path.create(b"first") and not path.create(b"second") and path.read_bytes() == b"first"

    stock = s3fs.S3FileSystem._pipe_file

    async def without(fs, *args, mode="overwrite", **kwargs):
        if mode == "create":
            raise OSError("A header you provided implies functionality that is not implemented")
        return await stock(fs, *args, **kwargs)

    monkeypatch.setattr(s3fs.S3FileSystem, "_pipe_file", without)
    s3fs.S3FileSystem.clear_instance_cache()
    assert read_location(f"{bucket}/two").create(b"first") and read_location(f"{bucket}/two").read_bytes() == b"first"
