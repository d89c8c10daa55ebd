"""Fields of the host in a real browser: at the registration, in the own account, and in the console."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from tests.integration.http.test_fields_on_pages import FIELDS
from tests.integration.http.test_pages_in_a_browser import PASSWORD, Visit, browser, visiting
from tests.support.service import ADMIN, UbrProcess, serving

__all__ = ["browser"]

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UbrProcess]:
    folder = tmp_path_factory.mktemp("fields")
    declaration = folder / "fields.json"
    declaration.write_text(json.dumps({"fields": FIELDS}))
    with serving(folder, {**ADMIN, "UBR_USER_FIELDS_FILE": str(declaration)}) as running:
        yield running


def fill(page: Page, nickname: str) -> None:
    page.get_by_label("nickname").fill(nickname)
    page.get_by_label("shoe_size").fill("38")
    page.get_by_label("newsletter").select_option(label="Yes")
    page.get_by_label("born_on").fill("1815-12-10")
    page.get_by_label("colour").select_option("blue & green")
    page.get_by_label("hobbies").fill("chess\nmaths")


def look(visit: Visit) -> None:
    """In a narrow window too, in the longer words of German."""
    visit.accessible()
    wide, address = visit.page.viewport_size, visit.page.url
    assert wide is not None
    visit.page.set_viewport_size(ViewportSize(width=320, height=568))
    visit.fits()
    visit.page.goto(f"{address}?language=de")
    visit.fits()
    visit.accessible()
    visit.page.goto(f"{address}?language=en")
    visit.page.set_viewport_size(wide)


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_a_person_registers_with_fields_and_changes_them(
    service: UbrProcess, browser: Browser, *, scripts: bool
) -> None:
    with visiting(service, browser, scripts=scripts) as visit:
        page = visit.page
        visit.open("/register")
        if scripts:
            look(visit)
        page.get_by_label("E-mail").fill(f"{'with' if scripts else 'without'}@example.org")
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_role("button", name="Create the account").click()
        # The browser asks for the field that is required.
        expect(page).to_have_url(f"{service.url}/register" + ("?language=en" if scripts else ""))
        fill(page, "Ada")
        page.get_by_label("hobbies").fill("one\ntwo\nthree\nfour")
        page.get_by_role("button", name="Create the account").click()
        wrong = page.get_by_label("hobbies")
        expect(wrong).to_have_attribute("aria-invalid", "true")
        expect(wrong).to_have_accessible_description("One per line. hobbies must have from 0 to 3 items.")
        if scripts:
            visit.accessible()
        wrong.fill("one\ntwo")
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_role("button", name="Create the account").click()
        expect(page.get_by_role("status")).to_contain_text("The account is created.")
        expect(page.get_by_label("hobbies")).to_have_value("one\ntwo")
        if scripts:
            look(visit)
        page.get_by_label("newsletter").select_option(label="No")
        page.get_by_role("button", name="Save the details").click()
        expect(page.get_by_role("status")).to_contain_text("The details are saved.")
        expect(page.get_by_label("newsletter")).to_have_value("false")


def test_an_administrator_writes_fields_of_a_user(service: UbrProcess, browser: Browser) -> None:
    with visiting(service, browser) as visit:
        page = visit.page
        visit.log_in()
        visit.open("/console/users/new")
        look(visit)
        page.get_by_label("E-mail").fill("grace@example.org")
        fill(page, "Grace")
        page.get_by_label("department").fill("navy")
        page.get_by_role("button", name="Create the user").click()
        expect(page.get_by_role("definition").filter(has_text="navy")).to_be_visible()
        page.get_by_role("link", name="Change the details").click()
        look(visit)
        page.get_by_label("department").fill("research")
        page.get_by_role("button", name="Save the details").click()
        expect(page.get_by_role("definition").filter(has_text="research")).to_be_visible()
