"""The running estimate: made beside the votes, shared by all who look, and wider than a report's intervals."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from typer.testing import CliRunner

from analysis.stats import EstimateSettings, count_votes, estimate
from analysis.stats.sequential import anytime_against
from analysis.votes import read_votes
from qsched.cli.main import app as qsched
from qsched.records.running import RunningEstimate
from study_server.admin import figures
from study_server.admin.charts import INTERVAL_WIDTH, interval_bars
from study_server.db import Statement
from study_server.web.child import CommandFailed
from tests.conftest import ARMS
from tests.study_server.admin.owning import signed_in
from tests.study_server.test_looks import give_votes
from tests.study_server.visiting import serving


def command(database, *more: str):
    return CliRunner().invoke(qsched, ["study", "estimate", *more, "--db", database.url.render_as_string(False)])


def test_every_arm_is_estimated_against_the_first_with_intervals_wider_than_a_report_s(database, make_study, tmp_path):
    make_study(votes_per_pair=40)
    assert "no estimate yet" in command(database, "s").output
    give_votes(database, 12)
    done = command(database, "s", "--json", "-")
    assert done.exit_code == 0, done.output
    found = RunningEstimate.model_validate_json(done.output)
    assert (found.baseline, [rate.arm for rate in found.rates]) == (ARMS[0], sorted(ARMS[1:]))
    assert (found.votes, found.annotators) == (216, 12)
    file = tmp_path / "votes.parquet"
    CliRunner().invoke(
        qsched, ["votes", "export", str(file), "--study", "s", "--db", database.url.render_as_string(False)]
    )
    counts = count_votes(read_votes([str(file)]))
    report = {
        pair.arm_b: (1 - pair.win_probability_high, 1 - pair.win_probability, 1 - pair.win_probability_low)
        for pair in estimate(counts, EstimateSettings(method="sandwich")).pairwise
        if pair.arm_a == ARMS[0]
    }
    for rate in found.rates:
        low, middle, high = report[rate.arm]
        assert rate.win_rate == pytest.approx(middle)
        assert rate.low < low and rate.high > high
    worse = {rate.arm: rate for rate in found.rates}[ARMS[2]]
    assert worse.win_rate < 0.2 < worse.high, "9 of 10 prefer the first, and six prompts are few"
    said = command(database, "s").output
    assert "however often you look" in said and "simulated" not in said
    assert found.simulated == 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_votes_of_software_are_named_as_such_by_the_command_and_on_the_page(
    settings, database, make_study, monkeypatch
):
    make_study(votes_per_pair=40)
    give_votes(database, 3)
    with database.transaction() as tx:
        tx.run(Statement("UPDATE sessions SET simulated = TRUE"))
    assert "simulated: all votes are by software, not by people" in command(database, "s").output

    async def at_once(database, *words):
        return command(database, *words[2:]).output

    monkeypatch.setattr(figures, "run_command", at_once)
    async with serving(settings) as browser:
        owner = await signed_in(browser(), database)
        page = await owner.page("/studies/s/counts")
        while "being made" in page:
            await asyncio.sleep(0.05)
            page = await owner.page("/studies/s/counts")
    assert "All these votes are simulated: software gave them" in page


def test_arms_without_votes_make_the_bounds_of_the_others_no_narrower():
    rng = np.random.default_rng(2)
    from analysis.stats import count_codes

    n = 600
    counts = count_codes(
        np.zeros(n, dtype=int),
        np.ones(n, dtype=int),
        rng.integers(0, 2, n),
        arms=("a", "b"),
        annotator=rng.integers(0, 30, n),
        prompt=rng.integers(0, 40, n),
    )
    (one,), (five,) = (anytime_against(counts, "a", of=of).values() for of in (1, 5))
    assert five[0] == one[0] and five[1] < one[1] and five[2] > one[2]
    assert anytime_against(counts, "c", of=1) == {}


def test_studies_that_are_looked_at_otherwise_are_refused(database, make_study):
    make_study(votes_per_pair=40, stopping={"baseline": ARMS[0], "looks": 2, "horizon": 200})
    make_study("f", design="fidelity", fidelity={"traps": {"each": 4, "least": 4}, "bias_each": 1})
    assert "has a stopping rule" in str(command(database, "s").exception)
    assert "tested once, after the last vote" in str(command(database, "f").exception)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_the_page_shows_the_estimate_once_it_is_there_and_asks_for_it_once(
    settings, database, make_study, monkeypatch
):
    make_study(votes_per_pair=40)
    give_votes(database, 12)
    gate, asked = asyncio.Event(), []

    async def slow(database, *words):
        asked.append(words)
        await gate.wait()
        return command(database, *words[2:]).output

    monkeypatch.setattr(figures, "run_command", slow)
    async with serving(settings) as browser:
        owner = await signed_in(browser(), database)
        pages = await asyncio.gather(*(owner.page("/studies/s/counts") for _ in range(5)))
        assert all("The estimate is being made" in page and " data-waiting>" in page for page in pages)
        gate.set()
        for _ in range(100):
            page = await owner.page("/studies/s/counts")
            if "being made" not in page:
                break
            await asyncio.sleep(0.05)
    assert " data-waiting" not in page
    assert "<td>open</td>" in page and "however often you look" in page
    assert page.count('class="interval"') == 2
    assert asked == [("study", "estimate", "s", "--json", "-")]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_what_keeps_the_estimate_from_being_made_is_said(settings, database, make_study, monkeypatch):
    make_study()

    async def fails(database, *words):
        raise CommandFailed("polars is missing: pip install 'qsched[analysis]'")

    monkeypatch.setattr(figures, "run_command", fails)
    async with serving(settings) as browser:
        owner = await signed_in(browser(), database)
        assert "No estimate could be made: polars is missing" in await owner.page("/studies/s/counts")


def test_bars_lie_on_one_scale_with_the_even_rate():
    first, missing, second = interval_bars([(0.3, 0.4, 0.45), (None, None, None), (0.48, 0.6, 0.7)])
    assert missing is None and first.even == second.even
    assert 0 < first.low < first.value < first.high < first.even < second.value < second.high < INTERVAL_WIDTH
    (alone,) = interval_bars([(0.5, 0.5, 0.5)])
    assert alone.low == alone.even == INTERVAL_WIDTH / 2
