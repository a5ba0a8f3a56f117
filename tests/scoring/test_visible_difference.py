"""cvvdp, FLIP and SSIMULACRA2: planted differences, a display that matters, and pictures that are too small."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from qsched.errors import InputError
from qsched.scoring import ScoringError
from qsched.scoring.visible_difference import DISPLAYS, NAMES, load_visible_difference


def smooth(seed: int, size: int = 96) -> Image.Image:
    """A picture with structure at several scales."""
    rng = np.random.default_rng(seed)
    layers = [
        np.asarray(
            Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).resize((size, size)), dtype=float
        )
        for side in (4, 12, 32)
    ]
    return Image.fromarray((0.6 * layers[0] + 0.3 * layers[1] + 0.1 * layers[2]).astype(np.uint8))


def noisy(image: Image.Image, sd: float) -> Image.Image:
    pixels = np.asarray(image, dtype=float)
    return Image.fromarray((pixels + np.random.default_rng(9).normal(0, sd, pixels.shape)).clip(0, 255).astype("uint8"))


@pytest.mark.parametrize("name", NAMES)
def test_the_same_is_perfect_and_more_noise_is_always_worse(name):
    metric = load_visible_difference(name)
    twin = smooth(1)
    scores = metric.score_against([twin, *(noisy(twin, sd) for sd in (3, 9, 27))], [twin] * 4)
    perfect = {"cvvdp": 10.0, "flip": 0.0, "ssimulacra2": 100.0}[name]
    assert scores[0] == pytest.approx(perfect, abs=1e-4)
    assert scores == sorted(scores, reverse=metric.info.higher_is_better)
    assert len({round(score, 3) for score in scores}) == 4


@pytest.mark.parametrize("name", ["cvvdp", "flip"])
def test_smaller_pixels_hide_a_fine_difference(name):
    twin = smooth(2)
    near, far = (load_visible_difference(name, display=d) for d in ("standard_fhd", "standard_phone"))
    (seen,), (hidden,) = (metric.score_against([noisy(twin, 12)], [twin]) for metric in (near, far))
    assert (seen < hidden) if near.info.higher_is_better else (seen > hidden)
    assert "standard_fhd" in near.info.version and "pixels per degree" in near.info.version


def test_the_displays_are_those_of_cvvdp():
    import pycvvdp

    for display in DISPLAYS.values():
        geometry = pycvvdp.vvdp_display_geometry.load(display.name)
        assert display.ppd == pytest.approx(float(geometry.get_ppd()), rel=1e-4)
    with pytest.raises(InputError, match=r"display 'cinema' is unknown; choose one of standard_fhd \(24 inches"):
        load_visible_difference("flip", display="cinema")


def test_a_picture_too_small_for_ssimulacra2_is_an_error_and_not_the_same():
    metric = load_visible_difference("ssimulacra2")
    black, white = Image.new("RGB", (6, 40)), Image.new("RGB", (6, 40), "white")
    with pytest.raises(ScoringError, match="it needs 8x8 pixels"):
        metric.score_against([white], [black])
