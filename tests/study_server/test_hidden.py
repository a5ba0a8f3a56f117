"""Bias items and hidden traps of preference studies: what is shown, what leaves the server, and what owners see."""

from __future__ import annotations

import io
from collections import Counter

import numpy as np
import polars as pl
import pytest
from PIL import Image
from typer.testing import CliRunner

from analysis.votes.exclude import ExclusionRules
from analysis.winrates import app as winrates
from qsched.errors import InputError
from study_server.export.votes import export_votes
from study_server.quality.figures import CountedAnswer, work_figures
from study_server.studies import hidden
from study_server.studies.hidden import CHANGED, UNCHANGED, change_invisibly
from tests.study_server.visiting import Visitor, query, serving


@pytest.fixture
def database_url(tmp_path):
    """Nothing here depends on the kind of database."""
    return f"sqlite:///{tmp_path / 'study.db'}"


def test_the_change_is_one_step_of_blue_in_half_of_the_pixels():
    pixels = np.full((40, 50, 3), 255, dtype=np.uint8)
    changed = change_invisibly(pixels, np.random.default_rng(1))
    difference = pixels.astype(int) - changed
    assert set(np.unique(difference)) == {0, 1} and not difference[..., :2].any()
    assert 0.4 < difference[..., 2].mean() < 0.6


async def test_a_person_sees_each_kind_and_its_votes_enter_no_estimate(settings, database, make_study, tmp_path):
    make_study(bias_items=2, hidden_traps=2, pairs_per_annotator=6)
    pictures: list[list[tuple[int, np.ndarray]]] = []

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter()
        await visitor.begin()
        while visitor.queue:
            pair = visitor.queue[0]
            files = [(await visitor.client.get(pair[side]["src"])).content for side in ("left", "right")]
            pictures.append([(len(file), np.array(Image.open(io.BytesIO(file)))) for file in files])
            await visitor.vote("tie" if len(pictures) % 2 else "left")
    assert all(left[0] == right[0] for left, right in pictures)  # nothing tells by its length
    steps = [int(np.abs(left[1].astype(int) - right[1]).max()) for left, right in pictures]
    assert Counter(step for step in steps if step < 2) == {0: 2, 1: 2}
    export_votes(database, study="s", path=tmp_path / "votes.parquet")
    table = pl.read_parquet(tmp_path / "votes.parquet")
    assert dict(table["kind"].value_counts().iter_rows()) == {"task": 6, "bias": 2, "trap": 2}
    traps = table.filter(pl.col("kind") == "trap")
    assert {*traps["left_arm"], *traps["right_arm"]} == {UNCHANGED, CHANGED}
    assert not {"bias", "trap"} - set(ExclusionRules().kinds)
    assert query(database, "SELECT SUM(load) FROM pairs WHERE pool <> 'task'") == [(0,)]
    # The report of such a study, with every variant of its sensitivity analysis.
    words = [str(tmp_path / "votes.parquet"), "--out", str(tmp_path / "report"), "--formats", "svg"]
    done = CliRunner().invoke(winrates, words)
    assert done.exit_code == 0, done.output
    assert "copy" not in done.output, "the pictures of a trap are not arms"


@pytest.mark.parametrize("more", [0, 20_000])
def test_no_length_tells_a_hidden_trap_from_other_pairs_of_its_prompt(
    database, make_study, settings, monkeypatch, more
):
    written = hidden.write_pixels
    monkeypatch.setattr(hidden, "write_pixels", lambda *made, **how: written(*made, **how) + bytes(more))
    make_study(hidden_traps=2)
    lengths: dict[int, set[int]] = {}
    for prompt, name in query(database, "SELECT prompt_id, file FROM images"):
        size = (settings.data_folder / "s" / name[:2] / name).stat().st_size
        lengths.setdefault(prompt, set()).add(size)
    assert lengths and all(len(found) == 1 for found in lengths.values()), lengths


def test_more_items_than_prompts_are_refused(make_study):
    with pytest.raises(InputError, match="hidden_traps is 50, and 6 prompts"):
        make_study(hidden_traps=50)


@pytest.mark.parametrize(
    ("picks", "remarked"), [([True] * 6, True), ([True] * 5, False), ([True] * 9 + [False], False)]
)
def test_who_always_prefers_the_same_one_of_two_pictures_that_look_alike_is_worth_a_look(picks, remarked):
    answers = [
        CountedAnswer(n, n, "trap", left, None, "overall", "left" if left == unchanged else "right", 3000, None, False)
        for n, (unchanged, left) in enumerate(zip(picks, [n % 2 == 0 for n in range(len(picks))], strict=True))
    ]
    found = work_figures(answers, {})
    assert found.hidden == (sum(picks), len(picks)) and found.gold.of == 0
    assert any("only software" in one for one in found.remarks) == remarked


def test_the_plan_takes_the_arms_in_turn_one_trap_per_prompt_and_nothing_that_is_practised():
    from study_server.studies.design import StudyDesign
    from study_server.studies.hidden import plan_hidden, shuffled_units

    practice = ({"prompt": "p0", "better": "a", "worse": "b"},)
    design = StudyDesign(slug="s", title="t", images="i", bias_items=2, hidden_traps=3, practice=practice)
    images = {(f"p{n}", 0, arm) for n in range(9) for arm in ("a", "b")}
    units = shuffled_units(design, images)
    planned = plan_hidden(design, arms=("a", "b"), units=units, available=images)
    assert planned == plan_hidden(design, arms=("a", "b"), units=shuffled_units(design, images), available=images)
    bias, traps = ([pair for pair in planned if pair.pool == pool] for pool in ("bias", "trap"))
    assert Counter(pair.first_arm for pair in bias) == {"a": 4, "b": 4}
    assert all(pair.first_arm == pair.second_arm for pair in bias)
    assert len({pair.prompt_key for pair in traps}) == len(traps) == 8  # as many as there are prompts
    assert "p0" not in {pair.prompt_key for pair in planned}
    assert all(pair.better is None for pair in planned)
