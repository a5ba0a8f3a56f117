"""Two JSON values are compared place by place: computed numbers with a tolerance, all else exactly."""

from __future__ import annotations

from qsched.records.same_values import differences


def test_only_computed_numbers_have_a_tolerance() -> None:
    one = {"a": 1.0, "n": 3, "big": 1e9, "some": [1.5, "x"], "none": None, "flag": True}
    near = {"a": 1.0 + 1e-7, "n": 3, "big": 1e9 + 1, "some": [1.5, "x"], "none": None, "flag": True}
    assert list(differences(one, near)) == []
    for key, value in (("a", 1.00001), ("n", 4), ("n", 3.0), ("big", 1.001e9), ("none", 0), ("flag", 1)):
        assert list(differences(one, {**one, key: value})) == [key]


def test_a_place_is_named_by_its_path() -> None:
    assert list(differences({"p": [{"r": 1.0}]}, {"p": [{"r": 2.0}]})) == ["p.0.r"]
    assert list(differences({"p": [1.0]}, {"p": [1.0, 2.0]})) == ["p"]
    assert list(differences({"p": 1.0}, {"q": 1.0})) == ["p", "q"]
    assert list(differences(float("inf"), float("inf"))) == []


def test_what_is_infinite_or_no_number_is_the_same_as_itself_alone() -> None:
    """JSON's 1e999 is infinite in Python: it must not stand for whatever number a report is to have."""
    values = (float("inf"), float("-inf"), float("nan"), 5.0)
    assert [[list(differences(one, other)) == [] for other in values] for one in values] == [
        [one == other for other in range(4)] for one in range(4)
    ]
