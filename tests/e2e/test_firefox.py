"""The path and the tools in stock Firefox."""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from tests.e2e.bidi import Firefox, write_profile

pytestmark = pytest.mark.browser

RATIO = 1.25
OPEN = "document.querySelector('#choices button')?.getAttribute('aria-disabled') === 'false'"
LEFT = "document.querySelector('#pane-left .picture:not(.away)')"
RIGHT = "document.querySelector('#pane-right .picture:not(.away)')"


@pytest.fixture(scope="module")
def firefox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
    """A headless Firefox at a fractional pixel ratio; $QSCHED_FIREFOX or the system's."""
    named = os.environ.get("QSCHED_FIREFOX") or shutil.which("firefox-esr") or shutil.which("firefox")
    if not named:
        pytest.fail("no Firefox: install it (apt-get install firefox-esr) or name it in QSCHED_FIREFOX")
    profile = tmp_path_factory.mktemp("firefox")
    write_profile(profile, ratio=RATIO)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [named, "--headless", "--no-remote", "--profile", str(profile), f"--remote-debugging-port={port}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "HOME": str(profile)},
    )  # fmt: skip
    try:
        with Firefox(port) as tab:
            yield tab
    finally:
        process.terminate()
        process.wait(timeout=20)


def next_pair(firefox: Firefox, before: str) -> str:
    """Wait for another pair than the one whose left picture is `before`."""
    firefox.wait_for(f"{OPEN} && {LEFT}.getAttribute('src') !== {before!r}")
    return str(firefox.evaluate(f"{LEFT}.getAttribute('src')"))


def test_firefox_goes_from_consent_to_thanks_with_every_tool(firefox, study):
    firefox.resize(1200, 760)
    firefox.goto(study.url)
    firefox.click("button[value=yes]")
    firefox.wait_for("document.querySelector('#instructions:not([hidden]) #start') !== null")
    firefox.click("#start")
    pair = next_pair(firefox, "")

    # pixels as they are, at a fractional ratio
    assert firefox.evaluate("devicePixelRatio") == RATIO
    box = firefox.evaluate(
        f"(r => [r.left, r.top, r.width, r.height].map(v => v * devicePixelRatio))({LEFT}.getBoundingClientRect())"
    )
    left, top, width, height = (round(value) for value in box)
    screen = np.asarray(Image.open(io.BytesIO(firefox.screenshot())).convert("RGB"))
    with urllib.request.urlopen(study.url.split("/s/")[0] + pair) as answer:
        picture = np.asarray(Image.open(io.BytesIO(answer.read())).convert("RGB"))
    times = round(height / picture.shape[0])
    assert height == times * picture.shape[0]
    np.testing.assert_array_equal(
        screen[top : top + height, left : left + width], picture.repeat(times, 0).repeat(times, 1)
    )

    # swap in place, zoom of both
    other = firefox.evaluate(f"{RIGHT}.getAttribute('src')")
    firefox.hold("Space")
    assert firefox.evaluate(f"{LEFT}.getAttribute('src')") == other
    firefox.release("Space")
    assert firefox.evaluate(f"{LEFT}.getAttribute('src')") == pair
    firefox.wheel(300, 400, -240)
    sizes = firefox.evaluate(f"[{LEFT}, {RIGHT}].map(e => e.getBoundingClientRect().width * devicePixelRatio)")
    assert sizes[0] == pytest.approx(sizes[1]) and sizes[0] > width

    # practice, pairs, undo, break, thanks
    firefox.press("ArrowLeft")
    firefox.wait_for("document.activeElement.id === 'feedback-next'")
    firefox.click("#feedback-next")  # a headless window never has the system's focus, so Enter presses no button in it
    pair = next_pair(firefox, pair)
    firefox.press("ArrowLeft")
    pair = next_pair(firefox, pair)
    firefox.wait_for("document.querySelector('#tool-undo:not([disabled])') !== null")
    firefox.press("z")
    pair = next_pair(firefox, pair)
    firefox.press("ArrowRight")
    for number in range(4):
        pair = next_pair(firefox, pair)
        firefox.press("ArrowDown")
        if number == 1:
            firefox.wait_for("document.activeElement.id === 'panel-heading'")
            firefox.click("#panel-button")
    firefox.wait_for("location.pathname.endsWith('/thanks')")
    assert [vote["choice"] for vote in study.votes_of_latest_session(kind="task")] == [
        "right",
        "tie",
        "tie",
        "tie",
        "tie",
    ]
    assert firefox.errors == []
