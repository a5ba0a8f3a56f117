"""The early end after failed attention checks, and repeats with the sides exchanged."""

from __future__ import annotations

import random

import pytest

from study_server.assignment.policy import Candidate, ChosenPair, mirror
from study_server.owner import act_on_study
from study_server.quality.exclusion import include
from study_server.quality.payments import read_payments
from study_server.studies.actions import COMMAND_LINE
from study_server.studies.cache import find_study
from study_server.studies.design import StudyDesign
from study_server.voting.failed_checks import RULE
from tests.study_server.visiting import Visitor, query, serving

CODES = {"name": "prolific", "completion_code": "CDONE", "failed_check_code": "CFAIL"}


@pytest.fixture
def database_url(tmp_path):
    """Nothing here depends on the kind of database."""
    return f"sqlite:///{tmp_path / 'study.db'}"


def wrong(pair: dict) -> str:
    """The side that an attention check does not ask for; left for every other pair."""
    return "left" if "RIGHT" in (pair["instruction"] or "RIGHT") else "right"


def right(pair: dict) -> str:
    return "right" if "RIGHT" in (pair["instruction"] or "") else "left"


async def take_part(browser, person: str, choose) -> Visitor:
    visitor = await Visitor(browser()).enter(f"?PROLIFIC_PID={person}&STUDY_ID=s&SESSION_ID=x-{person}")
    await visitor.begin()
    while visitor.queue and (await visitor.vote(choose(visitor.queue[0])))["state"] != "finished":
        pass
    return visitor


@pytest.mark.parametrize("pairs", [4, 1])  # with one pair the check may be the last trial of the session
async def test_failed_checks_end_the_session_and_open_its_slots(settings, database, make_study, pairs):
    make_study(instructed=2, end_after_failed_checks=2, pairs_per_annotator=pairs, platform=CODES)

    async with serving(settings) as browser:
        lazy = await take_part(browser, "lazy", wrong)
        end = (await lazy.client.get("/s/s/thanks")).text
        assert "Your part in this study is over" in end and "CFAIL" in end and "CDONE" not in end
        honest = await take_part(browser, "honest", right)
        assert "CDONE" in (await honest.client.get("/s/s/thanks")).text
    assert query(database, "SELECT state FROM sessions ORDER BY id") == [("excluded",), ("finished",)]
    held = "SELECT COUNT(*) FROM assignments a JOIN sessions s ON s.id = a.session_id WHERE s.state = 'excluded'"
    assert query(database, f"{held} AND (a.counted OR a.state = 'leased')") == [(0,)]
    assert query(database, "SELECT SUM(load) FROM pairs") == [(pairs,)]
    (action,) = query(database, "SELECT actor, detail FROM owner_actions WHERE action = 'excluded'")
    assert action[0] == RULE and "2 attention checks failed" in action[1]
    with database.transaction() as tx:
        paid = {row.platform_id: row for _, row in read_payments(tx, find_study(tx, "s"))}
    assert (paid["lazy"].code, paid["lazy"].rejection_allowed, paid["honest"].code) == ("CFAIL", "yes", "CDONE")


@pytest.mark.parametrize("pairs", [6, 1])
async def test_whom_an_owner_includes_again_the_rule_leaves_alone(settings, database, make_study, pairs):
    make_study(instructed=2, end_after_failed_checks=2, pairs_per_annotator=pairs, platform=CODES)

    async with serving(settings) as browser:
        lazy = await take_part(browser, "lazy", wrong)
        name = query(database, "SELECT pseudonym FROM annotators")[0][0]
        act_on_study(database, "s", include, pseudonym=name, reason="a slip", by=COMMAND_LINE)
        lazy.state = {}
        await lazy.vote_all(right)
        assert "CDONE" in (await lazy.client.get("/s/s/thanks")).text
    assert query(database, "SELECT state FROM sessions") == [("finished",)]


async def test_a_slip_that_is_taken_back_ends_nothing(settings, database, make_study):
    make_study(instructed=1, end_after_failed_checks=1, pairs_per_annotator=6)

    random.seed(1)
    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter()
        await visitor.begin()
        while visitor.queue:
            pair = visitor.queue[0]
            done = await visitor.vote(wrong(pair))
            if pair["instruction"] is not None and done["state"] != "finished":
                undone = await visitor.post("api/undo", {"vote_id": done["undo"]["vote_id"], "tab_token": visitor.tab})
                visitor.queue.insert(0, undone.json()["assignment"])
                await visitor.vote(right(pair))
    ends = query(database, "SELECT s.state, s.plan FROM sessions s")
    assert ends[0][0] == ("excluded" if ends[0][1].endswith("I") else "finished")


@pytest.mark.parametrize(("minutes", "limit"), [(1, 1), (20, 2)])
def test_the_rule_of_prolific_goes_by_the_length_of_the_study(minutes, limit, settings, database, make_study):
    make_study(instructed=2, end_after_failed_checks="prolific", seconds_per_vote=60 * minutes / 20)
    with database.transaction() as tx:
        assert find_study(tx, "s").failed_checks_end == limit


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"end_after_failed_checks": 2}, "needs attention checks"),
        ({"end_after_failed_checks": 3, "instructed": 2}, "is 3, and a session has 2"),
    ],
)
def test_a_rule_that_can_never_apply_is_refused(values, problem):
    with pytest.raises(ValueError, match=problem):
        StudyDesign(slug="s", title="t", images="i", **values)


async def test_mirrored_repeats_show_both_orders(settings, database, make_study):
    make_study(repeat_rate=0.5, mirror_repeats=True)

    async with serving(settings) as browser:
        await (await Visitor(browser()).enter()).vote_all()
    sides = query(
        database,
        "SELECT r.first_on_left, t.first_on_left FROM assignments r JOIN assignments t ON t.pair_id = r.pair_id "
        "AND t.session_id = r.session_id AND t.kind = 'task' WHERE r.kind = 'repeat'",
    )
    assert len(sides) >= 6
    assert all(repeated != first for repeated, first in sides)


@pytest.mark.parametrize("first_on_left", [True, False])
def test_a_mirrored_choice_has_the_other_side_than_it_had(first_on_left):
    shown = [Candidate(1, 1, 0, 1), Candidate(7, 2, 0, 1 if first_on_left else -1)]
    assert mirror(ChosenPair(7, 2, first_on_left), shown).first_on_left is not first_on_left
