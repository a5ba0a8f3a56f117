"""Slow and lost lines: pictures load early and say how far they are; no message moves them, no stage stays empty."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, Route, expect

from tests.e2e.person import enter, next_shown, shown, skip_practice, wait_for
from tests.e2e.test_steady import PICTURES

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(("width", "height"), [(360, 740), (900, 700), (1280, 720)])
@pytest.mark.parametrize("trouble", ["refused", "offline"])
def test_a_message_about_saving_leaves_the_pictures_where_they_are(new_page, study, width, height, trouble):
    page = new_page(width=width, height=height)
    enter(page, study.url)
    pair = skip_practice(page)
    page.wait_for_load_state("networkidle")
    before = page.evaluate(PICTURES)
    if trouble == "offline":
        page.context.set_offline(True)
    else:
        page.route("**/api/votes", lambda route: route.fulfill(status=503, json={}))
    page.keyboard.press("ArrowLeft")
    next_shown(page, pair)
    expect(page.locator("#save-status")).to_contain_text("kept here")
    assert page.evaluate(PICTURES) == before
    status = page.locator("#save-status")
    status.evaluate("e => { e.textContent += ' This browser does not keep answers: please leave the page open.' }")
    assert page.evaluate(PICTURES) == before


def test_offline_with_nothing_left_to_judge_is_said_on_the_stage(new_page, study):
    page = new_page()
    enter(page, study.url)
    pair = skip_practice(page)
    page.wait_for_load_state("networkidle")
    page.context.set_offline(True)
    page.keyboard.press("ArrowLeft")
    second = next_shown(page, pair)
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("heading", name="No connection to the study")).to_be_visible()
    expect(page.locator("#panel-text")).to_contain_text("2 answers are kept on this device")
    page.context.set_offline(False)
    next_shown(page, second)
    expect(page.locator("#panel")).to_be_hidden()
    wait_for(page, lambda: len(study.votes_of_latest_session(kind="task")) == 2)


def test_the_first_pictures_load_while_the_instructions_are_read(new_page, study):
    page = new_page()
    loaded: list[str] = []
    page.on("requestfinished", lambda request: loaded.append(request.url) if "/i/" in request.url else None)
    page.goto(study.url)
    page.locator("button[value=yes]").click()
    page.wait_for_url("**/instructions")
    wait_for(page, lambda: len(loaded) >= 4)
    before = list(loaded)
    page.locator("#start").click()
    pair = shown(page)
    assert any(url.endswith(pair.left_src) for url in before) and any(url.endswith(pair.right_src) for url in before)


def test_who_starts_before_the_first_pictures_are_there_is_not_taken_for_another_tab(new_page, study):
    page = new_page()
    held: list[Route] = []
    page.route("**/api/session", lambda route: held.append(route) if not held else route.continue_())
    page.goto(study.url)
    page.locator("button[value=yes]").click()
    page.wait_for_url("**/instructions")
    wait_for(page, lambda: len(held) == 1)
    held[0].fetch()  # the server has answered, and the page is left before it hears of it
    page.locator("#start").click()
    shown(page)
    expect(page.locator("#panel")).to_be_hidden()


def test_slow_pictures_say_how_far_they_are(new_page, study):
    page = new_page()
    enter(page, study.url)
    first = skip_practice(page)
    page.wait_for_load_state("networkidle")
    line = page.context.new_cdp_session(page)
    slow = {"offline": False, "latency": 0, "downloadThroughput": 5_000, "uploadThroughput": 100_000}
    line.send("Network.enable")
    line.send("Network.emulateNetworkConditions", slow)
    page.keyboard.press("ArrowLeft")
    second = next_shown(page, first)  # loaded before; the one after it begins to load now
    page.keyboard.press("ArrowLeft")
    seen: list[str] = []
    wait_for(page, lambda: note(page, seen) and len(set(seen)) > 3, seconds=20)
    shares = [int(found[1]) for words in seen if (found := re.fullmatch(r"Loading the pictures… (\d+) %", words))]
    assert shares == sorted(shares) and shares[0] < shares[-1] <= 100
    line.send("Network.emulateNetworkConditions", slow | {"downloadThroughput": -1})
    next_shown(page, second)
    expect(page.locator("#stage-note")).to_be_hidden()


def note(page: Page, seen: list[str]) -> bool:
    """Write down what the stage says while it loads; whether it says anything."""
    words = page.locator("#stage-note").evaluate("e => e.hidden ? '' : e.textContent")
    if words:
        seen.append(words)
    return bool(words)
