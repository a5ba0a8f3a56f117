"""docs/comparison.md claims for us only what a test or a page shows, and every one of them exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "comparison.md").read_text(encoding="utf-8")
CITED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
WORDS = {"Y", "P", "N", "C", "?", "-", "several", "1", "JVM", "minutes", "24 h", "own crowd", "hosted"}


def rows() -> list[list[str]]:
    """The rows of the tables of features: name, ours, the others, what shows it."""
    lines = [line for line in PAGE.splitlines() if line.startswith("|") and not line.startswith("|---")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if not line.startswith("| | ")]


ROWS = rows()


@cache
def names_in(path: Path) -> set[str]:
    """The tests of a file that pytest collects and runs: at the top of a test file, and not marked to be skipped."""
    if not path.name.startswith("test_"):
        return set()
    return {
        node.name
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.name.startswith("test")
        and not any(word in ast.unparse(mark) for mark in node.decorator_list for word in ("skip", "xfail", "fixture"))
    }


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_what_is_said_of_us_is_shown_by_a_test_or_a_page(row: list[str]) -> None:
    name, ours, *_, shown_by = row
    cited = CITED.findall(shown_by)
    pages = re.findall(r"\]\(([\w/.-]+)\)", shown_by)
    assert ours.startswith("N") or cited or pages, f"{name}: nothing shows it"
    # One test per claim: `Y / Y` needs two, unless one test is of both.
    assert len(cited) + len(pages) <= ours.count("/") + 2, name
    for path, test in cited:
        assert (ROOT / path).is_file(), f"{name}: no {path}"
        assert test in names_in(ROOT / path), f"{name}: {path} has no {test}"
    for page in pages:
        assert (ROOT / "docs" / page).is_file(), f"{name}: no page {page}"


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_every_cell_is_one_of_the_words_that_the_page_explains(row: list[str]) -> None:
    for cell in row[1:-1]:
        assert {part.strip() for part in cell.split(" / ")} <= WORDS, f"{row[0]}: {cell}"


def test_both_tables_are_whole_and_the_page_says_where_we_lose() -> None:
    assert [len(row) for row in ROWS] == [12] * 26 + [10] * 17
    assert PAGE.count("\n- **", PAGE.index("## Where we lose")) >= 5


def test_a_test_that_does_not_exist_or_does_not_run_is_noticed(tmp_path: Path) -> None:
    assert "test_no_such" not in names_in(ROOT / "tests/study_server/test_blinding.py")
    nested = "def outer():\n    def test_inside(): ...\n"
    skipped = "@pytest.mark.skip\ndef test_left_out(): ...\n"
    for name in ("test_some.py", "helpers.py"):
        (tmp_path / name).write_text(f"{nested}{skipped}def test_run(): ...\n", encoding="utf-8")
    assert names_in(tmp_path / "test_some.py") == {"test_run"}
    assert names_in(tmp_path / "helpers.py") == set()
