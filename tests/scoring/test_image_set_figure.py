"""The figure of quality against size: what is drawn, and that nothing overlaps."""

from __future__ import annotations

from itertools import combinations, pairwise

from hypothesis import given
from hypothesis import strategies as st

from qsched.scoring.image_set.figure import Rectangle, beaten_arms, place_labels, spread_sizes


def test_an_arm_is_beaten_only_by_one_that_is_not_larger_and_is_shown_to_be_better():
    sizes = {"full": 4.0, "small": 1.0, "other": 1.0, "tiny": 0.5}
    assert beaten_arms(sizes, {("full", "small"), ("full", "tiny")}) == set(), "larger ones beat nothing"
    assert beaten_arms(sizes, {("small", "other"), ("tiny", "full"), ("gone", "tiny")}) == {"other", "full"}
    assert beaten_arms(sizes, set()) == set(), "a mean alone beats nothing"


def test_arms_of_one_size_are_set_apart_about_it_and_others_stay():
    assert spread_sizes([3.0, 30.0, 3.0, 3.0], least=1.0) == [2.0, 30.0, 3.0, 4.0]


@given(st.lists(st.floats(0.0, 10.0), min_size=2, max_size=8))
def test_arms_of_nearly_one_size_never_share_a_bar(sizes):
    placed = sorted(spread_sizes(sizes, least=0.3))
    assert all(b - a > 0.29 for a, b in pairwise(placed))


def test_labels_of_arms_that_lie_together_do_not_touch_each_other_or_a_bar():
    spots = [(0.1, 0.5), (0.14, 0.5), (0.9, 0.5), (0.94, 0.52)]
    bars = [Rectangle(x - 0.014, x + 0.014, 0.2, 0.8) for x, _ in spots]
    boxes = place_labels(spots, bars, ["w4a4", "w4a4+qsched", "fp32", "w8a8"])
    assert not any(a.meets(b) for a, b in combinations(boxes, 2))
    assert not any(box.meets(bar) for box in boxes for bar in bars)
    assert all(box.left >= 0 and box.right <= 1 for box in boxes)
