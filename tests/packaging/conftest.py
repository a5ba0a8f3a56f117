"""The wheel, installed with one extra in an empty environment."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UV = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run(UV, "build", "--wheel", "--python", sys.executable, "--out-dir", folder, ROOT)
    (built,) = folder.glob("qsched-*.whl")
    return built


@pytest.fixture(scope="session")
def install(wheel, tmp_path_factory):
    """install("server") is the python of an environment with nothing but qsched[server]."""
    made = {}

    def python_with(extra):
        if extra not in made:
            python = tmp_path_factory.mktemp(extra or "bare") / "env" / "bin" / "python"
            run(UV, "venv", "--python", sys.executable, python.parents[1])
            wanted = f"qsched[{extra}] @ file://{wheel}" if extra else f"qsched @ file://{wheel}"
            run(UV, "pip", "install", "--python", python, "--constraint", ROOT / "constraints.txt", wanted)
            made[extra] = python
        return made[extra]

    return python_with
