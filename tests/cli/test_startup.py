"""What is wrong with a command is said before torch is imported, which takes seconds."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import sys
from qsched.cli.main import main
try:
    main()
finally:
    loaded = sorted({"torch", "diffusers", "transformers", "torchao"} & set(sys.modules))
    print("imported:", *loaded)
"""
GENERATE = ["generate-pairs", "--backbone", "tiny-sdxl", "--prompts", "demo", "--out", "x"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([*GENERATE, "--arms", "fp32,w4a44"], "w4a44"),
        ([*GENERATE, "--arms", "fp32,w4a4+qshced"], "w4a4+qsched"),
        ([*GENERATE, "--arms", "fp32", "--dtype", "half"], "dtype 'half' is unknown"),
        ([*GENERATE, "--arms", "fp32", "--prompts", "nowhere.txt"], "nowhere.txt"),
        ([*GENERATE, "--arms", "fp32", "--lora", "nowhere.safetensors"], "not a .safetensors file"),
        ([*GENERATE, "--arms", "fp32", "--backbone", "no-such-model"], "neither a known name"),
        ([*GENERATE, "--arms", "fp32", "--backbone", "org/model@main"], "not a commit id"),
    ],
)
def test_a_mistake_costs_no_import_of_torch(arguments, words, tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, *arguments], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 2 and words in " ".join(done.stderr.split()), done.stderr
    assert done.stdout.splitlines()[-1] == "imported:"
