"""Answers: none before paint, none lost, none twice; undo, reload, second tab, missing pictures, timing."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.e2e.person import STAGE_SHOWN, done, enter, next_shown, shown, skip_practice, wait_for

pytestmark = pytest.mark.browser

# Writes down, frame by frame, which of the two pictures are visible.
WATCH_PAINT = """() => {
  window.__frames = [];
  const look = () => {
    const state = ["left", "right"].map(side => {
      const e = document.querySelector(`#pane-${side} .picture:not(.away)`);
      return Boolean(e) && e.complete && e.naturalWidth > 0 && getComputedStyle(e).visibility === "visible";
    });
    window.__frames.push(state);
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}"""


def test_both_pictures_appear_in_the_same_frame_and_no_key_counts_before(new_page, study):
    page = new_page()
    gate = threading.Event()
    held: list[Route] = []

    def hold_the_second(route: Route) -> None:
        if gate.is_set() or held:
            held.append(route) if not gate.is_set() and len(held) > 1 else route.continue_()
        else:
            held.append(route)

    votes = record_votes(page)
    page.goto(study.url)
    page.get_by_role("button", name="I agree").click()
    page.wait_for_url("**/instructions")
    page.route("**/i/*", hold_the_second)
    page.goto(study.url + "/task")
    wait_for(page, "document.querySelector('#questions button') !== null")
    page.evaluate(WATCH_PAINT)
    page.wait_for_timeout(400)
    for key in ("ArrowLeft", "ArrowRight", "ArrowDown", "1", "2", "0"):
        page.keyboard.press(key)
    assert votes == []
    assert page.evaluate("window.__frames.flat().some(Boolean)") is False, "one picture waits for the other"
    gate.set()
    for route in held:
        route.continue_()
    shown(page)
    page.keyboard.press("ArrowLeft")
    wait_for(page, lambda: len(votes) == 1)
    lopsided = [frame for frame in page.evaluate("window.__frames") if frame[0] != frame[1]]
    assert lopsided == []


def test_the_next_pair_is_loaded_while_this_one_is_judged(new_page, study):
    page = new_page()
    enter(page, study.url)
    first = skip_practice(page)
    page.wait_for_load_state("networkidle")
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.route("**/i/*", lambda route: route.abort())  # whatever comes now was loaded before
    page.keyboard.press("ArrowRight")
    second = next_shown(page, first)
    assert not any(second.left_src in url or second.right_src in url for url in requests)


def test_an_answer_carries_the_time_from_paint_without_the_hidden_time(new_page, study):
    page = new_page()
    enter(page, study.url)
    skip_practice(page)
    votes = record_votes(page)
    sent: list[float] = []
    page.on("request", lambda request: sent.append(time.time()) if request.url.endswith("/api/votes") else None)
    set_hidden(page, True)
    page.wait_for_timeout(700)
    set_hidden(page, False)
    page.wait_for_timeout(150)
    page.keyboard.press("ArrowLeft")
    wait_for(page, lambda: len(votes) == 1)
    body = votes[0]
    since_paint = sent[0] * 1000 - body["painted_at"]
    assert body["hidden_ms"] >= 650
    assert 100 <= body["response_ms"] <= since_paint - body["hidden_ms"] + 50, "hidden time is not response time"
    assert body["input"] == "key"
    assert body["viewport"]["dpr"] == 1


@pytest.mark.parametrize(("days", "stored"), [(2, 2), (500, 366)])
def test_an_answer_after_days_of_a_closed_lid_is_stored(new_page, study, days, stored):
    page = new_page()
    page.add_init_script(
        "window.__ahead = 0; const now = performance.now.bind(performance); performance.now = () => now() + __ahead;"
    )
    enter(page, study.url)
    skip_practice(page)
    votes = record_votes(page)
    set_hidden(page, True)
    page.evaluate(f"window.__ahead = {days} * 86400000")
    set_hidden(page, False)
    page.keyboard.press("ArrowLeft")
    wait_for(page, lambda: done(page) == 1 and stored_answers(page) == 0)
    assert votes[0]["hidden_ms"] // 86_400_000 == stored
    assert votes[0]["response_ms"] < 60_000
    assert [row["choice"] for row in study.votes_of_latest_session(kind="task")] == ["left"]


def test_the_time_left_follows_this_persons_own_pace_and_outlives_a_reload(new_page, study):
    page = new_page()
    page.add_init_script(
        "window.__ahead = 0; const now = performance.now.bind(performance); performance.now = () => now() + __ahead;"
    )
    enter(page, study.url)
    pair = skip_practice(page)
    expect(page.locator("#time-left")).to_have_text("about 1 min left")  # the study's guess: 5 pairs of 8 s
    page.evaluate("window.__ahead = 60_000")  # every look at a pair now lasts a minute
    for _ in range(2):
        page.keyboard.press("ArrowLeft")
        pair = next_shown(page, pair)
    page.keyboard.press("ArrowLeft")
    page.get_by_role("button", name="Continue").click()
    shown(page)
    expect(page.locator("#time-left")).to_have_text("about 2 min left")
    page.reload()
    shown(page)
    expect(page.locator("#time-left")).to_have_text("about 2 min left")


def test_undo_brings_the_same_pair_back_and_the_correction_supersedes(new_page, study):
    page = new_page()
    enter(page, study.url)
    first = skip_practice(page)
    page.keyboard.press("ArrowLeft")
    second = next_shown(page, first)
    wait_for(page, lambda: done(page) == 1)
    expect(page.locator("#tool-undo")).to_be_enabled()
    page.keyboard.press("z")
    again = next_shown(page, second)
    assert again.prompt == first.prompt
    page.keyboard.press("ArrowRight")
    after = next_shown(page, again)
    assert after.prompt == second.prompt
    wait_for(page, lambda: done(page) == 1)
    rows = study.votes_of_latest_session()
    assert [row["choice"] for row in rows if row["kind"] == "task"] == ["right"]


def test_a_reload_comes_back_to_the_same_pair(new_page, study):
    page = new_page()
    enter(page, study.url)
    first = skip_practice(page)
    page.keyboard.press("ArrowDown")
    second = next_shown(page, first)
    wait_for(page, lambda: done(page) == 1)
    page.reload()
    assert shown(page).prompt == second.prompt
    assert done(page) == 1


def test_an_answer_given_offline_is_kept_and_sent_once(new_page, study):
    page = new_page()
    enter(page, study.url)
    first = skip_practice(page)
    page.wait_for_load_state("networkidle")
    page.context.set_offline(True)
    page.keyboard.press("ArrowLeft")
    second = next_shown(page, first)  # the next pair was preloaded, so work goes on
    expect(page.locator("#save-status")).to_contain_text("No connection. 1 answer kept here")
    assert stored_answers(page) == 1
    page.keyboard.press("ArrowRight")
    expect(page.locator("#save-status")).to_contain_text("2 answers")
    assert study.votes_of_latest_session(kind="task") == []
    page.context.set_offline(False)
    next_shown(page, second)
    wait_for(page, lambda: stored_answers(page) == 0)
    assert [row["choice"] for row in study.votes_of_latest_session(kind="task")] == ["left", "right"]


def test_an_answer_whose_receipt_got_lost_is_counted_once(new_page, study):
    page = new_page()
    enter(page, study.url)
    first = skip_practice(page)
    lost = []

    def lose_the_first_receipt(route: Route) -> None:
        if not lost:
            lost.append(route.fetch().status)
            route.abort()
        else:
            route.continue_()

    page.route("**/api/votes", lose_the_first_receipt)
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#save-status")).to_contain_text("Not saved, trying again")
    next_shown(page, first)
    wait_for(page, lambda: done(page) == 1 and stored_answers(page) == 0)
    assert lost == [200]
    assert len(study.votes_of_latest_session(kind="task")) == 1


def test_a_server_that_cannot_save_is_said_so_and_asked_again(new_page, study):
    page = new_page()
    enter(page, study.url)
    first = skip_practice(page)
    refused = []

    def refuse_twice(route: Route) -> None:
        if len(refused) < 2:
            refused.append(route.request.post_data_json["idempotency_key"])
            route.fulfill(status=503, json={"error": {"code": "not_saved", "message": "not saved, trying again"}})
        else:
            route.continue_()

    page.route("**/api/votes", refuse_twice)
    page.keyboard.press("ArrowDown")
    expect(page.locator("#save-status")).to_contain_text("Not saved, trying again (1 answer kept here)")
    next_shown(page, first)
    page.get_by_role("button", name="Try now").click()
    page.get_by_role("button", name="Try now").click()
    wait_for(page, lambda: stored_answers(page) == 0)
    expect(page.get_by_role("button", name="Try now")).to_be_hidden()
    assert len(set(refused)) == 1, "every attempt carries the same idempotency key"
    assert [row["choice"] for row in study.votes_of_latest_session(kind="task")] == ["tie"]


def test_an_unsent_answer_survives_a_reload(new_page, study):
    page = new_page()
    enter(page, study.url)
    first = skip_practice(page)
    page.route("**/api/votes", lambda route: route.fulfill(status=503, json={}))
    page.keyboard.press("ArrowRight")
    second = next_shown(page, first)
    page.unroute("**/api/votes")
    page.reload()
    assert shown(page).prompt == second.prompt, "the answered pair does not come again"
    wait_for(page, lambda: done(page) == 1 and stored_answers(page) == 0)
    assert [row["choice"] for row in study.votes_of_latest_session(kind="task")] == ["right"]


def test_a_second_tab_is_refused_until_it_takes_over(new_page, study):
    page = new_page()
    enter(page, study.url)
    first = skip_practice(page)
    other = page.context.new_page()
    other.goto(study.url + "/task")
    expect(other.get_by_role("heading", name="open in another tab")).to_be_visible()
    assert other.locator(STAGE_SHOWN).count() == 0 or not other.locator("#stage").is_visible()
    page.keyboard.press("ArrowLeft")
    second = next_shown(page, first)  # the first tab is not disturbed
    wait_for(page, lambda: done(page) == 1)
    other.get_by_role("button", name="Continue here instead").click()
    assert shown(other).prompt == second.prompt
    expect(page.get_by_role("heading", name="continues in another tab")).to_be_visible()
    other.keyboard.press("ArrowRight")
    wait_for(other, lambda: done(other) == 2)


@pytest.mark.parametrize("damage", ["missing", "broken"])
def test_a_picture_that_cannot_be_shown_is_reported_and_replaced(new_page, study, damage):
    page = new_page()
    spoiled: list[str] = []
    reports: list[dict[str, Any]] = []
    page.on("request", lambda r: reports.append(r.post_data_json) if r.url.endswith("/api/report") else None)

    def spoil_one(route: Route) -> None:
        if not spoiled:
            spoiled.append(route.request.url)
        if route.request.url != spoiled[0]:
            route.continue_()
        elif damage == "missing":
            route.fulfill(status=404)
        else:
            route.fulfill(status=200, content_type="image/png", body=b"\x89PNG\r\n\x1a\n not a picture")

    page.route("**/i/*", spoil_one)
    pair = enter(page, study.url)
    assert not spoiled[0].endswith(pair.left_src) and not spoiled[0].endswith(pair.right_src)
    assert [report["problem"] for report in reports] == ["image_missing"]


def test_a_double_click_answers_one_pair_and_not_the_next(new_page, study):
    page = new_page()
    enter(page, study.url)
    first = skip_practice(page)
    votes = record_votes(page)
    page.locator(".choice-left").dblclick()
    next_shown(page, first)
    page.wait_for_timeout(200)
    assert len(votes) == 1


def test_space_after_a_click_swaps_and_does_not_press_the_button_again(new_page, study):
    page = new_page()
    enter(page, study.url)
    first = skip_practice(page)
    votes = record_votes(page)
    page.locator(".choice-right").click()
    next_shown(page, first)
    page.keyboard.press(" ")
    page.locator("#tool-zoom-in").click()
    page.keyboard.down(" ")
    expect(page.locator("#tool-swap")).to_have_attribute("aria-pressed", "true")
    page.keyboard.up(" ")
    assert len(votes) == 1


def test_single_keys_can_be_switched_off(new_page, study):
    page = new_page()
    enter(page, study.url)
    first = skip_practice(page)
    votes = record_votes(page)
    page.keyboard.press("?")
    page.get_by_label("Use single keys").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    page.keyboard.press("ArrowLeft")
    assert shown(page) == first
    page.locator(".choice-left").focus()
    page.keyboard.press("Enter")
    wait_for(page, lambda: len(votes) == 1)


def record_votes(page: Page) -> list[dict[str, Any]]:
    """The bodies of the votes that the page sends from now on."""
    votes: list[dict[str, Any]] = []
    page.on("request", lambda sent: votes.append(sent.post_data_json) if sent.url.endswith("/api/votes") else None)
    return votes


def stored_answers(page: Page) -> int:
    """How many answers this device keeps, unsent."""
    return page.evaluate(
        "Object.entries(localStorage).filter(([k]) => k.startsWith('outbox:'))"
        ".reduce((n, [, v]) => n + JSON.parse(v).length, 0)"
    )


def set_hidden(page: Page, hidden: bool) -> None:
    """Pretend that the tab is hidden; headless Chromium shows every tab."""
    page.evaluate(
        "hidden => { Object.defineProperty(document, 'hidden', {configurable: true, get: () => hidden});"
        " document.dispatchEvent(new Event('visibilitychange')) }",
        hidden,
    )
