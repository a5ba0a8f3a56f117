"""Accessible to everybody: axe-core on every page, keyboard focus, large text, dark mode, names that reveal nothing."""

from __future__ import annotations

import io
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from tests.e2e.person import enter, next_shown, pass_screening, shown, skip_practice, wait_for

pytestmark = pytest.mark.browser

AXE_VERSION = "4.14.1"


@pytest.fixture(scope="session")
def axe_source(tmp_path_factory: pytest.TempPathFactory) -> str:
    """axe-core from npm, kept between runs in the user's cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "qsched-tests" / f"axe-core-{AXE_VERSION}"
    script = cache / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        cache.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(cache), f"axe-core@{AXE_VERSION}"]
        try:
            got = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        except (FileNotFoundError, subprocess.TimeoutExpired) as error:
            pytest.fail(f"axe-core {AXE_VERSION} cannot be fetched from npm: {error}")
        if got.returncode != 0 or not script.exists():
            pytest.fail(f"axe-core {AXE_VERSION} cannot be fetched from npm: {got.stderr[-1000:]}")
    return script.read_text(encoding="utf-8")


def check(page: Page, axe_source: str, where: str) -> None:
    """No rule of axe-core (WCAG 2.0 to 2.2, A and AA, and best practice) is violated."""
    page.evaluate(axe_source)
    result = page.evaluate(
        "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],"
        " resultTypes: ['violations']})"
    )
    found = [
        f"{item['id']}: {item['help']}: {[node['html'][:160] for node in item['nodes']]}"
        for item in result["violations"]
    ]
    assert found == [], f"{where}: " + "\n".join(found)
    assert result["passes"], f"{where}: axe-core looked at nothing"


def test_no_page_on_the_path_has_a_violation(new_page, full_study, arrival, axe_source):
    page = new_page(width=1366, height=768, known_plates=True)
    page.goto(arrival)
    check(page, axe_source, "consent")
    page.locator("select").select_option("No")
    page.get_by_role("button", name="I agree").click()
    page.wait_for_url(re.compile("/instructions$"))
    expect(page.locator("#device-facts dd").first).not_to_be_empty()
    check(page, axe_source, "device check")
    page.locator("#screening-form button[type=submit]").click()
    check(page, axe_source, "device check with a problem")
    pass_screening(page)
    check(page, axe_source, "instructions")
    page.locator("#start").click()
    shown(page)
    check(page, axe_source, "practice")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#feedback-next")).to_be_visible()
    check(page, axe_source, "feedback")
    page.locator("#feedback-next").click()
    pair = shown(page)
    page.keyboard.press("+")
    page.keyboard.press("+")
    check(page, axe_source, "zoomed pair")
    page.keyboard.press("?")
    check(page, axe_source, "help")
    page.keyboard.press("Escape")
    page.route("**/api/votes", lambda route: route.fulfill(status=503, json={}))
    page.keyboard.press("ArrowLeft")
    pair = next_shown(page, pair)
    expect(page.locator("#save-now")).to_be_visible()
    check(page, axe_source, "not saved")
    page.unroute("**/api/votes")
    page.locator("#save-now").evaluate("e => e.click()")  # by now the page may have tried again by itself
    page.keyboard.press("ArrowRight")
    next_shown(page, pair)  # it comes with the answer that had not been saved
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("heading", name="Time for a break")).to_be_visible()
    check(page, axe_source, "break")
    other = page.context.new_page()
    other.goto(full_study.url + "/task")
    expect(other.get_by_role("heading", name="open in another tab")).to_be_visible()
    check(other, axe_source, "second tab")
    other.close()
    page.locator("#panel-button").click()
    for _ in range(2):
        pair = shown(page)
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(150)
    expect(page.get_by_role("heading", name="Thank you!")).to_be_visible()
    check(page, axe_source, "thanks")
    page.goto(full_study.url.replace("/s/full", "/s/nothing-here"))
    check(page, axe_source, "not found")
    page.goto(full_study.url.split("/s/")[0] + "/")
    check(page, axe_source, "list of studies")


def test_no_page_on_a_phone_has_a_violation(new_page, study, axe_source):
    page = new_page(width=360, height=740, ratio=3.0, touch=True)
    page.goto(study.url)
    check(page, axe_source, "consent")
    enter(page, study.url)
    check(page, axe_source, "pair")


def test_no_text_that_goes_on_and_no_study_that_stands_still_has_a_violation(new_page, two_questions, axe_source):
    page = new_page(width=360, height=740, ratio=3.0, touch=True)
    enter(page, two_questions.url)
    page.locator("#prompt-text").evaluate("e => { e.textContent = 'a long description '.repeat(30) }")
    check(page, axe_source, "long description")
    page.keyboard.press("1")
    page.keyboard.press("1")
    expect(page.locator("#feedback-next")).to_be_focused()
    page.locator("#feedback-text").evaluate("e => { e.textContent = 'Another look at the roof. '.repeat(40) }")
    check(page, axe_source, "long feedback")
    for state in ("paused", "closed"):
        page.route("**/api/session", answer_with(status=403, code=state))
        page.reload()
        expect(page.locator(f"#panel[data-kind={state}]")).to_be_visible()
        check(page, axe_source, state)


@pytest.mark.parametrize(("width", "height", "ratio"), [(360, 740, 3.0), (3840, 2160, 1.0)])
def test_no_page_of_a_fidelity_study_has_a_violation(new_page, fidelity, axe_source, width, height, ratio):
    page = new_page(width=width, height=height, ratio=ratio, touch=width < 500)
    page.goto(fidelity.url)
    check(page, axe_source, "consent with the notice about flicker")
    page.get_by_role("button", name="I agree").click()
    page.wait_for_url(re.compile("/instructions$"))
    expect(page.locator("#start")).to_be_visible()
    check(page, axe_source, "instructions")
    page.locator("#start").click()
    shown(page)
    check(page, axe_source, "plain triplet")
    page.locator("#tool-swap").click()
    page.locator(".choice-left").click()
    page.locator("#feedback-next").click()
    expect(page.locator("#panel[data-kind=flicker]")).to_be_visible()
    check(page, axe_source, "notice")
    page.locator("#panel-button").click()
    shown(page)
    check(page, axe_source, "boosted triplet")
    page.keyboard.press("?")
    check(page, axe_source, "help")


def answer_with(*, status: int, code: str) -> Callable[[Route], None]:
    """A server that says no."""
    return lambda route: route.fulfill(status=status, json={"error": {"code": code}})


@pytest.mark.parametrize("width", [1280, 400])
def test_text_at_twice_its_size_loses_nothing(new_page, study, width):
    page = new_page(width=width, height=800)
    enter(page, study.url)
    skip_practice(page)
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    page.wait_for_timeout(100)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing needs sideways scrolling"
    for selector in (".choice-left", ".choice-tie", ".choice-right", "#tool-swap", "#tool-help", "#prompt-text"):
        page.locator(selector).scroll_into_view_if_needed()
        box = page.locator(selector).bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= width
        assert page.locator(selector).evaluate("e => e.scrollWidth <= e.clientWidth + 1"), f"{selector} cuts its text"
    assert page.locator("#pane-left .picture").first.evaluate("e => e.getBoundingClientRect().height") > 60


def test_every_control_shows_its_focus(new_page, study):
    page = new_page(width=1366, height=768)
    enter(page, study.url)
    seen = []
    for _ in range(14):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            "(e => [e.id || e.className, getComputedStyle(e).outlineWidth])(document.activeElement)"
        )
        seen.append(name)
        if name:
            assert float(outline.rstrip("px")) >= 2, f"{name} shows no focus"
    for control in ("tool-swap", "tool-zoom-in", "tool-help", "choice choice-left", "choice choice-tie"):
        assert control in seen, f"{control} is not reached with Tab"


def test_dark_mode_and_reduced_motion_change_nothing_on_the_pair_page(new_page, study):
    page = new_page()
    enter(page, study.url)
    light = page.screenshot()
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    dark = page.screenshot()
    np.testing.assert_array_equal(*(np.asarray(Image.open(io.BytesIO(png))) for png in (light, dark)))


def test_the_surround_is_mid_grey_and_nothing_but_the_pictures_has_a_colour(new_page, study):
    page = new_page()
    enter(page, study.url)
    skip_practice(page)
    page.add_style_tag(url=page.evaluate("document.querySelector('link[rel=stylesheet]').href"))
    page.evaluate("document.querySelectorAll('.picture').forEach(e => e.remove())")
    screen = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)
    assert (screen.max(axis=2) - screen.min(axis=2)).max() <= 2, "a hue outside the pictures"
    stage = page.locator("#stage").bounding_box()
    assert stage is not None
    middle = screen[int(stage["y"] + stage["height"] / 2), int(stage["x"] + stage["width"] / 4)]
    assert tuple(middle) == (0x77, 0x77, 0x77)


def test_names_for_screen_readers_are_the_same_for_every_pair(new_page, study):
    page = new_page()
    enter(page, study.url)
    pair = skip_practice(page)
    first = page.locator("#stage").aria_snapshot()
    page.keyboard.press("ArrowLeft")
    next_shown(page, pair)
    assert page.locator("#stage").aria_snapshot() == first
    assert 'img "Left picture"' in first and 'img "Right picture"' in first


def test_what_happens_is_announced(new_page, study):
    page = new_page()
    enter(page, study.url)
    pair = skip_practice(page)
    expect(page.locator("#announce")).to_have_text("Pair 1 of 5 is shown.")
    page.keyboard.press("ArrowLeft")
    next_shown(page, pair)
    expect(page.locator("#announce")).to_have_text("Pair 2 of 5 is shown.")


def test_a_right_to_left_language_turns_the_page_but_not_left_and_right(new_page, study, axe_source):
    page = new_page(width=1366, height=768, locale="ar")
    page.goto(study.url)
    check(page, axe_source, "consent in Arabic")
    page.locator("button[value=yes]").click()
    page.locator("#start").click()
    pair = shown(page)
    assert page.evaluate("getComputedStyle(document.body).direction") == "rtl"
    lefts = [page.locator(f".choice-{side}").bounding_box() for side in ("left", "right")]
    panes = [page.locator(f"#pane-{side}").bounding_box() for side in ("left", "right")]
    assert all(a is not None and b is not None and a["x"] < b["x"] for a, b in (lefts, panes))
    assert "1" in page.locator("#progress-text").inner_text()
    check(page, axe_source, "pair in Arabic")
    page.keyboard.press("ArrowLeft")
    page.locator("#feedback-next").click()
    pair = next_shown(page, pair)
    page.keyboard.press("ArrowLeft")
    next_shown(page, pair)
    wait_for(page, lambda: len(study.votes_of_latest_session(kind="task")) == 1)
    assert study.votes_of_latest_session(kind="task")[0]["choice"] == "left"


def test_the_page_of_a_ranking_has_no_violation_and_every_picture_a_name(new_page, ranked, axe_source):
    page = new_page(width=1366, height=768)
    page.goto(ranked.url)
    check(page, axe_source, "consent")
    page.get_by_role("button", name="I agree").click()
    page.wait_for_url(re.compile("/instructions$"))
    expect(page.locator("#start")).to_be_visible()
    check(page, axe_source, "instructions of a ranking")
    page.locator("#start").click()
    wait_for(page, "document.querySelector('.place')?.getAttribute('aria-disabled') === 'false'")
    check(page, axe_source, "a set")
    page.keyboard.press("b")
    page.keyboard.press("0")
    check(page, axe_source, "a set with one picture placed")
    assert page.get_by_role("button", name="Picture B: 1 in the order").get_attribute("aria-pressed") == "true"
    assert [image.get_attribute("alt") for image in page.locator(".picture:not(.away)").all()] == [
        "Picture A",
        "Picture B",
        "Picture C",
    ]
    page.keyboard.press("?")
    check(page, axe_source, "help of a ranking")
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    page.keyboard.press("c")
    expect(page.locator("#feedback-next")).to_be_visible()
    check(page, axe_source, "feedback of a ranking")
