"""Several pictures put in order on the page: by keys alone, by touch, compared in place, corrected."""

from __future__ import annotations

import contextlib
import re
import sqlite3

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.person import done, wait_for

pytestmark = pytest.mark.browser

READY = (
    "document.querySelector('#panel:not([hidden])') !== null || location.pathname.endsWith('/thanks') ||"
    " document.querySelector('#feedback:not([hidden])') !== null ||"
    " (document.querySelector('#stage:not(.veiled)') !== null"
    " && document.querySelector('.place')?.getAttribute('aria-disabled') === 'false')"
)
SOURCES = "[...document.querySelectorAll('.pane')].map(p => p.querySelector('.picture:not(.away)').dataset.src)"


def start(page: Page, url: str) -> None:
    """From the study's door past practice to the first set."""
    page.goto(url)
    page.get_by_role("button", name="I agree").click()
    page.get_by_role("link", name=re.compile("^Start")).click()
    wait_for(page, READY)


def past_practice(page: Page) -> None:
    for key in "abc":
        page.keyboard.press(key)
    page.locator("#feedback-next").click()
    wait_for(page, READY)


def stored(database) -> list[tuple[str, str, str]]:
    """Rankings of the newest session with their places and kinds."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return connection.execute(
            "SELECT v.choice, a.places, a.kind FROM votes v JOIN assignments a ON a.id = v.assignment_id"
            " WHERE v.session_id = (SELECT id FROM sessions ORDER BY id DESC LIMIT 1)"
            " AND NOT EXISTS (SELECT 1 FROM votes n WHERE n.supersedes_id = v.id) ORDER BY v.id"
        ).fetchall()


def test_a_persons_path_by_keys_alone_ends_with_every_ranking_stored(new_page, ranked):
    page = new_page(width=1366, height=768)
    start(page, ranked.url)
    for _ in range(40):
        wait_for(page, READY)
        if page.url.endswith("/thanks"):
            break
        if page.locator("#panel").is_visible() or page.locator("#feedback").is_visible():
            page.keyboard.press("Tab")
            page.keyboard.press("Enter")
        else:
            for key in ("2", "0", "C", "a"):
                page.keyboard.press(key)
        page.wait_for_timeout(100)
    expect(page).to_have_url(re.compile("/thanks$"))
    votes = stored(ranked.database)
    assert {kind for _, _, kind in votes} == {"practice", "task", "gold"}
    for choice, places, _ in votes:
        first = "=".join(sorted(places[1:]))
        assert choice == f"{first}>{places[0]}", "b = c > a, by the numbers of the pictures"
    assert len({places for _, places, _ in votes}) > 1, "the pictures are in another order each time"


def test_a_set_is_ranked_by_touch_on_a_phone(new_page, ranked):
    page = new_page(width=360, height=740, ratio=3.0, touch=True)
    start(page, ranked.url)
    for place in (2, 0):
        page.locator(f".place[data-place='{place}']").tap()
    expect(page.locator("#ranking-order")).to_have_text("C > A")
    page.locator("#ranking-back").tap()
    expect(page.locator("#ranking-order")).to_have_text("C")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    boxes = [page.locator(".place").nth(n).bounding_box() for n in range(3)]
    assert min(box["height"] for box in boxes) >= 24 and min(box["width"] for box in boxes) >= 44
    for place in (0, 1):
        page.locator(f".place[data-place='{place}']").tap()
    expect(page.locator("#feedback-next")).to_be_visible()
    assert stored(ranked.database)[-1][2] == "practice"


def test_space_shows_one_picture_in_every_place_at_the_same_whole_scale(new_page, ranked):
    page = new_page(width=1280, height=800)
    start(page, ranked.url)
    past_practice(page)
    before = page.evaluate(SOURCES)
    assert len(set(before)) == 3
    sizes = page.evaluate(
        "[...document.querySelectorAll('.picture:not(.away)')].map(i => [i.getBoundingClientRect().width,"
        " i.getBoundingClientRect().width * devicePixelRatio / i.naturalWidth])"
    )
    assert len({width for width, _ in sizes}) == 1 and all(scale == round(scale) >= 1 for _, scale in sizes)
    page.locator("#pane-2").hover()
    page.keyboard.down(" ")
    assert set(page.evaluate(SOURCES)) == {before[2]}
    page.keyboard.press("a")
    expect(page.locator("#ranking-order")).to_have_text("")
    page.keyboard.up(" ")
    assert page.evaluate(SOURCES) == before
    page.keyboard.press("+")
    zoomed = page.evaluate(
        "[...document.querySelectorAll('.picture:not(.away)')].map(i => i.getBoundingClientRect().width)"
    )
    assert len(set(zoomed)) == 1 and zoomed[0] > sizes[0][0]


def test_a_reload_keeps_the_order_so_far_and_undo_brings_a_ranking_back(new_page, ranked):
    page = new_page(width=1000, height=700)
    start(page, ranked.url)
    past_practice(page)
    page.keyboard.press("b")
    page.reload()
    wait_for(page, READY)
    expect(page.locator("#ranking-order")).to_have_text("B")
    page.keyboard.press("a")
    page.keyboard.press("c")
    wait_for(page, lambda: done(page) == 1)
    wait_for(page, lambda: stored(ranked.database)[-1][2] != "practice")
    wait_for(page, READY)
    page.wait_for_timeout(300)  # until the page knows that the answer can be taken back
    page.keyboard.press("z")
    expect(page.locator("#ranking-order")).to_have_text("B > A")
    wait_for(page, READY)
    page.keyboard.press("Backspace")
    page.keyboard.press("c")
    page.keyboard.press("a")

    def corrected() -> bool:
        choice, places, _ = next(vote for vote in stored(ranked.database) if vote[2] != "practice")
        return choice == ">".join((places[1], places[2], places[0]))

    wait_for(page, corrected)


def test_the_last_open_arm_is_ranked_beside_the_baseline_on_the_same_page(new_page, dropped):
    with contextlib.closing(sqlite3.connect(dropped.database)) as connection, connection:
        study = "study_id = (SELECT id FROM studies WHERE slug = 'dropped')"
        connection.execute(f"UPDATE pairs SET pool = 'decided' WHERE pool = 'task' AND {study}")
        connection.execute(
            f"UPDATE pairs SET pool = 'task' WHERE pool = 'reserve' AND {study} AND second_image_id IN"
            " (SELECT id FROM images WHERE arm = 'w4a4')"
        )
    two = SOURCES.replace(".pane", ".pane:not([hidden])")
    page = new_page(width=1366, height=768)
    start(page, dropped.url)
    expect(page.locator(".place:visible")).to_have_count(2)
    expect(page.locator(".pane:visible")).to_have_count(2)
    before = page.evaluate(two)
    page.keyboard.press("c")  # there is no third picture
    page.keyboard.press("b")
    expect(page.locator("#ranking-order")).to_have_text("B")
    page.keyboard.down(" ")
    assert page.evaluate(two) == [before[1]] * 2, "the picture that was pressed last, in both places"
    page.keyboard.up(" ")
    page.keyboard.press("a")
    page.wait_for_timeout(500)
    choice, places, _ = stored(dropped.database)[-1]
    assert choice == f"{places[1]}>{places[0]}"
