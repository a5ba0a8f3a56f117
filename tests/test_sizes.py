"""No file is longer than 400 lines: a longer one holds two subjects."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MOST_LINES = 400
CODE = ("*.py", "*.js", "*.css", "*.html")


def too_long(paths: list[Path]) -> dict[str, int]:
    """Files of more than MOST_LINES lines."""
    lines = {path.name: path.read_text(encoding="utf-8").count("\n") for path in paths}
    return {name: count for name, count in lines.items() if count > MOST_LINES}


def test_no_file_of_code_is_longer_than_400_lines():
    listed = subprocess.run(["git", "ls-files", *CODE], cwd=ROOT, capture_output=True, text=True, check=False)
    paths = [ROOT / name for name in listed.stdout.split() if (ROOT / name).is_file()]
    if not paths:
        pytest.skip("this is not a git checkout")
    assert len(paths) > 500
    assert too_long(paths) == {}


def test_a_long_file_is_noticed(tmp_path):
    for name, lines in (("long.py", 401), ("short.py", 400)):
        (tmp_path / name).write_text("pass\n" * lines)
    assert too_long(sorted(tmp_path.iterdir())) == {"long.py": 401}
