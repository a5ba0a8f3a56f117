"""`--shard`: the search that reads the journals of all shards ends as the one without shards."""

from __future__ import annotations

import pytest

from qsched.calibration.calibrate import calibrate
from qsched.calibration.errors import CalibrationError
from qsched.calibration.evaluate import Budget
from qsched.calibration.journal import shard_journals
from qsched.calibration.settings import CalibrationSettings
from qsched.calibration.shards import calibrate_shard, check_shardable
from tests.calibration.conftest import PROMPTS, planted
from tests.calibration.pipelines import random_flux

SETTINGS = CalibrationSettings(strategy="grid", size=3, batch_rows=8)


def model():
    return planted(random_flux(), 1 / 1.1)


def whole(path, objective):
    return calibrate(model(), objective, PROMPTS[:5], PROMPTS[5:], SETTINGS, journal=path, identity={})


def test_shards_measure_each_picture_once_and_the_search_ends_as_without_them(tmp_path, nearness):
    plain = whole(tmp_path / "plain.journal.jsonl", nearness)
    journal = tmp_path / "c.journal.jsonl"
    done = [
        calibrate_shard(model(), nearness, PROMPTS[:5], SETTINGS, (i, 3), journal=journal, identity={})
        for i in (1, 2, 3)
    ]
    assert [one.journal for one in done] == shard_journals(journal) and not journal.exists()
    assert sum(one.pictures for one in done) == plain.pictures == 45
    found = whole(journal, nearness)
    assert {c: v.tolist() for c, v in found.gains.items()} == {c: v.tolist() for c, v in plain.gains.items()}
    assert found.qsched == plain.qsched and found.equals == plain.equals
    assert len(journal.read_text().splitlines()) == 1, "nothing is measured twice"
    # Three processes evaluate the first step of five prompts, instead of one.
    assert found.search_nfe == sum(one.nfe for one in done) == plain.search_nfe + 2 * 5
    assert whole(journal, nearness).search_nfe == found.search_nfe, "what shards took is counted once"


def test_a_missing_shard_is_measured_and_a_half_written_one_is_read_up_to_its_last_batch(tmp_path, nearness):
    journal = tmp_path / "c.journal.jsonl"
    calibrate_shard(model(), nearness, PROMPTS[:5], SETTINGS, (1, 2), journal=journal, identity={})
    (shard,) = shard_journals(journal)
    cut = shard.read_text()[:-40]
    shard.write_text(cut)
    found = whole(journal, nearness)
    assert found.qsched.found == whole(tmp_path / "plain.journal.jsonl", nearness).qsched.found
    assert shard.read_text() == cut, "somebody may still be writing it"


@pytest.mark.parametrize(
    "settings, rule",
    [
        (CalibrationSettings(), "--strategy closed-form: only a grid"),
        (CalibrationSettings(strategy="race"), "add --strategy grid"),
        (CalibrationSettings(strategy="grid", budget=Budget(nfe=100)), "leave the budget out"),
        (CalibrationSettings(strategy="grid", early_decode="half"), "leave one of them out"),
    ],
)
def test_what_cannot_be_dealt_out_is_refused(settings, rule):
    with pytest.raises(CalibrationError, match=rule):
        check_shardable(settings)


def test_a_shard_of_another_search_is_refused_by_name(tmp_path, nearness):
    journal = tmp_path / "c.journal.jsonl"
    calibrate_shard(model(), nearness, PROMPTS[:4], SETTINGS, (1, 2), journal=journal, identity={})
    with pytest.raises(CalibrationError, match=r"c.shard-1-of-2.journal.jsonl holds the values of another .*prompts"):
        whole(journal, nearness)
