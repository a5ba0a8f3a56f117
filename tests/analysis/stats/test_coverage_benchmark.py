"""The benchmark of coverage: its truths, its scenarios, and that an interrupted run continues."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import coverage
from benchmarks.crossed_studies import SCENARIOS, Scenario, marginal_truth, simulate


def test_an_interrupted_run_ends_with_the_figures_of_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def run(file: str, studies: int) -> dict:
        words = ["--studies", str(studies), "--resamples", "60", "--only", "T16", "--no-write"]
        monkeypatch.setattr(sys, "argv", ["coverage", *words, "--results", str(tmp_path / file)])
        coverage.main()
        return json.loads((tmp_path / file).read_text(encoding="utf-8"))

    run("parts.json", 2)
    parts, whole = run("parts.json", 4), run("whole.json", 4)
    assert parts["scenarios"]["T16"]["sums"] == whole["scenarios"]["T16"]["sums"]
    assert whole["scenarios"]["T16"]["studies"] == 4 and "T16" in capsys.readouterr().out
    assert "| T16 2 arms |" in coverage.document(whole)


def test_results_of_other_code_are_not_continued(tmp_path: Path):
    path = tmp_path / "old.json"
    settings = {"resamples": 60, "seed": 1}
    fresh = coverage.load(path, settings)
    fresh["scenarios"] = {"S1": {"studies": 5}}
    path.write_text(json.dumps(fresh), encoding="utf-8")
    assert coverage.load(path, settings)["scenarios"] == {"S1": {"studies": 5}}
    assert coverage.load(path, {**settings, "seed": 2})["scenarios"] == {}
    path.write_text(json.dumps({**fresh, "code": "other"}), encoding="utf-8")
    assert coverage.load(path, settings)["scenarios"] == {}


def test_the_scenarios_are_all_there_and_named_once():
    names = [s.name for s in SCENARIOS]
    assert names == [*(f"S{n}" for n in range(1, 12)), *(f"T{n}" for n in range(1, 24)), "P4", "P5", "P6", "P8"]


@pytest.mark.parametrize("taste", ["normal", "t", "bimodal"])
def test_the_truth_is_what_a_huge_study_finds(taste: str):
    s = Scenario("x", arms=3, annotators=4000, prompts=4000, votes_each=60, taste=taste)
    _, rate = marginal_truth(s)
    counts = simulate(s, np.random.default_rng(1))
    wins = np.zeros((3, 3))
    n = counts.outcomes
    np.add.at(wins, (counts.left, counts.right), n[:, 0] + n[:, 2] / 2)
    np.add.at(wins, (counts.right, counts.left), n[:, 1] + n[:, 2] / 2)
    found = wins / np.maximum(wins + wins.T, 1)
    off = ~np.eye(3, dtype=bool)
    assert found[off] == pytest.approx(rate[off], abs=0.01)


def test_a_rare_arm_is_shown_only_to_those_it_should_be():
    by_name = {s.name: s for s in SCENARIOS}
    for name, clusters, most in (("T21", "annotator", 5), ("T22", "prompt", 5)):
        counts = simulate(by_name[name], np.random.default_rng(3))
        last = (counts.left == 7) | (counts.right == 7)
        table = np.asarray(counts.clusters[clusters].counts).reshape(-1, counts.n_cells, 3)
        assert 0 < (table[:, last].sum(axis=(1, 2)) > 0).sum() <= most
