"""The pages behind links in mails: as they are served, and in a browser."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.integration.http.kit import Service, in_a_process, in_process, memory_settings
from tests.support.chromium import Tab, chromium
from ubr.entrypoints.http.app import HttpOptions

PAGES = ("/reset-password", "/verify-email", "/undo-email")
ASSETS = {"/assets/page.js": "text/javascript", "/assets/page.css": "text/css"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[tuple[str, str]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.text.append((self.found[-1][0], data.strip()))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.mark.parametrize("path", [*PAGES, *ASSETS])
async def test_a_page_is_served_under_a_strict_policy(service: Service, path: str) -> None:
    answer = await service.client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == f"{ASSETS.get(path, 'text/html')}; charset=utf-8"
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("path", PAGES)
async def test_nothing_stands_in_a_page_that_its_policy_forbids(service: Service, path: str) -> None:
    page = Tags((await service.client.get(path)).text)
    for _, attributes in page.found:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
    assert "style" not in {tag for tag, _ in page.found}
    assert not [text for tag, text in page.text if tag == "script"]
    # Relative, so that the service may stand under a path of its own.
    assert [script["src"] for script in page.of("script")] == ["assets/page.js"]
    assert [link["href"] for link in page.of("link")] == ["assets/page.css"]
    for _, attributes in page.found:
        for name in ("src", "href", "data-path"):
            assert re.fullmatch(r"(assets|api)/[a-z./-]+", attributes.get(name) or "api/x")


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_can_be_used_by_everybody(service: Service, path: str) -> None:
    page = Tags((await service.client.get(path)).text)
    assert page.of("html") == [{"lang": "en"}]
    assert len(page.of("h1")) == len(page.of("main")) == len(page.of("title")) == 1
    assert "width=device-width" in str(page.of("meta"))
    labelled = {label.get("for") for label in page.of("label")}
    for field in page.of("input"):
        assert field["id"] in labelled or field["type"] == "checkbox"  # which stands inside its label
    assert {"alert", "status"} <= {attributes.get("role") for _, attributes in page.found}
    assert page.of("noscript")


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_leads_to_the_application_of_the_operator(service: Service, path: str) -> None:
    closing = Tags((await service.client.get(path)).text)
    assert ("p", "You can close this page.") in closing.text
    assert closing.of("a") == []
    address = "https://app.example.org/a&b"
    async with in_process(memory_settings(), HttpOptions(return_url=address)) as leading:
        page = Tags((await leading.client.get(path)).text)
    assert page.of("a") == [{"href": address}]
    assert ("a", "Go to app.example.org") in page.text
    assert page.of("p")[-1] == {"id": "next", "hidden": None}


async def test_the_script_makes_no_markup(service: Service) -> None:
    script = (await service.client.get("/assets/page.js")).text
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|eval|Function\(|localStorage|cookie", script
    )


# --- in a browser ----------------------------------------------------------------------------------------------------


class Interface:
    """Answers in place of the service what is posted, and keeps what that was."""

    def __init__(self, tab: Tab) -> None:
        self._tab = tab
        self.posted: list[tuple[str, dict[str, Any]]] = []
        self.answers: list[tuple[int, dict[str, Any] | None]] = []

    async def start(self) -> None:
        self._tab.on("Fetch.requestPaused", self._answer)
        await self._tab.call("Fetch.enable", patterns=[{"urlPattern": "*/api/*"}])

    async def _answer(self, event: dict[str, Any]) -> None:
        request = event["request"]
        assert request["method"] == "POST"
        headers = {name.lower(): value for name, value in request["headers"].items()}
        assert headers["content-type"] == "application/json"
        assert not {"cookie", "authorization", "referer"} & set(headers)
        self.posted.append(("/" + request["url"].split("/", 3)[3], json.loads(request["postData"])))
        status, problem = self.answers.pop(0)
        body = "" if problem is None else base64.b64encode(json.dumps(problem).encode()).decode()
        await self._tab.call(
            "Fetch.fulfillRequest",
            requestId=event["requestId"],
            responseCode=status,
            responseHeaders=[{"name": "content-type", "value": "application/problem+json"}],
            body=body,
        )


NEW = "correct horse battery staple"
MARKUP = "<img src=x onerror=alert(1)>"
VISIBLE = "document.querySelector('{0}').checkVisibility()"
SHORT = {"detail": "password must have 15 characters", "errors": [{"pointer": "/password", "detail": "is required"}]}

USED = {"title": "The token is not valid", "errors": [{"pointer": "/token", "detail": "is not a valid link token"}]}


async def open_page(tab: Tab, url: str) -> None:
    await tab.call("Page.navigate", url="about:blank")
    await tab.call("Page.navigate", url=url)
    await tab.until("document.readyState === 'complete' && document.querySelector('#message')")


async def press(tab: Tab) -> None:
    """The key Enter on the button, as somebody without a mouse does."""
    await tab.value("document.querySelector('button').focus()")
    for kind in ("keyDown", "keyUp"):
        await tab.call(
            "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r"
        )
    await tab.until("!document.querySelector('button').disabled")


async def write(tab: Tab, text: str) -> None:
    await tab.value("document.querySelector('#password').focus()")
    await tab.call("Input.insertText", text=text)


@pytest.mark.long
async def test_the_pages_in_a_browser(tmp_path: Path) -> None:
    async with in_a_process(tmp_path) as service, chromium(tmp_path) as tab:
        url = str(service.client.base_url).rstrip("/")
        for path in PAGES:
            await open_page(tab, f"{url}{path}")
            assert not await tab.value(VISIBLE.format("form"))
            assert "not complete" in await tab.value("document.querySelector('#message').textContent")

            await open_page(tab, f"{url}{path}#token=abc")
            assert await tab.value("location.href") == f"{url}{path}"
            assert await tab.value(VISIBLE.format("form"))
            assert await tab.value("document.querySelector('#message').textContent") == ""
            # Styles have been loaded, and they are those of the service.
            assert await tab.value("getComputedStyle(document.querySelector('main')).maxWidth") == "448px"
        assert tab.notes == []

        # The service itself: what it says stands on the page, as text.
        await press(tab)
        assert await tab.value("document.querySelector('#message').textContent")
        assert all("Failed to load resource" in note for note in tab.notes), tab.notes
        tab.notes.clear()

        posted = await _each_page_with_every_answer(tab, url)
        assert posted == [
            ("/api/auth/password/reset", {"token": "abc", "new_password": NEW}),
            ("/api/auth/password/reset", {"token": "abc", "new_password": NEW}),
            ("/api/auth/email/verify", {"token": "abc"}),
            ("/api/auth/email/verify", {"token": "abc"}),
            ("/api/auth/email/verify", {"token": "abc", "password": NEW}),
            ("/api/auth/email/verify", {"token": "abc", "password": NEW}),
            ("/api/auth/email/undo", {"token": "next"}),
            ("/api/auth/email/undo", {"token": "used"}),
        ]
        # A status of 400 and more is noted by the browser, and nothing else is.
        assert all("Failed to load resource" in note for note in tab.notes), tab.notes


async def _each_page_with_every_answer(tab: Tab, url: str) -> list[tuple[str, dict[str, Any]]]:
    interface = Interface(tab)
    await interface.start()

    await open_page(tab, f"{url}/reset-password#token=abc")
    await press(tab)  # without a password nothing is sent
    assert interface.posted == []
    await write(tab, NEW)
    interface.answers = [(401, {"title": MARKUP}), (204, None)]
    await press(tab)
    assert await tab.value("document.querySelector('#message').textContent") == f"{MARKUP}."
    assert await tab.value("document.querySelector('img')") is None
    assert not await tab.value(VISIBLE.format("#next"))
    await press(tab)
    await tab.until("document.querySelector('#done').textContent")
    assert await tab.value("document.activeElement.id") == "done"
    assert not await tab.value(VISIBLE.format("form"))
    assert await tab.value(VISIBLE.format("#next"))
    assert await tab.value("document.querySelector('#password').value") == ""

    interface.answers = [(204, None), (400, SHORT), (400, SHORT), (204, None)]
    await open_page(tab, f"{url}/verify-email#token=abc")
    assert not await tab.value(VISIBLE.format("#password"))
    await press(tab)
    await tab.until("document.querySelector('#done').textContent")
    await open_page(tab, f"{url}/verify-email#token=abc")
    await press(tab)
    assert await tab.value("document.activeElement.id") == "password"
    await write(tab, NEW)
    await press(tab)
    assert await tab.value("document.querySelector('#message').textContent") == "The password is required."
    assert await tab.value("document.querySelector('#password').value") == NEW
    await press(tab)
    await tab.until("document.querySelector('#done').textContent")

    # A second link, opened where the page is open already.
    await open_page(tab, f"{url}/undo-email#token=abc")
    await tab.value("location.hash = '#token=next'")
    await tab.until("location.hash === ''")
    assert len(interface.posted) == 6
    interface.answers = [(204, None)]
    await press(tab)
    await tab.until("document.querySelector('#done').textContent")

    # A link that was used is the end: another attempt cannot succeed.
    interface.answers = [(400, USED)]
    await open_page(tab, f"{url}/undo-email#token=used")
    await press(tab)
    assert "no longer valid" in await tab.value("document.querySelector('#message').textContent")
    assert not await tab.value(VISIBLE.format("form"))
    assert await tab.value(VISIBLE.format("#next"))
    return interface.posted
