"""Flashes of WCAG 2.3.1, on crops with planted changes: contrast, darkness, red, and the area in a field of vision."""

from __future__ import annotations

import numpy as np
import pytest

from qsched.errors import InputError
from study_server.media.flashes import FIELD, LARGEST_AREA, flash_area, flashing, is_small
from tests.study_server.test_fidelity import SMALL


def grey(value: int, size: int = 40) -> np.ndarray:
    return np.full((size, size, 3), value, np.uint8)


def coloured(red: int, green: int, blue: int, size: int = 40) -> np.ndarray:
    return np.broadcast_to(np.array([red, green, blue], np.uint8), (size, size, 3)).copy()


def code(luminance: float) -> int:
    """The grey level of a relative luminance."""
    return round(255 * max(0.0, 1.055 * luminance ** (1 / 2.4) - 0.055))


@pytest.mark.parametrize(
    ("before", "after", "flashes"),
    [
        (0.30, 0.41, True),
        (0.30, 0.39, False),  # less than a tenth of the maximum
        (0.0, 0.11, True),
        (0.82, 0.99, False),  # the darker state is not below 0.80
        (0.78, 0.99, True),
    ],
)
def test_a_general_flash_is_a_tenth_of_the_luminance_with_the_darker_state_below_eight_tenths(before, after, flashes):
    one, other = grey(code(before)), grey(code(after))
    assert flashing(one, other).all() == flashes and flashing(other, one).any() == flashes


def test_a_saturated_red_flashes_though_its_luminance_hardly_changes():
    red, dark_grey = coloured(160, 0, 0), grey(95)
    assert flashing(red, dark_grey).all(), "the same luminance, but to and from red"
    assert not flashing(coloured(0, 0, 160), coloured(0, 60, 0)).any(), "blue and green are no red"
    assert not flashing(coloured(160, 0, 0), coloured(170, 0, 0)).any(), "one red and another of the same hue"
    assert not flashing(grey(0), grey(20)).any(), "black has no hue"


def test_the_area_is_that_of_the_fullest_field_and_both_pictures_count():
    base, spot = grey(60, 200), grey(60, 200)
    spot[10:30, 10:30] = 255
    assert flash_area(base, (base, base), zoom=4) == 0
    assert flash_area(base, (spot, base), zoom=1) == pytest.approx(400)
    assert flash_area(base, (spot, base), zoom=3) == pytest.approx(3600)
    assert flash_area(base, (spot, spot), zoom=3) == pytest.approx(7200)
    assert is_small(flash_area(base, (spot, spot), zoom=5)) and not is_small(flash_area(base, (spot, spot), zoom=6))
    assert flash_area(base, (grey(255, 200), base), zoom=8) == FIELD[0] * FIELD[1], "no more than the field"
    apart = grey(60, 200)
    apart[:10, :10] = apart[-10:, -10:] = 255
    assert flash_area(base, (apart, base), zoom=4) == pytest.approx(1600), "the corners are in no field together"


def test_without_a_zoom_anything_that_flashes_may_fill_the_field():
    base, spot = grey(60), grey(60)
    spot[0, 0] = 255
    assert flash_area(base, (spot, base), zoom=None) > LARGEST_AREA
    assert is_small(flash_area(base, (grey(70), base), zoom=None)), "below the contrast threshold everywhere"


def test_a_faster_flicker_without_consent_is_refused_where_flashes_are_large(make_fidelity, small_image_set):
    boost = {"rate_hz": 5, "zoom": 8, "crop": 32}
    with pytest.raises(InputError, match=r"boosted triplets flash on more than a quarter of a 10 degree field"):
        make_fidelity(small_image_set, fidelity=SMALL | {"boost": boost})
    made = make_fidelity(small_image_set, fidelity=SMALL | {"boost": boost | {"faster_flicker": True}})
    assert made.large_flashes > 0, "allowed behind consent, and stated"


def test_a_faster_flicker_of_small_flashes_needs_no_consent(make_fidelity, small_image_set):
    """At zoom 1 the crops of this set are smaller than a quarter of a field, whatever flashes in them."""
    made = make_fidelity(small_image_set, fidelity=SMALL | {"boost": {"rate_hz": 5, "zoom": 1, "crop": 32}})
    assert made.large_flashes == 0
