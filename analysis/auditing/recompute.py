"""Make the report of a study again, by its preregistered plan, and compare the two.

With the versions that the report names, every byte must be the same. With others, figures and pages may differ in bytes
and mean the same, so the numbers of winrates.json and of the CSV tables are compared, and the rest is named.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis import __name__ as PACKAGE
from analysis.auditing.read import LOOKS
from qsched.command_line import counted
from qsched.records.same_values import TOLERANCE, differences

REPORT, WINRATES = "report", "winrates.json"
_NUMBERS = (".json", ".csv")
# What `import analysis` finds here, and in the wheel, where it is part of qsched.
_ROOT = Path(__file__).resolve().parents[PACKAGE.count(".") + 2]


@dataclass(frozen=True)
class ReportAgain:
    """What is wrong with a report that was made again, and what of it was not compared."""

    problems: list[str]
    not_compared: str | None = None


def check_report(folder: Path, plan: Sequence[str]) -> ReportAgain:
    """The report in `folder` is what `qsched winrates votes.parquet` with the plan's options makes there."""
    with tempfile.TemporaryDirectory(prefix="qsched-audit-") as name:
        place = Path(name)
        for file in ("votes.parquet", LOOKS):
            if (folder / file).is_file():
                shutil.copyfile(folder / file, place / file)
        command = [sys.executable, "-P", "-m", f"{PACKAGE}.winrates", "votes.parquet", "--out", REPORT, *plan]
        paths = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
        done = subprocess.run(
            command, cwd=place, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False
        )
        if not (place / REPORT).is_dir():
            words = (done.stderr or done.stdout).strip()[-300:]
            return ReportAgain([f"the preregistered plan makes no report: {words}"])
        return compare_reports(_files(folder / REPORT), _files(place / REPORT))


def compare_reports(theirs: dict[str, bytes], ours: dict[str, bytes]) -> ReportAgain:
    """Compare a report with the one that was made again; both are the contents of files by their path."""
    differ = sorted(path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path))
    if not differ:
        return ReportAgain([])
    versions = _other_versions(theirs.get(WINRATES, b""), ours.get(WINRATES, b""))
    if not versions:
        return ReportAgain(
            [f"the plan makes another report of these votes: {counted(len(differ), 'file')} changed, first {differ[0]}"]
        )
    numbers = [place for path in differ if path.endswith(_NUMBERS) for place in _differ(path, theirs, ours)]
    if numbers:
        return ReportAgain(
            [
                f"the plan makes another report of these votes: {counted(len(numbers), 'value')} changed, first "
                f"{numbers[0]}. The report was made with {versions}: install the same, and audit again, to see whether "
                "that is the reason"
            ]
        )
    others = [path for path in differ if not path.endswith(_NUMBERS)]
    return ReportAgain(
        [],
        f"the bytes of {counted(len(others), 'page or figure', 'pages and figures')} of the report, which was made "
        f"with {versions}; its numbers in JSON and CSV are those of the plan, with a tolerance of {TOLERANCE:g}",
    )


def _other_versions(theirs: bytes, ours: bytes) -> str:
    """`numpy 2.1.0 (here 2.4.6)`: the versions in which two reports differ; empty if in none, or if none are stated."""
    try:
        made, here = json.loads(theirs)["versions"], json.loads(ours)["versions"]
        names = [name for name in here if name in made and made[name] != here[name]]
        return ", ".join(f"{name} {made[name]} (here {here[name]})" for name in names)
    except (ValueError, KeyError, TypeError):
        return ""


def _differ(path: str, theirs: dict[str, bytes], ours: dict[str, bytes]) -> Iterator[str]:
    """The values of a JSON or CSV file in which two reports differ by more than the tolerance."""
    if path not in theirs or path not in ours:
        yield f"{path}, which only one of them has"
        return
    try:
        one, other = (_values(path, files[path]) for files in (theirs, ours))
    except ValueError:
        yield f"{path}, which cannot be read"
        return
    for place in differences(one, other):
        yield f"{place} of {path}"


def _values(path: str, content: bytes) -> Any:
    text = content.decode("utf-8")
    if path.endswith(".csv"):
        return [[_cell(cell) for cell in row] for row in csv.reader(io.StringIO(text))]
    found = json.loads(text)
    return {name: value for name, value in found.items() if name != "versions"} if isinstance(found, dict) else found


def _cell(text: str) -> str | float:
    """A cell of a CSV table; a number with a point or an exponent is one that was computed."""
    try:
        return float(text) if "." in text or "e" in text.lower() else text
    except ValueError:
        return text


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
