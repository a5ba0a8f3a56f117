"""Names with options, and which layers a recipe converts, keeps and skips."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from torch import nn

from qsched.precision import PrecisionError, find_recipe
from qsched.precision.selection import layers_of, matches, select_layers


def denoiser() -> nn.Module:
    block = nn.ModuleDict({"attn": nn.Linear(64, 64), "proj_out": nn.Linear(64, 64)})
    return nn.ModuleDict(
        {
            "conv_in": nn.Conv2d(4, 64, 3),
            "time_embedding": nn.ModuleDict({"linear_1": nn.Linear(32, 64), "linear_2": nn.Linear(64, 64)}),
            "blocks": nn.ModuleList([block]),
            "proj_out": nn.Linear(64, 4),
        }
    )


LAYERS = layers_of(denoiser())


def test_keep_leaves_what_its_patterns_match_and_says_which() -> None:
    chosen = select_layers(LAYERS, find_recipe("w4a4:keep=time_embed*|proj_out"))
    assert list(chosen.converted) == ["conv_in", "blocks.0.attn", "blocks.0.proj_out"]
    assert chosen.kept == (
        "time_embedding.linear_1: keep=time_embed*",
        "time_embedding.linear_2: keep=time_embed*",
        "proj_out: keep=proj_out",
    )
    assert chosen.skipped == ()


def test_keep_standard_keeps_the_ends_and_the_embedders() -> None:
    recipe = find_recipe("mxfp8:keep=standard|blocks.0.attn")
    chosen = select_layers(LAYERS, recipe)
    assert list(chosen.converted) == ["blocks.0.proj_out"]
    assert "conv_in|conv_out|time_embedding" in str(recipe.to_dict()["keep"])


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("proj_out", "proj_out", True),
        ("proj_out", "blocks.0.proj_out", False),
        ("*.proj_out", "blocks.0.proj_out", True),
        ("blocks.0", "blocks.0.proj_out", True),
        ("blocks.0", "blocks.01.proj_out", False),
        ("time_embed*", "time_embedding.linear_1", True),
        ("block?", "blocks.0.attn", True),
    ],
)
def test_a_pattern_matches_a_module_or_one_around_it(pattern: str, name: str, expected: bool) -> None:
    assert matches(pattern, name) is expected


def test_a_pattern_that_matches_nothing_is_an_error() -> None:
    with pytest.raises(PrecisionError, match=r"keep pattern 'proj_uot' matches no Linear or Conv2d"):
        select_layers(LAYERS, find_recipe("w4a4:keep=proj_uot|proj_out"))
    with pytest.raises(PrecisionError, match="keep pattern 'standard'"):
        select_layers({"head": nn.Linear(4, 4)}, find_recipe("w4a4:keep=standard"))


def test_a_bit_map_gives_layers_their_own_bits_and_16_keeps_them(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"blocks.*": 8, "blocks.0.attn": 2, "conv_in": 16}))
    recipe = find_recipe(f"w4a8-fake:bits={path}")
    assert recipe.name == "w4a8-fake:bits=mine"
    chosen = select_layers(LAYERS, recipe)
    assert chosen.converted["blocks.0.attn"] == 2 and chosen.converted["blocks.0.proj_out"] == 8
    assert chosen.converted["proj_out"] is None and chosen.kept == ("conv_in: 16 bits in the bit map",)
    path.write_text(json.dumps({"blocks.*": 7}))
    assert find_recipe(f"w4a8-fake:bits={path}").hash != recipe.hash


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ({"blocks.0.attn": 9}, "9 bits; give 2 to 8"),
        ({"blocks.0.attn": True}, "True bits"),
        ({"a b": 4}, "not a name pattern"),
        ([4], "must be a JSON object"),
        ({}, "must be a JSON object"),
    ],
)
def test_a_bad_bit_map_is_an_error_before_anything_is_loaded(tmp_path: Path, table: object, complaint: str) -> None:
    path = tmp_path / "map.json"
    path.write_text(json.dumps(table))
    with pytest.raises(PrecisionError, match=complaint):
        find_recipe(f"w4a4:bits={path}")


def test_bit_maps_that_disagree_match_nothing_or_are_missing_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "map.json"
    path.write_text(json.dumps({"blocks.*": 8, "*.attn": 4}))
    with pytest.raises(PrecisionError, match=r"different bits \(blocks.\*: 8, \*.attn: 4\)"):
        select_layers(LAYERS, find_recipe(f"w4a4:bits={path}"))
    path.write_text(json.dumps({"nowhere": 8}))
    with pytest.raises(PrecisionError, match="bits pattern 'nowhere' matches no"):
        select_layers(LAYERS, find_recipe(f"w4a4:bits={path}"))
    with pytest.raises(PrecisionError, match="cannot be read as JSON"):
        find_recipe(f"w4a4:bits={tmp_path / 'missing.json'}")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("w4a4:keep", "option 'keep' is unknown"),
        ("w4a4:keep=", "is not a name pattern"),
        ("w4a4:keep=a||b", "is not a name pattern"),
        ("w4a4:keep=a|a", "given twice"),
        ("w4a4:keep=a:keep=b", "option keep is given twice"),
        ("w4a4:group=4", "option 'group=4' is unknown"),
        ("w4a4:conv", "only smoothquant, fp8"),
        ("gguf-q4_0:conv", "only smoothquant, fp8"),
        ("fp32:keep=a", "converts no layer"),
        ("w4a8:bits=x.json", "write w4a8-fake:bits=x.json"),
        ("nvfp4:bits=x.json", "only fake quantization"),
    ],
)
def test_an_option_that_cannot_be_honoured_is_an_error(name: str, complaint: str) -> None:
    with pytest.raises(PrecisionError, match=complaint):
        find_recipe(name)


def test_an_arm_has_one_name_however_its_options_are_ordered() -> None:
    assert find_recipe("mxfp8:keep=conv_in:conv") == find_recipe("mxfp8:conv:keep=conv_in")
    assert find_recipe("mxfp8:conv").hash != find_recipe("mxfp8").hash


def test_hashes_of_recipes_that_were_there_before_have_not_moved() -> None:
    # Of the released version: an image set made with it is still resumed.
    known = {
        "fp32": "a3eb95393f91a533bee44902f9081776ee226bfe49e094746f0f2bf3975e0e48",
        "w4a8": "6e8120845d4b686083e7c68d77de5a0c72b7c98d799f3a7f99c59167383aa4d4",
        "w4a4": "3003c8128e165a71af9e823564ea6f3f71e5d5fe6496b4ecb51477a1f9317d74",
        "nf4": "30b6bd9f7c196dc92256280115f009bcf0ca32db694a74a0d089d1b64cebc19f",
    }
    assert {name: find_recipe(name).hash for name in known} == known


def test_formats_skip_what_their_blocks_do_not_divide() -> None:
    chosen = select_layers(LAYERS, find_recipe("mxfp4:conv"))
    assert chosen.skipped == ("conv_in: 4 inputs are not a multiple of the group of 32",)
    assert select_layers(LAYERS, find_recipe("mxfp4")).skipped == ("conv_in: Conv2d, and mxfp4 converts Linear only",)
    odd = {"odd": nn.Linear(40, 4)}
    assert not select_layers(odd, find_recipe("nvfp4")).converted
    assert list(select_layers(odd, find_recipe("fp8")).converted) == ["odd"]
