"""No file is longer than 400 lines: a longer one holds two subjects."""

from __future__ import annotations

from pathlib import Path

from tests.test_map import listed

ROOT = Path(__file__).parents[1]
MOST_LINES = 400
SUFFIXES = {".py", ".js", ".css", ".html", ".j2"}
NOT_OURS = {"__pycache__", "build", "dist", "node_modules", "reference", "runs"}


def too_long(paths: list[Path]) -> dict[str, int]:
    """Files of more than MOST_LINES lines."""
    lines = {path.name: path.read_text(encoding="utf-8").count("\n") for path in paths}
    return {name: count for name, count in lines.items() if count > MOST_LINES}


def code_files(root: Path) -> list[Path]:
    """Files of code in the root and in the folders on the README's map: nothing asks git."""
    found = list(root.glob("*.py"))
    for folder in (name for name in listed((root / "README.md").read_text("utf-8")) if name.count("/") == 1):
        found += [path for path in (root / folder).rglob("*") if path.suffix in SUFFIXES and path.is_file()]
    return [path for path in found if NOT_OURS.isdisjoint(path.relative_to(root).parts)]


def test_no_file_of_code_is_longer_than_400_lines():
    paths = code_files(ROOT)
    assert len(paths) > 500
    assert too_long(paths) == {}


def test_a_long_file_is_noticed(tmp_path):
    for name, lines in (("long.py", 401), ("short.py", 400)):
        (tmp_path / name).write_text("pass\n" * lines)
    assert too_long(sorted(tmp_path.iterdir())) == {"long.py": 401}
