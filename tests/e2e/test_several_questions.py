"""Several questions: on the pictures' midline, still while one answers, one at a time where the window is small."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.person import done, enter, next_shown, shown, skip_practice, wait_for

pytestmark = pytest.mark.browser

PLACES = """[...document.querySelectorAll(
  '#stage, .answer-band, .question, .question-text, #questions .choice'
)].map(e => {
  const box = e.getBoundingClientRect();
  return [e.className, box.x, box.y, box.width, box.height];
})"""


def pressed(page: Page) -> list[str]:
    """The answers that the page shows as given."""
    return [
        f"{button.locator('xpath=ancestor::*[@data-question]').get_attribute('data-question')}:"
        f"{button.get_attribute('data-choice')}"
        for button in page.locator("#questions button[aria-pressed=true]").all()
    ]


@pytest.mark.parametrize("name", ["study", "two_questions", "three_questions", "graded"])
@pytest.mark.parametrize(("width", "height"), [(360, 740), (844, 390), (1024, 768), (1280, 1024), (3840, 2160)])
def test_the_answers_lie_on_the_midline_of_the_pictures_with_the_question_above(new_page, request, name, width, height):
    page = new_page(width=width, height=height, touch=width < 1000)
    enter(page, request.getfixturevalue(name).url)
    middle = page.locator("#stage").evaluate("e => { const b = e.getBoundingClientRect(); return b.x + b.width / 2 }")
    for row in page.locator(".question").all():
        if not row.is_visible():
            continue
        text, tie, left, right = (
            row.locator(part).bounding_box()
            for part in (".question-text", ".choice-tie", ".choice-left", ".choice-right")
        )
        assert abs(tie["x"] + tie["width"] / 2 - middle) <= 1.5
        assert left["x"] + left["width"] <= middle <= right["x"]
        if name != "study":
            assert text["y"] + text["height"] <= left["y"] + 1 or name == "graded"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight"), "every answer is in the window"


@pytest.mark.parametrize(("width", "height"), [(360, 640), (1280, 720), (1280, 1024)])
def test_nothing_moves_while_one_answers(new_page, three_questions, width, height):
    page = new_page(width=width, height=height, touch=width < 1000)
    enter(page, three_questions.url)
    skip_practice(page)
    before = page.evaluate(PLACES)
    for key in ("ArrowLeft", "ArrowDown"):
        page.keyboard.press(key)
        assert [place[1:] for place in page.evaluate(PLACES)] == [place[1:] for place in before]


@pytest.mark.parametrize(("width", "height"), [(360, 640), (844, 390)])
def test_a_small_window_shows_one_question_at_a_time(new_page, three_questions, width, height):
    page = new_page(width=width, height=height, touch=True)
    enter(page, three_questions.url)
    pair = skip_practice(page)
    for number, name in enumerate(["overall", "quality", "match"], start=1):
        expect(page.locator("#question-count")).to_have_text(f"Question {number} of 3")
        assert [row.get_attribute("data-question") for row in page.locator(".question").all() if row.is_visible()] == [
            name
        ]
        for button in page.locator(f"[data-question={name}] button").all():
            box = button.bounding_box()
            assert box["y"] + box["height"] <= height
        if number == 2:
            page.locator("#question-back").tap()
            expect(page.locator("[data-question=overall] .choice-left")).to_be_visible()
            page.locator("[data-question=overall] .choice-right").tap()
            page.wait_for_timeout(600)
        page.locator(f"[data-question={name}] .choice-left").tap()
        page.wait_for_timeout(600)  # the second tap of a double tap does not answer the next question
    next_shown(page, pair)
    wait_for(page, lambda: done(page) == 1)
    votes = {row["question"]: row["choice"] for row in three_questions.votes_of_latest_session(kind="task")}
    assert votes == {"overall": "right", "quality": "left", "match": "left"}


def test_a_reload_keeps_a_partial_answer(new_page, three_questions):
    page = new_page(width=1280, height=1024)
    enter(page, three_questions.url)
    pair = skip_practice(page)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowDown")
    page.reload()
    assert shown(page).prompt == pair.prompt
    assert pressed(page) == ["overall:left", "quality:tie"]
    page.keyboard.press("ArrowRight")
    wait_for(page, lambda: done(page) == 1)
    votes = {row["question"]: row["choice"] for row in three_questions.votes_of_latest_session(kind="task")}
    assert votes == {"overall": "left", "quality": "tie", "match": "right"}


@pytest.mark.parametrize(("way", "width", "height"), [("keys", 1280, 1024), ("mouse", 1280, 1024), ("keys", 360, 640)])
def test_undo_brings_the_answers_back_and_sends_them_when_the_person_says_so(
    new_page, three_questions, way, width, height
):
    page = new_page(width=width, height=height)
    enter(page, three_questions.url)
    pair = skip_practice(page)
    for key in ("ArrowLeft", "ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    second = next_shown(page, pair)
    wait_for(page, lambda: done(page) == 1)
    places = page.evaluate(PLACES)
    page.keyboard.press("z")
    assert next_shown(page, second).prompt == pair.prompt
    assert [place[1:] for place in page.evaluate(PLACES)[: len(places)]] == [place[1:] for place in places]
    assert pressed(page) == ["overall:left", "quality:tie", "match:right"]
    expect(page.locator("#hint")).to_contain_text("then save them again")
    if way == "keys":
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
    else:
        page.locator("[data-question=overall] .choice-right").click()
        page.locator("[data-question=quality] .choice-right").click()
        page.get_by_role("button", name="Save answers").click()
    assert shown(page).prompt == second.prompt or next_shown(page, pair).prompt == second.prompt
    expect(page.get_by_role("button", name="Save answers")).to_be_hidden()

    def votes() -> dict[object, object]:
        rows = three_questions.votes_of_latest_session(kind="task")
        return {row["question"]: row["choice"] for row in rows}

    wait_for(page, lambda: votes() == {"overall": "right", "quality": "right", "match": "right"})


def test_undo_is_offered_in_the_break_too(new_page, study):
    page = new_page()
    enter(page, study.url)
    pair = skip_practice(page)
    for _ in range(2):
        page.keyboard.press("ArrowLeft")
        pair = next_shown(page, pair)
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("heading", name="Time for a break")).to_be_visible()
    page.get_by_role("button", name="Undo the last answer").click()
    assert shown(page).prompt == pair.prompt
    expect(page.locator("#hint")).to_contain_text("Answer undone")
    expect(page.locator("#questions .choice-left")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("ArrowRight")
    next_shown(page, pair)
    wait_for(
        page, lambda: [row["choice"] for row in study.votes_of_latest_session(kind="task")] == ["left", "left", "right"]
    )


def test_practice_says_what_was_chosen(new_page, graded, three_questions):
    page = new_page()
    enter(page, graded.url)
    page.keyboard.press("1")
    expect(page.locator("#feedback-answer")).to_have_text("You chose: Left clearly.")
    page = new_page()
    enter(page, three_questions.url)
    for key in ("ArrowLeft", "ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    expect(page.locator("#feedback-answer")).to_have_text("You chose: Left, About the same, Right.")


@pytest.mark.parametrize("locale", ["de", "ar"])
@pytest.mark.parametrize("width", [960, 1280])
def test_rows_lie_alike_and_only_the_open_one_shows_keys(new_page, two_questions, locale, width):
    page = new_page(width=width, height=900, locale=locale)
    page.goto(two_questions.url)
    page.locator("button[value=yes]").click()
    page.locator("#start").click()
    shown(page)
    rows = ["[data-question=quality]", "[data-question=match]"]

    def columns(row: str) -> list[tuple[float, float]]:
        boxes = [button.bounding_box() for button in page.locator(f"{row} button").all()]
        return [(round(box["x"]), round(box["width"])) for box in boxes if box]

    assert columns(rows[0]) == columns(rows[1])
    for open_row, other in (rows, rows[::-1]):
        expect(page.locator(f"{open_row} .choice-left kbd")).to_be_visible()
        expect(page.locator(f"{other} .choice-left kbd")).to_be_hidden()
        page.keyboard.press("ArrowLeft")
        if open_row == rows[1]:
            break
