"""The analysis report as a person meets it: nothing runs off a phone, no rule of axe-core is broken, no complaints."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from tests.analysis.report.conftest import Report, make_report, report
from tests.e2e.test_accessible import axe_source, check

# Fixtures of other folders that the test below asks for by name.
__all__ = ["axe_source", "make_report", "report"]

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
def test_the_page_is_accessible_and_fits_its_window(
    report: Report, browser: Browser, axe_source: str, width: int, scheme: str
) -> None:
    # The page's own policy forbids scripts, also those of axe-core; only this test sets it aside.
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.append(request.url) if request.url.startswith("http") else None)
    page.goto(f"file://{report.folder / 'report.html'}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
    check(page, axe_source, f"report at {width} pixels, {scheme}")
    assert complaints == []
    context.close()
