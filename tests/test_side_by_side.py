"""`make test` runs its parts side by side: their outputs stay apart, and one that fails fails the whole."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("side_by_side.sh")
MAKE = """#!/bin/sh
[ "$1" = other ] || sleep 0.2
echo "$1 began"; echo "$1 ended"
case "$1" in bad*) exit 2;; esac
"""


@pytest.mark.parametrize(
    ("targets", "failed"),
    [(("first", "other", "third"), ""), (("first", "bad", "other"), "bad"), (("bad1", "bad2"), "bad1 bad2")],
)
def test_outputs_stay_apart_and_a_target_that_fails_fails_the_whole(tmp_path, targets, failed) -> None:
    make = tmp_path / "make"
    make.write_text(MAKE, encoding="utf-8")
    make.chmod(0o755)
    done = subprocess.run(["sh", SCRIPT, make, *targets], capture_output=True, text=True, check=False)
    first, *others = targets
    blocks = [f"== make {name}\n{name} began\n{name} ended\n" for name in others]
    assert done.stdout == f"{first} began\n{first} ended\n" + "".join(blocks)
    assert (done.returncode, done.stderr) == ((1, f"failed: make {failed}\n") if failed else (0, ""))
