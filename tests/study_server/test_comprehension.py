"""Questions about the instructions, over HTTP: two tries, a pass mark, and what a browser learns about the answers."""

from __future__ import annotations

import re

import pytest

from study_server.participation.comprehension import shuffled_answers
from study_server.studies.people import Comprehension, ComprehensionItem
from tests.study_server.visiting import Visitor, query, serving

RULES = {
    "items": [
        {"question": "What do you judge?", "right": "Which picture is better", "wrong": ["Speed", "Nothing"]},
        {"question": "May you zoom?", "right": "Yes, at any time", "wrong": ["No"]},
    ],
    "pass_mark": 2,
}
PROLIFIC = {"name": "prolific", "completion_code": "CDONE", "not_understood_code": "CBACK"}


@pytest.fixture
def database_url(tmp_path):
    """Nothing here depends on the kind of database."""
    return f"sqlite:///{tmp_path / 'study.db'}"


async def answer(client, *, right: int):
    """Answer as many questions right as asked, by what the page says; returns the address that follows."""
    page = await client.get("/s/s/comprehension")
    assert page.status_code == 200, page.text
    fields = {
        "csrf": re.search(r'name="csrf" value="([^"]+)"', page.text)[1],
        "attempt": re.search(r'name="attempt" value="([^"]+)"', page.text)[1],
    }
    for number, item in enumerate(RULES["items"]):
        radios = re.findall(rf'name="q{number}" value="(\d)" required> <bdi>([^<]+)</bdi>', page.text)
        assert {words for _, words in radios} == {item["right"], *item["wrong"]}
        fields[f"q{number}"] = next(place for place, words in radios if (words == item["right"]) == (number < right))
    done = await client.post("/s/s/comprehension", data=fields)
    assert done.status_code == 303, done.text
    return done.headers["location"], fields


async def test_who_answers_right_goes_on_and_nobody_gets_a_pair_before(settings, database, make_study):
    make_study(comprehension=RULES)

    async with serving(settings) as browser:
        visitor = await Visitor(browser()).enter()
        early = await visitor.post("api/session", {})
        assert early.status_code == 409 and "questions about its instructions" in early.text
        assert (await visitor.client.get("/s/s/task")).headers["location"] == "/s/s/comprehension"
        assert (await answer(visitor.client, right=2))[0] == "/s/s/task"
        await visitor.begin()
        assert visitor.queue


async def test_two_wrong_tries_end_with_the_panels_way_to_return_the_submission(settings, database, make_study):
    make_study(comprehension=RULES, platform=PROLIFIC)
    link = "?PROLIFIC_PID=p1&STUDY_ID=s1&SESSION_ID=x1"

    async with serving(settings) as browser:
        client = (await Visitor(browser()).enter(link)).client
        place, first = await answer(client, right=1)
        assert place == "/s/s/comprehension"
        again = (await client.get("/s/s/comprehension")).text
        assert "Right answers: 1 of 2. Needed: 2." in again and 'role="alert"' in again
        # The first form once more: no second try is used up.
        await client.post("/s/s/comprehension", data=first)
        assert query(database, "SELECT state FROM sessions") == [("active",)]
        # Nor does anybody get more tries by deleting themselves.
        assert 'name="sure"' not in (await client.get("/s/s/privacy")).text
        assert (await client.post("/s/s/withdraw", data={**first, "sure": "yes"})).status_code == 303
        assert (await answer(client, right=0))[0] == "/s/s/thanks"
        end = (await client.get("/s/s/thanks")).text
        assert "Please return your submission on Prolific" in end
        assert "https://app.prolific.com/submissions/complete?cc=CBACK" in end and "CDONE" not in end
        # Another submission of the same person does not give a third try.
        page = await browser().get(f"/s/s{link.replace('x1', 'x2')}")
        assert page.status_code == 200
        with pytest.raises(AssertionError, match="Your part in this study is over"):
            await Visitor(browser()).enter(link.replace("x1", "x2"))
    assert query(database, "SELECT state FROM sessions") == [("not_understood",)]


async def test_a_choice_that_was_not_offered_is_refused_and_counts_as_no_try(settings, database, make_study):
    make_study(comprehension=RULES)

    async with serving(settings) as browser:
        client = (await Visitor(browser()).enter()).client
        page = (await client.get("/s/s/comprehension")).text
        csrf = re.search(r'name="csrf" value="([^"]+)"', page)[1]
        for chosen in ("", "3", "-1", "²", "9" * 5000):
            fields = {"csrf": csrf, "attempt": "1", "q0": chosen, "q1": "0"}
            assert (await client.post("/s/s/comprehension", data=fields)).status_code == 422
    assert query(database, "SELECT comprehension FROM sessions") == [(None,)]


def test_the_right_answer_stands_in_every_place_equally_often():
    item = ComprehensionItem(question="?", right="a", wrong=("b", "c"))
    places = [shuffled_answers(item, seed=str(number)).index("a") for number in range(600)]
    assert all(160 < places.count(place) < 240 for place in range(3))


def test_a_pass_mark_that_nobody_reaches_is_refused():
    with pytest.raises(ValueError, match="pass_mark is 3 of 2 questions"):
        Comprehension.model_validate(RULES | {"pass_mark": 3})
