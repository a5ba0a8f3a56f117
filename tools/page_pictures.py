"""Pictures of every page, for docs/pages.md: made in a real Chromium, in the light theme, from a demo.

    python tools/page_pictures.py --runs runs     # of a demo that is there (`make demo`); without it, one is made
    python tools/page_pictures.py --runs runs --only report,task

Each picture is docs/pictures/pages/NAME.webp, at most 1,280 pixels wide and 900 high, so that the site stays small; a
page that is longer is cut at its foot. `PICTURES` says what is shown of which template; tests/test_page_pictures.py
compares it with the templates and with docs/pages.md. Votes in the pictures are simulated, as the pages themselves say.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs" / "pictures" / "pages"
SIZE = (1280, 900)
QUALITY = 72
STUDY = "welcome"
#: Fonts and pictures in view are there, and nothing says that it is loading.
SHOWN = """() => document.fonts.status === 'loaded' && !document.querySelector('[aria-busy=true]')
  && [...document.images].every(one => one.complete || one.getBoundingClientRect().top > innerHeight)"""
STUDY_FILE = """\
slug: welcome
title: Which picture is better?
images: {images}
votes_per_pair: 50
pairs_per_annotator: 2
repeat_rate: 0
prompt_gap: 1
platform: {{name: personal}}
practice:
  - {{prompt: {practice}, better: fp32, worse: w3a8, why: "The {{worse}} picture has lost the edge of the shape."}}
comprehension:
  items:
    - question: What do you judge?
      right: Which of two pictures is better
      wrong: [How fast I am, Who made the picture]
"""


@dataclass(frozen=True)
class Shot:
    """One picture: the template that it shows, where to find the page, and what a reader sees on it."""

    name: str
    template: str
    place: str
    alt: str


PICTURES = (
    Shot(
        "consent",
        "templates/pages/consent.html",
        "/s/{study}",
        "consent: what the study asks, how long it takes, contact",
    ),
    Shot("instructions", "templates/pages/instructions.html", "/s/{study}/instructions", "instructions with the keys"),
    Shot(
        "comprehension",
        "templates/pages/comprehension.html",
        "/s/{study}/comprehension",
        "questions about the instructions",
    ),
    Shot(
        "task", "templates/pages/task.html", "/s/{study}/task", "two pictures side by side, tools above, answers below"
    ),
    Shot("thanks", "templates/pages/thanks.html", "/s/{study}/thanks", "thanks at the end of a study"),
    Shot("privacy", "templates/pages/privacy.html", "/s/{study}/privacy", "what the study stores, and for how long"),
    Shot("index", "templates/pages/index.html", "/", "the studies of a server that lists them"),
    Shot(
        "message",
        "templates/pages/message.html",
        "/s/no-such-study",
        "an error in plain words: there is no study at this address",
    ),
    Shot("sign-in", "templates/admin/sign_in.html", "/admin/sign-in", "the owner's sign-in"),
    Shot("studies", "templates/admin/studies.html", "/admin", "all studies with their progress"),
    Shot(
        "progress",
        "templates/admin/study.html",
        "/admin/studies/demo",
        "progress of a study: votes, pace, people on their way",
    ),
    Shot("counts", "templates/admin/counts.html", "/admin/studies/demo/counts", "votes by arm, prompt and pair"),
    Shot(
        "people", "templates/admin/people.html", "/admin/studies/demo/people", "annotators with signs of careless work"
    ),
    Shot(
        "person",
        "templates/admin/person.html",
        "first:/admin/studies/demo/people",
        "one annotator: answers, times, checks",
    ),
    Shot("payments", "templates/admin/payments.html", "/admin/studies/demo/payments", "the payment list"),
    Shot("pairs", "templates/admin/pairs.html", "/admin/studies/demo/pairs", "pairs with what people preferred"),
    Shot("pair", "templates/admin/pair.html", "first:/admin/studies/demo/pairs", "one pair with every vote on it"),
    Shot("reports", "templates/admin/reports.html", "/admin/studies/demo/reports", "what annotators reported"),
    Shot("exports", "templates/admin/exports.html", "/admin/studies/demo/exports", "downloads of votes and tables"),
    Shot("settings", "templates/admin/settings.html", "/admin/studies/demo/settings", "settings of a running study"),
    Shot("links", "templates/admin/links.html", "button:/admin/studies/{study}/settings", "personal links, to print"),
    Shot("webhooks", "templates/admin/webhooks.html", "/admin/webhooks", "addresses that receive events"),
    Shot("log", "templates/admin/log.html", "/admin/log", "what owners did, and when"),
    Shot(
        "contact-sheet",
        "qsched/generation/sheet.html.j2",
        "demo/contact_sheet.html",
        "all arms side by side, prompt by prompt",
    ),
    Shot(
        "metrics-of-a-set",
        "qsched/scoring/image_set/report.html.j2",
        "demo/metrics.html",
        "automatic metrics of every arm with paired differences",
    ),
    Shot(
        "calibration",
        "qsched/calibration/report.html.j2",
        "pictures/c.html",
        "a calibration: gain on held-out prompts, pictures",
    ),
    Shot(
        "report",
        "analysis/report/page.html.j2",
        "demo-report/report.html",
        "the report: findings, strengths with intervals",
    ),
    Shot(
        "review",
        "analysis/report/review.html.j2",
        "pictures/review/review.html",
        "which ranks of a leaderboard its votes support",
    ),
    Shot(
        "metrics",
        "analysis/report/metrics.html.j2",
        "pictures/metrics/metrics-people.html",
        "which automatic metrics agree with the votes",
    ),
    Shot(
        "certificate",
        "analysis/certificate/page.html.j2",
        "demo-certificate/certificate.html",
        "a certificate, clause by clause",
    ),
    Shot(
        "benchmark",
        "qsched/bench/site.html.j2",
        "pictures/bench/site/index.html",
        "a benchmark: win rates of the arms by size, certificates, metrics",
    ),
    Shot(
        "benchmark-pairs",
        "qsched/bench/pairs.html.j2",
        "pictures/bench/site/pairs/tiny-sdxl-w3a8-1.html",
        "every pair of pictures of an arm and the baseline",
    ),
)


def qsched(*words: object) -> None:
    """Run one of our commands; exit code 3 (nothing is shown) is a result too."""
    line = [sys.executable, "-m", "qsched", *map(str, words)]
    done = subprocess.run(line, cwd=ROOT, check=False)
    if done.returncode not in (0, 3):
        raise SystemExit(f"qsched {' '.join(map(str, words))} ended with exit code {done.returncode}")


def prepare(runs: Path) -> None:
    """What a demo does not make: the pages of score, calibrate, review and metrics, and a study with all its pages."""
    images, votes, made = runs / "demo", runs / "demo-votes.parquet", runs / "pictures"
    if not votes.is_file():
        qsched("demo", "--out", runs)
    made.mkdir(exist_ok=True)
    if not (images / "metrics.html").is_file():
        qsched("score", images)
    if not (made / "c.html").is_file():
        small = ["--n-prompts", 6, "--n-heldout", 8]
        words = ["--backbone", "tiny-sdxl", "--precision", "w3a8", "--prompts", "calibration", *small]
        qsched("calibrate", *words, "--out", made / "c.json")
    if not (made / "review" / "review.html").is_file():
        qsched("review", votes, "--out", made / "review")
    if not (made / "metrics" / "metrics-people.html").is_file():
        qsched("metrics", images, votes, "--out", made / "metrics")
    if not (made / "bench" / "site" / "index.html").is_file():
        qsched("bench", "run", ROOT / "benchmarks" / "specs" / "tiny.yaml", "--out", made / "bench")
        qsched("bench", "report", made / "bench")
    database = f"sqlite:///{(runs / 'demo.db').resolve()}"
    study = made / "welcome.yaml"
    if not study.is_file():
        from qsched.records import iter_rows

        practice = next(iter(iter_rows(images))).prompt_id
        study.write_text(STUDY_FILE.format(images=images.resolve(), practice=practice), encoding="utf-8")
        qsched("study", "create", study, "--db", database)


@contextmanager
def served(runs: Path) -> Iterator[tuple[str, str]]:
    """The address of a server with the demo's studies, and that of the owner's pages."""
    database = f"sqlite:///{(runs / 'demo.db').resolve()}"
    words = [sys.executable, "-u", "-m", "qsched", "serve", runs / "demo.yaml", "--db", database, "--port", "0"]
    with tempfile.TemporaryFile("w+") as printed:
        server = subprocess.Popen([*map(str, words)], cwd=ROOT, stdout=printed, stderr=subprocess.STDOUT)
        try:
            for _ in range(1200):
                printed.seek(0)
                found = re.search(r"(http://127\.0\.0\.1:\d+)/admin/enter\?key=\S+", printed.read())
                if found is not None:
                    yield found[1], found[0]
                    return
                try:
                    server.wait(0.1)
                except subprocess.TimeoutExpired:
                    continue
                break
            printed.seek(0)
            raise SystemExit(f"the server does not answer:\n{printed.read()}")
        finally:
            server.terminate()
            server.wait(20)


def personal_link(runs: Path) -> str:
    """A link into the study of all pages."""
    database = f"sqlite:///{(runs / 'demo.db').resolve()}"
    line = [sys.executable, "-m", "qsched", "study", "preview", STUDY, "--db", database]
    shown = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = re.search(r"/s/\S+", shown)
    if found is None:
        raise SystemExit(f"no link in: {shown}")
    return found[0]


def save(png: bytes, name: str) -> None:
    """Write a screenshot as a small WebP."""
    OUT.mkdir(parents=True, exist_ok=True)
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.crop((0, 0, picture.width, min(picture.height, SIZE[1]))).save(
        OUT / f"{name}.webp", quality=QUALITY, method=6
    )


def take(runs: Path, wanted: list[Shot]) -> None:
    """Go to every page and save what is seen."""
    from playwright.sync_api import ViewportSize, sync_playwright

    browser_path = os.environ.get("QSCHED_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with served(runs) as (base, enter), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"])
        window = ViewportSize(width=SIZE[0], height=SIZE[1])
        owner, person, stranger = (
            browser.new_context(viewport=window, color_scheme="light", locale="en").new_page() for _ in range(3)
        )
        owner.goto(enter)
        person.goto(f"{base}{personal_link(runs)}")
        for shot in wanted:
            page = owner if "/admin" in shot.place else person if "{study}" in shot.place else stranger
            if shot.name in ("sign-in", "index", "message"):
                page = stranger
            visit(page, shot, base=base, runs=runs)
            save(page.screenshot(), shot.name)
        browser.close()


def visit(page: object, shot: Shot, *, base: str, runs: Path) -> None:  # noqa: C901 - a branch for each way in
    """Open the page of a shot, as a person comes to it."""
    from playwright.sync_api import Page

    assert isinstance(page, Page)
    place = shot.place.format(study=STUDY)
    if place.endswith(".html"):
        page.goto((runs / place).resolve().as_uri())
    elif place.startswith("first:"):
        page.goto(base + place.removeprefix("first:"))
        inside = "table tbody a" if "people" in place else ".card a"
        page.goto(str(page.locator(inside).first.evaluate("a => a.href")))
    elif shot.name == "consent":
        pass
    elif shot.name == "instructions":
        page.get_by_role("button", name="I agree").click()
        page.wait_for_url(re.compile("/instructions$"))
    elif shot.name == "comprehension":
        page.get_by_role("link", name=re.compile("^(Start|Continue|Go on)")).click()
        page.wait_for_url(re.compile("/comprehension$"))
    elif shot.name == "task":
        page.get_by_label("Which of two pictures is better").check()
        page.locator("form button[type=submit]").last.click()
        page.wait_for_url(re.compile("/task$"))
        page.wait_for_selector("#stage:not(.veiled)")
    elif shot.name == "thanks":
        for _ in range(40):
            if page.url.endswith("/thanks"):
                break
            if page.locator("#feedback-next").is_visible():
                page.locator("#feedback-next").click()
            else:
                page.keyboard.press("ArrowLeft")
            page.wait_for_function(
                "place => location.href !== place || !document.querySelector('.veiled')", arg=page.url
            )
            page.wait_for_timeout(300)
    elif shot.name == "links":
        page.goto(base + place.removeprefix("button:"))
        page.locator("form[action$='/links'] button").first.click()
    else:
        page.goto(base + place)
    page.wait_for_load_state("load")
    page.wait_for_function(SHOWN)
    page.wait_for_timeout(200)


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs", help="folder of `qsched demo` [runs]")
    parser.add_argument("--only", default="", help="names of pictures, separated by commas")
    given = parser.parse_args()
    names = [name for name in given.only.split(",") if name]
    if unknown := sorted(set(names) - {shot.name for shot in PICTURES}):
        raise SystemExit(f"--only {unknown[0]}: the pictures are {', '.join(shot.name for shot in PICTURES)}")
    prepare(given.runs)
    take(given.runs, [shot for shot in PICTURES if not names or shot.name in names])
    total = sum(path.stat().st_size for path in OUT.iterdir())
    print(f"{len(list(OUT.iterdir()))} pictures in {OUT.relative_to(ROOT)}, {total / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
