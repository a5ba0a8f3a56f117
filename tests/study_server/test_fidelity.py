"""A fidelity study from study.yaml to its triplets table: the plan, the pictures, the votes, the export."""

from __future__ import annotations

import hashlib
import json
from collections import Counter

import numpy as np
import polars as pl
import pytest
from PIL import Image
from pydantic import ValidationError
from typer.testing import CliRunner

from analysis.certificate import read_registration
from qsched.cli.main import app
from qsched.errors import InputError
from qsched.records import Presentation, image_id_for
from study_server.export import export_content
from study_server.studies.changes import design_changes
from study_server.studies.design import StudyDesign
from study_server.studies.fidelity import MADE_TRAP, Boost, Fidelity, Traps
from study_server.studies.registering import registration_of
from study_server.studies.triplets import plan_study
from study_server.studies.yaml_file import read_study_file
from tests.conftest import write_image_set
from tests.study_server.visiting import query

ARMS = ("fp32", "w8a8", "w4a4")
SMALL = {"traps": {"each": 4, "least": 4}, "bias_each": 1}


def design_of(**values) -> StudyDesign:
    return StudyDesign(slug="f", title="t", images="x", design="fidelity", **values)


def grid(prompts: int = 6, arms=ARMS):
    return [(f"p{n}", 0, arm) for n in range(prompts) for arm in arms]


def planned(arms=ARMS, **fidelity):
    return plan_study(design_of(fidelity=SMALL | fidelity), arms=arms, images=grid(6, arms))


# --- The design ---------------------------------------------------------------------------------------------


def test_a_stored_design_is_read_back_the_same():
    design = design_of(fidelity={"boost": {"factor": 4}, "clauses": [{"arm": "w4a4", "mean": {"limit": 0.5}}]})
    assert StudyDesign.model_validate_json(design.model_dump_json()) == design
    assert not design_changes(design, StudyDesign.model_validate_json(design.model_dump_json()))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"questions": [{"id": "overall", "text": "Which do you prefer?"}]}, "none about preference"),
        ({"strength": True}, "left, not sure and right"),
        ({"comparisons": "adaptive"}, "reference, ladders"),
        ({"instructed": 1}, "traps"),
        ({"gold": [{"prompt": "p0", "better": "fp32", "worse": "w4a4"}]}, "traps"),
        ({"allow_tie": False}, "not sure"),
        ({"fidelity": {"boost": {"rate_hz": 5}}}, "WCAG 2.3.1"),
        ({"fidelity": {"boost": {"faster_flicker": True}}}, "above 3"),
        ({"fidelity": {"traps": {"each": 5}}}, "nobody would count"),
        ({"fidelity": {"ladders": [["a", "b"], ["b"]]}}, "two rungs"),
        ({"fidelity": {"presentations": []}}, "plain, boosted or both"),
        ({"fidelity": {"guess": {"a": 0}}}, "above 0"),
        ({"fidelity": {"clauses": [{"arm": "a"}]}}, "at least one clause"),
    ],
)
def test_what_a_fidelity_study_cannot_be_is_refused_with_the_reason(values, words):
    with pytest.raises(ValidationError, match=words):
        design_of(**values)


def test_the_section_without_the_design_is_refused():
    with pytest.raises(ValidationError, match="design: fidelity"):
        StudyDesign(slug="s", title="t", images="x", fidelity={})


def test_a_faster_flicker_is_the_owners_explicit_choice():
    assert design_of(fidelity={"boost": {"rate_hz": 5, "faster_flicker": True}}).fidelity.boost.rate_hz == 5


def test_the_commented_file_of_a_fidelity_study_holds_the_defaults(small_image_set, tmp_path):
    path = tmp_path / "study.yaml"
    init = ["study", "init", str(small_image_set), "--out", str(path), "--design", "fidelity"]
    assert CliRunner().invoke(app, init).exit_code == 0
    design = read_study_file(path)
    assert design == StudyDesign(slug="drawn", title=design.title, images=design.images, design="fidelity")
    named = {line.strip().lstrip("# ").split(":")[0] for line in path.read_text().splitlines() if ":" in line}
    sections = [Fidelity, Boost, Traps]
    assert {name for section in sections for name in section.model_fields} <= named


# --- The plan -----------------------------------------------------------------------------------------------


def test_every_arm_meets_the_reference_in_both_presentations():
    task = [pair for pair in planned() if pair.pool == "task"]
    seen = Counter((pair.first_arm, pair.second_arm, pair.triplet.presentation) for pair in task)
    assert seen == {("fp32", arm, shown): 6 for arm in ARMS[1:] for shown in Presentation}
    assert len({pair.pair_key for pair in task}) == len(task)


def test_ladders_compare_neighbours_within_and_equal_rungs_across():
    arms = ("fp32", "a1", "a2", "b1", "b2")
    pairs = planned(arms=arms, ladders=[["a1", "a2"], ["b1", "b2"]])
    boosted = {(p.first_arm, p.second_arm) for p in pairs if p.pool == "task" and p.triplet.presentation == "boosted"}
    assert {("a1", "a2"), ("b1", "b2"), ("a1", "b1"), ("a2", "b2")} < boosted
    assert ("a1", "b2") not in boosted


def test_plain_votes_go_where_they_tell_most_of_the_map_and_where_a_clause_asks_for_them():
    arms = ("fp32", "weak", "half", "one", "strong")
    guess = {"weak": 0.2, "half": 0.5, "one": 1.1, "strong": 2.2}

    def plain(**fidelity):
        pairs = planned(arms=arms, guess=guess, **fidelity)
        return {p.second_arm for p in pairs if p.pool == "task" and p.triplet.presentation == "plain"}

    assert plain() == {"half", "strong"}
    assert plain(clauses=[{"arm": "weak", "mean": {"evidence": "plain"}}]) == {"weak", "half", "strong"}
    assert plain(clauses=[{"arm": "weak", "mean": {"evidence": "mixed"}}]) == {"half", "strong"}
    assert plain(presentations=["plain"]) == set(arms[1:])


def test_a_second_stage_asks_about_the_named_prompts_only():
    pairs = planned(prompts=["p1", "p4"])
    assert {pair.prompt_key for pair in pairs if pair.pool == "task"} == {"p1", "p4"}
    assert len({pair.prompt_key for pair in pairs if pair.pool == "trap"}) > 2
    with pytest.raises(InputError, match="no picture of the reference"):
        planned(prompts=["p1", "p99"])


def test_traps_and_bias_items_have_their_pools_and_known_answers():
    pairs = planned()
    traps = [pair for pair in pairs if pair.pool == "trap"]
    assert {(pair.first_arm, pair.second_arm, pair.better) for pair in traps} == {("fp32", MADE_TRAP, "second")}
    assert {pair.triplet.presentation for pair in traps} == set(Presentation)
    bias = [pair for pair in pairs if pair.pool == "bias"]
    assert {(pair.first_arm, pair.second_arm, pair.better) for pair in bias} == {("fp32", "fp32", "tie")}


@pytest.mark.parametrize(
    ("fidelity", "words"),
    [
        ({"reference": "bf16"}, "no arm 'bf16'"),
        ({"ladders": [["w8a8", "w2a2"]]}, "no arm 'w2a2'"),
        ({"guess": {"fp32": 1.0}}, "is the reference"),
        ({"clauses": [{"arm": "w3", "mean": {}}]}, "no arm 'w3'"),
        ({"traps": {"each": 4, "least": 4, "arm": "fp32"}}, "traps cannot show"),
        ({"traps": {"each": 13}}, "make 12 traps"),
    ],
)
def test_a_section_that_does_not_fit_the_set_is_refused(fidelity, words):
    with pytest.raises(InputError, match=words):
        planned(**fidelity)


@pytest.fixture
def changed_set(tmp_path):
    """A set in which the arm w8a8 of p0 shows a large square that nobody ordered."""
    folder = write_image_set(tmp_path / "changed", prompts=6, arms=ARMS)
    rows = [json.loads(line) for line in (folder / "images.jsonl").read_text().splitlines()]
    for row in rows:
        if (row["prompt_id"], row["arm"]) == ("p0", "w8a8"):
            path = folder / "images" / f"{row['image_id']}.png"
            pixels = np.asarray(Image.open(path)).copy()
            pixels[24:40, 24:40] = (20, 20, 200)
            Image.fromarray(pixels).save(path)
            row["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
            row["image_id"] = image_id_for(sha256=row["sha256"], arm="w8a8", prompt_id="p0", sample_index=0)
            path.rename(folder / "images" / f"{row['image_id']}.png")
    (folder / "images.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_a_picture_with_other_content_is_not_boosted_and_is_counted(database, make_fidelity, changed_set, tmp_path):
    made = make_fidelity(changed_set)
    assert made.changed["w8a8"] == 1 and made.changed["w4a4"] == 0
    assert made.refused == 1
    shown = query(
        database,
        "SELECT t.presentation, COUNT(*) FROM pairs p JOIN triplets t ON t.pair_id = p.id "
        "WHERE p.pool = 'task' GROUP BY t.presentation",
    )
    assert dict(shown) == {"plain": 12, "boosted": 11}
    assert export_content(database, study="f", path=tmp_path / "content.csv") == {"w4a4": (0, 6), "w8a8": (1, 6)}
    content = pl.read_csv(tmp_path / "content.csv")
    assert content.filter("changed").select("prompt_id", "arm").rows() == [("p0", "w8a8")]


def test_a_study_that_exists_goes_on_and_counts_the_sets_pictures_only(make_fidelity, small_image_set):
    made = make_fidelity(small_image_set)
    again = make_fidelity(small_image_set)
    assert made.triplets and made.created and not again.created
    assert (again.pairs, again.images) == (made.pairs, made.images) == (made.pairs, 18)


def test_a_set_whose_content_changed_everywhere_makes_no_boosted_study(make_fidelity, changed_set):
    with pytest.raises(InputError, match="no triplet is left"):
        make_fidelity(changed_set, fidelity=SMALL | {"presentations": ["boosted"], "content_limit": 0.0001})


# --- Votes --------------------------------------------------------------------------------------------------


# --- The owner's commands -----------------------------------------------------------------------------------

CLAUSES = """
  guess: {w4a4: 0.25, w4a4+qsched: 2.2}
  clauses:
    - {arm: w4a4, mean: {limit: 0.5}, content: {share: 0.03}}
    - {arm: w4a4+qsched, mean: {limit: 0.5, evidence: mixed}, share: {share: 0.9, pi: 0.6, stages: [
        {presentation: boosted, votes: 12, cut: 10}]}, preference: {margin: 0.05}}
"""


def write_study(tmp_path, images, *, fidelity: str = CLAUSES, more: str = ""):
    path = tmp_path / "study.yaml"
    path.write_text(
        f"slug: f\ntitle: t\nimages: {images}\ndesign: fidelity\n{more}\n"
        f"fidelity:\n  traps: {{each: 4, least: 4}}\n{fidelity}",
        encoding="utf-8",
    )
    return path


def test_study_check_prices_each_clause(small_image_set, tmp_path):
    done = CliRunner().invoke(app, ["study", "check", str(write_study(tmp_path, small_image_set))])
    assert done.exit_code == 0, done.output
    words = " ".join(done.output.split())
    assert "2 flashes per second (WCAG 2.3.1: 3)" in words
    assert "damage 0.25 JND (guessed in study.yaml)" in words
    assert "30 plain and 30 boosted votes" in words
    assert "under 0.5 JND with 80 % power: cannot be shown, " in words, "6 prompts and 6 people are too few"
    assert "cannot be shown, the guessed damage 2.2 is not below the limit 0.5" in words
    assert "changed on at most 3.0 %: cannot be shown with so few prompts" in words
    assert "at least 90 % of prompts under 1 JND: cannot be shown" in words
    assert "needs votes of a preference study" in words
    assert "win rate" not in words
    assert "6.0 plain votes of each person on arms guessed at 2 JND or more" in words
    assert "may not be noticed" not in words


def test_a_registration_has_the_designs_clauses_and_the_time_before_any_vote(database, make_fidelity, small_image_set):
    clauses = [{"arm": arm, "mean": {"limit": 0.5}} for arm in ("w4a4", "w4a4+qsched")]
    rule = {"each": 4, "least": 3, "share": 0.8}
    make_fidelity(small_image_set, fidelity=SMALL | {"clauses": clauses, "traps": rule})
    make_fidelity(small_image_set, slug="bare")
    registration = registration_of(database, "f", arm="w4a4")
    assert (registration.study, registration.arm, registration.mean.limit) == ("f", "w4a4", 0.5)
    assert (registration.traps.share, registration.traps.least) == (0.8, 3)
    created = query(database, "SELECT created_ms FROM studies WHERE slug = 'f'")[0][0]
    assert registration.registered_at.timestamp() == pytest.approx(created / 1000)
    for slug, arm, words in (("f", None, "--arm"), ("f", "fp32", "claims nothing"), ("bare", None, "no clauses")):
        with pytest.raises(InputError, match=words):
            registration_of(database, slug, arm=arm)


def test_the_written_registration_is_one_that_certify_reads(small_image_set, tmp_path):
    study = write_study(tmp_path, small_image_set)
    db = ["--db", f"sqlite:///{tmp_path / 'study.db'}"]
    made = CliRunner().invoke(app, ["study", "create", str(study), *db])
    assert made.exit_code == 0, made.output
    out = tmp_path / "plan.yaml"
    assert CliRunner().invoke(app, ["study", "register", "f", "--arm", "w4a4", "--out", str(out), *db]).exit_code == 0
    plan = read_registration(out).plan
    assert plan.content.share == 0.03 and plan.traps.least == 4
    again = CliRunner().invoke(app, ["study", "register", "f", "--arm", "w4a4", "--out", str(out), *db])
    assert again.exit_code != 0
