"""Everybody sees an attention check, whatever is folded, hidden or small, and it does not count as a description."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from study_server.web.catalogue import languages, load_catalogue
from tests.e2e.person import enter, next_shown, shown, skip_practice

pytestmark = pytest.mark.browser


def go_to_check(page: Page) -> None:
    """Answer pairs until one carries an attention check."""
    for _ in range(12):
        if page.locator("#instruction").is_visible():
            return
        pair = shown(page)
        for _ in range(page.locator(".question").count()):
            page.keyboard.press("ArrowLeft")
        page.wait_for_timeout(150)
        if page.locator("#panel-button").is_visible():
            page.locator("#panel-button").click()
        next_shown(page, pair)
    raise AssertionError("no attention check was shown")


def seen_whole(page: Page) -> bool:
    """Whether the instruction is in the window, uncut."""
    return bool(
        page.locator("#instruction").evaluate(
            "e => { const box = e.getBoundingClientRect(); const text = e.querySelector('#instruction-text');"
            " return box.top >= 0 && box.bottom <= innerHeight && box.left >= 0 && box.right <= innerWidth"
            " && text.getBoundingClientRect().height > 10 && e.scrollHeight <= e.clientHeight + 1 }"
        )
    )


@pytest.mark.parametrize(("width", "height"), [(360, 640), (844, 390), (1280, 720), (3840, 2160)])
def test_a_check_is_shown_although_the_study_shows_no_descriptions(new_page, blind, width, height):
    page = new_page(width=width, height=height, touch=width < 1000)
    enter(page, blind.url)
    skip_practice(page)
    go_to_check(page)
    assert seen_whole(page)
    expect(page.locator("#instruction")).to_contain_text("Attention check")
    expect(page.locator("#instruction-text")).to_contain_text("For every question, please choose the")
    expect(page.locator("#prompt")).to_be_hidden()
    expect(page.locator("#announce")).to_contain_text("lease choose the")
    answers = page.locator(".question.current .choice-left").bounding_box()
    assert answers is not None and answers["y"] + answers["height"] <= height, "and can be answered at once"


def test_a_check_is_shown_after_the_description_was_folded(new_page, checked):
    page = new_page()
    enter(page, checked.url)
    page.locator("#prompt summary").click()
    skip_practice(page)
    go_to_check(page)
    assert seen_whole(page)
    expect(page.locator("#instruction-text")).to_contain_text("lease choose the")
    box, description = ("e => getComputedStyle(e).backgroundColor" for _ in range(2))
    assert page.locator("#instruction p").evaluate(box) != page.locator("#prompt").evaluate(description)


@pytest.mark.parametrize("locale", languages())
def test_a_check_is_read_whole_on_a_phone_in_every_language(new_page, blind, locale):
    page = new_page(width=360, height=640, ratio=2.0, touch=True, locale=locale)
    page.goto(blind.url)
    page.locator("button[value=yes]").click()
    page.locator("#start").click()
    shown(page)
    for side in ("left", "right"):
        words = load_catalogue(locale).text(f"instructed.{side}.each")
        page.locator("#instruction-text").evaluate("(e, text) => { e.textContent = text }", words)
        page.locator("#instruction").evaluate("e => { e.hidden = false }")
        assert seen_whole(page)
        assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
