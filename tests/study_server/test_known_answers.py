"""Known answers: by question, in the export and in practice's feedback, which names the sides that this person saw."""

from __future__ import annotations

import polars as pl
import pytest

from study_server.export import export_votes
from study_server.studies.design import KnownItem
from study_server.studies.known_answers import first_known, known_answer, on_screen, write_known
from tests.study_server.test_design import design
from tests.study_server.visiting import Visitor, query, serving

QUESTIONS = [
    {"id": "overall", "text": "Which is better?"},
    {"id": "match", "text": "Which fits?"},
    {"id": "detail", "text": "Which has more detail?"},
]
BY_QUESTION = {"prompt": "p1", "better": {"overall": "fp32", "match": "w4a4"}}


def test_one_answer_holds_for_every_question_and_a_mapping_for_those_it_names():
    assert known_answer(write_known("left"), "anything") == "left"
    stored = write_known({"overall": "first", "match": "second"})
    assert (known_answer(stored, "overall"), known_answer(stored, "detail")) == ("first", None)
    assert known_answer(None, "overall") is None
    for first_on_left, sides in ((True, ("left", "right")), (False, ("right", "left"))):
        seen = on_screen(stored, first_on_left=first_on_left)
        assert (known_answer(seen, "overall"), known_answer(seen, "match")) == sides
        assert known_answer(seen, "detail") is None
        assert first_known(seen) == sides[0]
        assert on_screen("first", first_on_left=first_on_left) == sides[0]


def test_the_design_refuses_what_cannot_be_meant():
    assert KnownItem(**BY_QUESTION).both_arms == ("fp32", "w4a4")
    with pytest.raises(ValueError, match="better and worse name fp32; name two arms"):
        KnownItem(prompt="p1", better={"overall": "fp32"})
    with pytest.raises(ValueError, match=r"why has \{left\}; it may have \{better\} and \{worse\}"):
        KnownItem(prompt="p1", better="fp32", worse="w4a4", why="The {left} one")
    with pytest.raises(ValueError, match="better names the question 'shine'; the questions are overall"):
        design(gold=[{"prompt": "p1", "better": {"shine": "fp32"}, "worse": "w4a4"}])


def test_a_known_tie_names_its_two_arms_and_has_no_side():
    tie = KnownItem(prompt="p1", better="tie", arms=("fp32", "w4a4"))
    assert (tie.both_arms, tie.expects_tie) == (("fp32", "w4a4"), True)
    mixed = KnownItem(prompt="p1", better={"overall": "tie", "match": "fp32"}, worse="w4a4", why="The {worse} one")
    assert (mixed.both_arms, mixed.expects_tie) == (("fp32", "w4a4"), True)
    for arms in (None, ("fp32", "fp32")):
        with pytest.raises(ValueError, match=r"name two arms; with better: tie name them in arms: \[one, other\]"):
            KnownItem(prompt="p1", better="tie", arms=arms)
    with pytest.raises(ValueError, match="better and worse name bf16, arms fp32 and w4a4; name the same two"):
        KnownItem(prompt="p1", better="bf16", arms=("fp32", "w4a4"))
    with pytest.raises(ValueError, match="worse is tie; write better: tie"):
        KnownItem(prompt="p1", better="fp32", worse="tie")
    with pytest.raises(ValueError, match="the known answer is a tie, which has no side"):
        KnownItem(prompt="p1", better="tie", arms=("fp32", "w4a4"), why="The {better} one")
    with pytest.raises(ValueError, match="the known answer is a tie, which allow_tie: false does not offer"):
        design(allow_tie=False, gold=[{"prompt": "p1", "better": "tie", "arms": ["fp32", "w4a4"]}])
    for first_on_left in (True, False):
        assert on_screen("tie", first_on_left=first_on_left) == "tie"
    stored = write_known({"overall": "tie", "match": "second"})
    assert (known_answer(stored, "overall"), first_known(stored)) == ("tie", "second")


@pytest.mark.parametrize("said", ["tie", "left"])
async def test_a_known_tie_is_right_only_as_a_tie_from_practice_to_the_analysis(
    settings, make_study, database, tmp_path, said
):
    from analysis.votes import ExclusionRules, exclude, read_votes

    tie = {"better": "tie", "arms": ["fp32", "w4a4"]}
    make_study(
        practice=[{"prompt": "p0", **tie}],
        gold=[{"prompt": "p1", **tie}, {"prompt": "p2", "better": {"overall": "tie"}, "arms": ["fp32", "w4a4"]}],
        pairs_per_annotator=4,
    )

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter()
        await visitor.begin()
        feedback = (await visitor.vote(said))["feedback"]
        assert feedback["correct"] is (said == "tie")
        await visitor.vote_all(lambda _: said)
    assert query(database, "SELECT DISTINCT expected FROM votes_table WHERE kind = 'gold'") == [("tie",)]
    path = export_votes(database, study="s", path=tmp_path / "votes.csv").path
    report = exclude(read_votes(path), ExclusionRules(min_response_ms=0))[1]
    assert report.annotators == (() if said == "tie" else ((report.annotators[0][0], "gold failures"),))


async def test_the_export_has_the_known_answer_of_each_rows_own_question(settings, make_study, database, tmp_path):
    make_study(questions=QUESTIONS, gold=[BY_QUESTION], pairs_per_annotator=2)

    async with serving(settings) as browser:
        await (await Visitor(browser()).enter()).vote_all()
    rows = query(database, "SELECT question, expected, left_arm FROM votes_table WHERE kind = 'gold'")
    left = rows[0][2]
    assert {question: expected for question, expected, _ in rows} == {
        "overall": "left" if left == "fp32" else "right",
        "match": "right" if left == "fp32" else "left",
        "detail": None,
    }
    path = export_votes(database, study="s", path=tmp_path / "votes.parquet").path
    exported = pl.read_parquet(path).filter(pl.col("kind") == "gold")
    assert set(exported.select("question", "expected", "left_arm").iter_rows()) == set(rows)


@pytest.mark.parametrize("layout", ["side", "stacked"])
@pytest.mark.parametrize("language", ["en", "de"])
async def test_the_reason_after_practice_names_the_sides_as_they_were_shown(settings, make_study, layout, language):
    why = "The {worse} picture is grainy, the {better} one is not."
    make_study(
        practice=[{"prompt": "p0", "better": "fp32", "worse": "w4a4", "why": why}],
        pairs_per_annotator=1,
        languages=("en", "de"),
    )
    words = {
        ("en", "side"): ("left", "right"),
        ("en", "stacked"): ("upper", "lower"),
        ("de", "side"): ("linke", "rechte"),
        ("de", "stacked"): ("obere", "untere"),
    }[language, layout]
    seen = set()

    async with serving(settings) as browser:
        for _ in range(50):  # the side is drawn anew for each person
            if len(seen) == 2:
                break
            visitor = await Visitor(browser()).enter(f"?lang={language}")
            await visitor.begin()
            ballot = visitor.ballot(visitor.queue[0], "left", view={"layout": layout})
            feedback = (await visitor.post("api/votes", ballot)).json()["feedback"]
            better, worse = words if feedback["correct"] else words[::-1]
            assert feedback["text"] == f"The {worse} picture is grainy, the {better} one is not."
            seen.add(feedback["correct"])
    assert seen == {True, False}, "both sides came up"


async def test_practice_is_right_where_every_known_answer_is(settings, make_study, database):
    make_study(questions=QUESTIONS, practice=[BY_QUESTION], pairs_per_annotator=1)

    async with serving(settings) as browser:
        for right in (True, False):
            visitor = await Visitor(browser()).enter()
            await visitor.begin()
            better = "left" if newest_left_arm(database) == "fp32" else "right"
            other = {"left": "right", "right": "left"}[better]
            said = {"overall": better, "match": other if right else better, "detail": "tie"}
            ballot = visitor.ballot(visitor.queue[0], "left") | {"answers": said}
            answer = (await visitor.post("api/votes", ballot)).json()
            assert answer["feedback"]["correct"] is right


def newest_left_arm(database):
    """The arm on the left of the practice pair that was handed out last."""
    rows = query(
        database,
        "SELECT CASE WHEN a.first_on_left THEN f.arm ELSE s.arm END FROM assignments a JOIN pairs p ON p.id = a.pair_id"
        " JOIN images f ON f.id = p.first_image_id JOIN images s ON s.id = p.second_image_id"
        " WHERE a.kind = 'practice' ORDER BY a.id DESC LIMIT 1",
    )
    return rows[0][0]
