"""Votes by presentation: plain and boosted triplets, and single arms, with numbers of their own."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from qsched.cli.main import app
from qsched.planning import Assumptions
from study_server.assignment.open_pairs import SPARE
from study_server.auditing.evidence import write_evidence
from study_server.publication.words import _votes_words
from study_server.studies.changes import design_changes
from study_server.studies.comparisons import MisfitError, votes_of_pair
from study_server.studies.creation import create_study
from study_server.studies.design import StudyDesign
from study_server.studies.estimate import estimate_study
from study_server.studies.fidelity import TripletVotes
from study_server.studies.progress import read_study
from study_server.studies.triplets import plan_study
from tests.conftest import write_image_set
from tests.study_server.test_auditing import run_audit
from tests.study_server.test_triplet_votes import TripletVisitor
from tests.study_server.visiting import query, serving

SMALL = {"traps": {"each": 2, "least": 2}, "bias_each": 0}
# The set of the tests has fp32, w4a4 and w4a4+qsched.
OWN = {"plain": 1, "boosted": 3, "arms": {"w4a4+qsched": {"plain": 2}}}
ASKED = {("plain", "w4a4"): 1, ("plain", "w4a4+qsched"): 2, ("boosted", "w4a4"): 3, ("boosted", "w4a4+qsched"): 3}
LOADS = (
    "SELECT t.presentation, i.arm, p.load FROM pairs p JOIN triplets t ON t.pair_id = p.id"
    " JOIN images i ON i.id = p.second_image_id WHERE p.pool = 'task'"
)


def design_of(images="x", slug="f", **values) -> StudyDesign:
    fidelity = SMALL | {"votes": OWN} | values.pop("fidelity", {})
    return StudyDesign(slug=slug, title="t", images=str(images), design="fidelity", fidelity=fidelity, **values)


@pytest.fixture
def make(database, settings, small_image_set):
    def made(images=small_image_set, **values):
        design = design_of(images, repeat_rate=0.0, pairs_per_annotator=None, **values)
        create_study(database, design, set_folder=images, data_folder=settings.data_folder, progress=lambda _: None)
        return design

    return made


def test_the_number_of_a_triplet_is_its_arms_then_its_presentations_then_the_studys():
    votes = TripletVotes.model_validate({"boosted": 12, "arms": {"a": {"plain": 4}, "b": {"plain": 6, "boosted": 2}}})
    assert votes.group("plain", ("ref", "a")) == ("plain", "a")
    assert votes.group("boosted", ("ref", "a")) == ("boosted", "")
    assert votes.group("plain", ("a", "b")) == ("plain", "b"), "the larger number holds"
    assert [votes.of_group(*group) for group in (("plain", "a"), ("boosted", "b"), ("boosted", ""), ("plain", ""))] == [
        4,
        2,
        12,
        None,
    ]
    assert design_of(fidelity={"votes": votes}, votes_per_pair=7).votes_of("plain", ("ref", "c")) == 7


def test_a_file_without_the_key_means_what_it_meant(make, database):
    design = make(fidelity={"votes": None}, votes_per_pair=4)
    assert {design.votes_of(shown, ("fp32", "w4a4")) for shown in ("plain", "boosted", None)} == {4}
    assert query(database, "SELECT COUNT(*) FROM comparisons") == [(0,)]
    with database.snapshot() as tx:
        assert read_study(tx, "f")[1].target_votes == 24 * 4


@pytest.mark.parametrize(
    ("votes", "words"),
    [
        ({"plain": 0}, "greater than or equal to 1"),
        ({"flat": 3}, "flat"),
        ({"arms": {"fp32": {"plain": 2}}}, "reference"),
    ],
)
def test_numbers_that_make_no_study_are_refused(votes, words):
    with pytest.raises(ValidationError, match=words):
        design_of(fidelity={"votes": votes, "reference": "fp32"})


def test_an_arm_that_the_study_does_not_show_has_no_number():
    images = [(f"p{n}", 0, arm) for n in range(6) for arm in ("fp32", "w4a4")]
    with pytest.raises(MisfitError, match="w2a2"):
        plan_study(
            design_of(fidelity={"votes": {"arms": {"w2a2": {"plain": 2}}}}), arms=("fp32", "w4a4"), images=images
        )


async def test_every_triplet_gets_exactly_its_votes_and_everybody_sees_both_kinds(settings, database, make, tmp_path):
    make()
    async with serving(settings) as browser:
        for _ in range(5):
            visitor = await TripletVisitor(browser(), "f").enter("?simulated=1", simulated="1")
            await visitor.vote_all(lambda _: "right")
    rows = query(database, LOADS)
    assert len(rows) == 24
    assert {(shown, arm, load) for shown, arm, load in rows} == {(*key, votes) for key, votes in ASKED.items()}
    with database.snapshot() as tx:
        found = read_study(tx, "f")[1]
    assert (found.target_votes, found.valid_votes) == (6 * (1 + 2 + 3 + 3), 54)
    sequences = query(
        database,
        "SELECT a.session_id, t.presentation FROM assignments a JOIN triplets t ON t.pair_id = a.pair_id"
        " WHERE a.kind = 'task' AND a.state = 'voted' ORDER BY a.position",
    )
    first = min(session for session, _ in sequences)
    mixture = [shown for session, shown in sequences if session == first][:12]
    assert {"plain", "boosted"} == set(mixture), "the first person sees a mixture, not one kind before the other"


async def test_a_large_study_keeps_to_its_numbers_too(settings, database, make, tmp_path):
    """On PostgreSQL the first statement of a vote holds open pairs only while many are open."""
    images = write_image_set(tmp_path / "large", prompts=24, size=64)
    make(images=images, votes_per_pair=5)
    async with serving(settings) as browser:
        for _ in range(2):
            visitor = await TripletVisitor(browser(), "f").enter("?simulated=1", simulated="1")
            await visitor.vote_all(lambda _: "right", limit=60)
    rows = query(database, LOADS)
    assert len(rows) > SPARE and sum(load for *_, load in rows) > 100
    assert [row for row in rows if row[2] > ASKED[row[:2]]] == []
    shown = query(
        database,
        "SELECT t.presentation, COUNT(*) FROM assignments a JOIN triplets t ON t.pair_id = a.pair_id"
        " WHERE a.kind = 'task' GROUP BY t.presentation",
    )
    assert dict(shown)["boosted"] > dict(shown)["plain"], "two thirds of the votes are for boosted triplets"


def test_a_running_studys_numbers_may_grow_and_nothing_else_of_the_section_may_change():
    before = design_of()
    grown = design_of(fidelity={"votes": {**OWN, "boosted": 5}})
    shrunk = design_of(fidelity={"votes": {**OWN, "boosted": 2}})
    regrouped = design_of(fidelity={"votes": {"plain": 1, "boosted": 3}})
    other = design_of(fidelity={"votes": {**OWN, "boosted": 5}, "bias_each": 1})
    bare = design_of(fidelity={"votes": None})

    def refusals(one, two):
        return [change.refusal for change in design_changes(one, two)]

    assert refusals(before, grown) == [None]
    assert "only grow" in refusals(before, shrunk)[0]
    for one, two in ((before, regrouped), (before, other), (before, bare), (bare, before)):
        assert refusals(one, two)[0] is not None


def test_the_estimate_counts_each_triplet_with_its_own_votes(small_image_set):
    arms = ("fp32", "w4a4", "w4a4+qsched")
    design = design_of()
    pairs = plan_study(design, arms=arms, images=[(f"p{n}", 0, arm) for n in range(6) for arm in arms])
    task = [pair for pair in pairs if pair.pool == "task"]
    assert sum(votes_of_pair(design, pair) for pair in task) == 54
    found = estimate_study(design, pairs, Assumptions())
    assert found.valid_votes == 54
    assert found.annotators == 3, "a boosted triplet has three votes, and nobody gives two"
    with pytest.raises(MisfitError, match="24 pairs x 1 or 2 or 3 votes are 54"):
        plan_study(design_of(votes_total=55), arms=arms, images=[(f"p{n}", 0, arm) for n in range(6) for arm in arms])


def test_study_check_says_both_numbers_and_which_stage_lacks_votes(small_image_set, tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(
        f"slug: f\ntitle: t\nimages: {small_image_set}\ndesign: fidelity\nvotes_per_pair: 2\n"
        "fidelity:\n  traps: {each: 4, least: 4}\n  votes: {plain: 1, boosted: 5}\n"
        "  clauses:\n    - {arm: w4a4, share: {share: 0.5, pi: 0.6, stages: ["
        "{presentation: boosted, votes: 5, cut: 4}, {presentation: plain, votes: 3, cut: 2}]}}\n",
        encoding="utf-8",
    )
    done = CliRunner().invoke(app, ["study", "check", str(path)])
    assert done.exit_code == 0, done.output
    words = " ".join(done.output.split())
    assert "24 (12 boosted x 5, 12 plain x 1 votes) = 72 valid votes" in words
    assert "6 plain and 30 boosted votes" in words
    assert "not with 1 plain votes of each triplet: stages ask for 3" in words
    assert "boosted votes of each triplet" not in words


def test_the_card_says_both_numbers():
    protocol = {"votes_per_pair": 5, "votes_per_triplet": {"plain": 2, "arms": {"w4a4": {"boosted": 9}}}}
    assert _votes_words(protocol) == ("5 valid votes per pair, but 2 per plain triplet, 9 per boosted triplet of w4a4")
    assert _votes_words({"votes_per_pair": 5, "votes_per_triplet": None}) == "5 valid votes per pair"


async def test_the_audit_holds_each_triplet_to_its_own_number(settings, database, make, tmp_path):
    make()
    async with serving(settings) as browser:
        for _ in range(5):
            visitor = await TripletVisitor(browser(), "f").enter("?simulated=1", simulated="1")
            await visitor.vote_all(lambda _: "right")
    write_evidence(database, study="f", folder=tmp_path / "evidence")
    code, words = run_audit(tmp_path / "evidence")
    assert "pairs have more than" not in words and code in (0, 3), words
