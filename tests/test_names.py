"""A class name means one thing in the whole product, and a percentage is written in one way."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("qsched", "study_server", "analysis")


def twins(root: Path) -> dict[str, list[str]]:
    """Class names that are defined more than once, with their places. `_Row` beside `Row` is a twin too."""
    places: dict[str, list[str]] = defaultdict(list)
    for file in sorted(path for package in PACKAGES for path in (root / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.ClassDef):
                places[node.name.lstrip("_")].append(f"{file.relative_to(root)}:{node.lineno}")
    return {name: where for name, where in places.items() if len(where) > 1}


def test_no_two_classes_of_the_product_have_one_name():
    assert twins(ROOT) == {}


def test_a_second_class_of_a_name_is_noticed(tmp_path):
    for package in PACKAGES:
        (tmp_path / package).mkdir()
    (tmp_path / "qsched" / "one.py").write_text("class Row:\n    class Cell: ...\n\nclass Alone: ...\n")
    (tmp_path / "analysis" / "two.py").write_text("def f():\n    class _Row: ...\n")
    (tmp_path / "study_server" / "three.py").write_text("class Cell: ...\n")
    assert twins(tmp_path) == {
        "Row": ["analysis/two.py:2", "qsched/one.py:1"],
        "Cell": ["qsched/one.py:2", "study_server/three.py:1"],
    }


#: `95%` in text, and the format of Python that makes it.
IN_TEXT, IN_CODE = re.compile(r"\d%(?!\d)"), re.compile(r"\{[^{}\n]*:[^{}\n]*%\}|%[.\d]*f%%|\d(?<!a0)%(?=[ .,;:)])")


def tight(path: Path) -> list[str]:
    """The percentages of a page or a module that lack their space."""
    text = path.read_text("utf-8")
    if path.suffix == ".md":  # code, addresses and links' targets are somebody else's
        text = re.sub(r"```.*?```|`[^`]*`|\]\([^)\s]*\)|https?://\S+", "", text, flags=re.DOTALL)
    return [f"{path.name}: {found}" for found in (IN_TEXT if path.suffix == ".md" else IN_CODE).findall(text)]


def test_a_percentage_has_a_space_in_pages_and_output():
    pages = [*ROOT.glob("*.md"), *(path for path in (ROOT / "docs").rglob("*.md") if path.parent.name != "reference")]
    modules = [path for package in (*PACKAGES, "benchmarks") for path in (ROOT / package).rglob("*.py")]
    assert [found for path in [*pages, *modules] for found in tight(path)] == []


def test_a_percentage_without_one_is_noticed(tmp_path):
    (tmp_path / "page.md").write_text("95% of 5 % in [a](b%20c) and `10%`\n", "utf-8")
    (tmp_path / "code.py").write_text('print(f"{share:.1%} {100 * share:.1f} %", "no 50% here")\n', "utf-8")
    assert tight(tmp_path / "page.md") == ["page.md: 5%"]
    assert tight(tmp_path / "code.py") == ["code.py: {share:.1%}", "code.py: 0%"]
