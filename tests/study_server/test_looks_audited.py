"""The audit takes every planned look again from the chain, and refuses looks that the votes do not make."""

from __future__ import annotations

import json
import shutil

import pytest

from analysis.auditing.looks import take_looks_again
from analysis.auditing.read import read_evidence
from benchmarks.audit_edits import forge_manifest
from qsched.errors import InputError
from study_server.auditing.evidence import write_evidence
from study_server.auditing.sealing import seal_all
from study_server.clock import now_ms
from study_server.db.statements import Statement
from study_server.owner import act_on_study
from study_server.quality.exclusion import exclude, include
from study_server.quality.forgetting import forget
from tests.study_server.test_auditing import run_audit
from tests.study_server.test_looks import BASE, PEOPLE, RULE, SAME, WORSE, give_votes, look
from tests.study_server.visiting import query


def correct(database, vote: int, choice: str, *, by: int) -> None:
    """A later vote of the same person on the same pair, which takes the place of an earlier one."""
    with database.transaction() as tx:
        tx.run(
            Statement(
                "INSERT INTO votes (assignment_id, session_id, question, choice, response_ms, hidden_ms, answered_ms, "
                "idempotency_key, supersedes_id) SELECT assignment_id, session_id, question, :choice, 900, 0, 3, "
                ":key, id FROM votes WHERE id = :vote"
            ),
            choice=choice,
            key=f"c-{by}",
            vote=vote,
        )


def two_looks(database, make_study) -> None:
    """Look 1 decides WORSE, look 2 is the last; corrections before and after look 1, and somebody left out between."""
    make_study(votes_per_pair=40, stopping=RULE)
    give_votes(database, 4)
    first = query(database, "SELECT MIN(id) FROM votes")[0][0]
    correct(database, first + 2, "tie", by=1)
    give_votes(database, PEOPLE - 4, start=4)
    correct(database, first + 5, "skip", by=2)
    assert "look 1: " in look(database)
    correct(database, first + 8, "tie", by=3)
    act_on_study(database, "s", exclude, pseudonym="a-1003", reason="clicked at random", by="test")
    give_votes(database, 8, start=PEOPLE)
    assert "look 2: " in look(database)


@pytest.fixture
def folder(database, make_study, tmp_path):
    two_looks(database, make_study)
    write_evidence(database, study="s", folder=tmp_path / "evidence")
    return tmp_path / "evidence"


def test_looks_are_taken_again_from_the_chain_whatever_came_later(database, folder):
    code, said = run_audit(folder)
    assert code == 3 and "passed planned looks are what the votes make" in said, said
    looks = json.loads((folder / "votes.looks.json").read_text())["looks"]
    assert [one["left_out"] for one in looks] == [[], ["a-1003"]]
    through = looks[0]["through"]
    later = query(database, "SELECT COUNT(*) FROM votes WHERE supersedes_id IS NOT NULL AND id > :t", t=through)
    assert later[0][0] >= 1, "a correction after the look does not change what it rested on"


def moved(looks: list[dict]) -> None:
    looks[0]["through"] -= 1


def decided_otherwise(looks: list[dict]) -> None:
    looks[1]["arms"][0]["decision"] = "better" if looks[1]["arms"][0]["decision"] != "better" else "worse"


def left_open(looks: list[dict]) -> None:
    (one,) = [one for one in looks[0]["arms"] if one["arm"] == WORSE]
    one["decision"] = "open"


def dropped_earlier(looks: list[dict]) -> None:
    """The other arm is said to have been decided at the first look."""
    (one,) = [one for one in looks[0]["arms"] if one["arm"] == SAME]
    one["decision"] = "equivalent"
    del looks[1]


def with_other_bounds(looks: list[dict]) -> None:
    looks[1]["arms"][0]["low"] += 0.001


def without_the_last(looks: list[dict]) -> None:
    del looks[1]


def without_the_first(looks: list[dict]) -> None:
    del looks[0]
    looks[0]["number"] = 1


def dated_before_its_votes(looks: list[dict]) -> None:
    looks[0]["at"] = "1970-01-01T00:00:00Z"


def somebody_left_out(looks: list[dict]) -> None:
    looks[0]["left_out"] = ["a-1005"]


def somebody_counted_who_was_left_out(looks: list[dict]) -> None:
    looks[1]["left_out"] = []
    looks[1]["at"] = "2100-01-01T00:00:00Z"


def called_the_last(looks: list[dict]) -> None:
    looks[0]["final"] = True
    del looks[1]


EDITS = {
    moved: "look 1: it was due with vote",
    decided_otherwise: "look 2: ",
    left_open: f"look 1: {WORSE} worse",
    dropped_earlier: f"look 1: {SAME} open",
    with_other_bounds: "look 2: ",
    without_the_last: "look 2 was due with vote",
    without_the_first: f"look 1 is not about the open arms, {SAME}, {WORSE}",
    dated_before_its_votes: "look 1: it is dated before the vote that made it due",
    somebody_left_out: "look 1: it was due with vote",
    somebody_counted_who_was_left_out: "look 2 counts people who had been excluded before: a-1003",
    called_the_last: "look 1: final is True, and the votes say False",
}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_edited_look_is_refused_although_the_manifest_is_forged_too(folder, tmp_path):
    for edit, words in EDITS.items():
        forged = tmp_path / edit.__name__
        shutil.copytree(folder, forged)
        file = forged / "votes.looks.json"
        document = json.loads(file.read_text())
        edit(document["looks"])
        file.write_text(json.dumps(document))
        forge_manifest(forged)
        code, said = run_audit(forged)
        assert code == 1 and "FAILED planned looks" in said and words in said, (edit.__name__, said)
    (forged / "votes.looks.json").unlink()
    forge = json.loads((forged / "manifest.json").read_text())
    del forge["files"]["votes.looks.json"]
    (forged / "manifest.json").write_text(json.dumps(forge))
    assert "the design has a stopping rule, but votes.looks.json is missing" in run_audit(forged)[1]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_look_whose_votes_were_deleted_is_told_and_not_refused(database, make_study, tmp_path):
    two_looks(database, make_study)
    with database.transaction() as tx:
        while seal_all(tx, now=now_ms()):
            pass
    act_on_study(database, "s", forget, who="a-1007", by="test")
    write_evidence(database, study="s", folder=tmp_path / "evidence")
    again = take_looks_again(read_evidence(tmp_path / "evidence"))
    assert again.problems == ()
    assert [words[:90] for words in again.words] == [
        f"look {n} cannot be taken again: 18 votes before it were deleted at their person's request; without"[:90]
        for n in (1, 2)
    ]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_somebody_who_was_taken_in_again_does_not_spoil_the_looks(database, make_study, tmp_path):
    make_study(votes_per_pair=PEOPLE, stopping={**RULE, "horizon": 168})
    give_votes(database, 10)
    assert "look 1: " in look(database)
    act_on_study(database, "s", exclude, pseudonym="a-1000", reason="by mistake", by="test")
    give_votes(database, 5, start=10)
    act_on_study(database, "s", include, pseudonym="a-1000", reason="", by="test")
    assert query(database, "SELECT COUNT(*) FROM votes WHERE surplus_reason IS NOT NULL") == [(6,)]
    assert "look 2, the last one because no more votes can come" in look(database)
    write_evidence(database, study="s", folder=tmp_path / "evidence")
    again = take_looks_again(read_evidence(tmp_path / "evidence"))
    assert again.problems == ()
    assert again.words == (
        "look 1 agrees if votes of people who were included again later counted at the time",
        "look 2 was taken before its time as the last one, since no more votes could come: all 6 pairs of open arms "
        "have their votes",
    )


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_look_that_differs_in_less_with_votes_that_came_back_does_not_agree(
    database, make_study, tmp_path, monkeypatch
):
    make_study(votes_per_pair=PEOPLE, stopping={**RULE, "horizon": 168})
    give_votes(database, 10)
    look(database)
    act_on_study(database, "s", exclude, pseudonym="a-1000", reason="by mistake", by="test")
    give_votes(database, 5, start=10)
    act_on_study(database, "s", include, pseudonym="a-1000", reason="", by="test")
    look(database)
    write_evidence(database, study="s", folder=tmp_path / "evidence")
    taken = []

    def differences(self, look, open_arms, *, late):
        taken.append((look.number, late))
        return [] if look.number == 2 else ["one"] if late else ["one", "two"]

    monkeypatch.setattr("analysis.auditing.looks._LookReplay._differences", differences)
    again = take_looks_again(read_evidence(tmp_path / "evidence"))
    assert "look 1: one" in again.problems
    assert again.words[0].startswith("look 1 agrees in more, not in all, if votes of people who were included again")
    assert taken == [(1, False), (1, True), (2, False)], "a look that agrees is taken once"


def test_a_due_look_is_taken_before_the_evidence_is_written(database, make_study, tmp_path):
    make_study(votes_per_pair=40, stopping=RULE)
    give_votes(database, PEOPLE)
    with pytest.raises(InputError, match="look 1 of study 's' is due: run `qsched study look s`"):
        write_evidence(database, study="s", folder=tmp_path / "evidence")
    look(database)
    write_evidence(database, study="s", folder=tmp_path / "evidence")


def test_the_baseline_is_no_arm_of_a_look(folder):
    looks = json.loads((folder / "votes.looks.json").read_text())["looks"]
    assert BASE not in {one["arm"] for each in looks for one in each["arms"]}
