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
