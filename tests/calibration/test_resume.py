"""A killed search ends where an uninterrupted one does, and a journal's other values neither win nor are charged."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from qsched.backbones import load_backbone
from qsched.calibration.calibrate import calibrate
from qsched.calibration.evaluate import Budget, BudgetSpent, Evaluator
from qsched.calibration.families import Box, CoefficientFamily
from qsched.calibration.journal import Journal
from qsched.calibration.search import DEFAULT_SIZES, planned_pictures, run_search
from qsched.calibration.search_identity import search_name
from qsched.calibration.settings import CalibrationSettings
from qsched.calibration.trajectory import BatchRow
from qsched.generation import Prompt, read_prompts
from qsched.precision import apply_precision, find_recipe
from qsched.scheduling import Coefficients
from qsched.scoring import Jaq, load_scorer
from qsched.tiny import prompts_path

STEPS, N_PROMPTS, BATCH = 4, 10, 8


class Rendered:
    """A renderer whose pictures are the rows themselves, with the real one's prices."""

    steps = STEPS

    def __init__(self) -> None:
        self.nfe = 0

    def evaluate_first_step(self, prompts, seeds) -> None:
        self.nfe += len(prompts)

    def later_nfe(self, rows: list[BatchRow]) -> int:
        return len(rows) * (self.steps - 1)

    def render(self, rows: list[BatchRow]) -> list[BatchRow]:
        self.nfe += (STEPS - 1) * len(rows)
        return rows


class Hill:
    """JAQ with a known best point (1.07, 0.91), a prompt effect, and noise that is a function of prompt and point."""

    def combined(self, tc: float, _iq: float) -> float:
        return tc

    def score(self, rows: list[BatchRow], prompts, names):
        values = [self._value(row.prompt.prompt_id, row.coefficients) for row in rows]
        return SimpleNamespace(tc=values, iq=values, jaq=values)

    @staticmethod
    @cache
    def _value(prompt_id: str, c: Coefficients) -> float:
        model, sample = c.model[0], c.sample[0]
        noise = np.random.default_rng(zlib.crc32(f"{prompt_id} {model:.6f} {sample:.6f}".encode())).normal()
        effect = np.random.default_rng(zlib.crc32(prompt_id.encode())).normal()
        return float(effect - 4 * (model - 1.07) ** 2 - 6 * (sample - 0.91) ** 2 + 0.03 * noise)


@dataclass
class Found:
    best: tuple
    means: dict  # of every candidate, in the order of the search
    counts: dict
    nfe: int
    reused: int
    budget_spent: bool


def search(path: Path, **settings) -> Found:
    asked = CalibrationSettings(**{"strategy": "race", "size": 5, "batch_rows": BATCH, **settings})
    family = asked.family_for(STEPS)
    evaluator = Evaluator(
        Rendered(),
        Hill(),
        [Prompt(f"p{i}", f"text {i}") for i in range(N_PROMPTS)],
        list(range(N_PROMPTS)),
        Journal(path, {}, search=search_name(asked, family, N_PROMPTS)),
        budget=asked.budget,
        planned=planned_pictures(asked.strategy, family, N_PROMPTS, size=asked.size),
        batch_rows=asked.batch_rows,
    )
    try:
        run_search(asked.strategy, evaluator, family, seed=asked.seed, size=asked.size)
        spent = False
    except BudgetSpent:
        spent = True
    measured, gains = evaluator.measured_on_all(), evaluator.paired_gains()
    return Found(
        best=max(measured, key=lambda p: float(measured[p].mean())),
        means={p: float(v.mean()) for p, v in gains.items()},
        counts={p: len(v) for p, v in gains.items()},
        nfe=evaluator.nfe,
        reused=evaluator.reused,
        budget_spent=spent,
    )


@pytest.mark.slow
@pytest.mark.parametrize("vary", ["both", "sample"])
@pytest.mark.parametrize("strategy", DEFAULT_SIZES)
def test_a_search_cut_anywhere_resumes_to_the_same_candidates_means_and_best(tmp_path, strategy, vary):
    if strategy == "optuna":
        pytest.importorskip("optuna")
    whole = search(tmp_path / "whole", strategy=strategy, vary=vary)
    lines = (tmp_path / "whole").read_text().splitlines(keepends=True)
    for cut in {1, 5, *range(8, len(lines), max(1, len(lines) // 15)), len(lines) - 1}:
        path = tmp_path / f"cut {cut}"
        path.write_text("".join(lines[:cut]) + lines[cut][: len(lines[cut]) // 2])
        resumed = search(path, strategy=strategy, vary=vary)
        assert (resumed.best, list(resumed.means.items())) == (whole.best, list(whole.means.items())), f"line {cut}"
        again = 0 if cut <= BATCH else N_PROMPTS  # a first whole batch is what makes the first step be paid again
        assert resumed.nfe == whole.nfe + again, "the whole search's cost, and the first step that was made twice"
        assert [json.loads(x)["tc"] for x in path.read_text().splitlines()[1:]] == [
            json.loads(x)["tc"] for x in lines[1:]
        ]


def test_a_finished_search_run_again_costs_nothing_and_says_what_it_cost(tmp_path):
    first = search(tmp_path / "j")
    assert search(tmp_path / "j") == first and first.nfe == N_PROMPTS + sum(first.counts.values()) * (STEPS - 1)


@pytest.mark.parametrize(
    "other",
    [
        {"box": Box(model=(0.95, 1.05), sample=(0.95, 1.05))},
        {"strategy": "coarse-to-fine"},
        {"size": 3},
    ],
)
def test_another_search_in_the_same_journal_neither_wins_nor_is_charged(tmp_path, other):
    search(tmp_path / "shared", strategy="grid")
    asked = {"strategy": "grid", **other}
    fresh, shared = search(tmp_path / "fresh", **asked), search(tmp_path / "shared", **asked)
    assert (shared.best, shared.means, shared.counts) == (fresh.best, fresh.means, fresh.counts)
    pictures = sum(fresh.counts.values())
    assert shared.reused > 0 == fresh.reused
    assert shared.nfe == (N_PROMPTS + (pictures - shared.reused) * (STEPS - 1) if shared.reused < pictures else 0)


def test_the_cost_of_a_search_survives_another_one_in_between(tmp_path):
    first = search(tmp_path / "j", strategy="grid", size=3)
    search(tmp_path / "j", strategy="grid", size=4)
    assert search(tmp_path / "j", strategy="grid", size=3) == first


@pytest.mark.parametrize("pictures", [11, 17, 40, 49])
def test_a_budget_pays_for_exactly_the_pictures_that_fit(tmp_path, pictures):
    budget = Budget(nfe=N_PROMPTS + pictures * (STEPS - 1) + 2)
    found = search(tmp_path / "j", strategy="grid", budget=budget)
    assert sum(found.counts.values()) == pictures and found.budget_spent and found.nfe == budget.nfe - 2
    assert search(tmp_path / "j", strategy="grid", budget=budget) == found, "the same command gives the same again"


def test_a_budget_of_exactly_the_whole_search_does_not_end_it(tmp_path):
    whole = search(tmp_path / "a", strategy="grid")
    paid = search(tmp_path / "b", strategy="grid", budget=Budget(nfe=whole.nfe))
    assert paid == whole and not paid.budget_spent


def test_a_race_on_one_axis_starts_with_size_values_and_refines_between_them(tmp_path):
    family = CoefficientFamily("constant", STEPS, vary="model")
    found = search(tmp_path / "j", vary="model", size=9)
    values = sorted(c.model[0] for c in found.means)
    assert set(np.round(np.linspace(0.8, 1.2, 9), 6)) <= set(values) and len(values) <= 9 + 5 + 1
    between = [v for v in values if round((v - 0.8) / 0.05, 6) % 1]
    assert between and min(np.diff(values)) <= 0.025 + 1e-9, "the refinement is finer than the first grid"
    assert sum(found.counts.values()) <= planned_pictures("race", family, N_PROMPTS, size=9)


@pytest.fixture(scope="module")
def quantized():
    """tiny-sdxl at W3A8: few bits, so that a last bit of another batch becomes another code."""
    backbone = load_backbone("tiny-sdxl", device="cpu")
    apply_precision(backbone, find_recipe("w3a8"))
    return backbone


@pytest.mark.slow
def test_a_resumed_search_of_a_quantized_model_measures_the_same_values(tmp_path, quantized):
    prompts = read_prompts(prompts_path("calibration"))
    scorers = [load_scorer(name, device="cpu", weights="tiny-clip") for name in ("clipscore", "clip-iqa")]

    def run(name: str):
        return calibrate(
            quantized,
            Jaq(*scorers),
            prompts[:5],
            prompts[5:7],
            CalibrationSettings(strategy="grid", vary="model", size=2, batch_rows=4),
            journal=tmp_path / name,
            identity={},
        )

    def values(name: str) -> dict:
        lines = [json.loads(line) for line in (tmp_path / name).read_text().splitlines()[1:]]
        return {(json.dumps(r["candidate"]), r["prompt"]): (r["tc"], r["iq"]) for r in lines}

    whole = run("whole")
    lines = (tmp_path / "whole").read_text().splitlines(keepends=True)
    # After a batch, within a batch, and within the batches of (1, 1), where the first step was once made row by row.
    for cut in (1 + 5 + 8, 1 + 5 + 6, 1 + 4):
        name = f"cut {cut}"
        (tmp_path / name).write_text("".join(lines[:cut]))
        resumed = run(name)
        assert values(name) == values("whole"), f"cut after line {cut}"
        assert (
            resumed.qsched.found == whole.qsched.found
            and resumed.qsched.calibration_gain == whole.qsched.calibration_gain
        )
        assert resumed.qsched.heldout == whole.qsched.heldout


def test_a_budget_that_ends_before_any_candidate_is_known_gives_no_verdict_on_gain(tmp_path, nearness):
    from qsched.calibration.words import not_searched_words
    from tests.calibration.conftest import PROMPTS, planted
    from tests.calibration.pipelines import random_flux

    settings = CalibrationSettings(strategy="grid", size=5, budget=Budget(nfe=5 + 3 * 5 + 3 * 4))
    result = calibrate(
        planted(random_flux(), 1 / 1.1),
        nearness,
        PROMPTS[:5],
        PROMPTS[5:],
        settings,
        journal=tmp_path / "j",
        identity={},
    )
    assert result.qsched.verdict == "not searched" and result.qsched.coefficients == Coefficients.constant()
    words = not_searched_words(result)
    assert "32 NFE" in words and f"at most {result.most_nfe:,} NFE" in words
    raised = replace(settings, budget=Budget(nfe=result.most_nfe + 5))  # 5: the first step again
    more = calibrate(
        planted(random_flux(), 1 / 1.1),
        nearness,
        PROMPTS[:5],
        PROMPTS[5:],
        raised,
        journal=tmp_path / "j",
        identity={},
    )
    assert more.qsched.verdict == "gain" and not more.budget_spent
