"""What stays where it is and in view: pictures, header, hints, long texts, rows of answers, directions of words."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Page, Route, expect

from study_server.resources import languages
from study_server.web.catalogue import load_catalogue
from tests.e2e.person import Shown, enter, next_shown, shown, skip_practice, wait_for

pytestmark = pytest.mark.browser

PICTURES = """[...document.querySelectorAll('.picture:not(.away)')].map(e => {
  const box = e.getBoundingClientRect();
  return [box.x, box.y, box.width, box.height];
})"""


def box_of(page: Page, selector: str) -> dict[str, float]:
    """The element's box; it must have one."""
    box = page.locator(selector).first.bounding_box()
    assert box is not None, f"{selector} is not shown"
    return dict(box)


def enter_in_any_language(page: Page, url: str) -> None:
    """Consent and start, whatever the words on the buttons."""
    page.goto(url)
    page.locator("button[value=yes]").click()
    page.locator("#start").click()
    shown(page)


def is_more_to_read(page: Page) -> bool:
    """Whether the description carries the sign that its text goes on."""
    return bool(page.locator(".prompt .text-box").evaluate("e => e.classList.contains('more')"))


@pytest.mark.parametrize("name", ["study", "graded", "two_questions"])
@pytest.mark.parametrize(("width", "height"), [(360, 740), (1280, 720)])
def test_feedback_leaves_the_pictures_where_they_are(new_page, request, name, width, height):
    page = new_page(width=width, height=height, ratio=2.0, touch=width < 1000)
    enter(page, request.getfixturevalue(name).url)
    before = page.evaluate(PICTURES)
    for _ in range(page.locator(".question").count()):
        page.keyboard.press("1")
    expect(page.locator("#feedback-next")).to_be_focused()
    expect(page.locator("#feedback-text")).to_be_visible()
    expect(page.locator("#questions button").first).to_be_hidden()
    assert page.evaluate(PICTURES) == before
    page.locator("#feedback-text").evaluate("e => { e.textContent = 'Another look at the roof. '.repeat(120) }")
    page.wait_for_timeout(100)
    assert page.evaluate(PICTURES) == before, "a long reason takes no room from the pictures"
    assert page.locator("#feedback .text-box").evaluate("e => e.classList.contains('more')"), "it says that it goes on"
    button = box_of(page, "#feedback-next")
    assert button["y"] >= 0 and button["y"] + button["height"] <= height


def answer_with_state(page: Page, *states: str) -> list[str]:
    """From now on the server's session answers say `states`, the last one for ever; the list collects what was asked.

    An empty state leaves the answer as it is.
    """
    asked: list[str] = []

    def say(route: Route) -> None:
        state = states[min(len(asked), len(states) - 1)]
        asked.append(route.request.url)
        if not state:
            route.continue_()
            return
        answer = route.fetch()
        body = {**answer.json(), "state": state, "queue": [], "retry_after": 0.2}
        route.fulfill(response=answer, body=json.dumps(body))

    page.route("**/api/session", say)
    return asked


def test_a_paused_study_says_so_and_goes_on_by_itself(new_page, study):
    page = new_page()
    enter(page, study.url)
    # Ten answers 0.2 s apart: the page asks by itself. Not unrouted, because a request may be on its way then.
    asked = answer_with_state(page, *["paused"] * 10, "")
    page.reload()
    expect(page.get_by_role("heading", name="This study is paused")).to_be_focused()
    expect(page.locator("#panel-text")).to_contain_text("goes on as soon as the study does")
    wait_for(page, lambda: len(asked) > 2)
    shown(page)
    expect(page.locator("#panel")).to_be_hidden()


def test_a_closed_study_leads_to_the_last_page(new_page, study):
    page = new_page()
    enter(page, study.url)
    asked = answer_with_state(page, "closed")
    page.reload()
    expect(page.get_by_role("heading", name="This study has closed")).to_be_visible()
    page.wait_for_timeout(500)
    assert len(asked) == 1, "a closed study is not asked again"
    page.route("**/thanks", lambda route: route.fulfill(body="the last page"))
    page.get_by_role("button", name="Finish").click()
    page.wait_for_url(re.compile(r"/s/plain/thanks$"))


def test_the_owners_words_and_measured_values_keep_their_direction_in_arabic(new_page, arrival):
    page = new_page(width=390, height=844, locale="ar", known_plates=True)
    page.goto(arrival)
    words = ["header .study-title bdi", "h1 bdi", "section p[dir=auto]", "label bdi"]
    directions = {
        selector: page.locator(selector).first.evaluate("e => getComputedStyle(e).direction") for selector in words
    }
    assert directions == dict.fromkeys(words, "ltr")
    page.locator("select").select_option("No")
    page.locator("button[value=yes]").click()
    page.wait_for_url(re.compile("/instructions$"))
    window = page.locator("[data-fact=window] bdi")
    expect(window).to_have_text("390 × 844")
    assert window.evaluate("e => getComputedStyle(e).direction") == "ltr"
    questions = page.locator(".question-list bdi")
    assert questions.first.evaluate("e => getComputedStyle(e).direction") == "ltr"


@pytest.mark.parametrize("locale", languages())
@pytest.mark.parametrize("width", [320, 360])
def test_the_help_fits_a_phone_in_every_language(new_page, graded, locale, width):
    page = new_page(width=width, height=740, ratio=2.0, touch=True, locale=locale)
    enter_in_any_language(page, graded.url)
    page.locator("#tool-help").tap()
    assert page.locator("#help").evaluate("e => e.scrollWidth <= e.clientWidth")
    edge = box_of(page, "#help")
    for cell in page.locator("#help td").all():
        box = cell.bounding_box()
        assert box is not None and box["x"] >= edge["x"] and box["x"] + box["width"] <= edge["x"] + edge["width"]


def test_a_description_longer_than_its_box_says_that_it_goes_on(new_page, study):
    page = new_page(width=360, height=740, ratio=2.0, touch=True)
    enter(page, study.url)
    line = page.locator("#prompt-text")
    assert not is_more_to_read(page)
    line.evaluate("e => { e.textContent = 'a long description '.repeat(20) }")
    wait_for(page, lambda: is_more_to_read(page))
    expect(line).to_have_attribute("tabindex", "0")
    line.evaluate("e => { e.scrollTop = e.scrollHeight }")
    wait_for(page, lambda: not is_more_to_read(page))


@pytest.mark.parametrize(("width", "height"), [(360, 740), (1280, 720)])
def test_a_hint_lies_on_the_stage_and_goes_with_its_cause(new_page, study, width, height):
    page = new_page(width=width, height=height)
    enter(page, study.url)
    pair = skip_practice(page)
    page.keyboard.down(" ")
    page.keyboard.press("ArrowLeft")
    hint = page.locator("#hint")
    expect(hint).to_contain_text("Swap back")
    low = box_of(page, "#hint")
    stage = box_of(page, ".stage-area")
    assert low["y"] >= stage["y"] and low["y"] + low["height"] <= stage["y"] + stage["height"]
    page.keyboard.up(" ")
    assert hint.inner_text() == ""
    page.keyboard.press("z")
    expect(hint).not_to_be_empty()
    page.keyboard.press("ArrowLeft")
    next_shown(page, pair)
    assert hint.inner_text() == ""


@pytest.mark.parametrize(("width", "height"), [(640, 360), (320, 256)])
def test_the_next_pair_appears_in_view_on_an_enlarged_page(new_page, two_questions, width, height):
    page = new_page(width=width, height=height, ratio=2.0)
    enter(page, two_questions.url)
    pair = skip_practice_by_mouse(page)
    for row in ("quality", "match"):
        page.locator(f"[data-question={row}] .choice-tie").click()  # scrolls down to the button
    next_shown(page, pair)
    prompt, left = box_of(page, "#prompt-text"), box_of(page, "#pane-left .picture")
    assert prompt["y"] >= -1, "the description is in view"
    assert left["y"] + left["height"] <= height, "and the whole picture too"


def skip_practice_by_mouse(page: Page) -> Shown:
    """Answer the practice pair with the buttons, as the window scrolls with them."""
    before = shown(page)
    for row in page.locator(".question").all():
        row.locator(".choice-left").click()
    page.locator("#feedback-next").click()
    return next_shown(page, before)


@pytest.mark.parametrize("locale", languages())
def test_the_header_keeps_its_height_whatever_it_says(new_page, study, locale):
    page = new_page(width=360, height=740, ratio=2.0, touch=True, locale=locale)
    enter_in_any_language(page, study.url)
    texts = load_catalogue(locale)
    cut = "(e => e.scrollWidth > e.clientWidth)(document.querySelector('.progress-text'))"
    say = "(e, words) => { e.textContent = words }"
    page.locator("#progress-text").evaluate(say, texts.text("task.progress.practice.other", n=12))
    assert not page.evaluate(cut), "the practice pairs left can be read"
    height, pictures = box_of(page, ".progress-band")["height"], page.evaluate(PICTURES)
    page.locator("#practice-tag").evaluate("e => { e.hidden = true }")
    page.locator("#progress-text").evaluate(say, texts.text("task.progress", done=288, total=300))
    for words in (texts.text("task.time_left.soon"), "as many words as a time can have " * 2):
        page.locator("#time-left").evaluate(say, words)
        assert page.evaluate(cut) == words.startswith("as many")
        assert box_of(page, ".progress-band")["height"] == height
        assert page.evaluate(PICTURES) == pictures
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
