"""Triplets on the page: the reference in place, the flicker and its limits, a person's path by keys and by touch."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.person import enter, picture_on_screen, shown, wait_for

pytestmark = pytest.mark.browser

LEFT, RIGHT = "#pane-left .picture:not(.away)", "#pane-right .picture:not(.away)"
READY = (
    "document.querySelector('#panel:not([hidden])') !== null || location.pathname.endsWith('/thanks') ||"
    " document.querySelector('#feedback:not([hidden])') !== null ||"
    " (document.querySelector('#stage:not(.veiled)') !== null"
    " && document.querySelector('#questions button')?.getAttribute('aria-disabled') === 'false')"
)
# When the left pane changed pictures, as the browser's own clock says.
WATCH = """() => {
  window.changes = [];
  const inLeft = (record) => record.target.parentElement?.id === 'pane-left';
  new MutationObserver((records) => {
    if (records.some(inLeft)) window.changes.push(document.timeline.currentTime);  // of the frame, as the page has it
  }).observe(document.querySelector('#stage'), {subtree: true, attributes: true, attributeFilter: ['class']});
}"""


def start(page: Page, url: str) -> None:
    """From the study's door to the first triplet, or to the notice before it."""
    page.goto(url)
    page.get_by_role("button", name="I agree").click()
    page.get_by_role("link", name=re.compile("^Start")).click()
    wait_for(page, READY)


def first_boosted(page: Page, url: str, answer: str) -> None:
    """The first boosted triplet of a study that has no other, after the notice was answered."""
    start(page, url)
    page.get_by_role("button", name=answer).click()
    shown(page)


def seen(database, session="ORDER BY id DESC LIMIT 1") -> list[dict]:
    """What the page sent with each vote of the newest session: its `view`, with presentation and kind."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        rows = connection.execute(
            "SELECT v.display, t.presentation, a.kind, v.choice FROM votes v JOIN assignments a"
            " ON a.id = v.assignment_id JOIN triplets t ON t.pair_id = a.pair_id"
            f" WHERE v.session_id = (SELECT id FROM sessions {session}) ORDER BY v.id"
        ).fetchall()
    return [
        {**json.loads(display)["view"], "presentation": shown_as, "kind": kind, "choice": choice}
        for display, shown_as, kind, choice in rows
    ]


def walk(
    page: Page, url: str, *, go_on: Callable[[Locator], None], judge: Callable[[int], None], still: bool = False
) -> None:
    """Through the whole study to its last page: `go_on` presses a panel's or the feedback's button, `judge` answers the
    triplet on the screen, and is given the number of the step. `still` declines the flicker."""
    start(page, url)
    for number in range(40):
        wait_for(page, READY)
        if page.url.endswith("/thanks"):
            break
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
        panel, second = page.locator("#panel"), page.locator("#panel-second")
        if panel.is_visible():
            go_on(second if still and second.is_visible() else page.locator("#panel-button"))
        elif page.locator("#feedback").is_visible():
            go_on(page.locator("#feedback-next"))
        else:
            judge(number)
        page.wait_for_timeout(120)
    expect(page).to_have_url(re.compile("/thanks$"))


def test_a_persons_path_by_keys_alone_ends_with_every_vote_described(new_page, fidelity):
    page = new_page(width=1366, height=768)

    def press(*keys: str) -> None:
        for key in keys:
            page.keyboard.press(key)

    walk(page, fidelity.url, go_on=lambda _: press("Tab", "Enter"), judge=lambda _: press(" ", "ArrowDown"))
    votes = seen(fidelity.database)
    assert {vote["kind"] for vote in votes} == {"practice", "task", "trap", "bias"}
    assert {vote["choice"] for vote in votes} == {"tie"}
    assert all(vote["swaps"] == 1 for vote in votes)
    boosted = [vote for vote in votes if vote["presentation"] == "boosted"]
    plain = [vote for vote in votes if vote["presentation"] == "plain"]
    assert boosted and plain
    assert all(vote["rate_hz"] == 2 and vote["scale"] == int(vote["scale"]) > 1 for vote in boosted)
    assert all("rate_hz" not in vote for vote in plain)


def test_a_persons_path_by_touch_on_a_phone_ends_with_every_vote(new_page, fidelity):
    page = new_page(width=360, height=740, ratio=3.0, touch=True)

    def judge(number: int) -> None:
        page.locator("#tool-swap").tap()
        expect(page.locator("#swapped-sign")).to_have_text("reference")
        page.get_by_role("button", name=("Upper", "Lower", "Not sure")[number % 3]).tap()

    walk(page, fidelity.url, go_on=Locator.tap, judge=judge, still=True)
    votes = seen(fidelity.database)
    assert {vote["kind"] for vote in votes} == {"practice", "task", "trap", "bias"}
    assert {vote["layout"] for vote in votes} == {"stacked"}
    assert {vote["rate_hz"] for vote in votes if vote["presentation"] == "boosted"} == {0}


def test_a_persons_path_by_mouse_on_a_4k_screen(new_page, fidelity):
    page = new_page(width=3840, height=2160)

    def judge(number: int) -> None:
        enlarged = page.locator(LEFT).bounding_box()["width"] / page.locator(LEFT).evaluate("x => x.naturalWidth")
        assert enlarged == round(enlarged) >= 8, "in whole screen pixels, and small pictures fill the window"
        box = page.locator("#tool-swap").bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.down()
        expect(page.locator("#swapped-sign")).to_have_text("reference")
        page.mouse.up()
        page.get_by_role("button", name="Left" if number % 2 else "Right", exact=False).first.click()

    walk(page, fidelity.url, go_on=Locator.click, judge=judge)
    votes = seen(fidelity.database)
    assert {vote["kind"] for vote in votes} == {"practice", "task", "trap", "bias"}
    assert {vote["layout"] for vote in votes} == {"side"} and {vote["choice"] for vote in votes} == {"left", "right"}


def test_small_flashes_may_come_faster_and_cannot_be_enlarged(new_page, small):
    """WCAG 2.3.1: more than three flashes per second only where they cover a quarter of a 10 degree field at most."""
    page = new_page(width=1400, height=900)
    page.goto(small.url)
    expect(page.locator(".flicker-notice")).not_to_contain_text("MORE than")
    first_boosted(page, small.url, "Show them flickering")
    assert page.locator("#scale").inner_text() == "2×"
    for _ in range(3):
        page.keyboard.press("+")
    assert page.locator("#scale").inner_text() == "2×", "a larger picture would flash on a larger area"
    page.keyboard.down(" ")
    page.keyboard.up(" ")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#feedback")).to_be_visible()
    assert [vote["rate_hz"] for vote in seen(small.database)] == [5]


def test_space_shows_the_reference_in_place_of_both_pictures(new_page, fidelity):
    page = new_page(width=1000, height=700)
    pair = enter(page, fidelity.url)
    box = page.locator(LEFT).bounding_box()
    page.keyboard.down(" ")
    under = [page.locator(selector).get_attribute("data-src") for selector in (LEFT, RIGHT)]
    assert under[0] == under[1] and under[0] not in (pair.left_src, pair.right_src)
    assert page.locator(LEFT).bounding_box() == box
    page.keyboard.up(" ")
    assert page.locator(LEFT).get_attribute("data-src") == pair.left_src


def test_nobody_can_answer_before_the_reference_was_seen(new_page, fidelity):
    page = new_page(width=1000, height=700)
    pair = enter(page, fidelity.url)
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#hint")).to_contain_text("Look at the reference first")
    assert shown(page) == pair
    page.keyboard.down(" ")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#feedback")).to_be_visible()


def test_the_flicker_keeps_its_rate_stops_at_once_and_stays_off(new_page, boosted):
    page = new_page(width=1000, height=700)
    first_boosted(page, boosted.url, "Show them flickering")
    page.evaluate(WATCH)
    page.wait_for_timeout(3200)
    times = np.array(page.evaluate("window.changes"))
    assert 8 <= len(times) <= 13, "2 Hz: four changes per second"
    assert np.diff(times).min() > 249.9, "no change comes sooner than half a period after the one before"
    page.keyboard.press("f")
    expect(page.locator("#tool-flicker")).to_have_attribute("aria-pressed", "false")
    page.evaluate("window.changes.length = 0")
    page.wait_for_timeout(900)
    assert page.evaluate("window.changes") == []
    page.reload()
    shown(page)
    expect(page.locator("#tool-flicker")).to_have_attribute("aria-pressed", "false")


def test_the_notice_comes_before_the_first_boosted_triplet_and_once(new_page, boosted):
    page = new_page(width=1000, height=700)
    start(page, boosted.url)
    expect(page.locator("#panel-heading")).to_have_text("Some pictures flicker")
    assert page.locator("#pane-left .picture").count() == 0, "no picture is on the stage before the choice"
    page.get_by_role("button", name="Show them still").click()
    shown(page)
    page.keyboard.down(" ")
    page.keyboard.up(" ")
    page.keyboard.press("ArrowLeft")
    page.locator("#feedback-next").click()
    shown(page)
    expect(page.locator("#panel")).to_be_hidden()


def test_reduced_motion_gets_still_pictures_unasked(new_page, boosted):
    page = new_page(width=1000, height=700, reduced_motion="reduce")
    start(page, boosted.url)
    shown(page)
    expect(page.locator("#tool-flicker")).to_be_hidden()
    page.evaluate(WATCH)
    page.keyboard.press("f")
    page.wait_for_timeout(1200)
    assert page.evaluate("window.changes") == []
    page.keyboard.down(" ")
    page.keyboard.up(" ")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#feedback")).to_be_visible()
    assert [vote["rate_hz"] for vote in seen(boosted.database)] == [0]


def test_a_fast_flicker_needs_an_agreement_that_is_not_the_first_button(new_page, fast):
    page = new_page(width=1000, height=700)
    page.goto(fast.url)
    expect(page.locator(".flicker-notice")).to_contain_text("MORE than accessibility guidelines allow")
    start(page, fast.url)
    while not page.locator("#panel").is_visible():
        page.keyboard.down(" ")
        page.keyboard.up(" ")
        page.keyboard.press("ArrowLeft")
        page.locator("#feedback-next").click()
        wait_for(page, READY)
    expect(page.locator("#panel-button")).to_have_text("Show them still")
    page.get_by_role("button", name="I agree to the fast flicker").click()
    assert shown(page).scale == "4×", "the study's own zoom, although more would fit"
    page.evaluate(WATCH)
    page.wait_for_timeout(1500)
    assert np.diff(page.evaluate("window.changes")).min() > 99.9, "5 Hz: ten changes per second"


def test_a_boosted_crop_is_shown_in_whole_screen_pixels(page_at_ratio, boosted):
    page = page_at_ratio(1.5)
    first_boosted(page, boosted.url, "Show them still")
    for selector in (LEFT, RIGHT):
        screen, picture = picture_on_screen(page, selector)
        assert picture.shape[:2] == (32, 32)
        times = screen.shape[0] // 32
        np.testing.assert_array_equal(screen, picture.repeat(times, 0).repeat(times, 1))


def test_a_crop_that_is_larger_than_the_window_is_never_reduced(new_page, boosted):
    page = new_page(width=360, height=300)
    page.add_init_script("Object.defineProperty(window, 'devicePixelRatio', {get: () => 0.25});")
    first_boosted(page, boosted.url, "Show them still")
    assert page.locator("#scale").inner_text() == "1:1"
    page.keyboard.press("-")
    assert page.locator("#scale").inner_text() == "1:1"
