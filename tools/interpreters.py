"""The Pythons of this machine that qsched may run on, one of each version: on the path, in pyenv's folder, in uv's.

`make newest` and the tests of the wheel use them all; `python tools/interpreters.py` prints them.
"""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: Where pyenv and uv keep a folder of each Python.
KEPT = ("~/.pyenv/versions", "~/.local/share/uv/python")


def lowest() -> int:
    """The 11 of `requires-python = ">=3.11"`."""
    words = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["requires-python"]
    return int(words.removeprefix(">=3."))


def folders() -> Iterator[Path]:
    """Where a `python3.N` may be, in the order of preference."""
    yield from map(Path, os.environ.get("PATH", "").split(os.pathsep))
    for kept in KEPT:
        yield from sorted(Path(kept).expanduser().glob("*/bin"))


def interpreters(places: Iterable[Path]) -> dict[str, Path]:
    """The first of `places` that has a working Python, for each version from the lowest on: `{"3.13": path}`."""
    found: dict[str, Path] = {}
    for folder in places:
        for path in sorted(folder.glob("python3.*")):
            version = re.fullmatch(r"python(3\.(\d+))", path.name)
            if version and version[1] not in found and int(version[2]) >= lowest() and works(path):
                found[version[1]] = path
    return dict(sorted(found.items(), key=lambda one: int(one[0].partition(".")[2])))


def works(path: Path) -> bool:
    """Whether it starts, and can make environments. A shim of pyenv stands for versions that it does not start."""
    try:
        done = subprocess.run([path, "-c", "import ensurepip, ssl, sqlite3, venv"], capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


if __name__ == "__main__":
    print(*interpreters(folders()).values())
