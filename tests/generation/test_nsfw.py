"""Pictures that a checker of the user's flags: a stratum of its own, counted, left out only if that is asked for."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from qsched.cli.main import app
from qsched.errors import InputError
from qsched.generation.nsfw import load_checker
from qsched.records.curation import Stratum, count_words, read_curation
from tests.conftest import write_image_set


@pytest.fixture(scope="module")
def checkers(tmp_path_factory):
    """Folders of tiny checkers with random weights: a classifier, and diffusers' own."""
    import torch
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor, ViTConfig, ViTForImageClassification, ViTImageProcessor

    root = tmp_path_factory.mktemp("checkers")
    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    labels = {0: "normal", 1: "nsfw"}
    classifier = ViTForImageClassification(
        ViTConfig(**small, image_size=32, patch_size=16, id2label=labels, label2id={v: k for k, v in labels.items()})
    )
    classifier.save_pretrained(root / "classifier")
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(root / "classifier")
    vision = {**small, "image_size": 32, "patch_size": 16}
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, text_config=small, projection_dim=8))
    for name in ("concept_embeds", "special_care_embeds"):
        getattr(checker, name).data.normal_()
    checker.concept_embeds_weights.data.fill_(-1.0)  # below every cosine: all are flagged
    checker.save_pretrained(root / "safety")
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(
        root / "safety"
    )
    return root


@pytest.fixture
def images(tmp_path):
    return write_image_set(tmp_path / "set", prompts=2, arms=("a", "b"), size=32)


def pairs(*arguments):
    answer = CliRunner().invoke(app, ["pairs", *map(str, arguments)])
    assert answer.exit_code == 0, answer.output
    return answer.output


def test_flagged_pairs_are_counted_shown_unless_left_out_and_say_why(checkers, images) -> None:
    output = pairs(images, "--nsfw", checkers / "safety")
    assert "flagged: 4 pictures by the checker" in output and "are shown unless you add --leave-out flagged" in output
    found = read_curation(images).pairs.values()
    assert {pair.stratum for pair in found} == {Stratum.FLAGGED} and all(pair.use for pair in found)
    assert all("a is flagged: by the safety checker; b is flagged" in pair.why for pair in found)
    pairs(images, "--nsfw", checkers / "safety", "--leave-out", "flagged")
    assert not any(pair.use for pair in read_curation(images).pairs.values())


def test_a_classifier_flags_by_its_labels_and_the_limit(checkers, images) -> None:
    assert "flagged: 4 pictures" in pairs(images, "--nsfw", checkers / "classifier", "--nsfw-least", "0")
    assert "flagged: 0 pictures" in pairs(images, "--nsfw", checkers / "classifier", "--nsfw-least", "1")
    with pytest.raises(InputError, match=r"its labels are normal, nsfw; name those that are unsafe"):
        load_checker(checkers / "classifier", labels=["gore"])


def test_labels_that_do_not_exclude_each_other_have_a_probability_each(checkers, images, tmp_path) -> None:
    from transformers import ViTForImageClassification, ViTImageProcessor

    kept = {"num_labels": 1, "id2label": {0: "nsfw"}, "label2id": {"nsfw": 0}, "ignore_mismatched_sizes": True}
    model = ViTForImageClassification.from_pretrained(checkers / "classifier", **kept)
    model.classifier.bias.data.fill_(-5.0)
    model.save_pretrained(tmp_path / "one")
    ViTImageProcessor.from_pretrained(checkers / "classifier").save_pretrained(tmp_path / "one")
    assert "flagged: 0 pictures" in pairs(images, "--nsfw", tmp_path / "one")


@pytest.mark.parametrize("option", [("--near", "cvvdp"), ("--visible-first", "cvvdp"), ("--nsfw", "nowhere")])
def test_an_option_is_refused_before_a_picture_is_read(option, tmp_path) -> None:
    answer = CliRunner().invoke(app, ["pairs", str(tmp_path / "no-set"), *option])
    assert isinstance(answer.exception, InputError) and option[0] in str(answer.exception)


@pytest.mark.parametrize("option", [("--nsfw-labels", "gore"), ("--nsfw-least", "0.2")])
def test_an_option_of_a_checker_without_one_is_refused(option, checkers, images) -> None:
    answer = CliRunner().invoke(app, ["pairs", str(images), *option])
    assert isinstance(answer.exception, InputError) and str(answer.exception).startswith(f"{option[0]} is for")
    answer = CliRunner().invoke(app, ["pairs", str(images), "--nsfw", str(checkers / "safety"), *option])
    assert isinstance(answer.exception, InputError) and "thresholds of its own" in str(answer.exception)
    assert not (images / "pairs.csv").exists()


def test_a_folder_that_is_no_checker_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match=r"--nsfw .*: it has no readable config\.json"):
        load_checker(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["Nothing"]}))
    with pytest.raises(InputError, match="cannot be loaded"):
        load_checker(tmp_path)


def test_counts_are_read_aloud() -> None:
    counts = {"identical": 1203, "near-identical, not drawn": 4}
    assert count_words(counts) == "1,203 identical, 4 near-identical (not drawn)"
