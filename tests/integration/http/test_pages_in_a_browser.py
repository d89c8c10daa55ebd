"""The pages in a real browser: every page and act, by keyboard, at every size, with and without scripts."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect, sync_playwright

from tests.support.chromium import installed
from tests.support.commands import PATIENCE
from tests.support.service import ADMIN, ADMIN_EMAIL, ADMIN_PASSWORD, UbrProcess, serving

pytestmark = pytest.mark.system(seconds=20)

PASSWORD = "correct horse battery staple"
ANOTHER = "staple battery horse correct"
PUBLIC = ("/login", "/register", "/forgot", "/reset-password", "/verify-email", "/verify-email/resend", "/undo-email")
OWN = ("/account", "/account/password", "/account/sessions", "/account/data", "/account/delete", "/account/confirm")
SIZES = {"phone": ViewportSize(width=375, height=812), "desktop": ViewportSize(width=1280, height=860)}
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@dataclass
class Visit:
    """A browser with cookies of its own. `trouble` is what no page may cause: errors in the console, other hosts."""

    service: UbrProcess
    context: BrowserContext
    page: Page
    trouble: list[str] = field(default_factory=list)

    def open(self, path: str) -> None:
        self.page.goto(self.service.url + path)

    def watch(self) -> None:
        self.page.on("console", lambda message: self._note(message.type, message.text))
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("request", lambda request: self._requested(request.url))

    def _note(self, kind: str, text: str) -> None:
        # The browser notes each answer with a status of 400 or more.
        if kind in {"error", "warning"} and "Failed to load resource" not in text:
            self.trouble.append(text)

    def _requested(self, url: str) -> None:
        if not url.startswith(self.service.url + "/"):
            self.trouble.append(url)

    def mailed(self, page: str) -> str:
        """The newest link to a page, once its mail has arrived."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for mail in sorted((self.service.folder / "var" / "mail").glob("*.eml"), reverse=True):
                if found := re.search(rf"http://\S+/{page}#token=\S+", mail.read_text()):
                    mail.unlink()
                    return found[0]
            time.sleep(0.02)
        raise AssertionError(f"no mail with a link to {page}")

    def log_in(self, email: str = ADMIN_EMAIL, password: str = ADMIN_PASSWORD) -> None:
        self.open("/login")
        self.page.get_by_label("E-mail").fill(email)
        self.page.get_by_label("Password", exact=True).fill(password)
        self.page.get_by_role("button", name="Log in").click()
        self.page.wait_for_url("**/account")

    def accessible(self) -> None:
        found = Axe().run(self.page, options={"runOnly": {"type": "tag", "values": TAGS}})
        assert found.violations_count == 0, f"{self.page.url}:\n{found.generate_report()}"

    def fits(self) -> None:
        """Nothing is wider than the window."""
        wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{self.page.url} is {wide} pixels too wide"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UbrProcess]:
    limits = {f"UBR_{name}_RATE_LIMIT": "off" for name in ("LOGIN", "SESSION", "CLIENT_SESSION")}
    cheap = {"UBR_ARGON2_MEMORY_KIB": "19456", "UBR_SERVICE_NAME": "Acme ID"}
    with serving(tmp_path_factory.mktemp("pages"), {**ADMIN, **limits, **cheap}) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(
            executable_path=installed(), args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )


@contextmanager
def visiting(
    service: UbrProcess, browser: Browser, *, size: str = "desktop", scripts: bool = True, dark: bool = False
) -> Iterator[Visit]:
    context = browser.new_context(
        viewport=SIZES[size],
        java_script_enabled=scripts,
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
        locale="en-GB",
        timezone_id="UTC",
    )
    try:
        visit = Visit(service, context, context.new_page())
        visit.watch()
        yield visit
        assert visit.trouble == []
    finally:
        context.close()


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_the_whole_way_of_a_person(  # noqa: PLR0915 - one way, step by step
    service: UbrProcess, browser: Browser, *, scripts: bool
) -> None:
    email = f"{'with' if scripts else 'without'}@example.org"
    with visiting(service, browser, scripts=scripts) as visit:
        page = visit.page

        def follow(link: str) -> None:
            page.goto("about:blank")
            page.goto(link)
            if scripts:
                # The token is in the form, and neither in the address nor in the history.
                expect(page.get_by_label("Link from the mail")).to_be_hidden()
                assert "token" not in page.url
            else:
                page.get_by_label("Link from the mail").fill(link)

        def notice(text: str) -> None:
            expect(page.get_by_role("status")).to_contain_text(text)

        visit.open("/")
        expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
        page.get_by_role("link", name="Register").click()
        page.get_by_label("E-mail").fill(email)
        page.get_by_label("Password", exact=True).fill("short")
        page.get_by_role("button", name="Create the account").click()
        expect(page.get_by_role("alert")).to_contain_text("must have at least 15 characters")
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_role("button", name="Create the account").click()
        notice("The account is created.")

        follow(visit.mailed("verify-email"))
        page.get_by_role("button", name="Confirm the e-mail").click()
        page.get_by_label("Your password, or a new one").fill(PASSWORD)
        page.get_by_role("button", name="Confirm the e-mail").click()
        notice("The e-mail is confirmed.")

        page.get_by_label("Full name").fill("Ada Lovelace")
        page.get_by_role("button", name="Save the name").click()
        notice("The name is saved.")

        page.get_by_label("New e-mail").fill(f"new-{email}")
        page.get_by_label("Current password").fill(PASSWORD)
        page.get_by_role("button", name="Change the e-mail").click()
        notice("on its way to the new e-mail")
        follow(visit.mailed("verify-email"))
        page.get_by_role("button", name="Confirm the e-mail").click()
        notice("The e-mail is confirmed.")
        expect(page.get_by_text(f"new-{email}")).to_be_visible()

        page.get_by_role("link", name="Password", exact=True).click()
        page.get_by_label("Current password").fill(PASSWORD)
        page.get_by_label("New password").fill(ANOTHER)
        page.get_by_role("button", name="Change the password").click()
        notice("The password is changed.")

        with visiting(service, browser, size="phone", scripts=scripts) as elsewhere:
            elsewhere.log_in(f"new-{email}", ANOTHER)
            page.get_by_role("link", name="Sessions").click()
            expect(page.get_by_text("This device")).to_have_count(1)
            page.get_by_role("button", name=re.compile("End the session")).click()
            notice("The session has ended.")
            expect(page.get_by_text("on this device only")).to_be_visible()
            elsewhere.open("/account")
            elsewhere.page.wait_for_url("**/login?return_to=*")

        page.get_by_role("link", name="Your data").click()
        with page.expect_download() as download:
            page.get_by_role("button", name="Download the export").click()
        assert f"new-{email}" in Path(download.value.path()).read_text()

        follow(visit.mailed("undo-email"))
        page.get_by_role("button", name="Restore the e-mail").click()
        notice("The e-mail is restored.")
        follow(visit.mailed("reset-password"))
        page.get_by_label("New password").fill(PASSWORD)
        page.get_by_role("button", name="Set the password").click()
        notice("The password is set.")

        visit.log_in(email, PASSWORD)
        page.get_by_role("link", name="Your data").click()
        page.get_by_role("link", name="Delete the account").click()
        page.get_by_role("button", name="Delete for good").click()
        notice("The account is deleted.")


def test_the_keyboard_alone_does(service: UbrProcess, browser: Browser) -> None:
    with visiting(service, browser) as visit:
        page, keys = visit.page, visit.page.keyboard

        def focused() -> str:
            return str(page.evaluate("document.activeElement.textContent.trim() || document.activeElement.name"))

        def visible() -> bool:
            style = "getComputedStyle(document.activeElement).outlineStyle"
            return bool(page.evaluate(f"{style} !== 'none'"))

        visit.open("/login")
        order = []
        for _ in range(9):
            keys.press("Tab")
            assert visible(), focused()
            order.append(focused())
        assert order == [
            "Skip to the content",
            "Acme ID",
            "email",
            "password",
            "Show",
            "Log in",
            "Forgot your password?",
            "Register",
            "English",
        ]
        visit.open("/login")
        for _ in range(3):
            keys.press("Tab")
        keys.type(ADMIN_EMAIL)
        keys.press("Tab")
        keys.type("wrong")
        keys.press("Tab")
        keys.press("Space")
        assert page.get_by_label("Password", exact=True).get_attribute("type") == "text"
        expect(page.get_by_role("button", name="Hide the password")).to_be_visible()
        keys.press("Shift+Tab")
        keys.press("Enter")
        page.wait_for_selector("#problem")
        # The keyboard goes on from the error.
        assert page.evaluate("document.activeElement.id") == "problem"
        keys.press("Tab")
        assert focused() == "email"
        keys.press("Tab")
        keys.type(ADMIN_PASSWORD)
        keys.press("Enter")
        page.wait_for_url("**/account")
        keys.press("Tab")
        keys.press("Enter")
        assert page.evaluate("location.hash") == "#main"

        visit.open("/account")
        page.get_by_role("button", name="Log out").focus()
        keys.press("Enter")
        expect(page.get_by_role("status")).to_have_text("You are logged out.")


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
                visit.page.screenshot(path=pictures / f"{name}-{size}.png")

        for path in PUBLIC:
            visit.open(path)
            look(path)
        visit.open("/register")
        visit.page.get_by_label("E-mail").fill("a@b")
        visit.page.get_by_label("Password", exact=True).fill("short")
        visit.page.get_by_role("button", name="Create the account").click()
        look("/register-error")
        visit.log_in()
        for path in OWN:
            visit.open(path)
            look(path)
        visit.page.get_by_label("Password", exact=True).fill("wrong")
        visit.page.get_by_role("button", name="Continue").click()
        look("/confirm-error")


def test_a_zoom_of_200_percent_hides_nothing(service: UbrProcess, browser: Browser) -> None:
    """A browser that zooms makes its window smaller, in pixels of the page."""
    with visiting(service, browser) as visit:
        visit.page.set_viewport_size(ViewportSize(width=640, height=430))
        for path in PUBLIC:
            visit.open(path)
            visit.fits()
        visit.log_in()
        visit.page.set_viewport_size(ViewportSize(width=320, height=430))  # 400 %, and WCAG 1.4.10
        for path in OWN:
            visit.open(path)
            visit.fits()
            expect(visit.page.get_by_role("button", name="Log out")).to_be_visible()


@pytest.mark.parametrize("width", [320, 360])
def test_the_top_of_a_page_fits_without_a_name_of_the_service(
    service: UbrProcess, browser: Browser, width: int
) -> None:
    """Without `UBR_SERVICE_NAME` it is the host, and an administrator also has the link to the console there."""
    with visiting(service, browser, size="phone") as visit:
        visit.log_in()
        visit.page.set_viewport_size(ViewportSize(width=width, height=740))
        for language in ("en", "de"):
            visit.open(f"/account?language={language}")
            for name in ("127.0.0.1:8000", "accounts-of-our-customers.example.org"):
                visit.page.locator(".brand span").evaluate("(element, name) => { element.textContent = name }", name)
                visit.fits()
                words, person = (
                    visit.page.locator(part).evaluate("element => element.getBoundingClientRect().toJSON()")
                    for part in (".brand span", ".person")
                )
                assert words["right"] <= person["left"] or words["bottom"] <= person["top"]
