"""A person's path from consent to thanks: by keyboard alone, by mouse, by touch; phone and desktop."""

from __future__ import annotations

import contextlib
import re
import sqlite3

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.person import enter, next_shown, pass_screening, shown, wait_for

pytestmark = pytest.mark.browser

PAIRS, BLOCK = 5, 3


def tab_to(page: Page, selector: str, *, limit: int = 40) -> None:
    """Press Tab until `selector` has the focus, as a person without a mouse does."""
    for _ in range(limit):
        if page.evaluate(f"document.activeElement?.matches({selector!r}) ?? false"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{selector} is not reached with {limit} presses of Tab")


def test_from_consent_to_thanks_by_keyboard_alone(new_page, full_study, arrival):
    page = new_page(width=1366, height=768, known_plates=True)
    page.goto(arrival)
    tab_to(page, "select")
    page.keyboard.press("ArrowDown")
    tab_to(page, "button[value=yes]")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/instructions$"))

    tab_to(page, "input[name=colour]")
    page.keyboard.press("Space")  # the first number offered, 12
    for strip in ("dark", "light"):
        tab_to(page, f"#grey-{strip}-count")
        page.keyboard.type("2")
    tab_to(page, "#screening-form button[type=submit]")
    page.keyboard.press("Enter")
    expect(page.locator("#instructions-heading")).to_be_focused()
    tab_to(page, "#start")
    page.keyboard.press("Enter")

    pair = shown(page)
    expect(page.locator("#practice-tag")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#feedback-next")).to_be_focused()
    page.keyboard.press("Enter")
    for number, key in enumerate(["ArrowLeft", "2", "ArrowDown", "1", "0"]):
        pair = next_shown(page, pair)
        page.keyboard.press(key)
        if number == BLOCK - 1:
            expect(page.get_by_role("heading", name="Time for a break")).to_be_focused()
            tab_to(page, "#panel-button")
            page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Thank you!")).to_be_visible()
    expect(page.locator("#completion-code")).to_have_text("C1A2B3")
    link = page.locator("#return-link").get_attribute("href")
    assert link == "https://app.prolific.com/submissions/complete?cc=C1A2B3"
    choices = [vote["choice"] for vote in full_study.votes_of_latest_session(kind="task")]
    assert choices == ["left", "right", "tie", "left", "tie"]


def test_from_consent_to_thanks_by_mouse(new_page, study):
    page = new_page(width=2560, height=1440)
    page.goto(study.url)
    page.get_by_role("button", name="I agree").click()
    page.get_by_role("link", name=re.compile("^Start")).click()
    pair = shown(page)
    page.get_by_role("button", name="Right").click()
    page.get_by_role("button", name="Next pair").click()
    for number in range(PAIRS):
        pair = next_shown(page, pair)
        page.get_by_role("button", name="About the same" if number % 2 else "Left").click()
        if number == BLOCK - 1:
            page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("heading", name="Thank you!")).to_be_visible()
    assert len(study.votes_of_latest_session(kind="task")) == PAIRS


@pytest.mark.parametrize(("width", "height"), [(360, 740), (390, 844)])
def test_from_consent_to_thanks_by_touch_on_a_phone(new_page, study, width, height):
    page = new_page(width=width, height=height, ratio=3.0, touch=True)
    page.goto(study.url)
    page.get_by_role("button", name="I agree").tap()
    page.get_by_role("link", name=re.compile("^Start")).tap()
    pair = shown(page)
    page.get_by_role("button", name="Upper").tap()
    page.get_by_role("button", name="Next pair").tap()
    for number in range(PAIRS):
        pair = next_shown(page, pair)
        assert page.evaluate("document.documentElement.scrollHeight <= innerHeight"), "everything fits on the screen"
        page.get_by_role("button", name="Lower" if number % 2 else "Upper").tap()
        if number == BLOCK - 1:
            page.get_by_role("button", name="Continue").tap()
    expect(page.get_by_role("heading", name="Thank you!")).to_be_visible()
    assert len(study.votes_of_latest_session(kind="task")) == PAIRS


def test_a_wrong_device_check_says_what_to_do_and_can_be_repeated(new_page, arrival):
    page = new_page(known_plates=True)
    page.goto(arrival)
    page.locator("select").select_option("No")
    page.get_by_role("button", name="I agree").click()
    page.wait_for_url(re.compile("/instructions$"))
    expect(page.locator("#start")).to_be_hidden()
    page.locator("#screening-form button[type=submit]").click()
    expect(page.get_by_role("alert").filter(has_text="answer every question")).to_be_visible()
    page.get_by_label("I see no number").check()
    page.get_by_label("Dark strip", exact=True).select_option("2")
    page.get_by_label("Light strip", exact=True).select_option("2")
    page.locator("#screening-form button[type=submit]").click()
    expect(page.locator("#screening-problems")).to_contain_text("not the number in the dots")
    pass_screening(page)
    page.reload()
    expect(page.locator("#start")).to_be_visible()  # a passed check is not asked again


def test_a_device_check_that_was_done_in_another_tab_leads_on_to_the_study(new_page, arrival):
    page = new_page(known_plates=True)
    page.goto(arrival)
    page.locator("select").select_option("No")
    page.get_by_role("button", name="I agree").click()
    page.wait_for_url(re.compile("/instructions$"))
    late = page.context.new_page()
    late.goto(page.url)
    pass_screening(page)
    page.locator("#start").click()
    shown(page)
    late.get_by_label("I see no number").check()
    for strip in ("Dark strip", "Light strip"):
        late.get_by_label(strip, exact=True).select_option("2")
    late.locator("#screening-form button[type=submit]").click()
    expect(late.locator("#start")).to_be_visible()


def test_who_is_screened_out_midway_is_told_so_and_not_that_an_answer_is_refused(new_page, study):
    page = new_page()
    enter(page, study.url)
    with contextlib.closing(sqlite3.connect(study.database)) as connection, connection:
        newest = "(SELECT max(id) FROM sessions)"
        connection.execute(f"UPDATE sessions SET state = 'screened_out' WHERE id = {newest}")
    page.keyboard.press("ArrowLeft")
    page.wait_for_url(re.compile("/thanks$"))
    expect(page.get_by_role("heading", name="does not fit your device")).to_be_visible()


def test_who_declines_leaves_without_a_trace(new_page, study):
    page = new_page()
    page.goto(study.url)
    page.get_by_role("button", name="No, thank you").click()
    expect(page.get_by_role("heading", name="Thank you for your time")).to_be_visible()
    assert [cookie["name"] for cookie in page.context.cookies() if "session" in cookie["name"]] == []


def test_two_questions_are_answered_one_after_the_other(new_page, two_questions):
    page = new_page()
    page.goto(two_questions.url)
    page.get_by_role("button", name="I agree").click()
    page.get_by_role("link", name=re.compile("^Start")).click()
    first = shown(page)
    page.keyboard.press("ArrowLeft")
    assert shown(page) == first, "one question is still open"
    expect(page.locator("[data-question=quality] .choice-left")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("ArrowRight")
    page.locator("#feedback-next").click()
    second = next_shown(page, first)
    page.keyboard.press("1")
    page.keyboard.press("0")
    next_shown(page, second)
    wait_for(page, lambda: len(two_questions.votes_of_latest_session(kind="task")) == 2)
    votes = {vote["question"]: vote["choice"] for vote in two_questions.votes_of_latest_session(kind="task")}
    assert votes == {"quality": "left", "match": "tie"}
