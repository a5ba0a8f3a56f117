"""Triplets in front of a person: what is served, what a vote must say, and the table that the analysis reads."""

from __future__ import annotations

import polars as pl
import pytest

from analysis.triplets import TrapRule, code_triplets, read_triplets, screen
from qsched.errors import InputError
from study_server.export import export_triplets, export_votes, is_fidelity, triplets
from study_server.quality.people import every_person
from study_server.studies.creation import create_study
from study_server.studies.design import StudyDesign
from tests.study_server.test_fidelity import SMALL
from tests.study_server.visiting import Visitor, query, serving


async def test_a_missing_reference_is_the_servers_fault_and_no_pair_is_taken_out(
    settings, database, make_fidelity, small_image_set
):
    make_fidelity(small_image_set)
    async with serving(settings) as browser:
        visitor = await TripletVisitor(browser(), "f").enter()
        await visitor.begin()
        shown = visitor.queue[0]
        body = {"assignment": shown["token"], "problem": "image_missing", "tab_token": visitor.tab}
        ((file,),) = query(
            database,
            "SELECT i.file FROM assignments a JOIN triplets t ON t.pair_id = a.pair_id"
            " JOIN images i ON i.id = t.shown_reference_id ORDER BY a.position LIMIT 1",
        )
        next(settings.data_folder.rglob(file)).unlink()
        answer = await visitor.post("api/report", {**body, "idempotency_key": "k" * 12})
        assert answer.status_code == 503, answer.text
    assert query(database, "SELECT COUNT(*) FROM reports") == [(0,)]


async def test_traps_are_the_gold_of_a_fidelity_study(settings, database, make_fidelity, small_image_set):
    make_fidelity(small_image_set)
    async with serving(settings) as browser:
        visitor = await TripletVisitor(browser(), "f").enter("?simulated=1", simulated="1")
        await visitor.vote_all(lambda _: "tie")
    with database.snapshot() as tx:
        (person,) = every_person(tx, study_id=1)
    assert (person.work.gold.part, person.work.gold.of) == (0, 4), "not sure is wrong on a trap"


class TripletVisitor(Visitor):
    """A browser that says how it showed a triplet."""

    def ballot(self, assignment, choice="left", *, key=None, **more):
        boosting = assignment["boosting"]
        view = {"layout": "side", "scale": 4.0, "swaps": 3, "rate_hz": boosting["rate_hz"] if boosting else None}
        return super().ballot(assignment, choice, key=key, **{"view": view, **more})


async def test_votes_become_a_triplets_table_that_the_analysis_reads(
    settings, database, make_fidelity, small_image_set, tmp_path, monkeypatch
):
    make_fidelity(small_image_set, practice=[{"prompt": "p5", "better": "fp32", "worse": "w4a4"}])
    async with serving(settings) as browser:
        for number in range(2):
            visitor = await TripletVisitor(browser(), "f").enter("?simulated=1", simulated="1")
            assert await visitor.vote_all(lambda _, n=number: ("right", "tie")[n]) == 2 + 20 + 4 + 1
    assert is_fidelity(database, "f")
    summary = export_triplets(database, study="f", path=tmp_path / "t.parquet")
    assert summary.kinds == {"practice": 4, "task": 40, "trap": 8, "bias": 2}
    table = read_triplets(tmp_path / "t.parquet")
    assert table.reference == "fp32"
    frame = table.frame
    assert set(frame["answer"]) == {"right", "not sure"}
    boosted = frame.filter(pl.col("presentation") == "boosted")
    assert boosted.select("factor", "zoom", "rate_hz").unique().rows() == [(3.0, 4, 2.0)]
    assert set(boosted["crop_width"]) == {32}
    assert set(frame["toggles"]) == {3} and frame["simulated"].all()
    assert set(frame.filter(pl.col("kind") == "trap")["presentation"]) == {"plain", "boosted"}
    kept = screen(table, TrapRule(share=0.0, least=4))
    assert kept.table.n_votes == 50 and code_triplets(kept.table).pictures[0] == "fp32"
    with monkeypatch.context() as patch:
        patch.setattr(triplets, "PIECE_ROWS", 4)
        patch.setattr(triplets, "BATCH_ROWS", 10)
        assert export_triplets(database, study="f", path=tmp_path / "small.parquet").written == 54
    assert pl.read_parquet(tmp_path / "small.parquet").equals(pl.read_parquet(tmp_path / "t.parquet"))
    with pytest.raises(InputError, match="preference"):
        make_preference_export(database, settings, small_image_set, tmp_path)


def make_preference_export(database, settings, images, tmp_path):
    design = StudyDesign(slug="p", title="t", images=str(images))
    create_study(database, design, set_folder=images, data_folder=settings.data_folder, progress=lambda _: None)
    assert not is_fidelity(database, "p")
    export_triplets(database, study="p", path=tmp_path / "p.parquet")


async def test_no_preference_estimate_can_read_a_triplet(settings, database, make_fidelity, small_image_set, tmp_path):
    make_fidelity(small_image_set)
    async with serving(settings) as browser:
        visitor = await TripletVisitor(browser(), "f").enter()
        await visitor.begin()
        await visitor.vote("left")
    assert query(database, "SELECT COUNT(*) FROM votes") == [(1,)]
    assert query(database, "SELECT COUNT(*) FROM votes_table") == [(0,)]
    with pytest.raises(InputError, match="triplet"):
        export_votes(database, study="f", path=tmp_path / "v.csv")


async def test_a_vote_that_does_not_say_what_was_seen_is_refused(settings, make_fidelity, small_image_set):
    make_fidelity(small_image_set, fidelity=SMALL | {"presentations": ["boosted"]})
    async with serving(settings) as browser:
        visitor = await TripletVisitor(browser(), "f").enter()
        await visitor.begin()
        shown = visitor.queue[0]
        assert shown["boosting"] == {"factor": 3.0, "rate_hz": 2.0, "zoom": None, "largest": None}
        whole = {"scale": 2.0, "swaps": 0, "rate_hz": 2.0}
        wrong = [None, {}, {**whole, "scale": 1.5}, {**whole, "rate_hz": 5.0}, {**whole, "rate_hz": None}]
        for view in wrong:
            answer = await visitor.post("api/votes", visitor.ballot(shown, view=view))
            assert answer.status_code == 422 and "view." in answer.json()["error"]["message"]
        answer = await visitor.post("api/votes", visitor.ballot(shown, view={**whole, "rate_hz": 0}))
        assert answer.status_code == 200, answer.text


async def test_the_three_pictures_of_a_triplet_have_one_length_and_unlike_addresses(
    settings, make_fidelity, small_image_set
):
    make_fidelity(small_image_set)
    async with serving(settings) as browser:
        visitor = await TripletVisitor(browser(), "f").enter()
        await visitor.begin()
        lengths, kinds = [], set()
        for _ in range(20):
            shown = visitor.queue[0]
            kinds.add(shown["boosting"] is not None)
            addresses = [shown[name]["src"] for name in ("left", "right", "reference")]
            assert len(set(addresses)) == 3
            sizes = {(shown[name]["width"], shown[name]["height"]) for name in ("left", "right", "reference")}
            assert sizes == {(32, 32)} if shown["boosting"] else {(64, 64)}
            answers = [await visitor.client.get(address) for address in addresses]
            assert {answer.status_code for answer in answers} == {200}
            lengths.append({len(answer.content) for answer in answers})
            await visitor.vote("tie")
    assert kinds == {True, False}
    assert all(len(sizes) == 1 for sizes in lengths)
