"""A file is there whole or not at all; once a write has returned, its data are on the disk."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qsched.files import WriteError, append_synced, atomic_file, create_once, write_atomic

WRITER = """
import sys
from pathlib import Path
from qsched.files import write_atomic
print("ready", flush=True)
for letter in "ab" * 1_000_000:
    write_atomic(Path(sys.argv[1]), letter.encode() * 4_000_000)
"""


def test_a_file_is_written_and_nothing_is_left_beside_it(tmp_path) -> None:
    path = tmp_path / "new" / "folder" / "votes.csv"
    write_atomic(path, b"one", parents=True)
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two" and list(path.parent.iterdir()) == [path]


def test_a_writer_killed_at_any_moment_leaves_a_whole_file(tmp_path) -> None:
    path = tmp_path / "file"
    for wait in (0.0, 0.01, 0.02, 0.03):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
            while not path.exists():
                time.sleep(0.001)
            time.sleep(wait)
            writer.kill()
        data = path.read_bytes()
        assert len(data) == 4_000_000 and len(set(data)) == 1


def test_a_block_that_fails_leaves_the_old_file(tmp_path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")
    with pytest.raises(ZeroDivisionError), atomic_file(path) as draft:
        draft.write_bytes(b"half")
        _ = 1 / 0
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("call", ["fsync", "write"])
def test_a_full_disk_is_a_write_error_and_leaves_the_old_file(tmp_path, monkeypatch, call) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(WriteError, match="No space left on device"):
        if call == "write":
            append_synced(path, b"new")
        else:
            write_atomic(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_what_is_in_the_way_is_named(tmp_path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(WriteError, match="folder cannot be written"):
        write_atomic(tmp_path / "folder", b"")
    with pytest.raises(WriteError, match="missing/file cannot be written"):
        write_atomic(tmp_path / "missing" / "file", b"")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_the_file_and_its_folder_are_synced_before_the_call_returns(tmp_path, monkeypatch) -> None:
    synced: list[Path] = []
    real = os.fsync

    def watch(handle: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{handle}")))
        real(handle)

    monkeypatch.setattr(os, "fsync", watch)
    write_atomic(tmp_path / "file", b"data")
    assert synced[0].name.startswith(".new-") and synced[1] == tmp_path
    synced.clear()
    append_synced(tmp_path / "rows", b"one\n")
    append_synced(tmp_path / "rows", b"two\n")
    assert synced == [tmp_path / "rows", tmp_path, tmp_path / "rows"]
    assert (tmp_path / "rows").read_bytes() == b"one\ntwo\n"


def test_a_short_append_is_an_error(tmp_path, monkeypatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, data[:3]))
    with pytest.raises(WriteError, match="only 3 of 5 bytes"):
        append_synced(tmp_path / "rows", b"12345")


def test_of_two_that_create_a_file_the_first_wins(tmp_path) -> None:
    path = tmp_path / "secret"
    assert create_once(path, b"first", mode=0o600) is True
    assert create_once(path, b"second", mode=0o600) is False
    assert path.read_bytes() == b"first" and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
