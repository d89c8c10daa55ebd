"""The console in a real browser: every page at every size, search as one types, acts upon many, and a proof."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, ViewportSize, expect

from tests.integration.http.test_pages_in_a_browser import PASSWORD, Visit, browser, visiting
from tests.support.service import ADMIN, ADMIN_EMAIL, ADMIN_PASSWORD, UbrProcess, serving

__all__ = ["browser"]

pytestmark = pytest.mark.system(seconds=20)

NAMES = ("Ada Lovelace", "Grace Hopper", "Alan Turing", "Edsger Dijkstra", "Barbara Liskov", "Donald Knuth")
SECTIONS = (
    "/console",
    "/console/users",
    "/console/users/new",
    "/console/roles",
    "/console/roles/new",
    "/console/machines",
    "/console/machines/new",
    "/console/log",
    "/console/log/checkpoint",
    "/console/mails",
    "/console/keys",
    "/console/keys/rotate",
    "/console/health",
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UbrProcess]:
    limits = {f"UBR_{name}_RATE_LIMIT": "off" for name in ("LOGIN", "SESSION", "CLIENT_SESSION")}
    cheap = {"UBR_ARGON2_MEMORY_KIB": "19456", "UBR_SERVICE_NAME": "Acme ID"}
    with serving(tmp_path_factory.mktemp("console"), {**ADMIN, **limits, **cheap}) as running:
        with httpx.Client(base_url=running.url) as client:
            fill(client)
        yield running


def fill(client: httpx.Client) -> None:
    answer = client.post("/api/auth/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
    client.headers["authorization"] = f"Bearer {answer.json()['access_token']}"

    def made(path: str, **body: object) -> str:
        answer = client.post(path, json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json().get("id", ""))

    made("/api/roles", name="editor", description="May edit notes", permissions=["users:read"])
    made("/api/roles", name="support", permissions=["users:read", "users:write", "sessions:read", "logs:read"])
    machine = made("/api/machines", name="nightly-report", description="Sends the report of the night")
    made(f"/api/machines/{machine}/keys", name="production", scope=["users:read"])
    for name in NAMES:
        email = f"{name.partition(' ')[2].lower()}@example.org"
        password = PASSWORD if name in NAMES[:2] else None
        made("/api/users", email=email, full_name=name, password=password, roles=["editor"])
    for wrong in range(2):
        client.post("/api/auth/login", json={"email": "hopper@example.org", "password": f"a wrong password {wrong}"})
    for email in ("lovelace@example.org", "hopper@example.org"):
        client.post("/api/auth/login", json={"email": email, "password": PASSWORD})


def user_page(visit: Visit, email: str) -> str:
    visit.open(f"/console/users?q={email}")
    return str(visit.page.get_by_role("link", name=email).evaluate("link => new URL(link.href).pathname"))


@pytest.mark.parametrize(("size", "dark"), [("phone", True), ("desktop", False)], ids=["phone-dark", "desktop-light"])
def test_every_page_is_accessible_and_fits(
    service: UbrProcess, browser: Browser, pictures: Path | None, size: str, *, dark: bool
) -> None:
    with visiting(service, browser, size=size, dark=dark) as visit:

        def look(path: str) -> None:
            visit.accessible()
            visit.fits()
            if pictures is not None:
                name = path.strip("/").replace("/", "-")
                visit.page.screenshot(path=pictures / f"{name}-{size}.png", full_page=True)

        visit.log_in()
        for path in SECTIONS:
            visit.open(path)
            look(path)
        page = user_page(visit, "hopper@example.org")
        for path in ("", "/login", "/acts/assign", "/acts/delete"):
            visit.open(page + path)
            look(f"/console/user{path}")
        visit.open("/console/roles")
        visit.page.get_by_role("link", name="support").click()
        look("/console/role")
        visit.open("/console/machines")
        visit.page.get_by_role("link", name="nightly-report").click()
        look("/console/machine")
        visit.open("/console/log")
        visit.page.locator("tbody th a").nth(1).click()
        expect(visit.page.get_by_text("recomputed the root of the checkpoint, and it matches.")).to_be_visible()
        look("/console/entry")
        visit.open("/console/users")
        visit.page.get_by_label("Select hopper@example.org").check()
        visit.page.get_by_role("button", name="Continue").click()
        look("/console/bulk")


def test_a_zoom_of_400_percent_hides_nothing(service: UbrProcess, browser: Browser) -> None:
    """A browser that zooms makes its window smaller, in pixels of the page (WCAG 1.4.10)."""
    with visiting(service, browser) as visit:
        visit.log_in()
        page = user_page(visit, "hopper@example.org")
        visit.page.set_viewport_size(ViewportSize(width=320, height=430))
        for path in (*SECTIONS, page, f"{page}/login"):
            # German words are longer.
            for language in ("en", "de"):
                visit.open(f"{path}?language={language}")
                visit.fits()
        visit.accessible()


def test_the_list_follows_what_one_types(service: UbrProcess, browser: Browser) -> None:
    with visiting(service, browser) as visit:
        visit.log_in()
        visit.open("/console/users")
        rows = visit.page.locator("#results tbody tr")
        expect(rows).to_have_count(len(NAMES) + 2)  # the administrator, and the machine
        visit.page.get_by_label("Search").press_sequentially("hop")
        expect(rows).to_have_count(1)
        expect(rows.first).to_contain_text("hopper@example.org")
        assert visit.page.url.endswith("?q=hop&sort=created_at")
        # The keyboard stays where it is.
        assert visit.page.evaluate("document.activeElement.id") == "q"
        visit.page.get_by_label("Search").fill("")
        visit.page.get_by_label("Role", exact=True).select_option("admin")
        expect(rows).to_have_count(1)


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_users_are_disabled_together_and_enabled_again(service: UbrProcess, browser: Browser, *, scripts: bool) -> None:
    with visiting(service, browser, scripts=scripts) as visit:
        page = visit.page

        def run() -> None:
            page.get_by_role("button", name=re.compile("^(Disable|Enable)$")).click()
            if not scripts:
                expect(page.get_by_role("progressbar")).to_be_visible()
                page.get_by_role("button", name="Continue").click()

        visit.log_in()
        visit.open("/console/users")
        for name in NAMES:
            page.get_by_label(f"Select {name.partition(' ')[2].lower()}@example.org").check()
        page.get_by_label("Act", exact=True).select_option("disable")
        page.get_by_role("button", name="Continue").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Disable, 6 users?")
        run()
        expect(page.get_by_role("status")).to_have_text("6 users are disabled.")
        page.get_by_role("button", name="Undo").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Enable, 6 users?")
        run()
        expect(page.get_by_role("status")).to_have_text("6 users are enabled.")


def test_the_keyboard_alone_ends_the_sessions_of_a_user(service: UbrProcess, browser: Browser) -> None:
    httpx.post(f"{service.url}/api/auth/login", json={"email": "lovelace@example.org", "password": PASSWORD})
    with visiting(service, browser) as visit:
        visit.log_in()
        visit.open(user_page(visit, "lovelace@example.org"))
        visit.page.get_by_role("link", name="End all sessions").focus()
        visit.page.keyboard.press("Enter")
        expect(visit.page.get_by_role("heading", level=1)).to_have_text("End all sessions?")
        button = visit.page.get_by_role("button", name="End all sessions")
        for _ in range(30):
            visit.page.keyboard.press("Tab")
            if button.evaluate("button => button === document.activeElement"):
                break
        visit.page.keyboard.press("Enter")
        expect(visit.page.get_by_role("status")).to_have_text("All sessions of the user have ended.")
        expect(visit.page.get_by_text("No session is open.")).to_be_visible()
