"""The procedural domain: its grammar, its split, its prompt files, its pictures."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from qsched.errors import InputError, QschedError
from qsched.tiny import load_prompts, model_path, prompts_path
from qsched.tiny.domain import (
    CATEGORIES,
    Nuisance,
    PromptError,
    Scene,
    SceneError,
    Thing,
    caption,
    category,
    parse,
    render,
    sample_nuisance,
    sample_scene,
    split_of,
)
from qsched.tiny.prompt_sets import COUNTS, draw_prompt_sets
from qsched.tiny.scene import COLOURS, SHAPES, TEXTURES


def test_a_scene_survives_the_way_to_english_and_back() -> None:
    rng = np.random.default_rng(1)
    for split in ("train", "held_out"):
        for _ in range(400):
            scene = sample_scene(rng, split=split)
            assert parse(caption(scene)) == scene


def test_case_spaces_and_a_full_stop_do_not_change_the_scene() -> None:
    plain = parse("a small red striped ring in the top left on a white background")
    assert parse("  A small red  striped ring in the TOP left on a white background. ") == plain


@pytest.mark.parametrize(
    ("prompt", "word"),
    [
        ("a photo of a cat", "a photo of a cat"),
        ("a red ring in the top left on a white background", "a red ring"),
        ("a small red ring in the middle on a white background", "in the middle"),
        ("a small red ring left of a large red star on a white background", "red"),
        ("", "''"),
        ("a small red ring in the top left on a white background and more", "and more"),
    ],
)
def test_a_prompt_outside_the_grammar_is_an_error_that_shows_it(prompt: str, word: str) -> None:
    with pytest.raises(PromptError, match=r"write 'a|differ in colour") as caught:
        parse(prompt)
    assert word in str(caught.value)
    assert isinstance(caught.value, QschedError), "the command line must show it without a traceback"


@pytest.mark.parametrize(
    "change",
    [{"position": None}, {"relation": "left of"}, {"background": "plaid"}, {"position": "nowhere"}],
)
def test_a_contradictory_scene_cannot_be_made(change: dict[str, str | None]) -> None:
    scene = parse("a small red ring in the top left on a white background")
    with pytest.raises(SceneError):
        replace(scene, **change)


def test_the_splits_are_disjoint_and_the_sampler_keeps_to_them() -> None:
    rng = np.random.default_rng(2)
    seen = {split: {caption(sample_scene(rng, split=split)) for _ in range(1500)} for split in ("train", "held_out")}
    assert not seen["train"] & seen["held_out"]
    for split, captions in seen.items():
        assert {split_of(parse(text)) for text in captions} == {split}


def test_training_shows_every_word_but_never_a_reserved_combination() -> None:
    rng = np.random.default_rng(3)
    scenes = [sample_scene(rng, split="train") for _ in range(6000)]
    pairs = {(thing.shape, thing.colour) for scene in scenes for thing in scene.things}
    assert {shape for shape, _ in pairs} == set(SHAPES)
    assert {colour for _, colour in pairs} == set(COLOURS)
    assert len(pairs) == 56, "8 of the 64 combinations of shape and colour are held out"
    assert {thing.texture for scene in scenes for thing in scene.things} == set(TEXTURES)


def test_both_splits_have_half_relations_and_all_categories() -> None:
    rng = np.random.default_rng(4)
    for split in ("train", "held_out"):
        found = [category(sample_scene(rng, split=split)) for _ in range(2000)]
        assert set(found) == set(CATEGORIES)
        assert 0.45 < sum(name.startswith("relation") for name in found) / len(found) < 0.55


def test_the_shipped_prompts_are_what_the_script_draws_held_out_and_disjoint() -> None:
    shipped = {name: load_prompts(prompts_path(name)) for name in COUNTS}
    assert shipped == draw_prompt_sets()
    assert {name: len(prompts) for name, prompts in shipped.items()} == COUNTS
    everything = [prompt for prompts in shipped.values() for prompt in prompts.values()]
    assert len(set(everything)) == len(everything)
    assert {split_of(parse(prompt)) for prompt in everything} == {"held_out"}
    for prompts in shipped.values():
        assert all(key.rpartition("-")[0] == category(parse(prompt)) for key, prompt in prompts.items())


def test_an_unknown_model_or_prompt_set_names_the_choices() -> None:
    with pytest.raises(InputError, match="tiny-flux, tiny-sdxl, tiny-clip"):
        model_path("tiny-dalle")
    with pytest.raises(InputError, match="demo, eval, calibration"):
        prompts_path("test")


def test_a_picture_is_a_function_of_scene_and_nuisance() -> None:
    rng = np.random.default_rng(5)
    scene, nuisance = sample_scene(rng, split="train"), sample_nuisance(rng)
    first, again = render(scene, nuisance), render(scene, nuisance)
    assert first.size == (128, 128) and first.mode == "RGB"
    assert first.tobytes() == again.tobytes()
    assert render(scene, sample_nuisance(rng)).tobytes() != first.tobytes()


def test_every_nuisance_that_concerns_a_scene_changes_its_picture() -> None:
    scene = parse("a large red striped ring left of a large blue dotted star on a sand background")
    usual = render(scene, Nuisance()).tobytes()
    for name in Nuisance.__dataclass_fields__:
        assert render(scene, Nuisance(**{name: 0.9})).tobytes() != usual, name


def test_a_nuisance_outside_its_range_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"light=1\.5"):
        Nuisance(light=1.5)


def test_two_objects_of_one_relation_stay_in_their_halves() -> None:
    far = Nuisance(dx_first=1.0, dx_second=0.0, scale_first=1.0, scale_second=1.0)
    thing = Thing("large", "red", "plain", "square")
    scene = Scene(first=thing, second=replace(thing, colour="blue"), relation="left of", background="white")
    pixels = np.asarray(render(scene, far)).astype(int)
    red, blue = pixels[..., 0] - pixels[..., 2] > 90, pixels[..., 2] - pixels[..., 0] > 90
    assert np.nonzero(red)[1].max() < 64 <= np.nonzero(blue)[1].min()


def test_the_domain_needs_no_torch() -> None:
    code = (
        "import sys, qsched.tiny, qsched.tiny.domain, qsched.tiny.prompt_sets\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'open_clip', 'scipy'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
