"""A package that is not ours adds a family and a named backbone through the entry point group `qsched.backbones`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

MODULE = """
from qsched.backbones import BackboneSpec, Family
MINE = [
    Family("MyPipeline", module="my_package.pipelines", denoiser="dit"),
    BackboneSpec("my-model", "org/my-model", revision="a" * 40, steps=1, guidance_scale=0.0),
]
"""
CHECK = """
import sys
from qsched.backbones.families import family_of
from qsched.backbones.find import find_spec
assert family_of("MyPipeline").denoiser == "dit" and not family_of("MyPipeline").one_at_a_time
assert find_spec("my-model").source == "org/my-model"
assert not {"torch", "diffusers"} & set(sys.modules)
"""


def install(folder: Path, target: str) -> dict[str, str]:
    """A distribution in the folder, as an installer leaves it; the environment that finds it."""
    (folder / "my_families.py").write_text(MODULE)
    info = folder / "my_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[qsched.backbones]\nmine = {target}\n")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(Path(__file__).parents[2])])}


def test_a_registered_family_and_backbone_are_found(tmp_path) -> None:
    subprocess.run([sys.executable, "-c", CHECK], check=True, env=install(tmp_path, "my_families:MINE"))


def test_a_registration_that_cannot_be_loaded_is_named(tmp_path) -> None:
    environment = install(tmp_path, "my_families:YOURS")
    done = subprocess.run([sys.executable, "-c", CHECK], check=False, env=environment, capture_output=True, text=True)
    assert "BackboneError: entry point mine = my_families:YOURS" in done.stderr, done.stderr
