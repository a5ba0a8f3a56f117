"""The real server as a subprocess, and real headless Chromium. What cannot be had fails; nothing is skipped."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright

from study_server.owner import make_settings, open_database, read_design
from study_server.studies.creation import create_study
from tests.e2e.person import KNOWN_PLATES

CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

STUDY = """
schema_version: 1
slug: {slug}
title: Pictures, side by side
images: {images}
votes_per_pair: 1000
pairs_per_annotator: 5
block_length: 3
repeat_rate: 0
prompt_gap: 1
allow_skip: true
languages: [en, de, es, ar]
practice:
  - {{prompt: p5, better: fp32, worse: w4a4, why: The other picture is grainy.}}
{extra}
"""

SCREENING = """
screening: {required: true, colour_plate: true, grey_steps: true, min_viewport_width: 320, max_zoom: 1.3}
platform: {name: prolific, completion_code: C1A2B3}
demographics:
  - {id: glasses, label: "Do you wear glasses or lenses now?", kind: choice, choices: ["Yes", "No"], required: true}
"""

TWO_QUESTIONS = """
questions:
  - {id: quality, text: "Which picture looks better?"}
  - {id: match, text: "Which picture fits the description better?"}
"""


THREE_QUESTIONS = """
questions:
  - {id: overall, text: "Which picture do you prefer, all things considered?"}
  - {id: quality, text: "Which picture looks better?"}
  - {id: match, text: "Which picture fits the description better?"}
"""

SMALL_FIDELITY = "traps: {each: 4, least: 4}, bias_each: 1"
STUDIES = {
    "fidelity": f"design: fidelity\nfidelity: {{{SMALL_FIDELITY}}}",
    "boosted": f"design: fidelity\nfidelity: {{{SMALL_FIDELITY}, presentations: [boosted]}}",
    "fast": f"design: fidelity\nfidelity: {{{SMALL_FIDELITY}, boost: {{rate_hz: 5, faster_flicker: true, zoom: 4}}}}",
    "small": f"design: fidelity\nfidelity: {{{SMALL_FIDELITY}, presentations: [boosted], "
    "boost: {rate_hz: 5, zoom: 2}}",
    "ranked": "design: ranking\nranking: {pictures: 3, gold: [{prompt: p4, worst: w4a4}], practice: "
    "[{prompt: p5, worst: w4a4, why: 'Picture {worst} is grainy.'}]}",
    "dropped": "design: ranking\nranking: {pictures: 3, baseline: fp32}\n"
    "stopping: {baseline: fp32, looks: 2, horizon: 60}",
    "plain": "",
    "full": SCREENING,
    "two": TWO_QUESTIONS,
    "three": THREE_QUESTIONS,
    "graded": "strength: true",
    "native": "show_at: one_to_one",
    "checked": "instructed: 3",
    "blind": THREE_QUESTIONS + "show_prompt: false\ninstructed: 3",
}


@dataclass(frozen=True)
class Server:
    """A running server."""

    url: str
    database: Path


@dataclass(frozen=True)
class StudyUnderTest:
    """A running study: where it is, and what its database holds."""

    url: str
    slug: str
    database: Path

    def votes_of_latest_session(self, *, kind: str | None = None) -> list[dict[str, object]]:
        """Effective votes of the newest session, oldest first, straight from the votes table's SQL view."""
        with contextlib.closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            rows = connection.execute(
                "SELECT * FROM votes_table WHERE session = (SELECT pseudonym FROM sessions ORDER BY id DESC LIMIT 1)"
                " ORDER BY answered_at, question"
            )
            return [dict(row) for row in rows if kind in (None, row["kind"])]


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The Chromium of $QSCHED_CHROMIUM, or of the system."""
    named = os.environ.get("QSCHED_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not named or not Path(named).exists():
        pytest.fail("no Chromium: install it (apt-get install chromium) or name it in QSCHED_CHROMIUM")
    return Path(named)


@pytest.fixture(scope="session")
def headless(chromium: Path) -> Path:
    """Chromium without a window of its own, which takes a quarter of the processor time, where it is installed.

    The page comes from the same engine. `page_at_ratio` has the whole browser.
    """
    shell = shutil.which("chromium-headless-shell") if "QSCHED_CHROMIUM" not in os.environ else None
    return Path(shell) if shell else chromium


@pytest.fixture(scope="session")
def driver() -> Iterator[Playwright]:
    """Playwright itself."""
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="session")
def browser(driver: Playwright, headless: Path) -> Iterator[Browser]:
    """One headless Chromium for the whole run; each test gets a fresh profile in it."""
    running = driver.chromium.launch(executable_path=headless, args=list(CHROMIUM_FLAGS))
    yield running
    running.close()


@pytest.fixture
def page_at_ratio(driver: Playwright, chromium: Path) -> Iterator[Callable[[float], Page]]:
    """Makes a page on a screen of a given device pixel ratio, in a browser of its own.

    Playwright's emulated ratio scales a finished layout; only the browser's own flag lays out in device pixels
    as a real screen does.
    """
    with contextlib.ExitStack() as stack:

        def make(ratio: float) -> Page:
            flags = [*CHROMIUM_FLAGS, f"--force-device-scale-factor={ratio}", "--window-size=1366,768"]
            running = driver.chromium.launch(executable_path=chromium, args=flags)
            stack.callback(running.close)
            return running.new_context(no_viewport=True, locale="en-GB").new_page()

        yield make


@pytest.fixture
def new_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Makes pages of a given window; a page's script error fails the test."""
    contexts: list[BrowserContext] = []
    problems: list[str] = []

    def make(
        *,
        width: int = 1200,
        height: int = 760,
        ratio: float = 1.0,
        touch: bool = False,
        known_plates: bool = False,
        locale: str = "en-GB",
        **options: object,
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            device_scale_factor=ratio,
            has_touch=touch,
            is_mobile=touch,
            locale=locale,
            **options,
        )
        contexts.append(context)
        context.set_default_timeout(60_000)
        context.on("weberror", lambda error: problems.append(str(error.error)))
        context.on("console", lambda line: problems.append(line.text) if "Security Policy" in line.text else None)
        page = context.new_page()
        if known_plates:
            page.add_init_script(KNOWN_PLATES)
        return page

    yield make
    for context in contexts:
        context.close()
    assert problems == [], "errors in the page's scripts"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, small_image_set: Path) -> Iterator[Server]:
    """One running server with several studies of the same drawn pictures, on SQLite."""
    folder = tmp_path_factory.mktemp("e2e")
    database = folder / "study.db"
    settings = make_settings(database_url=f"sqlite:///{database}")
    opened = open_database(settings)
    for slug, extra in STUDIES.items():
        design = folder / f"{slug}.yaml"
        text = STUDY.format(slug=slug, images=small_image_set, extra=extra)
        if "design: ranking" in extra:  # its practice is in its own section
            text = text[: text.index("practice:")] + extra
        design.write_text(text, encoding="utf-8")
        made, images = read_design(design, votes_per_pair=1)
        create_study(opened, made, set_folder=images, data_folder=settings.data_folder, progress=lambda _: None)
    opened.close()
    log = folder / "server.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from qsched.cli.main import main; main()",
                "serve",
                "--db",
                f"sqlite:///{database}",
                "--port",
                "0",
            ],
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    yield Server(wait_until_open(process, log), database)
    process.terminate()
    process.wait(timeout=10)


@pytest.fixture(scope="session")
def study(server: Server) -> StudyUnderTest:
    """A study without a device check: one practice pair, five pairs, a break after three."""
    return StudyUnderTest(f"{server.url}/s/plain", "plain", server.database)


@pytest.fixture(scope="session")
def full_study(server: Server) -> StudyUnderTest:
    """The same with a required device check, a question about the person, and Prolific."""
    return StudyUnderTest(f"{server.url}/s/full", "full", server.database)


@pytest.fixture
def arrival(full_study: StudyUnderTest) -> str:
    """The link by which a new person arrives from Prolific."""
    return f"{full_study.url}?PROLIFIC_PID={secrets.token_hex(12)}&STUDY_ID=s&SESSION_ID={secrets.token_hex(12)}"


@pytest.fixture(scope="session")
def two_questions(server: Server) -> StudyUnderTest:
    """The same with two questions a pair."""
    return StudyUnderTest(f"{server.url}/s/two", "two", server.database)


@pytest.fixture(scope="session")
def three_questions(server: Server) -> StudyUnderTest:
    """The same with three questions a pair."""
    return StudyUnderTest(f"{server.url}/s/three", "three", server.database)


@pytest.fixture(scope="session")
def native(server: Server) -> StudyUnderTest:
    """The same, each pair beginning at 1:1."""
    return StudyUnderTest(f"{server.url}/s/native", "native", server.database)


@pytest.fixture(scope="session")
def checked(server: Server) -> StudyUnderTest:
    """The same with attention checks."""
    return StudyUnderTest(f"{server.url}/s/checked", "checked", server.database)


@pytest.fixture(scope="session")
def blind(server: Server) -> StudyUnderTest:
    """Three questions, attention checks, and no description shown."""
    return StudyUnderTest(f"{server.url}/s/blind", "blind", server.database)


@pytest.fixture(scope="session")
def graded(server: Server) -> StudyUnderTest:
    """The same with left and right in two steps."""
    return StudyUnderTest(f"{server.url}/s/graded", "graded", server.database)


@pytest.fixture(scope="session")
def fidelity(server: Server) -> StudyUnderTest:
    """Triplets, plain and boosted."""
    return StudyUnderTest(f"{server.url}/s/fidelity", "fidelity", server.database)


@pytest.fixture(scope="session")
def ranked(server: Server) -> StudyUnderTest:
    """Three pictures put in order at once."""
    return StudyUnderTest(f"{server.url}/s/ranked", "ranked", server.database)


@pytest.fixture(scope="session")
def dropped(server: Server) -> StudyUnderTest:
    """The same with a stopping rule: smaller sets wait until an arm is decided."""
    return StudyUnderTest(f"{server.url}/s/dropped", "dropped", server.database)


@pytest.fixture(scope="session")
def boosted(server: Server) -> StudyUnderTest:
    """Boosted triplets alone."""
    return StudyUnderTest(f"{server.url}/s/boosted", "boosted", server.database)


@pytest.fixture(scope="session")
def fast(server: Server) -> StudyUnderTest:
    """Triplets that flicker faster than 3 Hz, for those who agree."""
    return StudyUnderTest(f"{server.url}/s/fast", "fast", server.database)


@pytest.fixture(scope="session")
def small(server: Server) -> StudyUnderTest:
    """Triplets that flicker faster than 3 Hz because their flashes are small, and may therefore not be enlarged."""
    return StudyUnderTest(f"{server.url}/s/small", "small", server.database)


def wait_until_open(process: subprocess.Popen[str], log: Path) -> str:
    """The server's address, once it answers."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = re.search(r"http://\S+?:\d+", log.read_text(encoding="utf-8"))
        if found:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{found[0]}/healthz", timeout=2).close()
                return found[0]
        if process.poll() is not None:
            break
        time.sleep(0.1)
    pytest.fail(f"the server did not open:\n{log.read_text(encoding='utf-8')[-3000:]}")
