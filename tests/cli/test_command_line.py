from __future__ import annotations

import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from qsched.cli.main import app

HEAVY = ("torch", "diffusers", "transformers", "polars", "fastapi", "sqlalchemy", "pydantic", "numpy", "matplotlib")


def test_asking_for_help_imports_nothing_heavy():
    code = (
        "import sys, runpy\nsys.argv = ['qsched', '--help']\n"
        "try:\n    runpy.run_module('qsched', run_name='__main__')\nexcept SystemExit:\n    pass\n"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]\nsys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "generate-pairs" in done.stdout


@pytest.mark.parametrize("name", sorted(typer.main.get_command(app).commands))
def test_every_command_has_help_that_teaches(name):
    result = CliRunner().invoke(app, [name, "--help"])
    assert result.exit_code == 0
    assert "Example" in result.output or "Commands" in result.output


def test_a_bad_value_is_one_message_and_exit_code_2(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "qsched", "verify", str(tmp_path / "nothing")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "nothing" in done.stderr
