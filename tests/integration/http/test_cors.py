"""Pages of other origins: those that an operator named may read every answer, and nobody else any."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tests.integration.http.kit import Service, in_process, memory_settings
from tests.integration.http.routes import ROUTES, Route
from tests.integration.http.test_asgi import Server
from ubr.entrypoints.http.app import HttpOptions, create_app
from ubr.entrypoints.http.asgi import Service as Process

APP = "https://app.example.org"
OTHER = "http://localhost:5173"
LOOKALIKES = [
    "null",
    "",
    "*",
    "http://app.example.org",
    "https://app.example.org:443",
    "https://app.example.org:8443",
    "https://app.example.org/",
    "https://app.example.org.evil.example",
    "https://evil-app.example.org",
    "https://x.app.example.org",
    "https://example.org",
    "https://APP.example.org",
    "HTTPS://app.example.org",
    "https://app.example.org https://evil.example",
    "https://app.example.org, https://evil.example",
    "https://app.example.orgx",
    "https://app.example.or",
    "https://user@app.example.org",
    "http://localhost",
    "http://localhost:51730",
]
ASKED = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, X-Request-ID"
TOLD = "ETag, Link, Location, RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, X-Request-ID"


@pytest.fixture(scope="module")
async def open_to_pages() -> AsyncIterator[Service]:
    async with in_process(memory_settings(), HttpOptions(cors_origins=(APP, OTHER))) as service:
        yield service


def granted(answer: httpx.Response) -> dict[str, str]:
    """What a page is granted, without the beginning that all these headers have."""
    start = "access-control-"
    return {name[len(start) :]: value for name, value in answer.headers.items() if name.startswith(start)}


def preflight(service: Service, path: str, origin: str = APP, method: str = "POST") -> Any:
    headers = {"origin": origin, "access-control-request-method": method, "access-control-request-headers": "x-any"}
    return service.client.options(path, headers=headers)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
async def test_a_preflight_gets_the_methods_of_the_route(open_to_pages: Service, route: Route) -> None:
    answer = await preflight(open_to_pages, route.path())
    assert (answer.status_code, answer.content) == (204, b"")
    told = granted(answer)
    methods = told.pop("allow-methods").split(", ")
    assert told == {"allow-origin": APP, "allow-headers": ASKED, "max-age": "7200"}
    assert methods == answer.headers["allow"].split(", ")
    assert set(methods) >= {each.method for each in ROUTES if each.template == route.template}
    assert answer.headers["vary"].split(", ")[-1] == "Origin"


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
async def test_an_answer_can_be_read(open_to_pages: Service, route: Route) -> None:
    for origin in (APP, OTHER):
        answer = await open_to_pages.client.request(route.method, route.path(), headers={"origin": origin})
        assert granted(answer) == {"allow-origin": origin, "expose-headers": TOLD}
        assert answer.headers["vary"].split(", ")[-1] == "Origin"


@pytest.mark.parametrize(
    ("method", "path", "more", "status"),
    [
        ("GET", "/nothing", {}, 404),
        ("GET", "/api//users", {}, 404),
        ("GET", "/api/users", {}, 401),
        ("TRACE", "/api/users", {}, 405),
        ("POST", "/api/auth/login", {"content": b"x" * 70_000, "headers": {"content-type": "application/json"}}, 413),
        ("POST", "/api/auth/login", {"content": b"{}", "headers": {"content-type": "text/plain"}}, 415),
        ("POST", "/api/auth/login", {"json": {}}, 400),
        ("GET", "/api/users?" + "x" * 9000, {}, 414),
        ("HEAD", "/health/live", {}, 200),
        ("OPTIONS", "/api/users", {}, 204),
    ],
)
async def test_so_can_every_refusal(open_to_pages: Service, method: str, path: str, more: Any, status: int) -> None:
    headers = {"origin": APP, **more.pop("headers", {})}
    answer = await open_to_pages.client.request(method, path, headers=headers, **more)
    assert answer.status_code == status
    assert granted(answer) == {"allow-origin": APP, "expose-headers": TOLD}
    assert answer.headers["vary"].split(", ")[-1] == "Origin"


@pytest.mark.long  # to make a service takes longer than all of this
async def test_so_can_what_went_wrong_inside() -> None:
    async with broken(HttpOptions(cors_origins=(APP,))) as client:
        answer = await client.get("/health/ready", headers={"origin": APP})
    assert answer.status_code == 500
    assert granted(answer) == {"allow-origin": APP, "expose-headers": TOLD}


@asynccontextmanager
async def broken(options: HttpOptions) -> AsyncIterator[httpx.AsyncClient]:
    """A service over nothing at all."""
    nothing: Any = None
    transport = httpx.ASGITransport(create_app(nothing, options=options))
    async with httpx.AsyncClient(transport=transport, base_url="http://ubr.test") as client:
        yield client


async def test_to_a_path_that_is_not_there_nothing_is_let_through(open_to_pages: Service) -> None:
    answer = await preflight(open_to_pages, "/nothing")
    assert answer.status_code == 404
    assert granted(answer) == {"allow-origin": APP}


@pytest.mark.parametrize("origin", LOOKALIKES)
async def test_another_origin_is_granted_nothing(open_to_pages: Service, origin: str) -> None:
    for answer in (
        await preflight(open_to_pages, "/api/users", origin),
        await open_to_pages.client.get("/health/live", headers={"origin": origin}),
        await open_to_pages.client.get("/nothing", headers={"origin": origin}),
    ):
        assert granted(answer) == {}
        assert answer.headers["vary"].split(", ")[-1] == "Origin"


async def test_two_origins_are_none(open_to_pages: Service) -> None:
    for others in ([APP, APP], [APP, "https://evil.example"], ["null", APP]):
        answer = await open_to_pages.client.get("/health/live", headers=[("origin", origin) for origin in others])
        assert granted(answer) == {}


async def test_without_an_origin_a_cache_is_told_all_the_same(open_to_pages: Service) -> None:
    for path in ("/health/live", "/nothing", "/api/openapi.json", "/.well-known/jwks.json", "/api/docs"):
        answer = await open_to_pages.client.get(path)
        assert answer.headers["vary"].split(", ")[-1] == "Origin"
        assert granted(answer) == {}


async def test_where_none_is_named_there_is_nothing_of_it(service: Service) -> None:
    for answer in (
        await preflight(service, "/api/users"),
        await service.client.get("/health/live", headers={"origin": APP}),
        await service.client.get("/nothing", headers={"origin": APP}),
    ):
        assert granted(answer) == {}
        assert "vary" not in answer.headers


async def test_the_setting_has_its_effect() -> None:
    server = Server(process := Process(memory_settings(cors_origins=(APP,))))
    await server.start()
    transport = httpx.ASGITransport(process)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://ubr.test") as client:
        answer = await client.get("/health/live", headers={"origin": APP})
    await server.stop()
    assert granted(answer)["allow-origin"] == APP
