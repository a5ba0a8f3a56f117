"""Several pictures ranked at once: balanced sets, one row per ranking, votes about every two pictures in the export."""

from __future__ import annotations

import random
from collections import Counter
from itertools import combinations

import polars as pl
import pytest
from pydantic import ValidationError

from analysis.votes import read_votes
from qsched.records.rankings import PLACES, is_last, ranking_pairs, read_ranking, write_ranking
from study_server.admin.counting import AnswersCount, count_at_once
from study_server.assignment.policy import draw_places
from study_server.export import export_votes
from study_server.export.display import export_display
from study_server.quality.people import read_people
from study_server.studies.cache import find_study
from study_server.studies.comparisons import MisfitError
from study_server.studies.design import StudyDesign
from study_server.studies.triplets import plan_study
from tests.conftest import ARMS
from tests.study_server.visiting import Visitor, query, serving

THREE = {"design": "ranking", "ranking": {"pictures": 3}}


def test_sets_have_the_baseline_and_all_other_arms_and_pairs_of_arms_equally_often():
    arms = [f"a{n}" for n in range(8)]
    design = StudyDesign(slug="s", title="t", images="x", design="ranking")
    sets = plan_study(design, arms=arms, images=[(f"p{n}", 0, arm) for n in range(40) for arm in arms])
    assert len(sets) == 40 * 3 and all(len(set(one.all_arms)) == 4 and "a0" in one.all_arms for one in sets)
    by_prompt = {
        prompt: {arm for one in sets if one.prompt_key == prompt for arm in one.all_arms} for prompt in ("p0", "p7")
    }
    assert all(shown == set(arms) for shown in by_prompt.values())
    seen = Counter(arm for one in sets for arm in one.all_arms if arm != "a0")
    met = Counter(pair for one in sets for pair in combinations(one.all_arms, 2) if "a0" not in pair)
    assert max(seen.values()) - min(seen.values()) <= 1
    assert max(met.values()) <= 1.35 * min(met.values())


def test_places_are_drawn_evenly_and_keep_the_side_that_was_drawn_for_the_first_two():
    rng = random.Random(1)
    drawn = Counter(draw_places(4, first_on_left=number % 2 == 0, rng=rng) for number in range(4800))
    assert len(drawn) == 24 and min(drawn.values()) > 140
    left = [draw_places(4, first_on_left=True, rng=rng) for _ in range(50)]
    assert all(places.index("0") < places.index("1") for places in left)


def test_a_ranking_as_text_and_as_pairs():
    groups = read_ranking("b>a=d>c", PLACES)
    assert groups == ((1,), (0, 3), (2,)) and write_ranking(groups, PLACES) == "b>a=d>c"
    pairs = " ".join(f"{i}{j}:{choice.value}" for i, j, choice in ranking_pairs(groups))
    assert pairs == "01:right 02:left 03:tie 12:left 13:left 23:right"
    assert is_last("0>1>2", "last:2") and not is_last("0>1=2", "last:2")
    for wrong in ("a>b>c", "a>b>c>c", "a>b>c>e", "", "a>>b"):
        with pytest.raises(ValueError, match="does not have each"):
            read_ranking(wrong, PLACES)


def test_what_a_ranking_study_cannot_have_is_said(make_study):
    with pytest.raises(ValidationError, match="comparisons has no place in a ranking study"):
        make_study(**THREE, comparisons=[[ARMS[0], ARMS[1]]])
    with pytest.raises(ValidationError, match="belongs to design: ranking"):
        make_study(ranking={"pictures": 3})
    with pytest.raises(MisfitError, match="pictures is 4, and the study has 3 arms"):
        make_study(design="ranking")
    with pytest.raises(ValidationError, match="one question"):
        make_study(**THREE, questions=[{"id": "a", "text": "x"}, {"id": "b", "text": "y"}])


async def _rank(settings, texts: dict[int, str]) -> list[int]:
    """One visitor who gives these rankings in turn, "a>b>c" otherwise; the status of each answer."""
    async with serving(settings) as browser:
        visitor = Visitor(browser())
        await visitor.enter()
        await visitor.begin()
        found, number = [], 0
        while visitor.queue:
            item = visitor.queue[0]
            text = texts.get(number, "a>b>c")
            number += 1
            ballot = visitor.ballot(item) | {"answers": {}, "rankings": {"overall": text}}
            if text == "skip":
                ballot |= {"answers": {"overall": "skip"}, "rankings": {}}
            answer = await visitor.post("api/votes", ballot)
            found.append(answer.status_code)
            assert len({picture["src"] for picture in (item["left"], item["right"], *item["others"])}) == 3
            if answer.status_code == 200:
                visitor.queue.pop(0)
                body = answer.json()
                visitor.queue += [one for one in (body["next"], *body["more"]) if one]
        return found


async def test_a_ranking_is_one_row_and_is_exported_as_votes_on_every_two_pictures(
    database, settings, make_study, tmp_path
):
    make_study(**THREE, votes_per_pair=1)
    # The first is refused (a picture twice), then asked again; the third is skipped and its set stays open.
    codes = await _rank(settings, {0: "a>b>b", 2: "c>a=b", 3: "skip"})
    assert codes[0] == 422 and set(codes[1:]) == {200}
    rows = query(
        database,
        "SELECT v.choice, a.places, f.arm, s.arm, t.arm FROM votes v JOIN assignments a ON a.id = v.assignment_id "
        "JOIN pairs p ON p.id = a.pair_id JOIN ranked_sets k ON k.pair_id = p.id "
        "JOIN images f ON f.id = p.first_image_id JOIN images s ON s.id = p.second_image_id "
        "JOIN images t ON t.id = k.third_image_id ORDER BY v.id",
    )
    ranked = [row for row in rows if row[0] != "skip"]
    assert len(rows) == 6 and len(ranked) == 5
    assert all(tuple(row[2:]) == ARMS for row in rows), "numbers of pictures are those of the arms in the set"
    places = ranked[0][1]
    assert ranked[0][0] == ">".join(places), "a>b>c is the order in which they lay"
    summary = export_votes(database, study="s", path=tmp_path / "votes.parquet")
    assert summary.rows_in_database == 6 and summary.written == 5 * 3 + 1
    table = pl.read_parquet(tmp_path / "votes.parquet")
    first = table.filter(pl.col("pair_id") == table["pair_id"][0])
    lay = [ARMS[int(number)] for number in places]
    answers = set(zip(first["left_arm"], first["right_arm"], first["choice"], strict=True))
    assert answers == {(left, right, "left") for left, right in combinations(lay, 2)}
    assert sorted(table.filter(pl.col("pair_id") == table["pair_id"][3])["choice"]) == ["right", "right", "tie"]
    assert read_votes([str(tmp_path / "votes.parquet")]).n_votes == 16
    assert export_display(database, study="s", path=tmp_path / "display.parquet") == 6
    with database.snapshot() as tx:
        counts = count_at_once(tx, AnswersCount(find_study(tx, "s"))).rows
    assert {(row.first, row.second) for row in counts} == set(combinations(ARMS, 2))
    assert all(row.votes == 5 for row in counts) and sum(row.ties for row in counts) == 1


async def test_gold_and_repeated_rankings_are_judged_by_picture_not_by_place(database, settings, make_study, tmp_path):
    gold = [{"prompt": "p0", "worst": ARMS[2]}, {"prompt": "p1", "worst": ARMS[0]}]
    make_study(design="ranking", ranking={"pictures": 3, "gold": gold}, votes_per_pair=1)
    await _rank(settings, {})
    export_votes(database, study="s", path=tmp_path / "votes.parquet")
    table = pl.read_parquet(tmp_path / "votes.parquet").filter(pl.col("kind") == "gold")
    assert table.height == 6 and table["expected"].null_count() == 2
    known = table.filter(pl.col("expected").is_not_null())
    for row in known.iter_rows(named=True):
        worst = ARMS[2] if row["prompt_id"] == "p0" else ARMS[0]
        assert row["expected"] == ("left" if row["left_arm"] != worst else "right")
    sql = "SELECT v.choice, a.expected FROM votes v JOIN assignments a ON a.id = v.assignment_id WHERE a.kind = 'gold'"
    rows = query(database, sql)
    with database.snapshot() as tx:
        (person,) = read_people(tx, study_id=1)
    assert person.work.gold == (sum(is_last(choice, expected) for choice, expected in rows), 2)
