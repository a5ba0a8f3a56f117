"""`python analysis/certify.py`: every clause is judged, and nothing is claimed from votes that cannot carry it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from analysis.certificate import certificate_json, certify_votes, read_registration
from analysis.certificate.prompts import prompts_needed
from analysis.certificate.write import certificate_page
from analysis.stats.jnd.share import share_bound
from analysis.triplets import read_triplets
from qsched import __version__
from qsched.records import InputError, RowError
from qsched.simulation.observers import ObserverPopulation
from tests.analysis.triplets.drawn import draw_rows, write_rows

HEAD = "schema_version: 1\nstudy: demo\nregistered_at: 2026-02-01T10:00:00Z\narm: w4a4\n"
MEAN = "mean: {limit: 0.5}\n"
SHARE = "share: {share: 0.9, stages: [{presentation: boosted, votes: 6, cut: 5.5}], pi: 0.5, gain: 2.2, gain_sd: 0}\n"


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return draw_rows(damages={"w4a4": 0.15}, plain=600, people=30, prompts=40)


def judge(rows: list[dict[str, Any]], plan: str, tmp_path: Path, **options: Any) -> dict[str, Any]:
    (tmp_path / "plan.yaml").write_text(HEAD + plan, encoding="utf-8")
    table = read_triplets(write_rows(rows, tmp_path / "votes.parquet"))
    found = certify_votes(table, read_registration(tmp_path / "plan.yaml"), **options)
    page = certificate_page(found)
    document = certificate_json(found)
    for clause in document["clauses"]:
        assert clause["verdict"] in page
    return json.loads(json.dumps(document, allow_nan=False))


def test_enough_plain_votes_show_the_mean_clause(rows: list[dict[str, Any]], tmp_path: Path):
    found = judge(rows, MEAN, tmp_path)
    (clause,) = found["clauses"]
    assert clause["shown"] and clause["verdict"] == "shown"
    assert found["status"] == "registered"
    assert found["versions"]["qsched"] == __version__ and found["versions"]["numpy"] == np.__version__
    numbers = clause["numbers"]
    t = stats.t.ppf(0.95, 29)
    assert numbers["df"] == pytest.approx(29) and numbers["upper"] == pytest.approx(
        numbers["damage"] + t * numbers["se"]
    )
    assert [row["rule"] for row in found["under_other_assumptions"]] == [
        "plain votes, 10 % cast at random off the traps",
        "plain votes, spread over prompts 0.8",
        "60 % of the traps right",
        "85 % of the traps right",
    ]


def test_few_votes_are_not_enough_and_the_page_says_how_many_would_be(rows: list[dict[str, Any]], tmp_path: Path):
    some = [row for n, row in enumerate(rows) if row["kind"] != "task" or n < 24]
    (clause,) = judge(some, MEAN, tmp_path)["clauses"]
    assert not clause["shown"]
    assert clause["needs"] > 24 and clause["verdict"] == f"not shown, needs about {clause['needs']:,} votes"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda row: row["kind"] != "trap", "No vote is left after screening"),
        (lambda row: row["prompt_id"] == "p003", "needs several of both"),
    ],
)
def test_no_traps_or_one_prompt_show_nothing(rows: list[dict[str, Any]], tmp_path: Path, change: Any, words: str):
    some = [row for row in rows if change(row)]
    plan = MEAN if "screening" in words else MEAN + "traps: {least: 0}\n"
    try:
        (clause,) = judge(some, plan, tmp_path)["clauses"]
    except InputError as error:
        assert words in str(error)
    else:
        assert not clause["shown"] and words in clause["finding"]


def test_without_traps_a_mean_is_never_shown_whatever_the_rule(rows: list[dict[str, Any]], tmp_path: Path):
    some = [row for row in rows if row["kind"] != "trap"]
    (clause,) = judge(some, MEAN + "traps: {least: 0, share: 0}\n", tmp_path)["clauses"]
    assert not clause["shown"] and "no plain traps" in clause["finding"]


def test_careless_people_do_not_make_a_strong_difference_small(tmp_path: Path):
    careless = ObserverPopulation(careless=0.5)
    rows = draw_rows(damages={"w4a4": 1.0}, plain=800, people=40, prompts=40, population=careless, seed=3)
    (screened,) = judge(rows, MEAN, tmp_path)["clauses"]
    (everybody,) = judge(rows, MEAN + "traps: {share: 0, least: 0}\n", tmp_path)["clauses"]
    assert not screened["shown"] and not everybody["shown"]
    assert screened["numbers"]["damage"] == pytest.approx(1.0, abs=0.25)
    assert everybody["numbers"]["lapse"] > 0.4, "the traps say that half of the people do not look"
    assert everybody["numbers"]["damage"] > 0.6


def test_identical_arms_are_shown_to_be_near(tmp_path: Path):
    rows = draw_rows(damages={"w4a4": 0.0}, plain=600, people=30, prompts=40)
    (clause,) = judge(rows, MEAN, tmp_path)["clauses"]
    assert clause["shown"] and abs(clause["numbers"]["damage"]) < 0.2


def test_an_arm_that_everybody_names_gets_a_bound_and_no_number(tmp_path: Path):
    sharp = ObserverPopulation(lapse_mean=0.0, sensitivity_log_sd=0.0)
    rows = draw_rows(damages={"w4a4": 9.0}, plain=200, people=20, prompts=40, spread=0.0, population=sharp)
    (clause,) = judge(rows, MEAN, tmp_path)["clauses"]
    assert not clause["shown"] and "No number" in clause["finding"]
    assert clause["numbers"]["lower_bound"] > 1


def test_mixed_evidence_without_a_checked_map_falls_back_to_plain_votes(tmp_path: Path):
    rows = draw_rows(damages={"w4a4": 0.15, "w3a3": 1.0}, plain=500, boosted=200, people=30, prompts=40)
    (clause,) = judge(rows, "mean: {limit: 0.5, evidence: mixed}\n", tmp_path)["clauses"]
    assert clause["numbers"]["evidence"] == "plain (fallen back)"
    assert "plain votes decide instead" in clause["notes"][0]
    (plain,) = judge(rows, MEAN, tmp_path)["clauses"]
    assert clause["shown"] == plain["shown"] and clause["numbers"]["upper"] == plain["numbers"]["upper"]


def test_the_share_clause_uses_the_smaller_pi_and_says_so(tmp_path: Path):
    rows = draw_rows(damages={"w4a4": 0.05}, plain=0, boosted=40 * 20, people=30, prompts=40, spread=0.0)
    (low,) = judge(rows, SHARE, tmp_path)["clauses"]
    (high,) = judge(rows, SHARE.replace("pi: 0.5", "pi: 1.0"), tmp_path)["clauses"]
    assert low["numbers"]["pi"] == 0.5
    assert high["numbers"]["pi"] == high["numbers"]["pi_of_these_votes"] < 1
    assert "which is used" in " ".join(high["notes"])
    n = low["numbers"]
    assert n["lower"] == pytest.approx(share_bound(n["flagged"], n["prompts"], pi=0.5))


def test_changed_prompts_count_as_flagged_even_if_nobody_voted_on_them(tmp_path: Path):
    rows = draw_rows(damages={"w4a4": 0.05}, plain=0, boosted=40 * 20, people=30, prompts=40, spread=0.0)
    (bare,) = judge(rows, SHARE, tmp_path)["clauses"]
    assert "--content" in " ".join(bare["notes"])
    assert bare["open_prompts"] and len(bare["open_prompts"]) == bare["numbers"]["flagged"]
    names = sorted({row["prompt_id"] for row in rows})
    cleared = next(name for name in names if name not in bare["open_prompts"])
    table = [{"prompt_id": name, "arm": "w4a4", "changed": name == cleared} for name in names]
    table.append({"prompt_id": "not voted on", "arm": "w4a4", "changed": True})
    write_rows(table, tmp_path / "content.csv")
    (clause,) = judge(rows, SHARE, tmp_path, content=str(tmp_path / "content.csv"))["clauses"]
    assert clause["numbers"]["prompts"] == bare["numbers"]["prompts"] + 1
    assert clause["numbers"]["flagged"] == bare["numbers"]["flagged"] + 2
    assert "2 prompts with changed content" in " ".join(clause["notes"])


def test_content_and_preference_clauses(rows: list[dict[str, Any]], tmp_path: Path):
    content = [{"prompt_id": f"p{p}", "arm": "w4a4", "changed": p < 2} for p in range(300)]
    write_rows(content, tmp_path / "content.csv")
    draw = np.random.default_rng(5)
    votes = [
        {
            "left_arm": "fp16",
            "right_arm": "w4a4",
            "choice": ("left", "right")[draw.integers(2)],
            "annotator": f"a{n % 40}",
            "prompt_id": f"p{n % 61}",
        }
        for n in range(2400)
    ]
    write_rows(votes, tmp_path / "preference.csv")
    plan = "content: {share: 0.03}\npreference: {margin: 0.06}\n"
    found = judge(
        rows, plan, tmp_path, content=str(tmp_path / "content.csv"), preference=[str(tmp_path / "preference.csv")]
    )
    changed, preferred = found["clauses"]
    assert changed["numbers"]["upper"] == pytest.approx(stats.beta.ppf(0.95, 3, 298))
    assert changed["shown"] and preferred["shown"]
    assert preferred["numbers"]["rate"] == pytest.approx(0.5, abs=0.03)
    with pytest.raises(InputError, match="give --content FILE"):
        judge(rows, "content: {share: 0.03}\n", tmp_path)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (HEAD.replace("2026-02-01", "2026-03-15"), "is not later than the registration"),
        (HEAD.replace("study: demo", "study: other"), "is of the study 'other'"),
    ],
)
def test_a_late_or_foreign_registration_is_exploratory(
    rows: list[dict[str, Any]], tmp_path: Path, head: str, words: str
):
    (tmp_path / "plan.yaml").write_text(head + MEAN, encoding="utf-8")
    table = read_triplets(write_rows(rows, tmp_path / "votes.parquet"))
    found = certify_votes(table, read_registration(tmp_path / "plan.yaml"))
    assert words in " ".join(found.exploratory)
    assert "Exploratory." in certificate_page(found)


def test_votes_of_an_earlier_calibration_study_do_not_make_it_exploratory(rows: list[dict[str, Any]], tmp_path: Path):
    early = {"study": "calibration", "answered_at": "2025-01-01T00:00:00Z", "annotator": "other"}
    calibration = [row | early | {"triplet_id": f"c{n}"} for n, row in enumerate(rows)]
    found = judge([*rows, *calibration], MEAN, tmp_path)
    assert found["status"] == "registered"
    assert judge([row | {"study": "demo"} for row in calibration], MEAN, tmp_path)["status"] == "exploratory"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (HEAD + "mean: {limit: -1}\n", 5, "greater than 0"),
        (HEAD + "share: {share: 0.9, pi: 0.5, stages: [{presentation: boosted, votes: 4, cut: 5}]}\n", 5, "the cut 5"),
        (HEAD + MEAN + "magic: 1\n", 6, "Extra inputs"),
        (HEAD, 1, "at least one clause"),
    ],
)
def test_a_wrong_registration_is_refused_with_its_line(tmp_path: Path, text: str, line: int, words: str):
    path = tmp_path / "plan.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RowError, match=words) as caught:
        read_registration(path)
    assert caught.value.line == line


def test_prompts_needed_are_enough_and_hardly_too_many():
    needed = prompts_needed(0.005, 0.95, 0.7, 0.95)
    assert needed is not None
    assert share_bound(-(-needed * 5 // 1000), needed, pi=0.7) >= 0.95
    assert prompts_needed(0.05, 0.95, 0.7, 0.95) is None


def test_the_command_writes_the_page_and_ends_with_its_code(script, rows: list[dict[str, Any]], tmp_path: Path):
    votes = write_rows(rows, tmp_path / "votes.parquet")
    code, _, err = script("certify", votes, "--arm", "w4a4", "--out", tmp_path / "made")
    assert code == 0, err
    assert "exploratory: No registration was given" in err
    assert "votes are simulated" in err
    assert json.loads((tmp_path / "made" / "certificate.json").read_text(encoding="utf-8"))["status"] == "exploratory"
    assert "Simulated votes" in (tmp_path / "made" / "certificate.html").read_text(encoding="utf-8")
    code, _, err = script("certify", votes, "--arm", "w2a2", "--out", tmp_path / "none")
    assert code == 2 and "the votes show" in err and not (tmp_path / "none").exists()
