from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import pytest
import typer
from typer.testing import CliRunner

from qsched.cli.main import app
from qsched.command_line import counted

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


@pytest.mark.parametrize("name", ["calibrate", "serve", "audit"])
def test_the_paragraphs_of_a_help_page_fill_the_lines_of_a_narrow_terminal(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = CliRunner().invoke(app, [name, "--help"]).output.split("\n")
    words = lines[lines.index(next(line for line in lines if "Usage" in line)) + 1 : lines.index(_first_box(lines))]
    short = [
        (line, below)
        for line, below in pairwise(line.strip() for line in words)
        if below and line and len(line) + 1 + len(below.split()[0]) <= 78 and "qsched" not in line
    ]
    assert not short


def _first_box(lines):
    return next(line for line in lines if line.startswith("\u256d"))


def test_numbers_come_with_the_right_form_of_their_noun():
    assert [counted(n, "vote") for n in (0, 1, 2_000)] == ["0 votes", "1 vote", "2,000 votes"]
    assert [counted(n, "person", "people") for n in (1, 2)] == ["1 person", "2 people"]


def test_a_misspelt_set_of_prompts_is_told_the_shipped_ones(tmp_path):
    line = ["generate-pairs", "--backbone", "tiny-flux", "--arms", "fp32,w4a4", "--prompts", "demos"]
    error = CliRunner().invoke(app, [*line, "--out", str(tmp_path / "set")]).exception
    assert "demo, eval, calibration" in str(error)
    assert not (tmp_path / "set").exists()


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
