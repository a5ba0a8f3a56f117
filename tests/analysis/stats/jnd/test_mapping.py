"""The map from boosted to plain JND, and the bound that carries its uncertainty."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.stats.errors import AnalysisError
from analysis.stats.jnd.mapping import check_map, map_votes, mapped_bound
from analysis.triplets import BOOSTED, PLAIN
from benchmarks.certificate_studies import REFERENCE, Comparison, ladder_damage, mixed_design, simulate_study
from qsched.simulation.observers import ObserverPopulation

EVEN = ObserverPopulation(sensitivity_log_sd=0.0, side_sd=0.0, gain=3.0)
RUNGS = (0.5, 1.0, 1.5, 2.0, 2.5)


def study(population: ObserverPopulation, *, votes: int, seed: int = 1):
    rng = np.random.default_rng(seed)
    damage = ladder_damage([*RUNGS, 0.3], 60, rng=rng, spread=0.0)
    names = [*(f"rung{d:g}" for d in RUNGS), "arm"]
    design = mixed_design(
        ["arm"],
        reference_votes=votes,
        rung_votes=votes,
        ladder=names[:-1],
        ladder_votes=votes,
        plain={"rung0.5": 4 * votes, "rung2.5": 2 * votes},
    )
    design += [Comparison(REFERENCE, "rung0.5", BOOSTED, votes), Comparison(REFERENCE, "arm", PLAIN, 50)]
    return simulate_study(
        design, damage=dict(zip(names, damage, strict=True)), people=60, population=population, rng=rng
    ).codes


def test_a_straight_map_is_found_straight_with_its_gain():
    codes = study(EVEN, votes=1200)
    found = check_map(codes, "arm", spread=0.0)
    assert found.straight and found.reason == ""
    assert found.exponent == pytest.approx(1.0, abs=0.12)
    assert found.gain == pytest.approx(3.0, abs=0.35)
    bound = mapped_bound(codes, "arm", spread=0.0)
    assert bound.damage == pytest.approx(0.3, abs=0.06)
    assert bound.damage < bound.upper < 0.5


@pytest.mark.parametrize("exponent", [1.5, 0.65])
def test_a_bent_map_is_noticed(exponent: float):
    population = ObserverPopulation(**EVEN.as_dict() | {"exponent": exponent})
    found = check_map(study(population, votes=1200), "arm", spread=0.0)
    assert not found.straight and "the map is bent" in found.reason
    assert found.exponent == pytest.approx(exponent, abs=0.2)


def test_few_votes_cannot_tell_whether_the_map_is_straight():
    found = check_map(study(EVEN, votes=60), "arm", spread=0.0)
    assert not found.straight
    assert "cannot tell" in found.reason or "bent" in found.reason


def test_the_arms_own_plain_votes_never_enter_its_map():
    codes = study(EVEN, votes=200)
    k = codes.picture("arm")
    own = ((codes.left == k) | (codes.right == k)) & (codes.presentation == PLAIN) & (codes.kind == 0)
    assert own.sum() == 50
    without = codes.where(~own)
    assert mapped_bound(codes, "arm") == mapped_bound(without, "arm")
    assert not ((map_votes(codes, "arm").left == k) | (map_votes(codes, "arm").right == k)).any()
    only_arm = codes.where((codes.left == k) | (codes.right == k) | (codes.kind == 1))
    with pytest.raises(AnalysisError, match="other than the arm"):
        check_map(only_arm, "arm")
