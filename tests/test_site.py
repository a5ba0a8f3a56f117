"""The documentation as a site: it builds without a warning."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from sphinx.cmd.build import build_main

ROOT = Path(__file__).parents[1]


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
