"""docs/dependencies.md lists what pyproject.toml asks for, and users get no package that nothing imports."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
#: Import names that are not the package's own.
IMPORTED_AS = {
    "pyyaml": "yaml",
    "pillow": "PIL",
    "open-clip-torch": "open_clip",
    "cvvdp": "pycvvdp",
    "argon2-cffi": "argon2",
    "scikit-learn": "sklearn",
}


def asked() -> dict[str, set[str]]:
    """Packages of pyproject.toml with their extras; `core` for what everybody gets."""
    found: dict[str, set[str]] = {}
    for extra, lines in {"core": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}.items():
        for line in lines:
            name = re.split(r"[\[<>=~ ;]", line)[0]
            if name != "qsched":
                found.setdefault(name, set()).add(extra)
    return found


def listed() -> dict[str, list[str]]:
    page = (ROOT / "docs" / "dependencies.md").read_text("utf-8").partition("## Old")[0]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in page.splitlines() if line[:2] == "| "]
    return {row[0]: row[1:] for row in rows if row[0] != "package"}


ASKED, LISTED = asked(), listed()


def test_the_table_is_that_of_the_project_file() -> None:
    assert {name: set(row[0].split(", ")) for name, row in LISTED.items()} == ASKED


@pytest.mark.parametrize("name", LISTED)
def test_every_row_says_purpose_licence_and_month(name: str) -> None:
    _, purpose, licence, month = LISTED[name]
    assert len(purpose) > 3 and licence and licence != "?"
    assert re.fullmatch(r"20\d\d-\d\d|with ours", month)


@cache
def imported() -> set[str]:
    """Packages that our code imports, at the top or inside a function, by statement or by name."""
    found = set()
    for package in ("qsched", "study_server", "analysis", "migrations"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Import):
                    found |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    found.add((node.module or "").split(".")[0])
                elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                    called = getattr(node.func, "id", getattr(node.func, "attr", ""))
                    if called in ("import_module", "import_extra", "find_spec"):
                        found.add(str(node.args[0].value).split(".")[0])
    return found


@pytest.mark.parametrize("name", [name for name, extras in ASKED.items() if extras - {"dev", "bench"}])
def test_what_users_get_is_imported_or_said_to_be_indirect(name: str) -> None:
    module = IMPORTED_AS.get(name.lower().replace("_", "-"), name.replace("-", "_"))
    assert module in imported() or LISTED[name][1].startswith("indirect: "), f"nothing imports {module}"


def test_an_import_that_is_not_there_is_noticed() -> None:
    assert "torch" in imported() and "lpips" in imported() and "itsdangerous" not in imported()
