"""A picture that the votes cannot place gets no number, and says why."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from analysis.stats.jnd.existence import named_bound, nothing_decided, without_place
from analysis.stats.jnd.model import Q
from analysis.stats.jnd.scale import score_pictures
from analysis.triplets import TripletCodes

PICTURES = ("reference", "near", "far", "island", "trap")


def votes(rows: list[tuple[int, int, int]], *, people: int = 5, kinds: list[int] | None = None) -> TripletCodes:
    """(left, right, answer) by people and prompts in turn."""
    n = len(rows)
    left, right, answer = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    return TripletCodes(
        np.arange(n) % people,
        np.arange(n) % 7,
        np.zeros(n, dtype=np.int64),
        left,
        right,
        answer,
        np.zeros(n, dtype=np.int64) if kinds is None else np.array(kinds),
        tuple(f"p{i}" for i in range(people)),
        tuple(f"q{i}" for i in range(7)),
        PICTURES,
    )


NEAR = [(0, 1, 2), (0, 1, 2), (1, 0, 2), (0, 1, 1), (1, 0, 0), (0, 1, 0), (0, 1, 2), (1, 0, 1)] * 4
FAR = [(0, 2, 2), (2, 0, 0)] * 10


def test_a_picture_that_everybody_names_gets_a_lower_bound_and_no_number():
    scale = score_pictures(votes(NEAR + FAR))
    far, near = scale.score("far"), scale.score("near")
    assert far.damage is None and "too far above the threshold" in far.reason
    p = 0.05 ** (1 / 5)  # five people, all of whom named it every time
    assert far.lower_bound is not None and ndtr(Q * far.lower_bound) == pytest.approx(p)
    assert near.damage is not None and near.low < near.damage < near.high
    alone = score_pictures(votes(NEAR)).score("near")
    assert near.damage == pytest.approx(alone.damage, abs=1e-9)


def test_a_picture_without_a_chain_to_the_reference_is_named():
    found = without_place(votes([*NEAR, (3, 2, 2), (3, 2, 0)]))
    assert {item.picture for item in found} == {"far", "island"}
    assert all("no chain of votes" in item.reason for item in found)


def test_a_picture_that_is_never_named_has_no_number_either():
    scale = score_pictures(votes(NEAR + [(0, 2, 0), (2, 0, 2)] * 6))
    assert scale.score("far").damage is None
    assert "all go one way" in scale.score("far").reason
    assert scale.score("far").lower_bound is None


def test_one_lapse_against_many_does_not_make_a_number_of_a_runaway():
    rows = NEAR + FAR * 10 + [(0, 2, 0)]
    traps = [(0, 4, 2)] * 95 + [(0, 4, 0)] * 5
    codes = votes(rows + traps, kinds=[0] * len(rows) + [1] * len(traps))
    far = score_pictures(codes).score("far")
    assert far.damage is None and "too far above the threshold" in far.reason


def test_only_not_sure_is_said():
    codes = votes([(0, 1, 1)] * 20)
    assert nothing_decided(codes)
    scale = score_pictures(codes)
    assert scale.fit is None and "Everybody was not sure" in scale.problem
    assert scale.score("near").damage is None


def test_identical_pictures_score_zero_within_their_interval():
    rng = np.random.default_rng(0)
    y = rng.standard_normal(400)
    rows = [(0, 1, 2 if v > 0.3 else 0 if v < -0.3 else 1) for v in y]
    near = score_pictures(votes(rows, people=20)).score("near")
    assert near.low < 0 < near.high


def test_the_bound_counts_clusters_not_votes():
    few, many = votes(FAR, people=2), votes(FAR, people=7)
    assert named_bound(few, 2) < named_bound(many, 2)
    assert named_bound(few, 2) == pytest.approx(named_bound(votes(FAR * 5, people=2), 2))
