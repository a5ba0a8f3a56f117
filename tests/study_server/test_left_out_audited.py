"""Who was left out, and surplus votes: the audit refuses what no server does, and accuses no honest owner."""

from __future__ import annotations

import json

import pytest

from benchmarks import audit_edits
from study_server.auditing.evidence import write_evidence
from study_server.auditing.preregistering import preregister
from study_server.owner import act_on_study
from study_server.quality.exclusion import exclude, include
from study_server.quality.forgetting import forget
from tests.study_server.test_auditing import PLAN, run_audit
from tests.study_server.test_triplet_votes import TripletVisitor
from tests.study_server.visiting import Visitor, query, serving

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def vote_by(settings, people: int, *, limit: int) -> None:
    async with serving(settings) as browser:
        for _ in range(people):
            await (await Visitor(browser()).enter("?simulated=1")).vote_all(limit=limit, wait=None)


@pytest.fixture
async def folder(settings, make_study, database, tmp_path):
    """The first person's votes came back late; then the second was excluded, and the data of the third deleted."""
    make_study(votes_per_pair=3)
    act_on_study(database, "s", preregister, plan=PLAN, by="test")
    await vote_by(settings, 3, limit=100)
    first = query(database, "SELECT pseudonym FROM annotators ORDER BY id")[0][0]
    act_on_study(database, "s", exclude, pseudonym=first, reason="clicked at random", by="test")
    await vote_by(settings, 1, limit=100)
    who = [one for (one,) in query(database, "SELECT pseudonym FROM annotators ORDER BY id")]
    act_on_study(database, "s", include, pseudonym=who[0], reason="a mistake", by="test")
    act_on_study(database, "s", exclude, pseudonym=who[1], reason="failed checks", by="test")
    act_on_study(database, "s", forget, who=who[2], by="test")
    write_evidence(database, study="s", folder=tmp_path / "evidence")
    return tmp_path / "evidence"


def forged(folder, name: str, edit) -> str:
    """What the audit says once `edit` has changed the lines of rows.jsonl."""
    lines = [json.loads(line) for line in (folder / "rows.jsonl").read_text("utf-8").splitlines()]
    edit(lines)
    (folder / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    audit_edits.forge_manifest(folder)
    code, said = run_audit(folder)
    assert code in (1, 2), (name, said)
    return said


async def test_pairs_that_lost_votes_after_a_surplus_one_are_named_and_nobody_is_accused(folder):
    code, said = run_audit(folder)
    assert code == 3, said
    assert "with surplus votes lost others afterwards, and lack votes now" in said


async def test_surplus_votes_on_a_pair_that_no_exclusion_explains_are_a_problem(folder):
    def hide_exclusions(lines):
        for line in lines:
            if line["excluded"] and line["row"]["kind"] == "task":
                line["row"]["choice"] = "skip"  # then the pair never had its votes

    assert "marked as surplus although their pair lacks votes" in forged(folder, "hidden", hide_exclusions)


async def test_marks_that_no_server_makes_are_a_problem(folder):
    def another_reason(lines):
        next(line for line in lines if line["surplus"])["surplus"] = "it was wrong"

    assert "surplus for a reason that no server gives" in forged(folder, "reason", another_reason)

    def marked_without_a_row(lines):
        next(line for line in lines if line["row"] is None)["excluded"] = True

    assert "nothing but their leaf is left" in forged(folder, "deleted", marked_without_a_row)

    def no_row(lines):
        next(line for line in lines if line["row"] is None)["row"] = "forged"

    assert "is no vote and not null" in forged(folder, "row", no_row)


async def test_every_random_edit_of_such_a_study_is_detected(folder):
    assert audit_edits.attack(folder, 150, seed=3) == (150, [])


async def test_every_random_edit_of_a_fidelity_study_is_detected(settings, make_study, database, tmp_path):
    make_study("f", design="fidelity", fidelity={"traps": {"each": 4, "least": 4}, "bias_each": 1})
    act_on_study(database, "f", preregister, plan="", by="test")
    async with serving(settings) as browser:
        visitor = await TripletVisitor(browser(), "f").enter("?simulated=1", simulated="1")
        await visitor.vote_all(lambda _: "tie", limit=9)
    write_evidence(database, study="f", folder=tmp_path / "evidence")
    assert audit_edits.attack(tmp_path / "evidence", 150, seed=4) == (150, [])
