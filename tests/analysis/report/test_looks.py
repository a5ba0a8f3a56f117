"""The looks beside the votes: used for their own question, warned of for another, however many files there are."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from analysis.report.settings import ReportSettings
from analysis.report.subjects.looks import NOT_FOR_LOOKS, find_looks, looks_warnings, with_looks
from qsched.records import InputError
from qsched.records.stopping import ArmLook, Look, Looks, StoppingRule, looks_beside

ONE = ArmLook(arm="w4a8", votes=50, win_rate=0.6, low=0.55, high=0.65, decision="better")
LOOK = Look(number=1, at=datetime(2026, 11, 29, tzinfo=UTC), through=9, votes=100, annotators=9, prompts=9, arms=(ONE,))
LOOKS = Looks(
    study="s", question="look", arms=1, rule=StoppingRule(baseline="fp32", horizon=400, looks=4), looks=(LOOK,)
)
STUDY = {"studies": ("s",), "questions": ("look",)}


def write(folder: Path, name: str, looks: Looks) -> str:
    looks_beside(folder / name).write_text(looks.model_dump_json())
    return str(folder / name)


def test_one_of_several_files_has_looks_and_they_are_used(tmp_path: Path) -> None:
    files = [str(tmp_path / "rankings.parquet"), write(tmp_path, "votes.parquet", LOOKS), "sqlite:///x.db"]
    asked, beside = find_looks(None, files)
    assert (asked, beside) == (None, (LOOKS,))
    found = with_looks(ReportSettings(looks_beside=beside), **STUDY)
    assert (found.looks, found.baseline) == (LOOKS, "fp32")
    assert looks_warnings(found, ("s",)) == (NOT_FOR_LOOKS,)


def test_another_question_of_the_study_is_reported_with_a_warning() -> None:
    settings = with_looks(ReportSettings(looks_beside=(LOOKS,)), studies=("s",), questions=("taste",))
    assert settings.looks is None
    (warning,) = looks_warnings(settings, ("s",))
    assert "by the question 'look'" in warning
    assert looks_warnings(settings, ("other",)) == ()
    with pytest.raises(InputError, match="The looks are of the question 'look', the votes of taste"):
        with_looks(ReportSettings(looks=LOOKS), studies=("s",), questions=("taste",))


def test_two_files_of_looks_that_differ_are_refused() -> None:
    older = LOOKS.model_copy(update={"looks": ()})
    settings = ReportSettings(looks_beside=(LOOKS, older))
    with pytest.raises(InputError, match="2 records of looks of the study 's' that differ"):
        with_looks(settings, **STUDY)
    assert with_looks(replace(settings, looks_beside=(LOOKS, LOOKS)), **STUDY).looks == LOOKS
