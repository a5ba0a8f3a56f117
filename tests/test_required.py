"""QSCHED_REQUIRE_ALL: in CI no test can be skipped quietly."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import LONG_FILES, SLOW_TESTS, lines_of
from tools.slow_tests import longest, slow

ROOT = Path(__file__).parents[1]
TESTS = """
import pytest

def test_that_needs_a_package():
    pytest.importorskip("no_such_package")

@pytest.mark.browser
def test_that_needs_a_browser():
    pytest.skip("it is not installed")

@pytest.mark.skipif(True, reason="for another kind of machine")
def test_of_another_machine():
    pass

@pytest.mark.xfail(reason="known")
def test_that_is_expected_to_fail():
    assert False
"""
HOOKS = "from tests.conftest import pytest_make_collect_report, pytest_runtest_makereport\n"


@pytest.mark.parametrize(
    ("required", "summary"), [("1", "2 failed, 1 skipped, 1 xfailed, 1 error"), ("", "4 skipped, 1 xfailed")]
)
def test_a_skip_is_a_failure_where_all_tests_are_required(tmp_path, required, summary):
    """A package or a browser that is missing; not a machine that a test is not for."""
    (tmp_path / "conftest.py").write_text(HOOKS, encoding="utf-8")
    (tmp_path / "test_one.py").write_text(TESTS, encoding="utf-8")
    (tmp_path / "test_two.py").write_text('import pytest\n\npytest.importorskip("no_such_package")\n', encoding="utf-8")
    words = ["-q", "-p", "no:cacheprovider", "--continue-on-collection-errors", "-c", ROOT / "pyproject.toml"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *words, tmp_path],
        env={**os.environ, "PYTEST_ADDOPTS": "", "QSCHED_REQUIRE_ALL": required, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert summary in run.stdout, run.stdout + run.stderr
    assert run.returncode == bool(required)


def test_browser_and_load_tests_are_where_make_test_looks_for_them():
    files = [path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)]
    marked = [path for path in files if re.search(r"mark\.(browser|load)\b", path.read_text(encoding="utf-8"))]
    assert len(marked) > 20
    assert {path.parent for path in marked} == {ROOT / "tests" / "e2e", ROOT / "tests" / "load"}
    assert '-m "browser or load" tests/e2e tests/load\n' in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_every_test_that_is_listed_as_slow_exists():
    for name in [*lines_of(SLOW_TESTS), *lines_of(LONG_FILES)]:
        file, _, test = name.partition("::")
        assert (ROOT / file).is_file(), name
        function = test.rpartition("::")[2]
        assert f"def {function}(" in (ROOT / file).read_text(encoding="utf-8") or not test, name


def test_the_longest_files_begin_first_in_several_processes(tmp_path):
    rows = [("tests/a.py::test_1", 2.0, False), ("tests/b.py::test_1", 4.5, True), ("tests/a.py::test_2", 3.0, True)]
    assert longest([*rows, ("tests/c.py::test_1", 0.1, False)]) == ["tests/a.py", "tests/b.py"]
    # By number of tests a file with one long test would begin last; of a listed file the place in the list counts.
    (tmp_path / "conftest.py").write_text(
        "from pathlib import Path\nimport tests.conftest as ours\n"
        "ours.LONG_FILES = Path(__file__).with_name('long.txt')\n"
        "pytest_collection_modifyitems = ours.pytest_collection_modifyitems\n",
        encoding="utf-8",
    )
    (tmp_path / "long.txt").write_text("# a comment\ntest_few.py\n", encoding="utf-8")
    for name, count in {"test_a.py": 2, "test_few.py": 1, "test_many.py": 3}.items():
        text = "".join(f"def test_{n}():\n    pass\n" for n in range(count))
        (tmp_path / name).write_text(text, encoding="utf-8")
    words = ["-v", "-p", "no:cacheprovider", "-n", "1", "--dist", "loadfile", "--no-loadscope-reorder"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *words, "--rootdir", tmp_path, "-c", ROOT / "pyproject.toml", tmp_path],
        env={**os.environ, "PYTEST_ADDOPTS": "", "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    ran = re.findall(r"PASSED .*?(test_\w+\.py)", run.stdout)
    assert ran == ["test_few.py", *["test_many.py"] * 3, *["test_a.py"] * 2], run.stdout + run.stderr


def test_a_long_test_is_listed_and_a_file_with_costly_fixtures_whole():
    cheap = [(f"tests/a.py::test_{n}", 0.01, False) for n in range(9)]
    fixtures = [("tests/b.py::test_first", 3.0, False), ("tests/b.py::test_second[x]", 0.01, False)]
    single = [("tests/c.py::test_short", 0.1, False), ("tests/c.py::test_long[1]", 0.6, False)]
    assert slow([*cheap, *fixtures, *single, ("tests/a.py::test_marked", 9.0, True)]) == [
        "tests/b.py",
        "tests/c.py::test_long",
    ]
