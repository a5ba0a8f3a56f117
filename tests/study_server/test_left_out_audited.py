"""Who was left out, and surplus votes: the audit refuses what no server does, and accuses no honest owner."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from benchmarks import audit_edits
from qsched.records.evidence import CAME_BACK_LATE, CAME_LATE
from study_server import app
from study_server.auditing import evidence
from study_server.auditing.evidence import write_evidence
from study_server.auditing.preregistering import preregister
from study_server.auditing.sealing import seal_all
from study_server.clock import now_ms
from study_server.owner import act_on_study
from study_server.quality.exclusion import exclude, include
from study_server.quality.forgetting import forget
from study_server.writing import contexts
from tests.study_server.test_auditing import PLAN, run_audit
from tests.study_server.test_looks_audited import correct
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
    with database.transaction() as tx:  # a vote that is deleted before it is sealed leaves nothing
        while seal_all(tx, now=now_ms()):
            pass
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
    assert "with surplus votes lack votes now" in said and "lost others" not in said
    assert "of these are of 1 annotator whom the owner excluded and included again" in said


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

    def left_out_control(lines):
        first = next(line for line in lines if line["row"] and line["surplus"] is None)
        first["row"]["kind"], first["surplus"] = "gold", CAME_BACK_LATE

    assert "trials that take no slot, such as practice, are marked as surplus" in forged(
        folder, "control", left_out_control
    )

    def late_in_time(lines):
        next(line for line in lines if line["surplus"])["surplus"] = CAME_LATE

    assert "marked as late that came before their slot could be lost" in forged(folder, "in time", late_in_time)

    def deleted_alone(lines):
        first, second = (line for line in lines[:2])
        second["row"]["supersedes"], first["row"] = first["row"]["vote"], None

    assert "votes correct others that were deleted" in forged(folder, "alone", deleted_alone)

    def marked_without_a_row(lines):
        next(line for line in lines if line["row"] is None)["excluded"] = True

    assert "nothing but their leaf is left" in forged(folder, "deleted", marked_without_a_row)

    def no_row(lines):
        next(line for line in lines if line["row"] is None)["row"] = "forged"

    assert "is neither a vote nor null" in forged(folder, "row", no_row)


async def test_a_later_design_that_asks_for_less_hides_no_dropped_votes(folder):
    (line,) = (folder / "designs.jsonl").read_text("utf-8").splitlines()
    less = {**json.loads(json.loads(line)["design"]), "votes_per_pair": 1}
    second = json.dumps({"version": 2, "design": json.dumps(less)})
    (folder / "designs.jsonl").write_text(f"{line}\n{second}\n", encoding="utf-8")
    said = forged(folder, "less", lambda lines: None)
    assert "a later design asks for fewer votes than the first" in said
    assert "the design was changed 1 time after it was preregistered or made: votes_per_pair" in said


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test can put forward."""
    moved = SimpleNamespace(ms=0)
    for place in (contexts, app, evidence):
        monkeypatch.setattr(place, "now_ms", lambda: now_ms() + moved.ms)
    return moved


@pytest.mark.parametrize("total", [None, 18])
async def test_nobody_is_accused_of_a_late_vote_whose_slot_somebody_held_and_left(
    settings, make_study, database, tmp_path, clock, total
):
    make_study(votes_per_pair=1, lease_seconds=60, votes_total=total)
    act_on_study(database, "s", preregister, plan=PLAN, by="test")
    async with serving(settings) as browser:
        absent, present = [await Visitor(browser()).enter("?simulated=1") for _ in range(2)]
        await absent.begin()
        clock.ms = 61_000
        assert await present.vote_all(limit=16) == 16, "two of 18 pairs are on their page, and are left there"
        for assignment in absent.queue:
            answer = await absent.post("api/votes", absent.ballot(assignment, "right"))
            assert answer.status_code == 200, answer.text
    write_evidence(database, study="s", folder=tmp_path / "evidence")
    code, said = run_audit(tmp_path / "evidence")
    assert code == 3 and "2 are surplus" in said and "2 pairs with surplus votes lack votes now" in said, said


async def test_nobody_is_accused_of_a_surplus_vote_whose_pair_lost_one_to_a_correction(
    settings, make_study, database, tmp_path, clock
):
    make_study(votes_per_pair=1, lease_seconds=60)
    act_on_study(database, "s", preregister, plan=PLAN, by="test")
    async with serving(settings) as browser:
        first = await Visitor(browser()).enter("?simulated=1")
        await first.vote_all(limit=1)
        who = query(database, "SELECT pseudonym FROM annotators")[0][0]
        act_on_study(database, "s", exclude, pseudonym=who, reason="a mistake", by="test")
        second = await Visitor(browser()).enter("?simulated=1")
        await second.vote_all(limit=18, wait=None)
        act_on_study(database, "s", include, pseudonym=who, reason="", by="test")
    assert query(database, "SELECT COUNT(*) FROM votes WHERE surplus_reason IS NOT NULL") == [(1,)]
    surplus = (
        "SELECT a.pair_id FROM votes v JOIN assignments a ON a.id = v.assignment_id WHERE surplus_reason IS NOT NULL"
    )
    other = f"SELECT v.id FROM votes v JOIN assignments a ON a.id = v.assignment_id WHERE a.pair_id IN ({surplus})"
    (vote,) = query(database, f"{other} AND surplus_reason IS NULL")[0]
    correct(database, vote, "skip", by=1)
    write_evidence(database, study="s", folder=tmp_path / "evidence")
    said = run_audit(tmp_path / "evidence")[1]
    assert "although their pair lacks votes" not in said and "1 pair with surplus votes lacks votes now" in said, said


@pytest.mark.parametrize("total", [None, 40])
async def test_votes_that_a_forger_drops_as_surplus_are_noticed(settings, make_study, database, tmp_path, total):
    make_study(votes_per_pair=3, votes_total=total)
    act_on_study(database, "s", preregister, plan=PLAN, by="test")
    await vote_by(settings, 2, limit=100)
    write_evidence(database, study="s", folder=tmp_path / "evidence")

    def drop(lines):
        for line in lines[:5]:
            line["surplus"] = CAME_BACK_LATE

    assert "although their pair lacks votes" in forged(tmp_path / "evidence", "dropped", drop)


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
