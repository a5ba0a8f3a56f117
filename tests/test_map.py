"""The map in the README is true: what it lists exists, and every package folder is on it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("qsched", "study_server", "analysis")


def listed(readme: str) -> list[str]:
    """Paths of the fenced block that begins with `qsched/`; an indented line belongs to the last one that is not."""
    block = re.search(r"^```\n(qsched/\n.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    assert block is not None, "the README has no map"
    paths, parent = [], ""
    for line in block.group(1).splitlines():
        name = line.split()[0]
        if line.startswith(" "):
            paths.append(parent + name)
        else:
            parent = name
            paths.append(name)
    return paths


def missing(paths: list[str], root: Path) -> list[str]:
    """Listed paths that do not exist; a name that ends in a slash must be a folder."""
    return [path for path in paths if not ((root / path).is_dir() if path.endswith("/") else (root / path).is_file())]


def unlisted(paths: list[str], root: Path) -> list[str]:
    """Folders with Python files in them, directly below a package, that the map leaves out."""
    folders = [
        f"{package}/{folder.name}/"
        for package in PACKAGES
        for folder in sorted((root / package).iterdir())
        if folder.is_dir() and any(folder.glob("*.py"))
    ]
    return [folder for folder in folders if folder not in paths]


def test_everything_on_the_map_exists():
    assert missing(listed((ROOT / "README.md").read_text(encoding="utf-8")), ROOT) == []


def test_every_package_folder_is_on_the_map():
    assert unlisted(listed((ROOT / "README.md").read_text(encoding="utf-8")), ROOT) == []


def test_a_wrong_map_is_noticed(tmp_path):
    for folder in ("qsched/records", "qsched/planning", "study_server", "analysis"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "__init__.py").touch()
    paths = listed(
        "# Title\n\n```\nqsched/\n  records/    the contracts\n  gone/       x\nanalysis/\n  power.py    y\n```\n"
    )
    assert paths == ["qsched/", "qsched/records/", "qsched/gone/", "analysis/", "analysis/power.py"]
    assert missing(paths, tmp_path) == ["qsched/gone/", "analysis/power.py"]
    assert unlisted(paths, tmp_path) == ["qsched/planning/"]
