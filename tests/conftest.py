"""Fixtures that more than one package's tests use."""

from __future__ import annotations

import functools
import gc
import json
import logging
import os
import secrets
import sys
import threading
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main
import typer.testing
from hypothesis import settings

from qsched.pytest_plugin import ARMS
from qsched.pytest_plugin import draw_image_set as write_image_set

# An example may take its time: the suite runs in two processes, and on a laptop beside other work.
settings.register_profile("qsched", deadline=None)
settings.load_profile("qsched")

__all__ = ["ARMS", "write_image_set"]
SLOW_TESTS = Path(__file__).with_name("slow_tests.txt")
LONG_FILES = Path(__file__).with_name("long_files.txt")
#: Marks that keep a test out of `make check`, and whether a test has one of its own.
LEFT_OUT = frozenset({"slow", "browser", "postgres", "load"})
MARKED = pytest.StashKey[bool]()


@pytest.fixture(scope="session")
def small_image_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image set of 6 prompts in 3 arms, named `drawn`; read-only for tests."""
    return write_image_set(tmp_path_factory.mktemp("sets") / "drawn")


@pytest.fixture(autouse=True)
def nobody_claims_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command run inside a test says that the process is its own, and may then hide packages from it (process.py)."""
    monkeypatch.setattr("qsched.process._claimed", False)


# Ray starts its workers with niceness 15 by default; beside the other test processes they would starve.
os.environ.setdefault("RAY_worker_niceness", "0")
# Imports leave hardly any garbage, and each look for it goes through all modules: a tenth of the collection's time.
gc.disable()


def leave_modules_alone() -> None:
    """Keep the garbage collector off everything that was imported so far.

    The product collects garbage to give a model's memory back. With torch, transformers and diffusers imported, one
    collection takes longer than a small model takes to make its pictures: test_twins.py needs a third of the time.
    """
    gc.freeze()


def leave_commands_alone() -> None:
    """Make the commands of an app once: typer reads the types of all their options at each call of the app."""
    if isinstance(typer.main.get_command, functools._lru_cache_wrapper):
        return
    typer.main.get_command = typer.testing._get_command = functools.cache(typer.main.get_command)


def leave_the_disk_alone() -> None:
    """Let no write wait for the disk: a process that ends, even a killed one, loses nothing that it wrote.

    That the product asks for it is shown by tests/test_files.py, and by tests/study_server/test_database_place.py.
    """
    os.fsync = lambda _file: None
    module = sys.modules.get("study_server.db.database")
    if module is not None:
        product = module.Database.__init__

        @functools.wraps(product)
        def without_waiting(database: Any, settings: Any) -> None:
            product(database, settings)
            database._pragmas += ("PRAGMA synchronous = OFF",)

        module.Database.__init__ = without_waiting


@pytest.fixture(scope="session")
def random_pipelines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of random-weight pipelines of the real classes: flux, sdxl, sd15. See tests/pipelines.py."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("qsched_test_pipelines", Path(__file__).with_name("pipelines.py"))
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    folders: dict[str, Path] = module.save_pipelines(tmp_path_factory.mktemp("pipelines"))
    leave_modules_alone()
    return folders


@pytest.fixture(scope="session")
def s3_server() -> Generator[str, None, None]:
    """The address of an S3 server on loopback (moto's), which takes any credentials."""
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    from moto.s3.responses import S3Response

    put, one_by_one = S3Response.put_object, threading.Lock()

    def put_object(response: S3Response) -> object:
        with one_by_one:  # as S3 does: nothing comes between its look at a condition and the put
            return put(response)

    S3Response.put_object = put_object
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield f"http://127.0.0.1:{port}"
    server.stop()
    S3Response.put_object = put


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Generator[str, None, None]:
    """The URL of an empty bucket, with credentials in the environment."""
    import boto3
    import s3fs

    for name, value in {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "AKIAOFTHETESTS",
        "AWS_SECRET_ACCESS_KEY": "a-secret-of-the-tests",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{secrets.token_hex(6)}"
    boto3.client("s3").create_bucket(Bucket=name)
    yield f"s3://{name}"
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, as the server does."""
    return "asyncio"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--cpu-times FILE`: a line of JSON for each test, from which tools/slow_tests.py makes tests/slow_tests.txt."""
    parser.addoption("--cpu-times", type=Path, help="append each test's processor seconds to this file")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the listed tests as slow; browser tests last; in several processes the longest files first.

    Playwright's sync API keeps an event loop running in this thread until the session ends.
    """
    listed = set(lines_of(SLOW_TESTS))
    for item in items:
        item.stash[MARKED] = not LEFT_OUT.isdisjoint(marker.name for marker in item.iter_markers())
        file, _, test = item.nodeid.partition("::")
        if file in listed or f"{file}::{test.partition('[')[0]}" in listed:
            item.add_marker(pytest.mark.slow)
    files = Counter(item.path for item in items)
    long = {name: place for place, name in enumerate(lines_of(LONG_FILES))}

    def turn(item: pytest.Item) -> tuple[bool, int, int]:
        last = "e2e" in item.path.parts
        if not hasattr(config, "workerinput"):  # one process: the order of the folders
            return last, 0, 0
        return last, long.get(item.nodeid.partition("::")[0], len(long)), -files[item.path]

    items.sort(key=turn)


def pytest_collection_finish() -> None:
    """The test modules have imported most of what there is."""
    leave_modules_alone()
    leave_commands_alone()
    leave_the_disk_alone()
    gc.enable()


def pytest_unconfigure() -> None:
    """Let the interpreter take everything apart at its end, or extension modules report leaks."""
    gc.unfreeze()


def lines_of(file: Path) -> list[str]:
    """The names in a list that tools/slow_tests.py made from measurements."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Write the test's processor seconds, with those of its fixtures and child processes, if asked."""
    path = item.config.getoption("--cpu-times", default=None)
    before = os.times()
    result = yield
    if path is not None:
        seconds = sum(after - first for after, first in zip(os.times()[:4], before[:4], strict=True))
        row = {"test": item.nodeid, "seconds": round(seconds, 3), "marked": item.stash[MARKED]}
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    return result


def _require(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Where QSCHED_REQUIRE_ALL is set, turn a skip into a failure."""
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("QSCHED_REQUIRE_ALL"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and QSCHED_REQUIRE_ALL forbids it: {report.longreprtext}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With QSCHED_REQUIRE_ALL a skipped test is a failure, unless a `skipif` says what kind of machine it is for."""
    report = yield
    if item.get_closest_marker("skipif") is None:
        _require(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Likewise for a file that needs a package which is not here."""
    report = yield
    _require(report)
    return report
