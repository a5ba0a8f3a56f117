"""The judge against a hacked objective, and JAQ in units of its spread."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qsched.calibration.calibrate import with_control
from qsched.calibration.errors import CalibrationError
from qsched.calibration.judge import judge_name, load_judge
from qsched.calibration.record import build_record
from qsched.calibration.report import render_report
from qsched.calibration.settings import CalibrationSettings
from qsched.calibration.words import verdict_words
from qsched.errors import InputError
from qsched.scheduling import Coefficients
from qsched.scoring import Jaq, load_scorer
from qsched.scoring.jaq_score import spread_units
from qsched.scoring.shared_weights import shared_share
from tests.calibration.conftest import Constant, Nearness
from tests.calibration.pipelines import random_flux
from tests.calibration.test_calibrate import run
from tests.scoring.conftest import hps_folder, pickscore_folder

__all__ = ["hps_folder", "pickscore_folder"]
GRID = CalibrationSettings(strategy="grid", size=3)


class Distance(Nearness):
    """Better when lower."""

    def __init__(self, references, *, sign: float) -> None:
        super().__init__(references, kind="image", sign=-sign)
        self._info = replace(self._info, name="distance", higher_is_better=False)


def page_of(result, objective) -> tuple[dict, str]:
    record = build_record(result, objective, backbone="b", precision="w4a4", arm={})
    return record, render_report(result, record)


def test_harm_by_the_judge_overrules_the_gain_of_a_hacked_objective(tmp_path, undamaged):
    hacked = Jaq(Nearness(undamaged, kind="text", sign=-1.0), Constant())
    result = run(tmp_path, hacked, settings=GRID, judge=Nearness(undamaged, kind="image"))
    assert (result.qsched.by_objective, result.qsched.by_judge, result.qsched.verdict) == ("gain", "harm", "harm")
    assert result.qsched.coefficients == Coefficients.constant() != result.qsched.found
    words = verdict_words(result, result.qsched)
    assert words.heading == "Q-Sched: gain by the objective, harm by the judge." and words.warning
    assert "The judge sees worse pictures, so the stock scheduler (1, 1) is written" in words.text
    record, page = page_of(result, hacked)
    assert record["judge"]["name"] == "nearness-image" and record["by_judge"] == "harm"
    assert record["gain"]["judge"]["high"] < 0 and "the judge, nearness-image" in page and words.heading in page
    forced = run(tmp_path, hacked, settings=replace(GRID, force=True), judge=Nearness(undamaged, kind="image"))
    assert forced.qsched.verdict == "forced" and forced.qsched.coefficients == forced.qsched.found
    assert verdict_words(forced, forced.qsched).heading.endswith("harm by the judge, kept by force.")


def test_a_judge_that_sees_nothing_is_said_and_one_that_agrees_is_quiet(tmp_path, nearness, undamaged):
    doubted = run(tmp_path, nearness, settings=GRID, judge=Constant())
    words = verdict_words(doubted, doubted.qsched)
    assert words.heading == "Q-Sched: gain by the objective, no gain by the judge." and words.warning
    assert doubted.qsched.verdict == "gain" and doubted.qsched.coefficients == doubted.qsched.found
    agreed = run(tmp_path, nearness, settings=GRID, judge=Distance(undamaged, sign=1.0))
    assert agreed.qsched.by_judge == "gain", "a distance that falls is a gain"
    words = verdict_words(agreed, agreed.qsched)
    assert words.heading == "Q-Sched: gain." and "lower is better" in words.text and not words.warning
    _, page = page_of(agreed, nearness)
    (row,) = [line for line in page.split("<tr") if "the judge, distance (lower is better)" in line]
    assert "3 / 0 of 3" in row, "prompts whose distance fell were counted as worse"
    alone = run(tmp_path, nearness, settings=GRID)
    assert "No independent scorer has judged it" in verdict_words(alone, alone.qsched).text
    record, page = page_of(alone, nearness)
    assert record["judge"] is None and "No judge" in page


def test_the_default_judge_is_never_a_term_of_the_objective():
    assert judge_name("auto", tiny=True, terms=("clipscore", "clip-iqa")) == "tiny-check"
    assert judge_name("auto", tiny=False, terms=("clipscore", "clip-iqa")) == "pickscore"
    assert judge_name("auto", tiny=False, terms=("pickscore", "clip-iqa")) == "hpsv2.1"
    assert judge_name("none", tiny=True, terms=("tiny-check", "clip-iqa")) is None
    for asked, terms in (("auto", ("tiny-check", "clip-iqa")), ("clip-iqa", ("clipscore", "clip-iqa"))):
        with pytest.raises(CalibrationError, match="--judge none"):
            judge_name(asked, tiny=True, terms=terms)


def test_a_judge_with_the_objectives_weights_is_refused_whatever_it_is_called(
    clip_folder, hps_folder, pickscore_folder
):
    clip = str(clip_folder)
    objective = Jaq(load_scorer("clipscore", weights=clip), load_scorer("clip-iqa", weights=clip))
    with pytest.raises(CalibrationError, match=r"hpsv2.1 is the network of TC, clipscore \(100 % of its weights"):
        load_judge("hpsv2.1", objective, weights=str(hps_folder), device="cpu")
    judge = load_judge("pickscore", objective, weights=str(pickscore_folder), device="cpu")
    assert shared_share(judge, objective.tc) < 0.05 and shared_share(Constant(), objective.tc) == 0
    with pytest.raises(InputError, match="or give --judge none"):
        load_judge("pickscore", objective, weights="/nowhere", device="cpu")


def test_one_network_in_two_layouts_is_recognised(pickscore_folder):
    from transformers import CLIPModel

    class Plain(Constant):
        def __init__(self, model) -> None:
            super().__init__()
            self.holder = {"not": "looked into"}
            self.model = model

    ours = load_scorer("pickscore", weights=str(pickscore_folder))
    theirs = Plain(CLIPModel.from_pretrained(pickscore_folder).half())
    assert shared_share(theirs, ours) > 0.5, "transformers keeps q, k and v apart, and these weights are rounded"


def test_k_units_of_the_spread_are_those_of_the_stock_pictures_and_are_recorded(tmp_path, undamaged):
    objective = Jaq(Nearness(undamaged, kind="text"), Nearness(undamaged, kind="image", sign=-0.01), k=0.5)
    raw = run(tmp_path, objective, name="raw", settings=GRID)
    settings = replace(GRID, k_units="sd")
    found = run(tmp_path, objective, name="sd", settings=settings)
    again = run(tmp_path, objective, name="sd", settings=settings)
    assert again.qsched.found == found.qsched.found and again.units == found.units
    assert found.units.kind == "sd" and found.units.tc == pytest.approx(100 * found.units.iq)
    # TC is -d and IQ is d / 100: raw is -0.995 d, and in units of the spread (-1 + 0.5) d / sd(d).
    candidate = next(c for c in raw.gains if not c.is_identity)
    np.testing.assert_allclose(found.gains[candidate] * found.units.tc * 0.995 / 0.5, raw.gains[candidate], rtol=1e-4)
    held = with_control(found, random_flux(), objective).qsched.heldout
    np.testing.assert_allclose(
        np.array(held.tuned.values["jaq"]) * found.units.tc, 0.5 * np.array(held.tuned.values["tc"]), rtol=1e-5
    )
    record, page = page_of(found, objective)
    assert record["objective"]["units"] == {"kind": "sd", "tc": found.units.tc, "iq": found.units.iq}
    assert "in units of its standard deviation" in page
    with pytest.raises(CalibrationError, match="other k_units"):
        run(tmp_path, objective, name="sd", settings=GRID)


def test_a_term_without_spread_has_no_unit(tmp_path, nearness):
    with pytest.raises(InputError, match=r"IQ is 0.5 for all 5 pictures.*leave --k-units sd out"):
        run(tmp_path, nearness, settings=replace(GRID, k_units="sd"))
    assert spread_units([1.0, 3.0], [0.0, 1.0]).tc == pytest.approx(2**0.5)
