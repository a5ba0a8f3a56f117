"""People who look only where the difference is obvious pass the traps, and show no clause."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from analysis.certificate.attention import random_share_borne, refuse_inattentive
from analysis.certificate.judge import certify_votes
from analysis.certificate.mean import judge_mean, plain_mean
from analysis.certificate.registration import Registered
from analysis.stats.jnd import fit_jnd
from analysis.triplets import PLAIN, TripletCodes, code_triplets, read_triplets, screen
from qsched.records.registration import MeanPlan, Registration
from tests.analysis.triplets.drawn import draw_rows, write_rows

PLAN = Registration(
    study="demo", registered_at=datetime(2026, 2, 1, tzinfo=UTC), arm="w4a4", mean=MeanPlan(), prompt_sd=0.5
)
#: Odd, so that everybody sees every arm.
PEOPLE = 41


def answering(rows: list[dict[str, Any]], share: float, answer: str | None) -> list[dict[str, Any]]:
    """The rows, with this share of the people answering always the same, or in turn, on all but the traps."""
    changed = []
    for number, row in enumerate(rows):
        blind = row["kind"] != "trap" and hash_of(row["annotator"]) % PEOPLE < share * PEOPLE
        said = answer or ("left", "not sure", "right")[number // 7 % 3]
        changed.append({**row, "answer": said} if blind else row)
    return changed


def hash_of(name: str) -> int:
    return int("".join(letter for letter in name if letter.isdigit()))


def codes_of(rows: list[dict[str, Any]], tmp_path: Any) -> TripletCodes:
    return code_triplets(screen(read_triplets(write_rows(rows, tmp_path / "votes.parquet"))).table)


@pytest.mark.parametrize(("share", "answer", "how"), [(0.5, None, "at random"), (0.75, "not sure", '"not sure"')])
def test_people_who_answer_weak_triplets_blindly_show_nothing(tmp_path, share: float, answer: str | None, how: str):
    rows = draw_rows(damages={"w4a4": 0.7, "w3a8": 2.5}, plain=400, people=PEOPLE, prompts=40, seed=5)
    codes = codes_of(answering(rows, share, answer), tmp_path)
    found = judge_mean(codes, PLAN, PLAN.mean)
    assert found.numbers["damage"] < 0.5, "the traps do not see them"
    refused = refuse_inattentive(found, codes, PLAN, (PLAIN,))
    assert not refused.shown and refused.needs is None
    assert any(note.startswith("Refused.") and how in note for note in refused.notes)


@pytest.mark.parametrize("damages", [{"w4a4": 0.1}, {"w4a4": 0.1, "w3a8": 2.5}])
def test_people_who_look_are_not_refused(tmp_path, damages: dict[str, float]):
    rows = draw_rows(damages=damages, plain=400, people=PEOPLE, prompts=40, seed=6)
    table = read_triplets(write_rows(rows, tmp_path / "votes.parquet"))
    (clause,) = certify_votes(table, Registered(PLAN, "")).clauses
    assert clause.shown
    assert 0.005 <= clause.numbers["plain_attention_random"] <= 1
    assert 0.05 < clause.numbers["random_votes_borne"] <= 0.6
    assert any("may not be noticed" in note for note in clause.notes) is (len(damages) == 1)


def test_votes_that_say_nothing_of_who_looks_are_named(tmp_path):
    rows = draw_rows(damages={"w4a4": 0.1}, plain=100, people=PEOPLE, prompts=40, seed=6)
    codes = codes_of(answering(rows, 1.0, "not sure"), tmp_path)
    found = judge_mean(codes, PLAN, PLAN.mean)
    assert not found.shown and found.finding.endswith("carry no scale.")
    (note,) = refuse_inattentive(replace(found, shown=True), codes, PLAN, (PLAIN,)).notes
    assert note == "The plain votes carry no scale, so it was not examined whether people looked."


def test_random_votes_that_are_assumed_make_the_damage_larger_by_their_share(tmp_path):
    """A share x of random votes turns a small damage d into about (1 - x) d; assuming x gives d back."""
    codes = codes_of(draw_rows(damages={"w4a4": 0.3}, plain=600, people=PEOPLE, prompts=40, seed=7), tmp_path)
    plain, assumed = fit_jnd(codes), fit_jnd(codes, blind=0.3)
    assert assumed.damage("w4a4") == pytest.approx(plain.damage("w4a4") / 0.7, rel=0.1)
    assert assumed.se(0) == pytest.approx(plain.se(0) / 0.7, rel=0.15)


def test_the_share_of_random_votes_that_a_bound_bears_is_the_largest_one(tmp_path):
    codes = codes_of(draw_rows(damages={"w4a4": 0.25}, plain=500, people=PEOPLE, prompts=40, seed=8), tmp_path)

    def shown(share: float) -> bool:
        return plain_mean(codes, PLAN, PLAN.mean, claim="", blind=share).shown

    borne = random_share_borne(shown)
    assert 0 < borne < 0.6 and shown(borne) and not shown(borne + 0.01)
