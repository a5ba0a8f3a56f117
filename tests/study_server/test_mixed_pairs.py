"""Pairs without the baseline on a share of the prompts, and what `study check` says a precision costs at least."""

from __future__ import annotations

from collections import Counter

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from qsched.cli.main import app
from study_server.studies.comparisons import plan_pairs
from study_server.studies.design import StudyDesign


def plan(others: float, prompts: int = 200, arms: int = 5):
    names = [f"a{n}" for n in range(arms)]
    design = StudyDesign(slug="s", title="t", images="x", comparisons={"baseline": "a0", "others": others})
    images = [(f"p{n}", 0, arm) for n in range(prompts) for arm in names]
    return plan_pairs(design, arms=names, images=images)


def test_pairs_without_the_baseline_are_on_their_share_of_the_prompts_evenly():
    pairs = plan(0.25)
    sizes = Counter((pair.first_arm, pair.second_arm) for pair in pairs)
    assert {size for (first, _), size in sizes.items() if first == "a0"} == {200}
    assert {size for (first, _), size in sizes.items() if first != "a0"} <= {48, 49, 50, 51, 52}
    by_prompt = Counter(pair.prompt_key for pair in pairs if pair.first_arm != "a0")
    assert max(by_prompt.values()) <= 3 and len(by_prompt) > 180, "six such pairs, a quarter each"
    early = Counter(pair.first_arm == "a0" for pair in pairs[: len(pairs) // 2])
    assert early[True] / early[False] == pytest.approx(800 / 300, rel=0.15), "balanced wherever the study stops"


def test_without_a_share_there_are_none_and_with_one_they_are_all_pairs():
    assert {pair.first_arm for pair in plan(0)} == {"a0"}
    assert len(plan(1)) == 200 * 10
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        plan(1.5)


def test_study_check_prices_what_the_study_can_show_or_what_is_asked_for(tmp_path, small_image_set):
    file = tmp_path / "study.yaml"
    file.write_text(f"slug: s\ntitle: t\nimages: {small_image_set}\nvotes_per_pair: 40\npay: {{per_hour: 10}}\n")

    def said(*options: str) -> str:
        done = CliRunner().invoke(app, ["study", "check", str(file), *options])
        assert done.exit_code == 0, done.output
        return next(line for line in done.output.splitlines() if line.startswith("  at least"))

    assert "people x" in said() and "GBP" in said() and "this study" in said()
    assert "out of reach on 6 prompts" in said("--half-width", "0.03")
    assert "a win rate of 85.0 % with 80 % power takes" in said("--find", "0.85")
    done = CliRunner().invoke(app, ["study", "check", str(file), "--half-width", "0.1", "--find", "0.9"])
    assert done.exit_code != 0 and "not both" in str(done.exception)
