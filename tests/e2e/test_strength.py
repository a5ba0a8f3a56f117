"""Slightly or clearly better: one key or one tap says side and strength, on a desk and on a phone."""

from __future__ import annotations

import itertools

import pytest
from playwright.sync_api import expect

from tests.e2e.person import enter, next_shown, shown, skip_practice, wait_for

pytestmark = pytest.mark.browser

IN_ORDER = ["left_clearly", "left", "tie", "right", "right_clearly", "skip"]


def said(study):
    """Choice and strength of the task votes so far, oldest first."""
    return [(vote["choice"], vote["strength"]) for vote in study.votes_of_latest_session(kind="task")]


def test_one_key_says_side_and_strength(new_page, graded):
    page = new_page()
    enter(page, graded.url)
    pair = skip_practice(page)
    for number, key in enumerate(["ArrowLeft", "1", "4"], start=1):
        page.keyboard.press(key)
        if number < 3:
            pair = next_shown(page, pair)
    page.get_by_role("button", name="Continue").click()
    for key in ("ArrowDown", "3"):
        pair = next_shown(page, pair)
        page.keyboard.press(key)
    expect(page.get_by_role("heading", name="Thank you!")).to_be_visible()
    assert said(graded) == [("left", 1), ("left", 2), ("right", 2), ("tie", None), ("right", 1)]


def test_shift_and_an_arrow_move_the_pictures_and_never_answer(new_page, graded):
    page = new_page()
    enter(page, graded.url)
    pair = skip_practice(page)
    for _ in range(4):
        page.keyboard.press("+")
    before = page.locator("#pane-left .picture").first.bounding_box()
    page.keyboard.press("Shift+ArrowLeft")
    after = page.locator("#pane-left .picture").first.bounding_box()
    assert before["x"] != after["x"]
    assert shown(page).left_src == pair.left_src


@pytest.mark.parametrize(("width", "height"), [(320, 640), (360, 740), (1366, 768)])
@pytest.mark.parametrize("locale", ["en", "de", "es", "ar"])
def test_the_buttons_lie_in_one_row_from_clearly_left_to_clearly_right(new_page, graded, width, height, locale):
    page = new_page(width=width, height=height, ratio=2.0, touch=width < 1000, locale=locale)
    page.goto(graded.url)
    page.locator("button[value=yes]").click()
    page.locator("#start").click()
    shown(page)
    buttons = page.locator("#questions button")
    assert [button.get_attribute("data-choice") for button in buttons.all()] == IN_ORDER
    boxes = [button.bounding_box() for button in buttons.all()[:5]]
    assert len({round(box["y"]) for box in boxes}) == 1
    assert all(a["x"] + a["width"] <= b["x"] for a, b in itertools.pairwise(boxes))
    assert boxes[0]["x"] >= 0 and boxes[-1]["x"] + boxes[-1]["width"] <= width
    for button in buttons.all():
        assert button.bounding_box()["height"] >= 24
        assert button.evaluate("e => e.scrollWidth <= e.clientWidth + 1"), f"{button.inner_text()!r} is cut"
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight"), "everything fits on the screen"


def test_one_tap_is_enough_and_undo_takes_back_the_strength_too(new_page, graded):
    page = new_page(width=360, height=740, ratio=3.0, touch=True)
    enter(page, graded.url)
    page.get_by_role("button", name="Upper clearly").tap()
    page.get_by_role("button", name="Next pair").tap()
    pair = shown(page)
    page.get_by_role("button", name="Lower clearly").tap()
    second = next_shown(page, pair)
    wait_for(page, lambda: said(graded) == [("right", 2)])
    expect(page.locator("#tool-undo")).to_be_enabled()
    page.locator("#tool-undo").tap()
    next_shown(page, second)
    page.get_by_role("button", name="Lower slightly").tap()
    wait_for(page, lambda: said(graded) == [("right", 1)])


def test_help_and_instructions_name_the_keys_that_count_here(new_page, graded, study):
    page = new_page()
    page.goto(graded.url)
    page.get_by_role("button", name="I agree").click()
    rows = page.get_by_role("row")
    expect(rows.filter(has_text="Left picture, clearly better")).to_contain_text("1")
    expect(rows.filter(has_text="Right picture, slightly better")).to_contain_text("3")
    page.locator("#start").click()
    shown(page)
    page.keyboard.press("?")
    help_rows = page.locator("#help").get_by_role("row")
    expect(help_rows.filter(has_text="Right picture, clearly better")).to_contain_text("4")
    plain = new_page()
    enter(plain, study.url)
    plain.keyboard.press("?")
    expect(plain.locator("#help").get_by_role("row").filter(has_text="clearly")).to_have_count(0)
