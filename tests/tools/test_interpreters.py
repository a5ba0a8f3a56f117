"""Which Pythons `make newest` and the tests of the wheel find."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tools.interpreters import ROOT, interpreters, lowest


def program(folder: Path, name: str, code: int) -> Path:
    """A program that ends with `code`, whatever it is asked."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\nexit {code}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_the_python_of_this_process_is_found():
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = Path(sys.base_prefix) / "bin"
    assert interpreters([folder])[version].parent == folder


def test_one_of_each_version_is_found_and_none_that_does_not_start(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    program(first, "python3.12", 127)  # as a shim of pyenv for a version that is not chosen
    program(first, "python3.9", 0)
    program(first, "python3.100-config", 0)
    wanted = program(first, "python3.100", 0), program(second, "python3.12", 0)
    program(second, "python3.100", 0)
    found = interpreters([tmp_path / "nowhere", first, second])
    assert list(found.items()) == [("3.12", wanted[1]), ("3.100", wanted[0])]


def test_a_file_that_is_no_program_is_passed_over(tmp_path):
    (tmp_path / "python3.13").write_text("text", encoding="utf-8")
    assert interpreters([tmp_path]) == {}


def test_the_lowest_version_is_that_of_the_project():
    assert f'requires-python = ">=3.{lowest()}"\n' in (ROOT / "pyproject.toml").read_text("utf-8")


def test_make_newest_does_not_pass_without_a_python():
    done = subprocess.run(["make", "-o", "setup-tests", "newest", "PYTHONS="], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0 and "no Python was found" in done.stdout
