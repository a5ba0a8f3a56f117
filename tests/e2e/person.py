"""What a person does in the browser, as functions of a Playwright page."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Page, expect

STAGE_SHOWN = "#stage:not(.veiled)"

# The plates of the device check are random. With this the number is 12 and each strip has two squares;
# a person sees that, a test cannot.
KNOWN_PLATES = "window.__random = Math.random; Math.random = () => 0;"


@dataclass(frozen=True)
class Shown:
    """The pair on the screen: what the page shows, as far as a test must compare it."""

    prompt: str
    left_src: str
    right_src: str
    scale: str


def wait_for(page: Page, condition: str | Callable[[], bool], *, seconds: float = 20.0) -> None:
    """Wait until a JavaScript expression or a Python condition holds, letting the page run.

    Playwright's own wait_for_function needs eval in the page, which the content policy rightly forbids.
    """
    for _ in range(int(seconds * 25)):
        try:
            if page.evaluate(condition) if isinstance(condition, str) else condition():
                return
        except PlaywrightError as error:
            if "context was destroyed" not in str(error):  # the page is just being left for the next one
                raise
        page.wait_for_timeout(40)
    raise AssertionError(f"did not come true in {seconds} s: {condition}")


def shown(page: Page) -> Shown:
    """Wait until a pair is painted and open for an answer, and read it."""
    wait_for(
        page,
        f"document.querySelector('{STAGE_SHOWN}') !== null"
        " && document.querySelector('#questions button')?.getAttribute('aria-disabled') === 'false'",
    )
    sides = [page.locator(f"#pane-{side} .picture").first.get_attribute("data-src") or "" for side in ("left", "right")]
    return Shown(page.locator("#prompt-text").inner_text(), *sides, page.locator("#scale").inner_text())


def next_shown(page: Page, before: Shown) -> Shown:
    """Wait for another pair than `before`."""
    wait_for(
        page,
        f"document.querySelector('{STAGE_SHOWN} #pane-left .picture')?.dataset.src"
        f" !== {json.dumps(before.left_src)} && document.querySelector('{STAGE_SHOWN}') !== null",
    )
    return shown(page)


def done(page: Page) -> int:
    """Pairs done, as the progress bar says."""
    return int(page.locator("#progress-bar").get_attribute("aria-valuenow") or "-1")


def enter(page: Page, url: str) -> Shown:
    """Consent, pass over the device check by its own API, and come to the first pair."""
    page.goto(url)
    page.get_by_role("button", name="I agree").click()
    page.wait_for_url(re.compile(r"/instructions$"))
    wait_for(page, "document.querySelector('#screening:not([hidden]), #instructions:not([hidden])') !== null")
    if page.locator("#screening").is_visible():
        pass_screening(page)
    page.get_by_role("link", name=re.compile("^Start")).click()
    return shown(page)


def pass_screening(page: Page) -> None:
    """Answer the device check rightly; the page needs KNOWN_PLATES where the check asks something."""
    if page.locator("#colour-plate").count():
        page.get_by_label("12", exact=True).check()
    if page.locator("#grey-dark").count():
        page.get_by_label("Dark strip", exact=True).select_option("2")
        page.get_by_label("Light strip", exact=True).select_option("2")
    page.locator("#screening-form button[type=submit]").click()
    expect(page.locator("#instructions-heading")).to_be_visible()


def skip_practice(page: Page) -> Shown:
    """Answer practice pairs until the first pair that counts."""
    while page.locator("#practice-tag").is_visible():
        for _ in range(page.locator(".question").count()):
            page.keyboard.press("ArrowLeft")
        page.locator("#feedback-next").click()
        shown(page)
    return shown(page)


def picture_on_screen(page: Page, selector: str) -> tuple[np.ndarray, np.ndarray]:
    """One picture as the screen shows it and as its file holds it: uint8 arrays (height, width, 3).

    The screen's part is cut out of a screenshot in device pixels, at the picture's own box.
    """
    box = page.locator(selector).evaluate(
        "e => { const r = e.getBoundingClientRect(); const d = devicePixelRatio;"
        " return [r.left * d, r.top * d, r.width * d, r.height * d] }"
    )
    left, top, width, height = (round(value) for value in box)
    assert all(abs(value - round(value)) < 0.02 for value in box), f"not on whole device pixels: {box}"
    screen = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
    source = page.request.get(page.url.split("/s/")[0] + (page.locator(selector).get_attribute("data-src") or ""))
    picture = np.asarray(Image.open(io.BytesIO(source.body())).convert("RGB"))
    return screen[top : top + height, left : left + width], picture
