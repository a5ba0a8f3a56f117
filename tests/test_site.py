"""The documentation as a site: it builds without a warning, and the tutorial's commands run."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
from sphinx.cmd.build import build_main

from qsched.cli.bench_runner import run_here

ROOT = Path(__file__).parents[1]
TUTORIAL = ROOT / "docs" / "tutorial.md"


@pytest.mark.slow
def test_the_site_builds_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `make docs` does, but in this process, which has imported already what the reference describes."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "path", list(sys.path))
    words = ["-q", "-W", "--keep-going", "-b", "html", "-c", "docs", ".", str(tmp_path)]
    assert build_main(words) == 0, capsys.readouterr().err
    commands = (tmp_path / "docs" / "reference" / "commands.html").read_text(encoding="utf-8")
    assert "qsched generate-pairs" in commands and "python analysis/winrates.py" in commands


@pytest.mark.slow
def test_the_commands_of_the_tutorial_run_in_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", TUTORIAL.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines() if line.startswith("qsched ")]
    assert len(commands) >= 5
    monkeypatch.chdir(tmp_path)
    for line in commands:
        assert run_here(tuple(shlex.split(line)[1:])) == 0, line
    assert (tmp_path / "runs" / "tutorial" / "contact_sheet.html").is_file()
