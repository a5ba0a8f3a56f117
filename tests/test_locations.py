"""Local paths and buckets behave alike; what a bucket cannot do is an error that says so."""

from __future__ import annotations

import pickle
import threading
from pathlib import Path

import pytest

from qsched.command_line import run_app
from qsched.errors import InputError, MissingExtraError, QschedError
from qsched.files import WriteError, write_atomic
from qsched.locations import RemotePath, all_file_sizes, file_sizes, read_location, remove_folder
from qsched.threads import in_order


@pytest.fixture(params=["folder", "memory", "s3"])
def place(request, tmp_path):
    if request.param == "folder":
        return tmp_path / "place"
    pytest.importorskip("fsspec")
    if request.param == "memory":
        return read_location(f"memory://{tmp_path.name}/place")
    return read_location(request.getfixturevalue("bucket") + "/place")


def test_a_folder_and_a_bucket_answer_alike(place) -> None:
    assert not place.exists() and file_sizes(place) == {}
    place.mkdir(parents=True, exist_ok=True)
    (place / "in").mkdir()
    write_atomic(place / "a.txt", b"one")
    write_atomic(place / "a.txt", b"two!")
    write_atomic(place / "in" / "b.txt", b"")
    assert place.exists() and place.is_dir() and (place / "a.txt").is_file() and not (place / "c").exists()
    assert sorted(path.name for path in place.iterdir()) == ["a.txt", "in"]
    assert file_sizes(place) == {"a.txt": 4} and all_file_sizes(place) == {"a.txt": 4, "in/b.txt": 0}
    assert (place / "a.txt").read_bytes() == b"two!" and (place / "a.txt").open("rb").read() == b"two!"
    with pytest.raises(FileNotFoundError):
        (place / "c").read_bytes()
    (place / "a.txt").unlink()
    (place / "a.txt").unlink(missing_ok=True)
    remove_folder(place)
    assert not place.exists()


def test_a_path_that_a_command_line_made_of_a_url_is_the_url() -> None:
    pytest.importorskip("s3fs")
    location = read_location(Path("s3://bucket/a/b/"))
    assert location == RemotePath("s3://bucket/a/b") == pickle.loads(pickle.dumps(location))
    assert read_location("file:///a/b") == Path("/a/b") and read_location("a/b") == Path("a/b")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("s3://", "a bucket is missing"),
        ("s3://bucket/../other", "user name, a question mark"),
        ("zz://bucket/set", "zz is not a file system"),
        ("https://host/set", "a web server cannot list"),
    ],
)
def test_a_url_that_cannot_be_a_place_is_refused(text, words) -> None:
    pytest.importorskip("s3fs")
    with pytest.raises(InputError, match=words):
        read_location(text)


@pytest.mark.parametrize("text", ["s3://key:hunter2@bucket/set", "s3://bucket/set?token=hunter2"])
def test_credentials_in_a_url_are_refused_and_not_repeated(text) -> None:
    with pytest.raises(InputError) as caught:
        read_location(text)
    assert "hunter2" not in str(caught.value) and "environment" in str(caught.value)


def test_a_missing_package_is_named_with_its_extra(monkeypatch) -> None:
    fsspec = pytest.importorskip("fsspec")

    def absent(protocol: str) -> None:
        raise ImportError(f"Install the package of {protocol}")

    monkeypatch.setattr(fsspec, "get_filesystem_class", absent)
    with pytest.raises(MissingExtraError, match=r"s3fs is not installed.*qsched\[remote\]"):
        read_location("s3://bucket/set")
    with pytest.raises(InputError, match="gs://bucket/set: Install the package of gs"):
        read_location("gs://bucket/set")


def test_a_bucket_that_does_not_exist_is_no_missing_file(bucket) -> None:
    location = read_location(f"{bucket}-other/set")
    with pytest.raises(OSError, match="does not exist"):
        location.exists()
    with pytest.raises(WriteError, match=r"-other does not exist; then run the same command again"):
        write_atomic(location / "a", b"")


def test_missing_credentials_are_one_sentence(bucket, monkeypatch, tmp_path) -> None:
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(QschedError, match=r"access is refused: Unable to locate credentials; see that the environment"):
        write_atomic(read_location(f"{bucket}/a"), b"")


def test_an_error_of_a_store_that_nobody_caught_is_a_message_and_one_of_a_disk_is_not(monkeypatch, capsys) -> None:
    pytest.importorskip("fsspec")
    probe = read_location("memory://bucket/set/.new-1")
    assert isinstance(probe, RemotePath)
    error = PermissionError("you may put and not delete")
    monkeypatch.setattr(
        "fsspec.implementations.memory.MemoryFileSystem.rm_file", lambda *_: (_ for _ in ()).throw(error)
    )
    with pytest.raises(SystemExit, match="2"):
        run_app(lambda: probe.unlink(missing_ok=True))
    said = capsys.readouterr().err
    assert said.startswith("error: memory://bucket/set/.new-1: access is refused: you may put and not delete"), said
    with pytest.raises(FileNotFoundError):
        run_app(lambda: Path("/nowhere/at/all").read_bytes())


def test_threads_keep_the_order_hold_little_and_pass_an_error_on() -> None:
    most = running = 0
    lock = threading.Lock()

    def job(number: int) -> int:
        nonlocal most, running
        with lock:
            running += 1
            most = max(most, running)
        with lock:
            running -= 1
        if number == 50:
            raise ValueError(number)
        return number * number

    taken = []
    results = in_order(job, (taken.append(n) or n for n in range(100)), threads=4)
    assert next(results) == 0 and len(taken) <= 8
    assert [next(results) for _ in range(1, 50)] == [n * n for n in range(1, 50)]
    with pytest.raises(ValueError, match="50"):
        next(results)
    assert most <= 4 and len(taken) <= 60
