"""The path and the tools in the engines of Firefox (stock) and Safari (WebKitGTK)."""

from __future__ import annotations

import base64
import io
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from tests.e2e.bidi import Firefox, write_profile
from tests.e2e.tab import Tab
from tests.e2e.webkit import WebKit, find_browser

pytestmark = pytest.mark.browser

FIREFOX_RATIO = 1.25
WEBKIT_RATIO = 2
OPEN = "document.querySelector('#questions button')?.getAttribute('aria-disabled') === 'false'"
LEFT = "document.querySelector('#pane-left .picture:not(.away)')"
RIGHT = "document.querySelector('#pane-right .picture:not(.away)')"


@pytest.fixture(scope="module")
def firefox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
    """A headless Firefox at a fractional pixel ratio; $QSCHED_FIREFOX or the system's."""
    named = os.environ.get("QSCHED_FIREFOX") or shutil.which("firefox-esr") or shutil.which("firefox")
    if not named:
        pytest.fail("no Firefox: install it (apt-get install firefox-esr) or name it in QSCHED_FIREFOX")
    profile = tmp_path_factory.mktemp("firefox")
    write_profile(profile, ratio=FIREFOX_RATIO)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [named, "--headless", "--no-remote", "--profile", str(profile), f"--remote-debugging-port={port}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(profile)},
    )
    try:
        with Firefox(port) as tab:
            yield tab
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture(scope="module")
def webkit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebKit]:
    """WebKitGTK's test browser on a screen in memory."""
    browser = find_browser()
    if not browser or not shutil.which("WebKitWebDriver") or not shutil.which("Xvfb"):
        pytest.fail("no WebKit: install it (apt-get install webkit2gtk-driver xvfb)")
    with WebKit(tmp_path_factory.mktemp("webkit"), browser, ratio=WEBKIT_RATIO) as tab:
        yield tab


@pytest.fixture(params=[("firefox", FIREFOX_RATIO), ("webkit", WEBKIT_RATIO)], ids=["firefox", "webkit"])
def engine(request: pytest.FixtureRequest) -> tuple[Tab, float]:
    """A tab and its pixel ratio."""
    name, ratio = request.param
    return request.getfixturevalue(name), ratio


def fetched(address: str) -> str:
    """A script that returns a file as base64, asked for by the page: a picture is sent to its session only."""
    return f"""(() => {{
        const request = new XMLHttpRequest();
        request.open("GET", {address!r}, false);
        request.overrideMimeType("text/plain; charset=x-user-defined");
        request.send();
        return btoa(Array.from(request.responseText, c => String.fromCharCode(c.charCodeAt(0) & 255)).join(""));
    }})()"""


def next_pair(tab: Tab, before: str) -> str:
    """Wait for another pair than the one whose left picture is `before`."""
    tab.wait_for(f"{OPEN} && {LEFT}.dataset.src !== {before!r}")
    return str(tab.evaluate(f"{LEFT}.dataset.src"))


def test_an_annotator_goes_from_consent_to_thanks_with_every_tool(engine, study):
    tab, ratio = engine
    tab.resize(1200, 760)
    tab.goto(study.url)
    tab.click("button[value=yes]")
    tab.wait_for("document.querySelector('#instructions:not([hidden]) #start') !== null")
    tab.click("#start")
    pair = next_pair(tab, "")

    # pixels as they are, at a fractional ratio
    assert tab.evaluate("devicePixelRatio") == ratio
    box = tab.evaluate(
        f"(r => [r.left, r.top, r.width, r.height].map(v => v * devicePixelRatio))({LEFT}.getBoundingClientRect())"
    )
    left, top, width, height = (round(value) for value in box)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(tab.evaluate(fetched(pair))))).convert("RGB"))
    times = round(height / picture.shape[0])
    assert height == times * picture.shape[0]
    if isinstance(tab, Firefox):  # WebKitGTK's screenshots without a graphics card are black now and then
        screen = np.asarray(Image.open(io.BytesIO(tab.screenshot())).convert("RGB"))
        np.testing.assert_array_equal(
            screen[top : top + height, left : left + width], picture.repeat(times, 0).repeat(times, 1)
        )

    # swap in place, zoom of both
    other = tab.evaluate(f"{RIGHT}.dataset.src")
    tab.hold("Space")
    assert tab.evaluate(f"{LEFT}.dataset.src") == other
    tab.release("Space")
    assert tab.evaluate(f"{LEFT}.dataset.src") == pair
    tab.wheel(300, 400, -240)
    sizes = tab.evaluate(f"[{LEFT}, {RIGHT}].map(e => e.getBoundingClientRect().width * devicePixelRatio)")
    assert sizes[0] == pytest.approx(sizes[1]) and sizes[0] > width

    # practice, pairs, undo, break, thanks
    tab.press("ArrowLeft")
    tab.wait_for("document.activeElement.id === 'feedback-next'")
    tab.click("#feedback-next")  # a headless window never has the system's focus, so Enter presses no button in it
    pair = next_pair(tab, pair)
    tab.press("ArrowLeft")
    pair = next_pair(tab, pair)
    tab.wait_for("document.querySelector('#tool-undo:not([disabled])') !== null")
    tab.press("z")
    pair = next_pair(tab, pair)
    tab.press("ArrowRight")
    for number in range(4):
        pair = next_pair(tab, pair)
        tab.press("ArrowDown")
        if number == 1:
            tab.wait_for("document.activeElement.id === 'panel-heading'")
            tab.click("#panel-button")
    tab.wait_for("location.pathname.endsWith('/thanks')")
    choices = [vote["choice"] for vote in study.votes_of_latest_session(kind="task")]
    assert choices == ["right", "tie", "tie", "tie", "tie"]
    if isinstance(tab, Firefox):
        assert tab.errors == []


def test_a_boosted_triplet_flickers_at_its_rate_stops_and_gives_way_to_the_reference(engine, boosted):
    tab, _ = engine
    tab.resize(1200, 760)
    tab.goto(boosted.url)
    tab.click("button[value=yes]")
    tab.wait_for("document.querySelector('#instructions:not([hidden]) #start') !== null")
    tab.click("#start")
    tab.wait_for("document.querySelector('#panel[data-kind=flicker]:not([hidden])') !== null")
    tab.click("#panel-button")
    pair = next_pair(tab, "")
    tab.evaluate(
        """(() => {
            window.changes = [];
            const inLeft = (record) => record.target.parentElement?.id === "pane-left";
            new MutationObserver((records) => {
                if (records.some(inLeft)) window.changes.push(document.timeline.currentTime);
            }).observe(document.querySelector("#stage"), {subtree: true, attributes: true, attributeFilter: ["class"]});
        })()"""
    )
    tab.wait_for("window.changes.length >= 5")
    assert np.diff(tab.evaluate("window.changes")).min() > 245, "2 Hz: four changes per second"
    tab.press("f")
    tab.wait_for("document.querySelector('#tool-flicker').getAttribute('aria-pressed') === 'false'")
    assert tab.evaluate(f"{LEFT}.dataset.src") == pair
    tab.hold("Space")
    under = tab.evaluate(f"[{LEFT}.dataset.src, {RIGHT}.dataset.src]")
    assert under[0] == under[1] != pair
    tab.release("Space")
    tab.press("ArrowDown")
    tab.wait_for("document.activeElement.id === 'feedback-next'")
