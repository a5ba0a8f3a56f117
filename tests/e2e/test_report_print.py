"""The report on paper: the short print has two pages with its references, and #all prints everything."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from analysis.report import ReportSettings, find, write_report
from analysis.stats import EstimateSettings
from analysis.votes import read_votes
from tests.analysis.report.simulated import simulated_votes

pytestmark = pytest.mark.browser


def test_eight_arms_print_on_two_pages_and_all_of_it_with_all(browser: Browser, tmp_path: Path) -> None:
    votes = simulated_votes({f"w{bits}a8+qsched": 0.05 * bits for bits in range(8)}, votes_each=60)
    settings = ReportSettings(
        baseline="w7a8+qsched",
        equivalence_margin=0.03,
        estimate=EstimateSettings(method="sandwich"),
        formats=("svg",),
        wording="Which picture do you prefer, all in all?",
    )
    write_report(find(read_votes(votes), settings), tmp_path)
    address = (tmp_path / "report.html").as_uri()
    pages: dict[str, int] = {}
    for part in ("", "#all"):
        page = browser.new_page()
        page.goto(address + part)
        page.emulate_media(media="print")
        pages[part] = len(re.findall(rb"/Type /Page\b", page.pdf(format="A4")))
        shown = {name: page.locator(f"#{name}").is_visible() for name in ("contrasts", "pairs", "influence", "methods")}
        assert shown == {"contrasts": True, "pairs": part == "#all", "influence": part == "#all", "methods": True}
        assert page.get_by_text("Bradley RA, Terry ME (1952)").is_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        page.close()
    assert pages[""] == 2 < pages["#all"]
