"""Votes and count tables that the tests of the analysis share."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.stats import VoteCounts, count_arrays

ROOT = Path(__file__).resolve().parents[2]
#: Published counts with published estimates; each file names its source, and `reproduced` is what our fit gave.
CASES = Path(__file__).with_name("cases")


def load_case(name: str) -> dict[str, Any]:
    return json.loads((CASES / f"{name}.json").read_text(encoding="utf-8"))


def draw_study(
    *,
    seed: int = 0,
    arms: int = 4,
    annotators: int = 20,
    prompts: int = 15,
    each: int = 30,
    taste: float = 0.5,
    side: float = 0.3,
    tie: float = 0.2,
) -> dict[str, list[str]]:
    """Columns of a crossed study whose annotators and prompts differ in taste."""
    rng = np.random.default_rng(seed)
    n = annotators * each
    a, p = np.repeat(np.arange(annotators), each), rng.integers(0, prompts, n)
    i = rng.integers(0, arms, n)
    j = (i + rng.integers(1, arms, n)) % arms
    theta = np.linspace(-0.6, 0.6, arms)
    u, v = rng.normal(0, taste, (annotators, arms)), rng.normal(0, taste, (prompts, arms))
    eta = theta[i] - theta[j] + u[a, i] - u[a, j] + v[p, i] - v[p, j] + side
    choice = np.where(rng.random(n) < 1 / (1 + np.exp(-eta)), "left", "right")
    choice = np.where(rng.random(n) < tie, "tie", choice)
    return {
        "left": [f"arm{x}" for x in i],
        "right": [f"arm{x}" for x in j],
        "choice": choice.tolist(),
        "annotator": [f"ann{x:02d}" for x in a],
        "prompt": [f"pr{x:02d}" for x in p],
    }


def counts_of(study: dict[str, list[str]]) -> VoteCounts:
    return count_arrays(
        study["left"], study["right"], study["choice"], annotator=study["annotator"], prompt=study["prompt"]
    )


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """script("power", *options) is (exit code, stdout, stderr) of `python analysis/power.py OPTIONS`.

    It runs in this process, which has imported already what a new one would need seconds for.
    """

    def run(name: str, *options: str | Path) -> tuple[int, str, str]:
        file = ROOT / "analysis" / f"{name}.py"
        monkeypatch.setattr(sys, "argv", [str(file), *map(str, options)])
        monkeypatch.setattr(sys, "path", list(sys.path))
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(file), run_name="__main__")
        said = capsys.readouterr()
        return int(end.value.code or 0), said.out, said.err

    return run


@pytest.fixture(scope="session")
def study() -> dict[str, list[str]]:
    return draw_study()


@pytest.fixture(scope="session")
def counts(study: dict[str, list[str]]) -> VoteCounts:
    return counts_of(study)
