"""QSCHED_REQUIRE_ALL: in CI no browser or database test can be skipped quietly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import slow_tests
from tools.slow_tests import slow

ROOT = Path(__file__).parents[1]
SKIPPED = """
import pytest

@pytest.mark.{marker}
def test_that_cannot_run():
    pytest.skip("it is not installed")
"""


@pytest.mark.parametrize(
    ("marker", "required", "status"), [("postgres", "1", 1), ("browser", "1", 1), ("slow", "1", 0), ("postgres", "", 0)]
)
def test_a_skipped_test_fails_only_where_it_is_required(tmp_path, marker, required, status):
    (tmp_path / "conftest.py").write_text("from tests.conftest import pytest_runtest_makereport\n", encoding="utf-8")
    (tmp_path / "test_one.py").write_text(SKIPPED.format(marker=marker), encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", ROOT / "pyproject.toml", tmp_path],
        env={**os.environ, "PYTEST_ADDOPTS": "", "QSCHED_REQUIRE_ALL": required, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert run.returncode == status, run.stdout + run.stderr
    assert ("it is not installed" in run.stdout) or status == 0


def test_every_test_that_is_listed_as_slow_exists():
    for name in slow_tests():
        file, _, test = name.partition("::")
        assert (ROOT / file).is_file(), name
        function = test.rpartition("::")[2]
        assert f"def {function}(" in (ROOT / file).read_text(encoding="utf-8") or not test, name


def test_a_long_test_is_listed_and_a_file_with_costly_fixtures_whole():
    cheap = [(f"tests/a.py::test_{n}", 0.01, False) for n in range(9)]
    fixtures = [("tests/b.py::test_first", 3.0, False), ("tests/b.py::test_second[x]", 0.01, False)]
    single = [("tests/c.py::test_short", 0.1, False), ("tests/c.py::test_long[1]", 0.6, False)]
    assert slow([*cheap, *fixtures, *single, ("tests/a.py::test_marked", 9.0, True)]) == [
        "tests/b.py",
        "tests/c.py::test_long",
    ]
