"""The owner's pages in a real browser: on a phone and on a desk, accessible, live, and safe to use with a keyboard."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from study_server.admin.accounts import create_account
from study_server.owner import existing_database
from study_server.studies.events import EVENTS
from study_server.webhooks.endpoints import create_webhook, list_webhooks, send_test
from tests.e2e.conftest import StudyUnderTest
from tests.e2e.person import enter, skip_practice
from tests.e2e.test_accessible import axe_source, check

# A fixture of another file that the tests below ask for by name.
__all__ = ["axe_source"]

pytestmark = pytest.mark.browser
PASSWORD = "correct horse battery"
PAGES = ("", "/counts", "/people", "/payments", "/pairs", "/reports", "/exports", "/settings")


@pytest.fixture(scope="session")
def account(two_questions: StudyUnderTest) -> str:
    """The name of an owner of the running server."""
    database = existing_database(f"sqlite:///{two_questions.database}")
    create_account(database, "jane", role="owner", password=PASSWORD)
    database.close()
    return "jane"


def sign_in(page: Page, study: StudyUnderTest, account: str) -> str:
    """Sign in by the keyboard alone; returns the address of the study's page."""
    base = study.url.partition("/s/")[0]
    page.goto(f"{base}/admin/studies/{study.slug}")
    page.get_by_label("Name").press_sequentially(account)
    page.keyboard.press("Tab")
    page.keyboard.insert_text(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(rf":\d+/admin/studies/{study.slug}$"))
    return page.url


@pytest.mark.parametrize(("width", "height"), [(360, 740), (1280, 800)])
def test_every_page_is_accessible_and_fits_its_window(
    new_page: Callable[..., Page],
    two_questions: StudyUnderTest,
    account: str,
    axe_source: str,
    width: int,
    height: int,
) -> None:
    person = new_page()
    enter(person, two_questions.url)
    skip_practice(person)
    page = new_page(width=width, height=height, bypass_csp=True)
    page.goto(f"{two_questions.url.partition('/s/')[0]}/admin/sign-in")
    check(page, axe_source, "sign-in")
    url = sign_in(page, two_questions, account)
    places = [f"{url}{place}" for place in PAGES]
    page.goto(f"{url}/people")
    places.append(f"{url}/people/{page.locator('table.sticky tbody th').first.inner_text()}")
    page.goto(f"{url}/pairs")
    places.append(page.locator(".card a").first.evaluate("a => a.href"))
    places += [url.partition("/studies/")[0], f"{url.partition('/studies/')[0]}/log", f"{url}-gone"]
    database = existing_database(f"sqlite:///{two_questions.database}")
    with database.transaction() as tx:
        if not list_webhooks(tx):
            hook, _ = create_webhook(
                tx, url="https://hooks.example/q", events=list(EVENTS), study=None, allow_private=False, by="test"
            )
            send_test(tx, number=hook, by="test")
    database.close()
    places.append(f"{url.partition('/studies/')[0]}/webhooks")
    for place in places:
        page.goto(place)
        if place.endswith("/counts"):
            expect(page.locator("[data-waiting]")).to_have_count(0, timeout=60_000)
            expect(page.get_by_role("region", name="Arms against the baseline")).to_be_visible()
        check(page, axe_source, place)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, place
        assert page.evaluate("[...document.images].every(image => image.loading === 'lazy' || image.naturalWidth > 0)")


def test_the_progress_renews_itself_while_somebody_votes(
    new_page: Callable[..., Page], two_questions: StudyUnderTest, account: str
) -> None:
    page = new_page()
    sign_in(page, two_questions, account)
    votes = page.locator("#live .facts dd").first
    before = votes.inner_text()
    person = new_page()
    enter(person, two_questions.url)
    skip_practice(person)
    person.keyboard.press("ArrowLeft")
    person.keyboard.press("ArrowLeft")
    expect(votes).not_to_have_text(before, timeout=15_000)
