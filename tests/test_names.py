"""A class name means one thing in the whole product: who searches for it finds one class."""

from __future__ import annotations

import ast
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
