"""The benchmark of human hours: its truths, its rankings, and that designs share people and prompts."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import human_hours
from benchmarks.human_hours import WAYS, WIN_RATES, draw, judge, run


@pytest.mark.parametrize("way", [WAYS[0], WAYS[4]], ids=["pairs", "rankings"])
def test_every_design_has_the_win_rates_that_it_is_judged_by(way: human_hours.Way) -> None:
    counts = draw(way, people=4000, prompts=4000, tasks_each=30, seed=1)
    wins, votes = np.zeros(8), np.zeros(8)
    for left, right, outcome in zip(counts.left, counts.right, counts.outcomes, strict=True):
        if left == 0:
            wins[right] += outcome[1]
            votes[right] += outcome.sum()
        elif right == 0:
            wins[left] += outcome[0]
            votes[left] += outcome.sum()
    assert wins[1:] / votes[1:] == pytest.approx(np.array(WIN_RATES), abs=0.02)


def test_a_ranking_of_four_is_six_votes_of_one_annotator_on_one_prompt() -> None:
    counts = draw(WAYS[4], people=10, prompts=12, tasks_each=5, seed=2)
    assert counts.n_votes == 10 * 5 * 6
    assert counts.clusters["annotator"].votes.tolist() == [30.0] * 10
    assert not (counts.clusters["prompt"].votes % 6).any()


def test_a_wrong_claim_is_counted_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = draw(WAYS[0], people=60, prompts=60, tasks_each=50, seed=3)
    assert not judge(WAYS[0], counts, 3000).wrong.any()
    monkeypatch.setattr(human_hours, "WIN_RATES", tuple(1 - rate for rate in WIN_RATES))
    turned = judge(WAYS[0], counts, 3000)
    assert turned.wrong[5] or not turned.covered[5]


def test_raw_rates_need_more_hours_and_the_ratio_of_the_reference_is_one() -> None:
    found = run(studies=4, people=40, prompts=200, votes_each=50)
    assert found["even pairs"]["times"] == 1.0
    assert found["even pairs, raw rates"]["hours_for_3_points"] > 1.5 * found["even pairs"]["hours_for_3_points"]
    assert [row["hours"] for row in found.values()] == pytest.approx(
        [found["even pairs"]["hours"]] * len(WAYS), rel=0.02
    )
