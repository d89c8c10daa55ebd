"""The page at `/api/docs`: from files of the package alone, under a strict policy, and it works."""

from __future__ import annotations

import hashlib
import http.server
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.integration.http.kit import Service, assert_problem
from tests.integration.http.routes import ROUTES
from tests.support.chromium import chromium
from tests.support.service import ADMIN, ADMIN_EMAIL, ADMIN_PASSWORD, serving
from ubr.entrypoints.http import docs_page, files
from ubr.entrypoints.http.openapi.document import described

ASSETS = Path(docs_page.__file__).parent / "assets"


# --- the files -------------------------------------------------------------------------------------------------------


def test_vendored_files_are_what_they_are_said_to_be() -> None:
    told = dict(re.findall(r"(?m)^\| `([^`]+)` \| `([0-9a-f]{64})` \|$", (ASSETS / "README.md").read_text()))
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in ASSETS.iterdir()}
    assert {name: sum_ for name, sum_ in found.items() if name not in {"README.md", "start.js"}} == told


async def test_the_page_loads_only_its_assets(service: Service) -> None:
    answer = await service.client.get("/api/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "public, no-cache"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]* src=)| style=| on\w+=|<style", answer.text)
    loaded = re.findall(r'<(?:link|script)[^>]* (?:src|href)="([^"]*)"', answer.text)
    assert "data:," in loaded
    for path in set(loaded) - {"data:,"}:
        assert not path.startswith("/")
        asset = await service.client.get(f"/api/{path}")
        name = path.rpartition("/")[2]
        assert asset.content == (ASSETS / name).read_bytes()
        assert asset.headers["content-type"] in {"text/javascript; charset=utf-8", "text/css; charset=utf-8"}
        assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert asset.headers["x-content-type-options"] == "nosniff"
        assert asset.headers.get("vary") == (None if name == "start.js" else "accept-encoding")


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [("gzip", True), ("br, GZIP;q=0.5", True), ("x-gzip", True), ("gzip;q=0", False), ("gzip2", False), ("", False)],
)
async def test_a_client_that_accepts_gzip_gets_gzip(service: Service, accepted: str, packed: bool) -> None:
    path = "/api/" + docs_page.ASSETS.format(revision=files.assets_revision(), asset="swagger-ui-bundle.js")
    answer = await service.client.get(path, headers={"accept-encoding": accepted})
    assert ("content-encoding" in answer.headers) is packed
    assert (int(answer.headers["content-length"]) < 600_000) is packed
    tag = answer.headers["etag"]
    assert tag.endswith('-gzip"') is packed
    again = await service.client.get(path, headers={"accept-encoding": accepted, "if-none-match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)


async def test_assets_of_another_revision_are_not_there(service: Service) -> None:
    for revision, asset in (("0" * 16, "start.js"), (files.assets_revision(), "README.md")):
        answer = await service.client.get("/api/" + docs_page.ASSETS.format(revision=revision, asset=asset))
        assert assert_problem(answer, 404)["type"] == "/problems/not-found"


# --- in a browser ----------------------------------------------------------------------------------------------------

OPERATIONS = "document.querySelectorAll('.opblock').length"
TYPE_IN = """
(() => {{
  const field = document.querySelector({field!r});
  Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(field, {text!r});
  field.dispatchEvent(new Event("input", {{bubbles: true}}));
}})()
"""


def click(selector: str) -> str:
    return f"document.querySelector({selector!r}).click()"


def answered(status: int) -> str:
    cell = "document.querySelector('.live-responses-table tbody .response-col_status')"
    return f"{cell}?.textContent.includes('{status}')"


def test_the_page_is_dark_where_the_system_is() -> None:
    assert "html.dark-mode .swagger-ui{" in (ASSETS / "swagger-ui.css").read_text()
    script = (ASSETS / "start.js").read_text()
    assert 'matchMedia("(prefers-color-scheme: dark)")' in script
    assert 'classList.toggle("dark-mode", dark.matches)' in script


@pytest.mark.long
async def test_the_page_in_a_browser(tmp_path: Path) -> None:
    async with chromium(tmp_path) as tab:
        with serving(tmp_path, ADMIN) as service:
            await tab.call("Page.navigate", url=f"{service.url}/api/docs")
            await tab.until(OPERATIONS)
            paths = described()["paths"]
            assert await tab.value(OPERATIONS) == sum(map(len, paths.values()))
            for route in ROUTES:
                if route.operation.described:
                    shown = f"operations-{route.operation.tag}-{route.name}"
                    assert await tab.value(f"document.getElementById({shown!r}) !== null"), shown

            # With no token one is turned away; with one that was typed in one is not.
            await tab.value(click("#operations-users-get_me .opblock-summary-control"))
            await tab.until("document.querySelector('.try-out__btn')")
            await tab.value(click(".try-out__btn"))
            await tab.until("document.querySelector('.execute')")
            await tab.value(click(".execute"))
            await tab.until(answered(401))
            await tab.value(click(".authorize"))
            await tab.until("document.querySelector('.modal-ux input')")
            token = _token(service.url)
            await tab.value(TYPE_IN.format(field=".modal-ux input", text=token))
            await tab.value(click(".modal-ux .authorize"))
            await tab.until("document.querySelector('.modal-ux').textContent.includes('Logout')")
            await tab.value(click(".modal-ux .btn-done"))
            await tab.value(click(".execute"))
            await tab.until(answered(200))
            assert ADMIN_EMAIL in await tab.value("document.querySelector('.live-responses-table').textContent")
    # A 401 is an error to the console of a browser, and the only one there was.
    assert [text for text in tab.notes if "401" not in text] == []
    assert len(tab.requests) >= 7
    assert [url for url in tab.requests if not url.startswith((service.url, "data:"))] == []


def _token(url: str) -> str:

    answer = httpx.post(f"{url}/api/auth/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
    return str(answer.json()["access_token"])


@contextmanager
def bad_page() -> Iterator[str]:
    """A page with everything that ours must not have."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("content-security-policy", "script-src 'none'")
            self.end_headers()
            self.wfile.write(b'<p class="opblock">x</p><script>1</script><img src="http://elsewhere.invalid/x.png">')

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.long
async def test_what_a_page_must_not_do_is_seen(tmp_path: Path) -> None:
    with bad_page() as url:
        async with chromium(tmp_path) as tab:
            await tab.call("Page.navigate", url=url)
            await tab.until("document.readyState === 'complete'")
    assert any("Content Security Policy" in text for text in tab.notes)
    assert any(url.startswith("http://elsewhere.invalid") for url in tab.requests)
