"""The commands that docs/generation.md gives for several GPUs are ones that the programs take."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer

from qsched.cli.main import app
from qsched.generation.shard import parse_shard

PAGE = (Path(__file__).parents[2] / "docs" / "generation.md").read_text(encoding="utf-8")
JOINED = PAGE.replace("\\\n", " ")


def commands(program: str) -> list[list[str]]:
    """The words of the page's commands of a program, one command a line."""
    lines = (line.strip() for line in JOINED.splitlines())
    return [shlex.split(line) for line in lines if line.startswith(program + " ")]


def options_of(words: list[str]) -> dict[str, object]:
    """What `qsched` understands of a command; an unknown or missing option is an error."""
    group = typer.main.get_command(app)
    name, *rest = words
    return group.commands[name].make_context(name, rest).params


def test_torchrun_starts_one_rank_for_each_gpu_and_each_makes_its_shard() -> None:
    (words,) = commands("torchrun")
    ranks = int(words[words.index("--nproc-per-node") + 1])
    options = options_of(words[words.index("generate-pairs") :])
    shards = {
        parse_shard(options["shard"], {"RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_RANK": str(rank)})
        for rank in range(ranks)
    }
    assert shards == {(index, ranks) for index in range(1, ranks + 1)}


def test_the_slurm_script_is_a_script_and_its_array_covers_the_shards() -> None:
    script = re.search(r"```sh\n(#!/bin/bash\n.*?)```", PAGE, re.DOTALL)[1]
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    first, last = map(int, re.search(r"--array=(\d+)-(\d+)", script).groups())
    (words,) = [words for words in commands("qsched") if "$SLURM_ARRAY_TASK_ID" in " ".join(words)]
    shard = options_of(words[1:])["shard"]
    made = [parse_shard(shard.replace("$SLURM_ARRAY_TASK_ID", str(task)), {}) for task in range(first, last + 1)]
    assert made == [(index, last) for index in range(1, last + 1)]


@pytest.mark.parametrize("words", [words for words in commands("qsched") if words[1] in ("generate-pairs", "merge")])
def test_every_command_of_the_page_is_understood(words) -> None:
    if "..." not in words:
        options_of(words[1:])
