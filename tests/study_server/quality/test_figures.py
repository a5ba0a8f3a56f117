"""How one person works: figures from a handful of answers whose values are counted by hand."""

from __future__ import annotations

from collections import Counter

import pytest

from study_server.quality.figures import CountedAnswer, Share, work_figures

NOBODY: dict = {}


def answer(number=1, **values) -> CountedAnswer:
    given = {
        "assignment_id": number,
        "pair_id": number,
        "kind": "task",
        "first_on_left": True,
        "expected": None,
        "question": "overall",
        "choice": "left",
        "response_ms": 4000,
        "display": None,
        "counted": True,
        **values,
    }
    return CountedAnswer(**given)


def test_nothing_is_said_of_somebody_who_did_nothing():
    work = work_figures([], NOBODY)
    assert (work.trials, work.seconds, work.gold.value, work.remarks) == (0, None, None, ())
    assert work_figures([answer(kind="practice")], NOBODY).trials == 0


def test_a_tie_on_gold_is_not_judged_and_a_question_without_known_answer_neither():
    gold = [
        answer(1, kind="gold", expected="left", choice="left"),
        answer(2, kind="gold", expected="left", choice="right"),
        answer(3, kind="gold", expected="left", choice="tie"),
        answer(4, kind="gold", expected='{"quality":"left"}', choice="right"),
    ]
    assert work_figures(gold, NOBODY).gold == Share(1, 2)
    known_tie = [
        answer(number, kind="gold", expected="tie", choice=choice) for number, choice in enumerate(("tie", "left"))
    ]
    assert work_figures(known_tie, NOBODY).gold == Share(1, 2), "of a known tie, only a tie is right"


def test_a_check_is_passed_only_if_every_question_is_answered_as_told():
    checks = [
        answer(1, kind="instructed", expected="right", choice="right", question="a"),
        answer(1, kind="instructed", expected="right", choice="tie", question="b"),
        answer(2, kind="instructed", expected="left", choice="left", question="a"),
        answer(2, kind="instructed", expected="left", choice="left", question="b"),
    ]
    work = work_figures(checks, NOBODY)
    assert work.checks == Share(1, 2) and work.remarks == ("1 attention check missed",)


def test_a_repeat_with_the_sides_changed_is_the_same_answer_if_the_same_arm_is_preferred():
    answers = [
        answer(1, pair_id=7, first_on_left=True, choice="left"),
        answer(2, pair_id=7, kind="repeat", first_on_left=False, choice="right"),
        answer(3, pair_id=8, first_on_left=True, choice="left"),
        answer(4, pair_id=8, kind="repeat", first_on_left=True, choice="tie"),
    ]
    assert work_figures(answers, NOBODY).repeats == Share(1, 2)


def test_agreement_is_with_the_others_not_with_oneself():
    everybody = {(1, "overall"): Counter(first=1), (2, "overall"): Counter(first=2, second=1)}
    own = [answer(1, choice="left"), answer(2, choice="right", first_on_left=True)]
    # Pair 1: nobody else judged it. Pair 2: without the own vote for the second, both others prefer the first.
    assert work_figures(own, everybody).agreement == Share(0, 1)
    out = [answer(1, choice="left", counted=False)]
    assert work_figures(out, everybody).agreement == Share(1, 1), "an excluded person's vote is not among the counts"


@pytest.mark.parametrize(("left", "of", "marked"), [(13, 20, False), (20, 20, True), (0, 20, True), (5, 5, False)])
def test_one_side_is_remarked_only_where_chance_hardly_does_it(left, of, marked):
    answers = [answer(number, choice="left" if number < left else "right") for number in range(of)]
    work = work_figures(answers, NOBODY)
    assert work.left == Share(left, of)
    assert ("nearly always one side" in work.remarks) is marked


def test_tools_and_time_are_those_of_task_pairs():
    answers = [
        answer(1, response_ms=900, display='{"view":{"swaps":4,"zoomed":true}}'),
        answer(2, response_ms=1100, display='{"view":{"swaps":1,"zoomed":false}}'),
        answer(3, response_ms=60_000, kind="gold", expected="left"),
        answer(4, response_ms=1000, display='{"input":"key"}'),
    ]
    work = work_figures(answers, NOBODY)
    assert (work.seconds, work.swaps, work.zoomed, work.trials) == (1.0, 2.5, Share(1, 2), 4)
    assert work.remarks == ("under 1.5 s per pair",)
