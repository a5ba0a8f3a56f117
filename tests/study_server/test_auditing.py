"""A study that its opponents can audit: preregistered, sealed while it runs, opened, and checked against forgers."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
from typer.testing import CliRunner

from analysis.audit import app as audit
from analysis.auditing.looks import take_looks_again
from benchmarks import audit_edits
from qsched.cli.main import app as qsched
from qsched.errors import InputError
from qsched.records.evidence import chain_start, extend, leaf_of, sha256
from qsched.records.stopping import Looks, StoppingRule
from study_server.auditing import sealing
from study_server.auditing.evidence import write_evidence
from study_server.auditing.preregistering import preregister
from study_server.auditing.sealing import seal_all
from study_server.clock import now_ms
from study_server.errors import BadRequest, Conflict
from study_server.owner import act_on_study
from study_server.quality.exclusion import exclude
from study_server.quality.forgetting import forget
from tests.conftest import ARMS, write_image_set
from tests.study_server.test_triplet_votes import TripletVisitor
from tests.study_server.visiting import Visitor, query, serving

PLAN = "--include-simulated --resamples 100 --formats svg"


def test_the_chain_is_the_one_that_is_documented():
    # Worked with sha256sum: printf 'qsched chain\0%s' "$(printf salt | sha256sum | cut -c1-64)" | sha256sum
    import hashlib

    salted = hashlib.sha256(b"salt").hexdigest().encode()
    start = hashlib.sha256(b"qsched chain\0" + salted).hexdigest()
    assert chain_start("salt") == start
    leaf = hashlib.sha256(b'qsched vote\0salt\0{"a":"\xc3\xa9","b":null}').hexdigest()
    assert leaf_of("salt", {"b": None, "a": "é"}) == leaf
    assert extend(start, [leaf]) == hashlib.sha256(bytes.fromhex(start) + bytes.fromhex(leaf)).hexdigest()
    with pytest.raises(ValueError, match="Out of range float"):
        leaf_of("salt", {"x": float("nan")})


async def run_study(settings, database, *, people: int = 4) -> dict:
    """Register, vote with corrections, and return what /s/s/seals published in the middle and at the end."""
    text = act_on_study(database, "s", preregister, plan=PLAN, by="test")
    copies = []
    async with serving(settings) as browser:
        for _ in range(people):
            visitor = await Visitor(browser()).enter("?simulated=1")
            await visitor.vote_all(limit=9)
            for _ in range(100):
                seals = (await browser().get("/s/s/seals")).json()
                sealed = seals["seals"][-1]["votes"] if seals["seals"] else 0
                if sealed == query(database, "SELECT COUNT(*) FROM votes")[0][0]:
                    break
                await asyncio.sleep(0.05)
            copies.append(seals)
    return {"preregistration": text, "copies": copies}


def run_audit(folder: Path, *options: str) -> tuple[int, str]:
    done = CliRunner().invoke(audit, [str(folder), *options])
    if isinstance(done.exception, InputError):
        return 2, str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, " ".join(done.output.split())


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_study_that_was_ended_before_its_votes_were_there_is_not_silent_about_it(
    settings, make_study, database, tmp_path
):
    """Its owner sees the answers so far, and may have ended it when they pleased."""
    make_study(votes_per_pair=1)
    pairs = query(database, "SELECT COUNT(*) FROM pairs WHERE pool = 'task'")[0][0]
    await run_study(settings, database, people=1)
    write_evidence(database, study="s", folder=tmp_path / "early")
    words = f"9 of {pairs} valid votes that the design asks for are there: the study was ended early"
    assert pairs > 9 and words in run_audit(tmp_path / "early")[1]
    with database.transaction() as tx:  # the first person went away with two pairs on the screen
        tx.command("UPDATE assignments SET lease_expires_ms = 0 WHERE state = 'leased'")
    async with serving(settings) as browser:
        await (await Visitor(browser()).enter("?simulated=1")).vote_all()
    write_evidence(database, study="s", folder=tmp_path / "whole")
    assert "ended early" not in run_audit(tmp_path / "whole")[1]


async def test_a_study_is_registered_sealed_opened_and_passes_its_audit(settings, make_study, database, tmp_path):
    make_study(votes_per_pair=3)
    found = await run_study(settings, database)
    preregistered = sha256(found["preregistration"])
    assert {copy["preregistration_sha256"] for copy in found["copies"]} == {preregistered}
    counts = [copy["seals"][-1]["votes"] for copy in found["copies"]]
    assert counts == sorted(counts) and counts[-1] == 36

    who = query(database, "SELECT pseudonym FROM annotators ORDER BY id")
    act_on_study(database, "s", exclude, pseudonym=who[0][0], reason="clicked at random", by="test")
    act_on_study(database, "s", forget, who=who[1][0], by="test")
    folder = tmp_path / "evidence"
    opened = write_evidence(database, study="s", folder=folder)
    assert (opened.votes, opened.deleted, opened.preregistered) == (36, 9, True)

    seals = []
    for number, copy in enumerate(found["copies"]):
        (tmp_path / f"seals-{number}.json").write_text(json.dumps(copy))
        seals += ["--seals", str(tmp_path / f"seals-{number}.json")]
    code, said = run_audit(
        folder, *seals, "--preregistration-sha256", preregistered, "--evidence-sha256", opened.sha256
    )
    assert code == 0, said
    assert "9 were deleted at their person's request" in said and "clicked at random" in said
    code, said = run_audit(folder)
    assert code == 3 and "no copy of the seals was given" in said
    assert "published hashes agree" not in said, "nothing that was published was given"
    assert "not checked: the report: there is none" in said
    code, said = run_audit(folder, "--preregistration-sha256", preregistered[:8])
    assert code == 2 and "64 hexadecimal digits" in said
    code, said = run_audit(folder, *seals, "--preregistration-sha256", "0" * 64)
    assert code == 1 and "published was 000" in said
    with pytest.raises(InputError, match="is not empty"):
        write_evidence(database, study="s", folder=folder)


async def test_what_comes_after_a_published_seal_cannot_change_what_was_before(
    settings, make_study, database, tmp_path
):
    make_study(votes_per_pair=3)
    found = await run_study(settings, database, people=2)
    (tmp_path / "seals.json").write_text(json.dumps(found["copies"][-1]))
    with database.transaction() as tx:
        tx.command("UPDATE votes SET choice = 'right' WHERE id = (SELECT MIN(id) FROM votes WHERE choice = 'left')")
    write_evidence(database, study="s", folder=tmp_path / "changed")
    code, said = run_audit(tmp_path / "changed", "--seals", str(tmp_path / "seals.json"))
    assert code == 1 and "1 votes were changed after they were sealed" in said

    # An owner who seals everything anew, with a new chain, contradicts what was published.
    with database.transaction() as tx:
        for table in ("vote_seals", "vote_leaves"):
            tx.command(f"DELETE FROM {table}")
        tx.command("UPDATE vote_chains SET length = 0")
        salt = tx.command("SELECT salt FROM vote_chains").fetchone()[0]
        tx.command(f"UPDATE vote_chains SET head = '{chain_start(salt)}'")
        while seal_all(tx, now=now_ms()):
            pass
    write_evidence(database, study="s", folder=tmp_path / "anew")
    assert run_audit(tmp_path / "anew")[0] == 3, "in itself it is consistent"
    code, said = run_audit(tmp_path / "anew", "--seals", str(tmp_path / "seals.json"))
    assert code == 1 and "published heads do not agree with the chain" in said


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_every_random_edit_is_detected_although_the_manifest_is_forged_too(
    settings, make_study, database, tmp_path
):
    make_study(votes_per_pair=3)
    await run_study(settings, database)
    write_evidence(database, study="s", folder=tmp_path / "evidence")
    made, missed = audit_edits.attack(tmp_path / "evidence", 300, seed=1)
    assert (made, missed) == (300, [])


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_the_report_is_made_again_and_compared_byte_for_byte(
    settings, make_study, database, tmp_path, monkeypatch
):
    from analysis.winrates import app as winrates

    make_study(votes_per_pair=3)
    await run_study(settings, database)
    folder = tmp_path / "evidence"
    write_evidence(database, study="s", folder=folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", ["winrates", "votes.parquet", "--out", "report", *PLAN.split()])
    done = CliRunner().invoke(winrates, ["votes.parquet", "--out", "report", *PLAN.split()])
    assert done.exit_code in (0, 3), done.output
    monkeypatch.chdir(tmp_path)
    assert "passed the report is what the plan makes" in run_audit(folder)[1]
    page = folder / "report" / "report.html"
    page.write_text(page.read_text("utf-8").replace("votes", "voices", 1), encoding="utf-8")
    code, said = run_audit(folder)
    assert code == 1 and "another report of these votes: 1 file changed, first report.html" in said


def test_a_preregistration_comes_before_the_first_vote_and_only_once(settings, make_study, database):
    make_study()
    with pytest.raises(BadRequest, match="holds --out, which names a file"):
        act_on_study(database, "s", preregister, plan="--out elsewhere", by="test")
    with pytest.raises(BadRequest, match="write the options of winrates only"):
        act_on_study(database, "s", preregister, plan="winrates --baseline a", by="test")
    document = json.loads(act_on_study(database, "s", preregister, plan=PLAN, by="test"))
    assert document["plan"] == PLAN.split()
    assert "w4a8" not in json.dumps({**document, "plan": []}), "no arm is named"
    with pytest.raises(Conflict, match="is preregistered already"):
        act_on_study(database, "s", preregister, plan=PLAN, by="test")


async def test_after_the_first_vote_nothing_can_be_registered(settings, make_study, database):
    make_study()
    async with serving(settings) as browser:
        await (await Visitor(browser()).enter("?simulated=1")).vote_all(limit=1)
    with pytest.raises(Conflict, match="has votes; a preregistration fixes"):
        act_on_study(database, "s", preregister, plan=PLAN, by="test")


def test_a_folder_that_is_no_evidence_is_refused_in_words(tmp_path):
    done = CliRunner().invoke(audit, [str(tmp_path)])
    assert isinstance(done.exception, InputError) and "manifest.json" in str(done.exception)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ("--baseline fp31", "lacks; it has"),
        ("--exclude-arm fp31", "lacks; it has"),
        ("--baselin fp32", "No such option"),
        ("--seed 1 fp32", "belongs to no option"),
        ("--certificate c.json", "names a file"),
    ],
)
def test_a_plan_with_a_mistake_registers_nothing(make_study, database, database_url, tmp_path, plan, words):
    make_study(votes_per_pair=3)
    out = tmp_path / "p.json"
    line = ["study", "preregister", "s", "--plan", plan, "--out", str(out), "--db", str(database.url)]
    done = CliRunner().invoke(qsched, line)
    assert done.exit_code != 0 and not out.exists()
    assert words in f"{done.exception} {done.output}"
    assert not query(database, "SELECT 1 FROM vote_chains WHERE preregistration IS NOT NULL")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_fidelity_study_has_evidence_too(make_study, settings, database, database_url, tmp_path):
    make_study("f", design="fidelity", fidelity={"traps": {"each": 4, "least": 4}, "bias_each": 1})
    with pytest.raises(BadRequest, match="whose plan is in its design"):
        act_on_study(database, "f", preregister, plan=PLAN, by="test")
    text = act_on_study(database, "f", preregister, plan="", by="test")
    async with serving(settings) as browser:
        visitor = await TripletVisitor(browser(), "f").enter("?simulated=1", simulated="1")
        await visitor.vote_all(lambda _: "tie", limit=9)
    folder = tmp_path / "evidence"
    assert write_evidence(database, study="f", folder=folder).votes == 9
    code, said = run_audit(folder, "--preregistration-sha256", sha256(text))
    assert code == 3 and "passed triplets.parquet is the votes that count" in said, said
    assert "not checked: zoom, flicker and toggles" in said
    # Another answer, another reference and another presentation are found, each with a manifest that fits.
    table = pl.read_parquet(folder / "triplets.parquet")
    for column, value in (("answer", "left"), ("reference_arm", "w4a4"), ("presentation", "plain"), ("kind", "bias")):
        first = pl.when(pl.int_range(pl.len()) == [kept == value for kept in table[column]].index(False))
        table.with_columns(first.then(pl.lit(value)).otherwise(pl.col(column)).alias(column)).write_parquet(
            folder / "triplets.parquet"
        )
        audit_edits.forge_manifest(folder)
        code, said = run_audit(folder)
        assert code == 1 and "1 rows of triplets.parquet are not votes of the chain" in said, (column, said)


async def rank_sets(settings, rankings: list[str], *, people: int, sets: int) -> None:
    """People who give these rankings (or skip) in turn, each beginning with the next one."""
    async with serving(settings) as browser:
        for turn in range(people):
            visitor = await Visitor(browser(), "r").enter("?simulated=1")
            await visitor.begin()
            for number in range(sets):
                if not visitor.queue:
                    break
                given = rankings[(turn + number) % len(rankings)]
                ballot = visitor.ballot(visitor.queue.pop(0)) | {"answers": {}, "rankings": {"overall": given}}
                if given == "skip":
                    ballot |= {"answers": {"overall": "skip"}, "rankings": {}}
                answer = await visitor.post("api/votes", ballot)
                assert answer.status_code == 200, answer.text
                visitor.queue += [one for one in (answer.json()["next"], *answer.json()["more"]) if one]


@pytest.mark.parametrize("pictures", [3, 4])
async def test_a_ranking_study_is_preregistered_and_audited(settings, make_study, database, tmp_path, pictures):
    images = write_image_set(tmp_path / "set", arms=(*ARMS, "w8a8"))
    ranking = {"pictures": pictures, "gold": [{"prompt": "p1", "worst": ARMS[2]}]}
    make_study("r", images=images, design="ranking", votes_per_pair=3, ranking=ranking)
    text = act_on_study(database, "r", preregister, plan=PLAN, by="test")
    rankings = ["a>b>c", "c=b>a", "b>a=c", "skip"] if pictures == 3 else ["a>b>c>d", "d>c=b>a", "b>a=c=d", "skip"]
    await rank_sets(settings, rankings, people=3, sets=100)  # to the end: a gold set may come late
    folder = tmp_path / "evidence"
    write_evidence(database, study="r", folder=folder)
    rows = [json.loads(line)["row"] for line in (folder / "rows.jsonl").read_text().splitlines()]
    assert {row["choice"] for row in rows} > {"skip"} and "gold" in {row["kind"] for row in rows}
    assert all(sorted(row["places"]) == list("0123"[:pictures]) for row in rows)
    code, said = run_audit(folder, "--preregistration-sha256", sha256(text))
    assert code == 3 and "FAILED" not in said and "passed votes.parquet is the votes that count" in said, said

    pairs = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    assert all("third_arm" in pair and ("fourth_arm" in pair) == (pictures == 4) for pair in pairs)
    pairs[0]["second_arm"], pairs[0]["third_arm"] = pairs[0]["third_arm"], pairs[0]["second_arm"]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    audit_edits.forge_manifest(folder)
    code, said = run_audit(folder)
    assert code == 1 and "which picture is of which arm is not what was preregistered" in said


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_every_random_edit_of_a_ranking_study_is_detected(settings, make_study, database, tmp_path):
    make_study("r", design="ranking", votes_per_pair=3, ranking={"pictures": 3})
    act_on_study(database, "r", preregister, plan=PLAN, by="test")
    await rank_sets(settings, ["b>a=c", "c>a>b"], people=2, sets=4)
    write_evidence(database, study="r", folder=tmp_path / "evidence")
    assert audit_edits.attack(tmp_path / "evidence", 150, seed=2) == (150, [])


async def test_studies_have_chains_of_their_own_and_what_is_sealed_is_not_read_again(
    settings, make_study, database, monkeypatch
):
    make_study("s")
    make_study("other")
    still = settings.model_copy(update={"sweep_seconds": 3600})
    async with serving(still) as browser:
        people = [await Visitor(browser(), slug).enter("?simulated=1") for slug in ("s", "other", "s")]
        for person in people[:2]:
            await person.vote_all(limit=3)
        with database.transaction() as tx:
            assert seal_all(tx, now=1) == 6
            assert seal_all(tx, now=2) == 0
        await people[2].vote_all(limit=2)
    seen = []
    real = sealing.as_record
    monkeypatch.setattr(sealing, "as_record", lambda row: seen.append(row[0]) or real(row))
    with database.transaction() as tx:
        assert seal_all(tx, now=3) == 2
    assert len(seen) == 2
    chains = "SELECT st.slug, c.length FROM vote_chains c JOIN studies st ON st.id = c.study_id ORDER BY st.slug"
    assert query(database, chains) == [("other", 3), ("s", 5)]
    seals = "SELECT st.slug, v.votes, v.sealed_ms FROM vote_seals v JOIN studies st ON st.id = v.study_id"
    assert sorted(query(database, seals)) == [("other", 3, 1), ("s", 3, 1), ("s", 5, 3)]


def test_looks_must_be_there_if_the_design_has_a_rule_and_by_that_rule(tmp_path):
    rule = {"baseline": "a", "horizon": 400, "looks": 4}
    looks = Looks(study="s", question="q", arms=1, rule=StoppingRule(**rule), looks=())
    pairs = [{"pair_id": "1", "pool": "task", "first_arm": "a", "second_arm": "b"}]
    pl.DataFrame({"vote": [1]}).write_parquet(tmp_path / "votes.parquet")

    def problems(stopping):
        design = {"questions": [{"id": "q"}], **({"stopping": stopping} if stopping else {})}
        evidence = SimpleNamespace(
            folder=tmp_path, design=design, study="s", pairs=pairs, lines=(), excluded=(), table="votes.parquet"
        )
        return list(take_looks_again(evidence).problems)

    assert problems(None) == []
    assert problems(rule) == ["the design has a stopping rule, but votes.looks.json is missing"]
    (tmp_path / "votes.looks.json").write_text(looks.model_dump_json())
    assert problems(rule) == []
    assert problems(None) == ["there is a votes.looks.json, and the design has no stopping rule"]
    assert problems({**rule, "level": 0.01}) == ["the rule in votes.looks.json is not that of the design"]
    pairs.append({"pair_id": "2", "pool": "task", "first_arm": "a", "second_arm": "c"})
    assert problems(rule) == ["votes.looks.json is not about the 2 arms of the task pairs and the question 'q'"]


async def test_the_votes_of_previews_keep_no_vote_from_being_sealed(settings, database, make_study, monkeypatch):
    make_study()
    monkeypatch.setattr(sealing, "AT_ONCE", 2)
    async with serving(settings) as browser:
        await (await Visitor(browser()).enter()).vote_all(limit=4)
    with database.transaction() as tx:  # while no server seals
        tx.command("UPDATE sessions SET preview = TRUE")
        tx.command("DELETE FROM vote_leaves")
    async with serving(settings) as browser:
        await (await Visitor(browser()).enter()).vote_all(limit=3)
    with database.transaction() as tx:
        while seal_all(tx, now=now_ms()):
            pass
    sealed = query(database, "SELECT vote_id FROM vote_leaves ORDER BY position")
    of_people = query(database, "SELECT v.id FROM votes v JOIN sessions s ON s.id = v.session_id WHERE NOT s.preview")
    assert sorted(sealed) == sorted(of_people) and len(sealed) == 3
