"""Each light extra in an empty environment: its commands work, and the others name the line that installs them.

The heavy extras (generate, score) are imitated in tests/cli/test_extras.py: an environment of theirs takes minutes.
"""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from tests.conftest import write_image_set

WORKS = {
    "": ["--help", "verify {set}", "pairs {set}", "study init {set} --out {tmp}/s.yaml", "demo --help"],
    "analysis": [
        "verify {set}",
        "winrates {tmp}/v.csv --out {tmp}/report --resamples 100",
        "power --annotators 9 --prompts 9 --votes-per-pair 3",
    ],
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
    "generate-pairs --backbone tiny-sdxl --arms fp32 --prompts demo --out {tmp}/o": "generate",
    "calibrate --backbone tiny-sdxl --precision w3a8 --prompts demo --out {tmp}/c.json": "generate",
    "score {set} --metrics clipscore": "score",
}


@pytest.fixture
def place(tmp_path):
    write_image_set(tmp_path / "set", prompts=3, size=16)
    (tmp_path / "given.yaml").write_text("slug: s\ntitle: t\nimages: set\n", encoding="utf-8")
    votes = [f"a,b,{c},{who},p{n}" for who in "xyz" for n, c in enumerate(["left", "right", "tie", "left", "right"])]
    (tmp_path / "v.csv").write_text(
        "\n".join(["left_arm,right_arm,choice,annotator,prompt_id", *votes]), encoding="utf-8"
    )
    (tmp_path / "n.db").touch()
    (tmp_path / "x.db").touch()
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("extra", list(WORKS))
def test_an_extra_runs_its_own_commands_and_names_the_extra_of_the_others(install, extra, place):
    python = install(extra)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def command(words: str) -> tuple[int, str]:
        parts = words.format(set=place / "set", tmp=place).split()
        done = subprocess.run(
            [python, "-m", "qsched", *parts], cwd=place, env=environment, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    for words in WORKS[extra]:
        code, output = command(words)
        assert code == 0, f"{words}: {output}"
    # With an extra, only those that share packages with it.
    for words, needed in NEEDS.items():
        if needed != extra and (not extra or needed in WORKS):
            code, output = command(words)
            assert code == 2 and "Traceback" not in output, f"{words}: {output}"
            assert re.search(rf"pip install 'qsched\[{needed}\]'", " ".join(output.split())), f"{words}: {output}"
