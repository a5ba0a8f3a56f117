"""Observers at the page of a fidelity study: what is served decides, and nothing else."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from qsched.errors import InputError
from qsched.simulation import ObserverPopulation, TripletPanel, draw_observers


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), value, dtype=np.uint8)).save(buffer, "png")
    return buffer.getvalue()


def panel(**population) -> TripletPanel:
    made = ObserverPopulation(gain=1.0, **population)
    return TripletPanel(draw_observers(4, population=made, rng=np.random.default_rng(0)), made, one_jnd=0.1)


def answers(people: TripletPanel, left: int, right: int, n: int = 300) -> list[str]:
    rng = np.random.default_rng(1)
    pictures = {"reference": png(100), "left": png(left), "right": png(right)}
    return [people.answer(k % 4, **pictures, boosted=False, rng=rng).value for k in range(n)]


def test_damage_is_the_difference_on_the_screen_in_jnd():
    assert panel().damage(png(100), png(100)) == 0
    assert panel().damage(png(100), png(151)) == pytest.approx(51 / 255 / 0.1)


def test_the_picture_that_differs_more_is_named_and_equal_ones_leave_people_unsure():
    careful = panel(lapse_mean=0.0, side_sd=0.0, plain_threshold=0.5)
    assert answers(careful, 100, 255).count("right") > 290
    assert answers(careful, 255, 100).count("left") > 290
    equal = answers(careful, 110, 110)
    assert equal.count("tie") > 60 and abs(equal.count("left") - equal.count("right")) < 60


def test_one_jnd_is_a_share_of_the_range():
    people = panel()
    with pytest.raises(InputError, match="share of the range"):
        TripletPanel(people.people, people.population, one_jnd=0)
