"""A service whose proxy removes a path of its own: every reference in an answer leads back through the proxy."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from tests.integration.http.kit import PASSWORD, Service, in_process, memory_settings

UNDER = "/auth"
OUTSIDE = f"https://host.test{UNDER}"


class Stripping(httpx.AsyncBaseTransport):
    """A reverse proxy that serves the service under `UNDER`, and has nothing else."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode()
        if not path.startswith(f"{UNDER}/"):
            return httpx.Response(404, text="not the service")
        request.url = request.url.copy_with(raw_path=path.removeprefix(UNDER).encode())
        return await self._inner.handle_async_request(request)


@pytest.fixture
async def proxied() -> AsyncIterator[tuple[Service, httpx.AsyncClient]]:
    async with in_process(memory_settings(public_url=OUTSIDE)) as service:
        inner: Any = service.client._transport  # noqa: SLF001 - httpx has no public way to it
        async with httpx.AsyncClient(transport=Stripping(inner)) as client:
            yield service, client


class References(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in {"href", "src", "action"} and value]


def references(text: str) -> Iterator[str]:
    parser = References(text)
    # Swagger's page has its links in a noscript element too.
    yield from (found for found in parser.found if not found.startswith("data:"))


PAGES = ("/api/docs", "/problems", "/problems/busy", "/login", "/register", "/verify-email/resend", "/undo-email")


@pytest.mark.parametrize("path", PAGES)
async def test_every_link_of_a_page_leads_through_the_proxy(
    proxied: tuple[Service, httpx.AsyncClient], path: str
) -> None:
    _, client = proxied
    page = await client.get(f"{OUTSIDE}{path}")
    assert page.status_code == 200
    found = list(references(page.text))
    assert found
    for reference in found:
        answer = await client.get(urljoin(f"{OUTSIDE}{path}", reference))
        # The start leads on.
        assert answer.status_code in {200, 302}, reference


async def test_the_root_leads_to_the_documentation(proxied: tuple[Service, httpx.AsyncClient]) -> None:
    _, client = proxied
    for query in ("", "?utm_source=mail"):
        root = await client.get(f"{OUTSIDE}/{query}")
        assert (root.status_code, root.content) == (302, b"")
        assert urljoin(f"{OUTSIDE}/", root.headers["location"]) == f"{OUTSIDE}/api/docs"


async def test_the_script_of_the_docs_and_the_servers_of_the_document_are_relative(
    proxied: tuple[Service, httpx.AsyncClient],
) -> None:
    _, client = proxied
    docs = f"{OUTSIDE}/api/docs"
    script = next(found for found in references((await client.get(docs)).text) if found.endswith("start.js"))
    [named] = re.findall(r'url: "([^"]+)"', (await client.get(urljoin(docs, script))).text)
    where = urljoin(docs, named)
    document = (await client.get(where)).json()
    [server] = document["servers"]
    base = urljoin(where, server["url"]).rstrip("/")
    assert base == OUTSIDE
    assert (await client.get(base + "/health/live")).status_code == 200


async def test_location_and_link_lead_through_the_proxy(proxied: tuple[Service, httpx.AsyncClient]) -> None:
    service, client = proxied
    admin = await service.admin()
    for path, body in (
        ("/api/auth/register", {"email": "one@example.org", "password": PASSWORD}),
        ("/api/users", {"email": "two@example.org", "password": PASSWORD}),
        ("/api/roles", {"name": "editor"}),
    ):
        made = await client.post(f"{OUTSIDE}{path}", json=body, headers=admin)
        assert made.status_code == 201
        where = urljoin(f"{OUTSIDE}{path}", made.headers["location"])
        assert (await client.get(where, headers=admin)).json()["id"] == made.json()["id"]
    seen, where = [], f"{OUTSIDE}/api/users?limit=1&sort=email"
    while where:
        part = await client.get(where, headers=admin)
        seen += [user["email"] for user in part.json()["items"]]
        following = part.links.get("next", {}).get("url")
        where = urljoin(where, following) if following else ""
        assert urlsplit(where).path in {f"{UNDER}/api/users", ""}
    assert seen == ["admin@example.org", "one@example.org", "two@example.org"]
