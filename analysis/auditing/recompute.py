"""Make the report of a study again, by its preregistered plan, and compare it byte for byte."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from analysis import __name__ as PACKAGE
from analysis.auditing.read import LOOKS

REPORT = "report"
# What `import analysis` finds here, and in the wheel, where it is part of qsched.
_ROOT = Path(__file__).resolve().parents[PACKAGE.count(".") + 2]


def check_report(folder: Path, plan: Sequence[str]) -> list[str]:
    """The report in `folder` is what `qsched winrates votes.parquet` with the plan's options makes there.

    The same versions of numpy and matplotlib are needed for the same bytes; the report names those it was made with.
    """
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
            return [f"the preregistered plan makes no report: {(done.stderr or done.stdout).strip()[-300:]}"]
        ours, theirs = _files(place / REPORT), _files(folder / REPORT)
    differ = sorted(path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path))
    if not differ:
        return []
    return [
        f"{len(differ)} files of the report are not what the plan makes from votes.parquet, the first {differ[0]}; the "
        "reason can also be other versions of numpy or matplotlib than those that the report names"
    ]


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
