"""The fixtures for people who test their own arms work, and fail where an arm is faulty."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points

import pytest

from qsched.pytest_plugin import make_arms
from tests.packaging.conftest import ROOT

GOOD = """
def test_drawn(qsched_image_set):
    assert len(list((qsched_image_set / "images").iterdir())) == 18
"""
ARMS = """
import pytest

@pytest.mark.parametrize("arm", {arms!r})
def test_arm(qsched_check_arm, arm):
    qsched_check_arm(arm, prompts=1, steps=1, allow_other_coefficients=True)
"""


def outcome(text, tmp_path, *more):
    """Run a test file as a user of the plugin would, apart from this repository's own settings."""
    (tmp_path / "test_own.py").write_text(text, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    words = ["-q", "-p", "no:cacheprovider", "-p", "no:schemathesis", *more]
    # An environment that was made before the plugin came does not know it by name.
    if not any(point.name == "qsched" for point in entry_points(group="pytest11")):
        words += ["-p", "qsched.pytest_plugin"]
    command = [sys.executable, "-m", "pytest", *words, tmp_path]
    # Options for this run are not options for a user's.
    surroundings = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=surroundings)
    return done.returncode, done.stdout + done.stderr


def test_the_plugin_is_registered_by_name():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"qsched": "qsched.pytest_plugin"}


def test_the_plugin_costs_every_other_test_run_little():
    code = (
        "import sys, pytest; before = set(sys.modules); import qsched.pytest_plugin; print(*set(sys.modules) - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"qsched", "qsched.pytest_plugin", "hashlib", "_hashlib", "_blake2"}


def test_an_image_set_is_there_without_models(tmp_path):
    code, output = outcome(GOOD, tmp_path)
    assert code == 0, output


def test_a_missing_extra_fails_a_test_with_the_line_that_installs_it(tmp_path, monkeypatch):
    import qsched.generation

    request = {"backbone": "tiny-sdxl", "arms": "fp32", "prompts": "demo", "out": tmp_path}

    def without(name):
        def generate_pairs(_):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        monkeypatch.setattr(qsched.generation, "generate_pairs", generate_pairs)

    without("torch")
    with pytest.raises(pytest.fail.Exception, match=r"pip install 'qsched\[generate\]'"):
        make_arms(request)
    without("a_module_of_mine")
    with pytest.raises(ModuleNotFoundError, match="a_module_of_mine"):
        make_arms(request)


@pytest.mark.slow
def test_an_arm_that_changes_pictures_passes_and_one_that_changes_nothing_fails(tmp_path):
    coefficients = tmp_path / "ones.json"
    coefficients.write_text(json.dumps({"family": "constant", "model": [1.0], "sample": [1.0]}), encoding="utf-8")
    arms = ["w3a8", f"fp32+qsched:{coefficients}"]
    code, output = outcome(ARMS.format(arms=arms), tmp_path)
    assert code == 1 and "1 failed, 1 passed" in output and "nothing was changed" in output, output
    assert f"FAILED test_own.py::test_arm[{arms[1]}]" in output, output
