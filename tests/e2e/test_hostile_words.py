"""Hostile words: no description, question or reason widens the page or moves the pictures."""

from __future__ import annotations

import pytest

from tests.e2e.person import enter
from tests.e2e.test_steady import PICTURES

pytestmark = pytest.mark.browser

WINDOWS = [(360, 640), (768, 1024), (844, 390), (1280, 720)]
HOSTILE = ["x" * 316, "https://example.org/" + "a%20b/" * 60, "　" * 50 + "字" * 300, "‮" + "W" * 316]


@pytest.mark.parametrize(("width", "height"), WINDOWS)
def test_no_word_widens_the_page(new_page, three_questions, width, height):
    page = new_page(width=width, height=height, touch=width < 1000)
    enter(page, three_questions.url)
    before = page.evaluate(PICTURES)
    for words in HOSTILE:
        for place in ("#prompt-text", "#feedback-text", "#hint", "#instruction-text"):
            page.locator(place).evaluate("(e, words) => { e.textContent = words }", words)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{words[:20]!r} widens the page"
        assert page.evaluate(PICTURES) == before
        page.locator("#hint").evaluate("e => { e.textContent = '' }")
    for words in HOSTILE:
        page.locator("#instruction").evaluate("e => { e.hidden = false }")
        page.locator(".question.current .question-text").evaluate("(e, words) => { e.textContent = words }", words)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("path", ["", "/instructions"])
def test_no_word_widens_a_page_that_is_read(new_page, study, path):
    page = new_page(width=360, height=640, touch=True)
    page.goto(study.url)
    if path:
        page.locator("button[value=yes]").click()
        page.wait_for_url("**/instructions")
    for place in ("h1", "h2", "main p", "header p", *(["li"] if path else [])):
        page.locator(place).first.evaluate("(e, words) => { e.textContent = words }", HOSTILE[0])
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
