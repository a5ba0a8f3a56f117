"""The wheels, built as for an index, and installed with one extra in an empty environment."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import write_image_set

ROOT = Path(__file__).parents[2]
TINY_MODELS = ROOT / "packages" / "qsched-tiny-models"
UV = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def made_once(tmp_path_factory, name, make):
    """The folder `name`, filled by make(folder) in the first test process that asks for it, and used by all."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with folder.with_name(f"{name}.made").open("a+") as made:
        fcntl.flock(made, fcntl.LOCK_EX)
        if not os.fstat(made.fileno()).st_size:  # asked for after the wait
            shutil.rmtree(folder, ignore_errors=True)  # what a failed build left
            make(folder)
            made.write("whole")
    return folder


def build(folder):
    run(UV, "build", "--python", sys.executable, "--out-dir", folder, ROOT)
    run(UV, "build", "--wheel", "--python", sys.executable, "--out-dir", folder, TINY_MODELS)


@pytest.fixture(scope="session")
def dist(tmp_path_factory):
    """A folder with the sdist, the wheel that is built from it, and the wheel of the tiny models."""
    return made_once(tmp_path_factory, "dist", build)


@pytest.fixture(scope="session")
def wheel(dist):
    (built,) = dist.glob("qsched-*.whl")
    return built


@pytest.fixture(scope="session")
def install(dist, wheel, tmp_path_factory):
    """install("server") is the python of an environment of `base` with nothing but qsched[server]."""

    def python_with(extra, base=sys.executable):
        def fill(folder):
            run(UV, "venv", "--python", base, folder)
            wanted = f"qsched[{extra}] @ file://{wheel}" if extra else f"qsched @ file://{wheel}"
            limits = ("--constraint", ROOT / "constraints.txt", "--find-links", dist)
            run(UV, "pip", "install", "--python", folder / "bin" / "python", *limits, wanted)

        name = f"env-{extra or 'bare'}" + ("" if base == sys.executable else f"-{Path(base).name}")
        return made_once(tmp_path_factory, name, fill) / "bin" / "python"

    return python_with


@pytest.fixture
def place(tmp_path):
    """A folder with an image set, a study.yaml, votes and empty databases, for command lines with {set} and {tmp}."""
    write_image_set(tmp_path / "set", prompts=3, size=16)
    (tmp_path / "given.yaml").write_text("slug: s\ntitle: t\nimages: set\n", encoding="utf-8")
    votes = [f"a,b,{c},{who},p{n}" for who in "xyz" for n, c in enumerate(["left", "right", "tie", "left", "right"])]
    (tmp_path / "v.csv").write_text(
        "\n".join(["left_arm,right_arm,choice,annotator,prompt_id", *votes]), encoding="utf-8"
    )
    (tmp_path / "n.db").touch()
    (tmp_path / "x.db").touch()
    return tmp_path


def command(python, words, place, **more):
    """Exit code and output of `qsched WORDS` of an installation, in `place`, which {set} and {tmp} name."""
    done = subprocess.run(
        [Path(python).with_name("qsched"), *_parts(words, place)],
        cwd=place,
        env=_environment() | more,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def commands(python, lines, place):
    """Exit code and output of each line, from one process of an installation: most of a short command is its start."""
    asked = json.dumps([_parts(words, place) for words in lines])
    done = run(python, "-P", "-c", ONE_AFTER_ANOTHER, cwd=place, env=_environment(), input=asked)
    return [tuple(one) for one in json.loads(done.splitlines()[-1])]


# An error is that of the command line, as the script `qsched` has it; what it prints is kept apart for each command.
ONE_AFTER_ANOTHER = """
import contextlib, io, json, sys
from qsched.cli.main import main
found = []
for words in json.load(sys.stdin):
    said, code = io.StringIO(), 0
    sys.argv = ["qsched", *words]
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    found.append((code, said.getvalue()))
print(json.dumps(found))
"""


def _parts(words, place):
    return words.format(set=place / "set", tmp=place).split()


def _environment():
    # Without compiled files, as a setting of the tests' own may have it, each command would compile its packages anew.
    left_out = {"PYTHONPATH", "PYTHONDONTWRITEBYTECODE"}
    return {key: value for key, value in os.environ.items() if key not in left_out}
