"""The votes table: what the server writes is what the database holds and what the analysis reads."""

from __future__ import annotations

import asyncio

import polars as pl
import pytest

from qsched.errors import InputError
from qsched.records import COLUMNS
from study_server.errors import NotFound
from study_server.export import export_votes
from tests.study_server.visiting import Visitor, query, serving


@pytest.fixture
async def voted(anyio_backend, settings, make_study, database):
    make_study(
        votes_per_pair=3, repeat_rate=0.2, questions=[{"id": "overall", "text": "?"}, {"id": "text", "text": "?"}]
    )

    async with serving(settings) as browser:
        people = [await Visitor(browser()).enter("?simulated=1") for _ in range(4)]
        choices = iter(["left", "right", "tie", "skip"] * 1000)
        await asyncio.gather(*(person.vote_all(lambda _: next(choices), limit=9) for person in people))
        last = await people[0].vote("left")
        undo = {"vote_id": last["vote_id"]}
        again = (await people[0].post("api/undo", undo)).json()["assignment"]
        await people[0].post("api/votes", people[0].ballot(again, "right"))
    return database


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_an_export_holds_every_effective_vote_of_the_database(voted, tmp_path, ending):
    path = tmp_path / f"votes.{ending}"
    summary = export_votes(voted, study="s", path=path)
    (in_view,) = query(voted, "SELECT COUNT(*) FROM votes_table")[0]
    (in_table,) = query(voted, "SELECT COUNT(*) FROM votes")[0]
    assert summary.written == in_view == 2 * 37
    assert (summary.rows_in_database, summary.superseded, summary.surplus) == (in_table, 2, 0) == (76, 2, 0)
    read = {"parquet": pl.read_parquet, "csv": pl.read_csv, "jsonl": pl.read_ndjson}[ending](path)
    assert read.height == in_view and tuple(read.columns) == COLUMNS
    assert read["simulated"].all() and summary.simulated == in_view
    assert set(read["question"]) == {"overall", "text"}
    assert not list(tmp_path.glob(".new-*"))


def test_the_analysis_reads_files_and_database_alike(voted, tmp_path):
    from analysis.votes import read_votes

    sources = [tmp_path / f"votes.{ending}" for ending in ("parquet", "csv", "jsonl")]
    tables = []
    for path in sources:
        export_votes(voted, study="s", path=path)
        tables.append(read_votes(path).frame)
    if voted.dialect == "sqlite":
        tables.append(read_votes(str(voted.url)).frame)
    columns = ["annotator", "pair_id", "question", "choice", "left_arm", "right_arm", "kind", "response_ms"]
    first = tables[0].select(columns).cast(pl.String).sort(columns)
    for table in tables[1:]:
        assert table.select(columns).cast(pl.String).sort(columns).equals(first)


async def test_strengths_are_exported_and_the_analysis_reads_such_a_file(settings, make_study, database, tmp_path):
    from analysis.votes import read_votes

    make_study(strength=True)

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter("?simulated=1")
        await visitor.begin()
        first, second = visitor.queue
        await visitor.post("api/votes", visitor.ballot(first, "left", strengths={"overall": 2}))
        await visitor.post("api/votes", visitor.ballot(second, "tie"))
    for ending, read in {"parquet": pl.read_parquet, "csv": pl.read_csv, "jsonl": pl.read_ndjson}.items():
        path = tmp_path / f"votes.{ending}"
        export_votes(database, study="s", path=path)
        assert read(path).sort("choice")["strength"].to_list() == [2, None]
        assert read_votes(path).frame["choice"].cast(pl.String).sort().to_list() == ["left", "tie"]


def test_a_study_that_is_not_there_and_an_ending_that_is_unknown_are_named(voted, tmp_path):
    with pytest.raises(NotFound, match="no study 'x'"):
        export_votes(voted, study="x", path=tmp_path / "v.csv")
    with pytest.raises(InputError, match=r"\.parquet, \.csv, \.jsonl"):
        export_votes(voted, study="s", path=tmp_path / "v.xlsx")
