"""`--early-decode`: cheaper pictures name the finalists, whole pictures choose, and the two never mix."""

from __future__ import annotations

import json

import pytest
from diffusers import AutoencoderTiny

from qsched.calibration.calibrate import calibrate, planned_nfe
from qsched.calibration.decoding import early_decoding, identity_of
from qsched.calibration.early import FINALISTS
from qsched.calibration.errors import CalibrationError
from qsched.calibration.evaluate import Budget
from qsched.calibration.settings import CalibrationSettings
from qsched.calibration.trajectory import BatchRow, TrajectoryRenderer
from qsched.scheduling import Coefficients
from tests.calibration.conftest import PROMPTS, planted
from tests.calibration.pipelines import random_flux


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A folder with an AutoencoderTiny of random weights, for the latents of the random pipelines."""
    folder = tmp_path_factory.mktemp("tiny")
    AutoencoderTiny(
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
        latent_channels=4,
        upsampling_scaling_factor=2,
    ).save_pretrained(folder)
    return folder


def run(path, objective, **settings):
    return calibrate(
        planted(random_flux(), 1 / 1.1),
        objective,
        PROMPTS[:5],
        PROMPTS[5:],
        CalibrationSettings(**{"strategy": "race", "size": 5, **settings}),
        journal=path,
        identity={},
    )


def values_of(path):
    lines = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    return {(json.dumps(one["candidate"]), one["prompt"]): one["tc"] for one in lines}


def test_finalists_are_judged_by_whole_pictures_and_share_no_value_with_the_others(tmp_path, nearness):
    found = run(tmp_path / "c.journal.jsonl", nearness, early_decode="half")
    assert len(found.gains) == 1 + FINALISTS and all(len(gains) == 5 for gains in found.gains.values())
    whole, early = (values_of(tmp_path / name) for name in ("c.journal.jsonl", "c.early.journal.jsonl"))
    assert len(whole) == (1 + FINALISTS) * 5 < len(early)
    assert all(abs(early[key] - value) > 1e-6 for key, value in whole.items()), "scores of other pictures"
    run(tmp_path / "plain.jsonl", nearness)
    plain = values_of(tmp_path / "plain.jsonl")
    shared = whole.keys() & plain.keys()
    assert shared and all(abs(plain[key] - whole[key]) < 0.1 for key in shared), "whole pictures, in other batches"
    # What the model made is remembered from the first round, so the second only decodes.
    assert found.search_nfe < planned_nfe(found.settings, found.family, 5)


def test_a_resumed_early_search_ends_alike_and_a_budget_covers_both_rounds(tmp_path, nearness):
    whole = run(tmp_path / "a.journal.jsonl", nearness, early_decode="half")
    again = run(tmp_path / "a.journal.jsonl", nearness, early_decode="half")
    assert again.qsched.found == whole.qsched.found and list(again.gains) == list(whole.gains)
    small = run(tmp_path / "b.journal.jsonl", nearness, early_decode="half", budget=Budget(nfe=400))
    assert small.search_nfe <= 400 and small.budget_spent and small.qsched.verdict != "not searched"


def test_a_tiny_autoencoder_decodes_the_early_round_only(tmp_path, tiny, nearness):
    backbone = random_flux()
    stock = backbone.pipeline.vae
    renderer = TrajectoryRenderer(backbone, steps=4)
    rows = [BatchRow(PROMPTS[0], 3, Coefficients.constant())]
    before = renderer.render(rows)[0]
    with renderer.early_decoding(f"tiny:{tiny}"):
        early = renderer.render(rows)[0]
    assert early.size == before.size and early.tobytes() != before.tobytes()
    assert backbone.pipeline.vae is stock and renderer.render(rows)[0].tobytes() == before.tobytes()
    assert renderer.nfe == 4, "the model is not asked again"
    assert identity_of(f"tiny:{tiny}") != identity_of("half")


@pytest.mark.parametrize(
    "text, rule",
    [("quarter", "write full, half or tiny:FOLDER"), ("tiny:/nowhere", "give the folder of an AutoencoderTiny")],
)
def test_an_unknown_way_to_decode_is_refused_before_anything_is_loaded(text, rule):
    with pytest.raises(CalibrationError, match=rule):
        CalibrationSettings(strategy="race", early_decode=text)


def test_closed_form_has_no_early_round():
    with pytest.raises(CalibrationError, match="--early-decode means nothing to the strategy closed-form"):
        CalibrationSettings(early_decode="half")


def test_an_autoencoder_of_other_latents_is_refused(tmp_path):
    AutoencoderTiny(latent_channels=16).save_pretrained(tmp_path)
    with (
        pytest.raises(CalibrationError, match="latents of 16 channels, and the model's have 4"),
        early_decoding(random_flux().pipeline, f"tiny:{tmp_path}"),
    ):
        pass
