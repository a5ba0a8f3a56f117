"""The ground-truth check: right pictures pass, wrong ones fail, damage lowers the score."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from PIL import Image, ImageFilter

from qsched.tiny.domain import (
    Nuisance,
    PromptError,
    Scene,
    caption,
    check,
    parse,
    render,
    sample_nuisance,
    sample_scene,
)
from qsched.tiny.scene import BACKGROUNDS, COLOURS, POSITIONS, RELATIONS, SHAPES, SIZES, TEXTURES


@cache
def _pictures(count: int, seed: int = 11) -> list[tuple[Scene, Image.Image]]:
    rng = np.random.default_rng(seed)
    scenes = [sample_scene(rng, split="held_out" if i % 2 else "train") for i in range(count)]
    return [(scene, render(scene, sample_nuisance(rng))) for scene in scenes]


@pytest.mark.slow
def test_clean_renders_pass() -> None:
    failed = [caption(scene) for scene, picture in _pictures(400) if not check(picture, caption(scene)).passed]
    assert len(failed) <= 2, failed


def test_every_combination_of_shape_colour_and_texture_passes_at_both_sizes() -> None:
    failed = []
    for i, shape in enumerate(SHAPES):
        for j, colour in enumerate(COLOURS):
            texture, size = TEXTURES[(i + j) % 4], SIZES[(i // 2 + j) % 2]
            prompt = f"a {size} {colour} {texture} {shape} in the center on a {BACKGROUNDS[(i + j) % 6]} background"
            scene = parse(prompt.replace(" plain", ""))
            if not check(render(scene, Nuisance()), caption(scene)).passed:
                failed.append(prompt)
    assert not failed


SWAPS = {
    "colour": COLOURS,
    "shape": SHAPES,
    "size": SIZES,
    "texture": TEXTURES,
    "background": BACKGROUNDS,
    "position": POSITIONS,
    "relation": RELATIONS,
}


@cache
def _own_score(number: int) -> float:
    """The score of a picture of the next test for its own prompt, which all attributes are compared with."""
    scene, picture = _pictures(160, seed=14)[number]
    return check(picture, caption(scene)).score


@pytest.mark.slow
@pytest.mark.parametrize("attribute", sorted(SWAPS))
def test_a_picture_fails_a_prompt_with_one_wrong_word(attribute: str) -> None:
    rng = np.random.default_rng(13)
    tried = passed = 0
    for number, (scene, picture) in enumerate(_pictures(160, seed=14)):
        other = str(rng.choice(SWAPS[attribute]))
        if attribute in ("background", "position", "relation"):
            if getattr(scene, attribute) in (None, other):
                continue
            wrong = replace(scene, **{attribute: other})
        else:
            if getattr(scene.first, attribute) == other or (
                attribute == "colour" and scene.second is not None and scene.second.colour == other
            ):
                continue
            wrong = replace(scene, first=replace(scene.first, **{attribute: other}))
        tried += 1
        result = check(picture, caption(wrong))
        passed += result.passed
        assert result.score < _own_score(number)
    assert tried >= 40
    assert passed <= 0.02 * tried, f"{passed} of {tried} pictures passed with a wrong {attribute}"


def test_exchanged_objects_fail() -> None:
    for scene, picture in _pictures(80, seed=15):
        if scene.second is not None:
            exchanged = replace(scene, first=scene.second, second=scene.first)
            assert not check(picture, caption(exchanged)).passed


def test_the_verdict_names_the_wrong_part() -> None:
    picture = render(parse("a large red circle in the center on a white background"), Nuisance())
    blue = check(picture, "a large blue circle in the center on a white background").parts
    assert blue["colour"] is False and blue["shape"] is True and blue["background"] is True
    square = check(picture, "a large red square in the center on a white background").parts
    assert square["shape"] is False and square["colour"] is True


def test_an_empty_picture_and_pure_noise_fail_with_a_score_near_zero() -> None:
    rng = np.random.default_rng(16)
    prompt = "a large red circle in the center on a white background"
    noise = Image.fromarray(rng.integers(0, 256, (128, 128, 3), dtype=np.uint8))
    for picture in (Image.new("RGB", (128, 128), (236, 236, 234)), Image.new("RGB", (128, 128)), noise):
        result = check(picture, prompt)
        assert not result.passed and result.score < 0.1


def _noisy(picture: Image.Image, strength: float) -> Image.Image:
    pixels = np.asarray(picture, dtype=np.float32)
    noise = np.random.default_rng(17).normal(size=pixels.shape) * strength
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


def _ragged(picture: Image.Image, strength: float) -> Image.Image:
    shifts = np.random.default_rng(18).normal(size=(2, 20, 20)).astype(np.float32) * strength
    dy, dx = (np.asarray(Image.fromarray(s).resize((128, 128), Image.Resampling.BICUBIC)) for s in shifts)
    y, x = np.mgrid[0:128, 0:128]
    pixels = np.asarray(picture)
    return Image.fromarray(pixels[np.clip(y + dy, 0, 127).astype(int), np.clip(x + dx, 0, 127).astype(int)])


def _drifted(picture: Image.Image, strength: float) -> Image.Image:
    pixels = np.asarray(picture, dtype=np.float32) + np.array([1.0, -0.5, -0.5]) * strength
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


@cache
def _undamaged_mean() -> float:
    """The mean score of the next test's pictures, which all damages are compared with."""
    return float(np.mean([check(picture, caption(scene)).score for scene, picture in _pictures(24, seed=19)]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "strengths"),
    [
        (_noisy, (5, 12, 30)),
        (_ragged, (1.2, 2.5, 5)),
        (_drifted, (12, 30, 70)),
        (lambda picture, radius: picture.filter(ImageFilter.GaussianBlur(radius)), (0.9, 1.8, 3.5)),
    ],
    ids=["noise", "ragged edges", "colour drift", "blur"],
)
def test_the_mean_score_falls_with_every_damage_and_its_strength(damage, strengths) -> None:
    pictures = _pictures(24, seed=19)
    means = [_undamaged_mean()]
    for strength in strengths:
        means.append(np.mean([check(damage(picture, strength), caption(scene)).score for scene, picture in pictures]))
    assert means[0] > 0.97
    assert all(a > b + 0.003 for a, b in itertools.pairwise(means)), means
    assert means[-1] < 0.8


def test_a_picture_of_another_size_and_a_foreign_prompt_are_errors() -> None:
    picture = Image.new("RGB", (64, 64))
    with pytest.raises(ValueError, match="64x64"):
        check(picture, "a small red ring on the left on a white background")
    with pytest.raises(PromptError):
        check(Image.new("RGB", (128, 128)), "a photo of a cat")
