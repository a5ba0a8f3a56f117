"""Where pictures differ: small damage is not taken for other content, other content is, and the crop covers it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from study_server.media.boosting import boost, degrade
from study_server.media.difference import Crop, box_means, largest_difference, measure_difference
from study_server.studies.fidelity import Fidelity

LIMIT = Fidelity().content_limit


def scene(size: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    picture = Image.new("RGB", (size, size), (150, 170, 190))
    draw = ImageDraw.Draw(picture)
    for _ in range(12):
        x, y = rng.integers(0, size, 2)
        r = rng.integers(size // 20, size // 5)
        colour = tuple(int(v) for v in rng.integers(30, 230, 3))
        (draw.ellipse if rng.random() < 0.5 else draw.rectangle)([x - r, y - r, x + r, y + r], fill=colour)
    values = np.asarray(picture, dtype=float) + np.linspace(-20, 20, size)[:, None, None]
    return (values + rng.normal(0, 3, (size, size, 1))).clip(0, 255).astype(np.uint8)


def u8(values) -> np.ndarray:
    return np.clip(values, 0, 255).astype(np.uint8)


def jpeg(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "jpeg", quality=20)
    return np.asarray(Image.open(buffer))


DAMAGE = {
    "grain": lambda a: u8(a + np.random.default_rng(1).normal(0, 20, a.shape)),
    "heavy grain": lambda a: u8(a + np.random.default_rng(1).normal(0, 40, a.shape)),
    "blur": lambda a: np.asarray(Image.fromarray(a).filter(ImageFilter.GaussianBlur(1))),
    "colour cast": lambda a: u8(a + np.array([15.0, 0, -15])),
    "darker": lambda a: u8(a * 0.8),
    "JPEG at quality 20": jpeg,
    "eight grey levels": lambda a: u8(np.round(a / 32.0) * 32),
    "a shift by one pixel": lambda a: np.roll(a, 1, 1),
}


def finger(pixels, share, colour=(200, 150, 120)):
    picture = Image.fromarray(pixels)
    size = pixels.shape[0]
    width = size * share
    ImageDraw.Draw(picture).rounded_rectangle(
        [size * 0.4, size * 0.3, size * 0.4 + width, size * 0.3 + 4 * width], radius=width / 2, fill=colour
    )
    return np.asarray(picture)


def moved(pixels):
    out, side = pixels.copy(), pixels.shape[0] // 8
    out[-side:, -side:] = pixels[:side, :side]
    return out


CONTENT = {
    "a finger, 4 % wide": lambda a: finger(a, 0.04),
    "a pale finger, 4 % wide": lambda a: finger(a, 0.04, (165, 165, 165)),
    "a finger, 8 % wide": lambda a: finger(a, 0.08),
    "another corner": moved,
}


@pytest.mark.parametrize("size", [64, 256])
@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_not_taken_for_other_content(name, size):
    reference = scene(size)
    assert measure_difference(reference, DAMAGE[name](reference)).spot < LIMIT


@pytest.mark.parametrize("size", [64, 256])
@pytest.mark.parametrize("name", CONTENT)
def test_other_content_is_noticed(name, size):
    reference = scene(size, seed=1)
    assert measure_difference(reference, CONTENT[name](reference)).spot > LIMIT


def test_the_crop_lies_on_the_largest_difference_and_is_at_most_half_the_picture():
    reference = scene(128)
    test = reference.copy()
    test[70:80, 20:30] += 9
    crop = largest_difference([measure_difference(reference, test).map], most=192)
    assert (crop.width, crop.height) == (64, 64)
    assert crop.y <= 70 and crop.y + 64 >= 80 and crop.x <= 20 and crop.x + 64 >= 30


def test_box_means_are_those_of_the_slow_way():
    values = np.random.default_rng(0).random((9, 7)).astype(np.float32)
    slow = [[values[y : y + 3, x : x + 2].mean() for x in range(6)] for y in range(7)]
    assert box_means(values, height=3, width=2) == pytest.approx(np.array(slow), abs=1e-6)


def test_the_difference_is_amplified_about_the_reference_and_clipping_is_counted():
    reference = np.full((20, 20, 3), 100, dtype=np.uint8)
    brighter, brightest = reference + 10, reference + 100
    crop = Crop(4, 4, 8, 8)
    made = boost(reference, (brighter, brightest), crop=crop, factor=3)
    assert (made.reference == 100).all() and made.reference.shape == (8, 8, 3)
    assert (made.tests[0] == 130).all()
    assert (made.tests[1] == 255).all()
    assert made.clipped == pytest.approx(0.5)  # all of one test picture's values, none of the other's
    assert (boost(reference, (reference, brighter), crop=crop, factor=7).tests[0] == reference[:8, :8]).all()


def test_a_made_trap_is_far_from_any_reference():
    for pixels in (scene(64), np.zeros((64, 64, 3), np.uint8), np.full((48, 80, 3), 255, np.uint8)):
        assert measure_difference(pixels, degrade(pixels)).mean > 0.15
