"""CLIPScore, CLIP-IQA, HPSv2.1 and PickScore against their formulas and against other implementations."""

from __future__ import annotations

import shutil
from pathlib import Path

import open_clip
import pytest
import torch
from PIL import Image

from qsched.errors import InputError
from qsched.scoring import ScoringError, load_scorer
from qsched.scoring.clip_model import load_clip
from qsched.scoring.clip_scorers import ClipIqa, ClipScore
from qsched.scoring.preference_scorers import HpsV21, PickScore
from tests.scoring.pictures import PROMPTS, picture


def plain_open_clip(
    folder: Path, images: list[Image.Image], prompts: list[str]
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Unit features made with open_clip's public calls alone, image by image."""
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(prompts)
    with torch.no_grad():
        image = torch.cat([model.encode_image(preprocess(one)[None], normalize=True) for one in images])
        return image, model.encode_text(tokens, normalize=True), float(model.logit_scale.exp())


def test_clipscore_is_two_and_a_half_times_the_positive_cosine(clip_folder, pictures):
    image, text, _ = plain_open_clip(clip_folder, pictures, PROMPTS)
    expected = [2.5 * max(0.0, float(i @ t)) for i, t in zip(image, text, strict=True)]
    scores = ClipScore(clip_folder, batch_size=3).score(pictures, PROMPTS)
    assert scores == pytest.approx(expected, abs=1e-6)
    assert len({round(score, 6) for score in scores}) > 1


def test_every_image_is_scored_against_its_own_prompt_whatever_the_batch_size(clip_folder, pictures):
    # The released scripts slice batches by their number, so most images are never looked at, and PickScore
    # there meets the first caption only.
    whole = ClipScore(clip_folder, batch_size=100).score(pictures, PROMPTS)
    assert ClipScore(clip_folder, batch_size=3).score(pictures, PROMPTS) == pytest.approx(whole, abs=1e-6)
    single = [ClipScore(clip_folder).score([i], [p])[0] for i, p in zip(pictures, PROMPTS, strict=True)]
    assert single == pytest.approx(whole, abs=1e-6)


def test_clip_iqa_is_the_softmax_share_of_good_photo_and_ignores_the_prompt(clip_folder, pictures):
    image, pair, scale = plain_open_clip(clip_folder, pictures, ["Good photo.", "Bad photo."])
    expected = torch.softmax(scale * image @ pair.T, dim=-1)[:, 0].tolist()
    scorer = ClipIqa(clip_folder, batch_size=2)
    assert scorer.score(pictures, PROMPTS) == pytest.approx(expected, abs=1e-6)
    assert scorer.score(pictures, PROMPTS[::-1]) == scorer.score(pictures, PROMPTS)


def test_hpsv21_reads_the_state_dict_key_and_gives_the_bare_cosine(hps_folder, clip_folder, pictures):
    square = [one.resize((28, 28)) for one in pictures]  # no resizing inside: the two fittings agree
    image, text, _ = plain_open_clip(clip_folder, square, PROMPTS)
    expected = (image * text).sum(-1).tolist()
    assert HpsV21(hps_folder, batch_size=3).score(square, PROMPTS) == pytest.approx(expected, abs=1e-6)


def test_hpsv21_pads_an_oblong_picture_where_clip_crops_it(hps_folder, clip_folder):
    oblong = picture(3, (80, 28))
    hps = load_scorer("hpsv2.1", weights=str(hps_folder)).clip.preprocess(oblong)
    clip = load_clip(clip_folder).preprocess(oblong)
    black = hps[0].min()
    assert bool((hps[0, 0] == black).all()) and not bool((clip[0, 0] == clip[0].min()).all())


def test_pickscore_matches_transformers_on_the_same_checkpoint(pickscore_folder, pictures):
    from transformers import CLIPModel

    reference = CLIPModel.from_pretrained(pickscore_folder).eval()
    scorer = PickScore(pickscore_folder, batch_size=3)
    pixels = torch.stack([scorer.clip.preprocess(one) for one in pictures])
    tokens = open_clip.SimpleTokenizer(context_length=77)(PROMPTS)
    with torch.no_grad():
        out = reference(input_ids=tokens, pixel_values=pixels)
    assert scorer.score(pictures, PROMPTS) == pytest.approx(out.logits_per_image.diagonal().tolist(), abs=1e-4)


def test_a_clip_checkpoint_with_a_tensor_left_over_is_refused(pickscore_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    state = load_file(pickscore_folder / "model.safetensors")
    save_file({**state, "vision_model.extra.weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text((pickscore_folder / "config.json").read_text())
    with pytest.raises(InputError, match=r"vision_model\.extra\.weight"):
        PickScore(tmp_path)


def test_hps_weights_that_do_not_fit_are_refused(hps_folder, tmp_path):
    torch.save({"model": {}}, tmp_path / "HPS_v2.1_compressed.pt")
    with pytest.raises(InputError, match="state_dict"):
        HpsV21(tmp_path)
    with pytest.raises(InputError, match=r"HPS_v2\.1_compressed\.pt"):
        HpsV21(hps_folder.parent)


def test_weight_files_that_are_cut_short_are_refused_with_their_folder(
    clip_folder, hps_folder, pickscore_folder, tmp_path
):
    files = (
        ("clipscore", clip_folder, "open_clip_model.safetensors"),
        ("pickscore", pickscore_folder, "model.safetensors"),
        ("hpsv2.1", hps_folder, "HPS_v2.1_compressed.pt"),
    )
    for name, folder, file in files:
        for size in (0, 5, 300, 20_000):
            copy = shutil.copytree(folder, tmp_path / f"{name}-{size}")
            (copy / file).write_bytes((folder / file).read_bytes()[:size])
            with pytest.raises(InputError, match=f"{name}-{size}"):
                load_scorer(name, weights=str(copy))


@pytest.mark.parametrize("config", ['{"model_cfg": 3}', '{"model_cfg": []}', "[]", "3", '{"model_cfg": {}}', "{"])
def test_a_clip_config_that_describes_no_clip_is_refused(clip_folder, hps_folder, pickscore_folder, tmp_path, config):
    for name, folder, file in (
        ("clipscore", clip_folder, "open_clip_config.json"),
        ("hpsv2.1", hps_folder, "open_clip_config.json"),
        ("pickscore", pickscore_folder, "config.json"),
    ):
        copy = shutil.copytree(folder, tmp_path / name)
        (copy / file).write_text(config)
        with pytest.raises(InputError, match=name):
            load_scorer(name, weights=str(copy))


def test_weights_are_loaded_once(clip_folder, monkeypatch):
    first = load_scorer("clipscore", weights=str(clip_folder))
    monkeypatch.setattr(open_clip, "create_model_and_transforms", None)
    assert load_scorer("clipscore", weights=str(clip_folder)) is first
    assert load_scorer("clip-iqa", weights=str(clip_folder)).clip is first.clip


def test_the_record_names_weights_version_scale_and_direction(clip_folder):
    info = load_scorer("clipscore", weights=str(clip_folder)).info
    assert info.name == "clipscore" and info.higher_is_better and info.weights == str(clip_folder)
    assert open_clip.__version__ in info.version and "sha256" in info.version and "2.5" in info.scale


@pytest.mark.parametrize(
    "spec, rule",
    [
        ("laion/CLIP-ViT-H-14", "name no commit"),
        ("laion/CLIP-ViT-H-14@main", "40 hex digits"),
        ("/nowhere/at/all", "neither a folder"),
    ],
)
def test_weights_without_a_pin_or_a_place_are_refused(spec, rule):
    with pytest.raises(InputError, match=rule):
        load_scorer("clipscore", weights=spec)


def test_an_unfetched_hub_id_says_how_to_fetch_it(monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"hf download nobody/nothing --revision 0{40}"):
        load_scorer("clipscore", weights="nobody/nothing@" + "0" * 40)


def test_a_failing_image_is_an_error_with_its_name_and_never_a_number(clip_folder, pictures, monkeypatch):
    scorer = ClipScore(clip_folder, batch_size=4)
    good = scorer.clip.preprocess

    def preprocess(image: Image.Image) -> torch.Tensor:
        if image.size == (41, 41):
            raise RuntimeError("cannot digest this")
        return good(image)

    object.__setattr__(scorer.clip, "preprocess", preprocess)
    try:
        broken = [*pictures[:5], picture(9, (41, 41)), pictures[6]]
        with pytest.raises(ScoringError, match="clipscore cannot score image p5: RuntimeError: cannot digest this"):
            scorer.score(broken, PROMPTS, names=[f"p{i}" for i in range(7)])
    finally:
        object.__setattr__(scorer.clip, "preprocess", good)


def test_a_score_that_is_not_finite_is_an_error(clip_folder, pictures, monkeypatch):
    scorer = ClipScore(clip_folder)
    monkeypatch.setattr(scorer, "score_features", lambda features, prompts: [0.1] * 6 + [float("nan")])
    with pytest.raises(ScoringError, match="image 6: the score is nan"):
        scorer.score(pictures, PROMPTS)


def test_a_truncated_picture_and_a_missing_prompt_are_errors(clip_folder, pictures, tmp_path):
    path = tmp_path / "half.png"
    pictures[0].save(path)
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(ScoringError, match=r"image half\.png: the picture cannot be read"):
        ClipScore(clip_folder).score([Image.open(path)], ["x"], names=["half.png"])
    with pytest.raises(InputError, match="differ in length"):
        ClipScore(clip_folder).score(pictures, PROMPTS[:3])


def test_an_unknown_scorer_is_an_error_with_the_choices():
    with pytest.raises(InputError, match=r"'clip_score' is unknown; choose one of clipscore"):
        load_scorer("clip_score")
