"""Planned looks: due by the votes alone, carried out once, and nothing is asked about a decided arm afterwards."""

from __future__ import annotations

import json
import random

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from analysis.report.subjects.looks import find_looks
from analysis.winrates import app as winrates_app
from qsched.cli.main import app as cli
from qsched.records.evidence import sha256
from qsched.records.stopping import StoppingRule, looks_beside, read_looks
from study_server.db.statements import Statement
from study_server.looking import studies_to_look_at
from study_server.owner import act_on_study
from study_server.studies.cache import find_study
from study_server.studies.comparisons import MisfitError
from study_server.studies.looks import DueLook, find_due_look, read_stopping
from study_server.studies.ownership import list_studies
from tests.conftest import ARMS
from tests.study_server.stored_votes import store_person, store_vote
from tests.study_server.visiting import Visitor, query, serving

BASE, SAME, WORSE = ARMS[0], ARMS[1], ARMS[2]
RULE = {"baseline": BASE, "margin": 0.2, "looks": 2, "horizon": 200}
PEOPLE = 14


def give_votes(database, people: int, *, start: int = 0) -> None:
    """Votes of whole people on every pair, as the server would store them: even between BASE and SAME, WORSE loses."""
    rng = random.Random(start)
    with database.transaction() as tx:
        pairs = tx.all(
            Statement(
                "SELECT p.id, f.arm, s.arm FROM pairs p JOIN images f ON f.id = p.first_image_id "
                "JOIN images s ON s.id = p.second_image_id WHERE p.pool = 'task' ORDER BY p.id"
            )
        )
        for who in range(start, start + people):
            store_person(tx, 1000 + who)
            for pair, _, second in pairs:
                lost = rng.random() < (0.9 if second == WORSE else 0.5)
                first_left = (who + pair) % 2 == 0
                choice = "left" if lost == first_left else "right"
                store_vote(tx, who=1000 + who, pair=pair, choice=choice, first_left=first_left)


def look(database, *more):
    outcome = CliRunner().invoke(cli, ["study", "look", "s", "--db", database.url.render_as_string(False), *more])
    assert outcome.exit_code == 0, outcome.output
    return outcome.output


async def test_a_decided_arm_is_asked_about_no_more_and_the_looks_go_out_with_the_votes(
    database, settings, make_study, tmp_path
):
    make_study(votes_per_pair=40, stopping=RULE)
    assert "look 1 is due at 100 valid votes" in look(database)
    waits = {"looks": [], "undecided": [SAME, WORSE], "next": 1, "needed": 100}
    assert json.loads(look(database, "--json", "-")) == waits
    give_votes(database, PEOPLE)
    said = look(database)
    assert f"{WORSE}  " in said and f"worse than {BASE}" in said, said
    pools = dict(query(database, "SELECT pool, COUNT(*) FROM pairs GROUP BY pool"))
    assert pools == {"decided": 12, "task": 6}  # of three comparisons, the two with WORSE
    assert look(database).startswith("look 2 is due"), "a second run finds nothing to do"
    assert [row[0] for row in query(database, "SELECT action FROM owner_actions WHERE actor = 'stopping rule'")] == [
        "look"
    ]
    (row,) = list_studies(database)
    assert row.target_votes == 6 * 40 + 12 * PEOPLE

    async def visit():
        async with serving(settings) as browser:
            visitor = Visitor(browser())
            await visitor.enter()
            return await visitor.vote_all(limit=100)

    assert await visit() == 6, "a newcomer sees the pairs of the open arm only"

    file = tmp_path / "votes.parquet"
    url = database.url.render_as_string(False)
    outcome = CliRunner().invoke(cli, ["votes", "export", str(file), "--study", "s", "--db", url])
    assert outcome.exit_code == 0, outcome.output
    looks = read_looks(looks_beside(file))
    assert find_looks(None, [url]) == (None, (looks,)), "the database says what the export says"
    done = CliRunner().invoke(winrates_app, [url, "--out", str(tmp_path / "report"), "--formats", "svg"])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "report" / "report.html").read_text("utf-8")
    assert "By the study&#39;s stopping rule 1 of 2 arms is decided" in page or "1 of 2 arms is decided" in page
    assert looks.arms == 2 and [number for number, _ in looks.latest()] == [1, 1]
    assert {one.arm: one.decision for _, one in looks.latest()}[WORSE] == "worse"


def test_pairs_of_a_decided_arm_end_though_the_process_was_stopped_after_the_look(database, make_study, monkeypatch):
    make_study(votes_per_pair=40, stopping=RULE)
    give_votes(database, PEOPLE)
    with monkeypatch.context() as patch:
        patch.setattr("qsched.cli.study_look._carry_out", lambda *_: None)
        look(database)
    with database.snapshot() as tx:
        assert studies_to_look_at(tx) == ["s"]
    assert json.loads(look(database, "--json", "-"))["looks"] == [], "the look itself was taken before"
    assert query(database, "SELECT COUNT(*) FROM pairs WHERE pool = 'decided'") == [(12,)]
    with database.snapshot() as tx:
        assert studies_to_look_at(tx) == []


def test_a_look_uses_the_votes_that_made_it_due_however_late_it_is(database, make_study):
    make_study(votes_per_pair=40, stopping=RULE)
    seen: list[DueLook | None] = []
    for start in (0, 8, 16):
        give_votes(database, 8, start=start)
        with database.snapshot() as tx:
            study = find_study(tx, "s")
            stopping = read_stopping(tx, study)
            seen.append(find_due_look(tx, study, stopping, now=10**6))
    assert seen[0] is None, "an arm has 96 votes of the 100"
    assert seen[1] is not None and seen[1] == seen[2]


def test_a_rule_that_cannot_be_carried_out_is_refused_when_the_study_is_made(make_study):
    with pytest.raises(ValidationError, match="leave votes_total out"):
        make_study(stopping=RULE, votes_total=10)
    with pytest.raises(ValidationError, match="at least 20 new votes"):
        StoppingRule(baseline="a", horizon=30, looks=2)
    with pytest.raises(MisfitError, match=r"in 12 pairs x 2 votes = 24"):
        make_study(stopping=RULE)
    with pytest.raises(MisfitError, match="no pair shows"):
        make_study(stopping=RULE, votes_per_pair=40, comparisons=[[BASE, SAME], [SAME, WORSE]])


def test_the_rule_is_part_of_what_is_preregistered(database, make_study):
    from study_server.auditing.preregistering import preregister, read_pairs

    make_study(votes_per_pair=40, stopping=RULE)
    text = json.loads(act_on_study(database, "s", preregister, plan="", by="test"))
    give_votes(database, PEOPLE)
    look(database)
    with database.snapshot() as tx:
        assert {pair["pool"] for pair in read_pairs(tx, 1)} == {"task"}
        (stored,) = tx.one(Statement("SELECT design FROM studies"))
    assert text["design_sha256"] == sha256(stored)
    assert json.loads(stored)["stopping"]["horizon"] == RULE["horizon"]


def ask_another_question(database) -> None:
    """Every vote of the deciding question on a pair without the worse arm becomes a skip that counts for its pair."""
    with database.transaction() as tx:
        tx.command("UPDATE votes SET choice = 'skip' WHERE id % 4 = 0")


def test_a_skip_on_the_deciding_question_does_not_keep_the_last_look_from_coming(database, make_study):
    make_study(votes_per_pair=PEOPLE, stopping={**RULE, "margin": 0.02, "horizon": 168})
    give_votes(database, PEOPLE)
    ask_another_question(database)  # as where a second question was answered: the pairs have their votes
    still_open = (
        "WHERE id = (SELECT MIN(p.id) FROM pairs p JOIN images f ON f.id = p.first_image_id JOIN images g "
        f"ON g.id = p.second_image_id WHERE p.pool = 'task' AND f.arm <> '{WORSE}' AND g.arm <> '{WORSE}')"
    )
    with database.transaction() as tx:
        tx.command(f"UPDATE pairs SET load = load - 1 {still_open}")
    assert "look 1: " in look(database), "enough votes for the first of two"
    assert look(database).startswith("look 2 is due at 168"), "one pair still takes a vote"
    with database.transaction() as tx:
        tx.command(f"UPDATE pairs SET load = load + 1 {still_open}")
        tx.command("UPDATE assignments SET state = 'leased' WHERE id = (SELECT MAX(id) FROM assignments)")
    assert look(database).startswith("look 2 is due at 168"), "a pair is on a screen"
    with database.transaction() as tx:
        tx.command("UPDATE assignments SET state = 'voted' WHERE state = 'leased'")
    with database.snapshot() as tx:
        assert studies_to_look_at(tx) == ["s"]
    said = look(database)
    assert "look 2, the last one because no more votes can come: " in said
    assert "the last look is over; still open" in said
    assert query(database, "SELECT COUNT(*) FROM pairs WHERE pool = 'task'") == [(0,)]
    assert "the last look is over" in look(database), "and it comes once"
    with database.snapshot() as tx:
        assert studies_to_look_at(tx) == []
