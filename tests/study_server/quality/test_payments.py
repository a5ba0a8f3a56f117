"""The payment list: who is on it, and that it never connects a platform id with votes."""

from __future__ import annotations

import csv
import io
import stat

import pytest
from typer.testing import CliRunner

from qsched.cli.main import app
from qsched.records.payment_list import COLUMNS, payments_csv
from study_server.export import export_votes
from study_server.owner import act_on_study
from study_server.quality.exclusion import exclude
from study_server.quality.payments import paid_people, read_payments
from study_server.quality.people import read_people
from study_server.studies.actions import COMMAND_LINE
from study_server.studies.cache import find_study
from tests.study_server.visiting import Visitor, query, serving

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
LINK = "?PROLIFIC_PID={0}&STUDY_ID=STUDY&SESSION_ID=sub-{0}"


@pytest.fixture
def prolific(make_study):
    make_study(
        platform={"name": "prolific", "completion_code": "DONE1", "failed_check_code": "FAILED1"},
        pairs_per_annotator=4,
        instructed=2,
        votes_per_pair=3,
        seconds_per_vote=60,
    )


def right(pair: dict) -> str:
    """Does as an attention check says."""
    instruction = pair["instruction"] or ""
    return "right" if "RIGHT" in instruction else "left"


def wrong(pair: dict) -> str:
    return "right" if "LEFT" in (pair["instruction"] or "") else "left"


def rows_of(database) -> dict[str, dict[str, str]]:
    with database.snapshot() as tx:
        text = "".join(payments_csv(row for _, row in read_payments(tx, find_study(tx, "s"))))
    table = list(csv.DictReader(io.StringIO(text)))
    assert tuple(table[0]) == COLUMNS
    return {row["platform_id"]: row for row in table}


async def test_each_participation_has_its_names_its_state_and_the_code_that_was_shown(
    settings, prolific, database, tmp_path
):
    async with serving(settings) as browser:
        await (await Visitor(browser()).enter(LINK.format("good"))).vote_all(right)
        await (await Visitor(browser()).enter(LINK.format("lazy"))).vote_all(wrong)
        await (await Visitor(browser()).enter(LINK.format("gone"))).vote_all(right, limit=1)
        await (await Visitor(browser()).enter(LINK.format("cheat"))).vote_all(wrong, limit=2)
        await Visitor(browser()).enter("?simulated=1")
    cheat = query(database, "SELECT pseudonym FROM annotators ORDER BY id")[3][0]
    act_on_study(database, "s", exclude, pseudonym=cheat, reason="both checks missed", by=COMMAND_LINE)
    rows = rows_of(database)
    assert list(rows) == ["cheat", "gone", "lazy", "good"], "no simulated one"
    assert rows["good"] | {"started_at": "", "minutes": ""} == {
        "platform": "prolific",
        "platform_id": "good",
        "platform_study": "STUDY",
        "submission": "sub-good",
        "state": "finished",
        "code": "DONE1",
        "started_at": "",
        "minutes": "",
        "trials": "6",
        "checks_passed": "2",
        "checks_shown": "2",
        "gold_right": "0",
        "gold_judged": "0",
        "repeats_same": "0",
        "repeats_shown": "0",
        "rejection_allowed": "no",
        "excluded_reason": "",
    }
    assert (rows["lazy"]["checks_passed"], rows["lazy"]["rejection_allowed"], rows["lazy"]["code"]) == (
        "0",
        "yes",
        "DONE1",
    )
    assert (rows["gone"]["state"], rows["gone"]["code"]) == ("active", "")
    assert (rows["cheat"]["state"], rows["cheat"]["code"], rows["cheat"]["excluded_reason"]) == (
        "excluded",
        "FAILED1",
        "both checks missed",
    )
    export_votes(database, study="s", path=tmp_path / "votes.csv")
    votes = (tmp_path / "votes.csv").read_text()
    pseudonyms = [name for pair in query(database, "SELECT pseudonym FROM annotators") for name in pair]
    listed = "".join(str(row) for row in rows.values())
    assert not any(name in listed for name in pseudonyms), "the list leads to no votes"
    assert not any(name in votes for name in ("good", "lazy", "sub-", "STUDY")), "the votes lead to no person"


async def test_a_platform_id_that_is_a_formula_stays_text(settings, prolific, database):
    async with serving(settings) as browser:
        await Visitor(browser()).enter("?PROLIFIC_PID=%3DHYPERLINK(1)&SESSION_ID=%2B1")
    (row,) = rows_of(database).values()
    assert (row["platform_id"], row["submission"]) == ("'=HYPERLINK(1)", "'+1")


async def test_the_commands_write_a_private_file_and_show_pseudonyms_only(settings, prolific, database, tmp_path):
    async with serving(settings) as browser:
        await (await Visitor(browser()).enter(LINK.format("good"))).vote_all(right)

    def call(*words):
        done = CliRunner().invoke(app, ["study", *words, "--db", settings.database_url], env={"COLUMNS": "200"})
        assert done.exit_code == 0, (done.output, done.exception)
        return done.output

    out = tmp_path / "people.csv"
    call("people", "s", "--out", str(out))
    assert "good" in out.read_text() and stat.S_IMODE(out.stat().st_mode) == 0o600
    shown = call("people", "s")
    assert "2/2" in shown and "good" not in shown
    assert "excluded" in call("exclude", "s", "--platform-id", "good", "--reason", "asked to be left out")
    assert "asked to be left out" in call("people", "s")
    assert "included again; 4 votes count" in call("include", "s", "--platform-id", "good")


async def test_the_list_asks_for_known_answers_only_and_says_what_the_annotators_page_says(
    settings, database, make_study
):
    make_study(
        platform={"name": "prolific", "completion_code": "DONE1"},
        pairs_per_annotator=10,
        repeat_rate=0.3,
        gold=[{"prompt": "p1", "better": "fp32", "worse": "w4a4"}],
        instructed=2,
        votes_per_pair=3,
    )
    async with serving(settings) as browser:
        for name, answer in (("good", right), ("lazy", wrong)):
            await (await Visitor(browser()).enter(LINK.format(name))).vote_all(answer)
        for _ in range(3):
            await (await Visitor(browser()).enter("?simulated=1")).vote_all(limit=2)
    with database.snapshot() as tx:
        study = find_study(tx, "s")
        people = {row.pseudonym: row.work for row in read_people(tx, study_id=study.id)}
        paid = paid_people(tx, study, before=2**62, limit=2)
        assert len(people) == 5 and len(paid) == 2, "simulated people are not even read"
        for person in paid:
            work = people[person.pseudonym]
            assert (person.work.checks, person.work.gold, person.work.repeats) == (work.checks, work.gold, work.repeats)
            assert work.repeats.of > 0 and work.checks.of == 2 and work.gold.of == 1
        assert paid_people(tx, study, before=paid[-1].id, limit=2) == []
