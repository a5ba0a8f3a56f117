from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from qsched.records import COLUMNS, REQUIRED_COLUMNS, Vote

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
GOOD = {
    "study": "s",
    "question": "overall",
    "pair_id": "p1",
    "prompt_id": "a",
    "left_arm": "fp32",
    "right_arm": "w4a4",
    "choice": "left",
    "annotator": "x",
    "session": "y",
    "served_at": NOW,
    "answered_at": NOW,
    "response_ms": 900,
}


def test_the_columns_are_those_of_the_contract():
    assert COLUMNS[:16] == (
        "study",
        "question",
        "pair_id",
        "prompt_id",
        "category",
        "left_arm",
        "right_arm",
        "choice",
        "annotator",
        "session",
        "served_at",
        "answered_at",
        "response_ms",
        "kind",
        "expected",
        "simulated",
    )
    assert set(REQUIRED_COLUMNS) == set(GOOD)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("choice", "Left"),
        ("choice", "bothbad"),
        ("kind", "real"),
        ("response_ms", -1),
        ("served_at", datetime(2026, 11, 22, 12, 0)),
        ("right_arm", "fp32"),
        ("annotator", ""),
        ("surprise", 1),
        ("strength", 3),
    ],
)
def test_a_value_outside_the_contract_is_refused_not_defaulted(field, value):
    with pytest.raises(ValidationError):
        Vote(**{**GOOD, field: value})


def test_only_a_preference_has_a_strength():
    assert Vote(**GOOD).strength is None
    assert Vote(**{**GOOD, "strength": 2}).strength == 2
    with pytest.raises(ValidationError, match="only left and right have one"):
        Vote(**{**GOOD, "choice": "tie", "strength": 1})


def test_a_practice_item_may_show_one_arm_twice():
    assert Vote(**{**GOOD, "right_arm": "fp32", "kind": "practice"}).kind == "practice"
