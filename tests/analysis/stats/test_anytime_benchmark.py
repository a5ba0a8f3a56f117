"""The benchmark of ten thousand looks looks as `winrates --sequential` does."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.stats import count_codes
from analysis.stats.sequential import anytime_half_width, look_at
from benchmarks import anytime

ARMS = tuple(f"a{number}" for number in range(anytime.K))


@pytest.mark.parametrize("prompts", anytime.PROMPTS)
def test_its_differences_and_bounds_are_those_of_the_analysis(prompts: int):
    people = 400
    prompt, first, second, wins = anytime.draw(people, prompts, 3)
    difference, spread = anytime.looks(prompt, first, second, wins, prompts)
    half = anytime_half_width(spread, 0.05 / 15).reshape(difference.shape)
    for came in (150, people):
        who = np.repeat(np.arange(came), anytime.EACH)
        counts = count_codes(
            first[:came].ravel(),
            second[:came].ravel(),
            np.where(wins[:came].ravel(), 0, 1),
            arms=ARMS,
            annotator=who,
            prompt=prompt[:came].ravel(),
        )
        real = look_at(counts)
        assert real is not None
        at = came - anytime.FIRST
        # On the scale of the interval: the first Newton step leaves out what is cubic in small differences.
        width = (real.high - real.low) / 2
        assert np.abs(difference[at] - real.difference).max() < 0.03 * width.min()
        assert half[at] == pytest.approx(width, rel=0.08)
        assert half[at].mean() == pytest.approx(width.mean(), rel=0.04)


def test_a_lower_bound_is_rounded_down():
    """199 of 200 studies show 97.65 %, which was published as at least 0.977."""
    where = {"commit": "c", "python": "3", "versions": {"numpy": "2"}}
    held = {"200": {"held": 0.995, "se": 0.005}}
    text = anytime.render({"machine": where, "studies": 200, "people": 10_019, "held": held})
    assert anytime.least(0.995, 200) == pytest.approx(0.97650, abs=1e-5)
    assert "| 200 | 200 | 10,000 | 0.995 (0.005) | 0.976 |" in text
