"""Build hook of the wheel: everything is installed below `qsched`, so that no name of ours meets another package's.

In the repository `analysis` and `study_server` are packages of their own, and `templates` and `migrations` folders.
As names in everybody's site-packages they would collide. In the wheel they are:

    analysis/        qsched/analysis/
    study_server/    qsched/study_server/
    templates/       qsched/study_server/_templates/
    migrations/      qsched/study_server/_migrations/

and the imports of their files say so. An editable installation uses the repository as it is.
tests/packaging/test_names.py reads a built wheel.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PLACES = {
    "qsched": "qsched",
    "analysis": "qsched/analysis",
    "study_server": "qsched/study_server",
    "templates": "qsched/study_server/_templates",
    "migrations": "qsched/study_server/_migrations",
}
#: They are of the package qsched-tiny-models.
LEFT_OUT = "qsched/tiny/weights"
#: What the packages are made of. Whatever else a working copy has there (databases, their secrets, caches) stays out;
#: tests/packaging/test_names.py says so if a new kind of file is added and not listed.
SUFFIXES = {".py", ".html", ".css", ".js", ".j2", ".json", ".yaml", ".svg", ".ttf", ".typed", ".mako"}
_NOT_SOURCES = {"__pycache__", "node_modules", "runs"}
#: `from analysis.votes import`, `from analysis import` at the beginning of a line, so never a part of a sentence.
IMPORT = re.compile(r"^([ \t]*from )((?:analysis|study_server)(?:\.[\w.]+)? import )", re.MULTILINE)
_PLAIN = re.compile(r"^[ \t]*import (?:analysis|study_server)\b", re.MULTILINE)


class InstalledNames(BuildHookInterface):
    """Builds the wheel from a copy of the packages with the names that they have when installed."""

    copy: Path | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files of a wheel; an editable one is a path to the repository."""
        if version == "editable":
            return
        root = Path(self.root)
        self.copy = Path(tempfile.mkdtemp(prefix="qsched-wheel-"))
        for path, place in wheel_files(root):
            (self.copy / place).parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".py":
                (self.copy / place).write_text(installed(path.read_text("utf-8"), path), "utf-8")
            else:
                shutil.copyfile(path, self.copy / place)
        build_data["force_include"][str(self.copy / "qsched")] = "qsched"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the copy."""
        if self.copy is not None:
            shutil.rmtree(self.copy, ignore_errors=True)


def wheel_files(root: Path) -> Iterator[tuple[Path, str]]:
    """The files of the wheel, with their places in it."""
    for folder, place in PLACES.items():
        for path in sorted((root / folder).rglob("*")):
            within = path.relative_to(root).as_posix()
            if path.is_file() and is_source(path.relative_to(root)) and not within.startswith(f"{LEFT_OUT}/"):
                yield path, f"{place}/{path.relative_to(root / folder).as_posix()}"


def is_source(path: Path) -> bool:
    """Whether a file below the root is one of the package: by its suffix, and in no folder that a tool made."""
    made = any(part.startswith(".") or part in _NOT_SOURCES for part in path.parts)
    return path.suffix in SUFFIXES and not made


def installed(source: str, path: Path) -> str:
    """The text of a module with the imports that it has in the wheel."""
    if _PLAIN.search(source):
        raise ValueError(f"{path}: write `from analysis import ...`; the wheel cannot rename `import analysis`")
    return IMPORT.sub(r"\1qsched.\2", source)
