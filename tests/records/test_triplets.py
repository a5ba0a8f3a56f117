"""The triplets table: what one fidelity vote must say."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from qsched.records import ESSENTIAL_TRIPLET_COLUMNS, TRIPLET_COLUMNS, TripletVote

PLAIN: dict[str, Any] = {
    "study": "faces",
    "triplet_id": "t1",
    "prompt_id": "p1",
    "reference_arm": "fp16",
    "left_arm": "fp16",
    "right_arm": "w4a4",
    "presentation": "plain",
    "answer": "not sure",
    "annotator": "a",
    "session": "s",
    "served_at": "2026-03-01T12:00:00Z",
    "answered_at": "2026-03-01T12:00:03Z",
    "response_ms": 900,
}
BOOSTING = {"factor": 4.0, "zoom": 3, "rate_hz": 3.0, "crop_x": 0, "crop_y": 8, "crop_width": 64, "crop_height": 64}


def test_a_plain_and_a_boosted_vote_are_accepted():
    assert TripletVote(**PLAIN).kind == "task"
    assert TripletVote(**PLAIN | BOOSTING | {"presentation": "boosted", "rate_hz": 0}).factor == 4.0
    assert set(ESSENTIAL_TRIPLET_COLUMNS) < set(TRIPLET_COLUMNS)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"presentation": "boosted"}, "a boosted triplet needs factor, zoom, rate_hz"),
        ({"factor": 4.0}, "belong to a boosted triplet"),
        ({"left_arm": "w4a4"}, "one picture twice is kind 'bias'"),
        ({"kind": "bias"}, "a bias item shows one picture twice"),
        ({"kind": "trap", "left_arm": "w4a8"}, "a trap shows the reference 'fp16' on one side only"),
        ({"answer": "tie"}, "not sure"),
        ({"response_ms": -1}, "greater than or equal to 0"),
        ({"unknown": 1}, "Extra inputs"),
    ],
)
def test_a_wrong_vote_is_refused_with_the_rule(change: dict[str, Any], words: str):
    with pytest.raises(ValidationError, match=words):
        TripletVote(**PLAIN | change)
