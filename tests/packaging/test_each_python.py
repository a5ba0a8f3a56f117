"""The wheel with every Python of the machine; `make newest` runs tests of more."""

from __future__ import annotations

import shutil
import sys

import pytest

from tests.packaging.conftest import commands
from tools.interpreters import folders, interpreters

COMMANDS = ["--help", "verify {set}", "pairs {set}", "study init {set} --out {tmp}/s.yaml", "demo --help"]


@pytest.mark.slow
def test_every_python_of_this_machine_runs_the_light_commands(install, place):
    here = "{}.{}".format(*sys.version_info)
    found = interpreters(folders())
    assert here in found
    for version, path in found.items():
        if version != here:
            own = shutil.copytree(place, place.with_name(f"{place.name}-{version}"))
            for words, (code, output) in zip(COMMANDS, commands(install("", path), COMMANDS, own), strict=True):
                assert code == 0 and "Warning" not in output, f"Python {version}: {words}: {output}"
