"""Each light extra in an empty environment: its commands work, and the others name the line that installs them.

The heavy extras (generate, score) are imitated in tests/cli/test_extras.py: an environment of theirs takes minutes.
"""

from __future__ import annotations

import re
import subprocess
import tomllib

import pytest

from tests.packaging.conftest import ROOT, UV, command, commands

WORKS = {
    "": ["--help", "verify {set}", "pairs {set}", "study init {set} --out {tmp}/s.yaml", "demo --help"],
    "analysis": [
        "verify {set}",
        "winrates {tmp}/v.csv --out {tmp}/report --resamples 100 --formats svg",
        "power --annotators 9 --prompts 9 --votes-per-pair 3",
        "votes check {tmp}/v.csv",
    ],
    "tiny": ["verify {set}"],
    "client": ["study create --help"],
    "fidelity": ["verify {set}"],
    "server": [
        "study init {set} --out {tmp}/s.yaml",
        "study check {tmp}/s.yaml",
        "study list --db sqlite:///{tmp}/n.db",
    ],
}
# Commands, and the extra that they need.
NEEDS = {
    "winrates {tmp}/v.csv --out {tmp}/report": "analysis",
    "power --annotators 9 --prompts 9 --votes-per-pair 3": "analysis",
    "serve {set} --db sqlite:///{tmp}/x.db": "server",
    "study check {tmp}/given.yaml": "server",
    "votes export --study s --db sqlite:///{tmp}/x.db {tmp}/x.csv": "server",
    "simulate http://127.0.0.1:9 --study s": "server",
    "generate-pairs --backbone tiny-sdxl --arms fp32 --prompts demo --out {tmp}/o": "tiny",
    "calibrate --backbone tiny-sdxl --precision w3a8 --prompts demo --out {tmp}/c.json": "generate",
    "score {set} --metrics clipscore": "score",
}


@pytest.mark.slow
@pytest.mark.parametrize("extra", list(WORKS))
def test_an_extra_runs_its_own_commands_and_names_the_extra_of_the_others(install, extra, place):
    python = install(extra)
    code, output = command(python, "--version", place)
    assert code == 0, output
    # With an extra, only those that share packages with it; first, while none of the others is imported.
    needs = [words for words, one in NEEDS.items() if not extra or {extra, one} == {"analysis", "server"}]
    found = commands(python, [*needs, *WORKS[extra]], place)
    for words, (code, output) in zip(WORKS[extra], found[len(needs) :], strict=True):
        assert code == 0, f"{words}: {output}"
    for words, (code, output) in zip(needs, found, strict=False):
        assert code == 2 and "Traceback" not in output, f"{words}: {output}"
        assert re.search(rf"pip install 'qsched\[{NEEDS[words]}\]'", " ".join(output.split())), f"{words}: {output}"


@pytest.mark.slow
@pytest.mark.parametrize("python", ["3.11", "3.14"])
def test_every_extra_resolves_against_the_wheels(dist, wheel, python):
    """That an index has what all extras name, together; only the light ones are installed above."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    names = [name for name in extras if name not in ("bench", "dev")]
    asked = f"qsched[{','.join(names)}] @ file://{wheel}\n"
    words = ("-q", "--python-version", python, "--find-links", dist, "-")
    done = subprocess.run([UV, "pip", "compile", *words], input=asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
