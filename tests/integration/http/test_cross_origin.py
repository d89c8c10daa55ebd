"""Requests that pages of other origins make a browser send, with the cookie of its session.

Each row is an attack, or a browser that must not be locked out. `SameSite=Lax` stops most of the attacks in the
browser; here the cookie arrives nevertheless.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.integration.http.kit import ANOTHER_PASSWORD, PASSWORD, Service, assert_problem, in_process, memory_settings
from ubr.entrypoints.http.app import HttpOptions, create_app

HERE = "https://id.example.org"
APP = "https://app.example.org"
EMAIL = "target@example.org"
OPTIONS = HttpOptions(public_url=f"{HERE}/below", trusted_origins=(APP,), cors_origins=("https://public.example",))
Headers = list[tuple[str, str]]


@pytest.fixture(scope="module")
async def service() -> AsyncIterator[Service]:
    async with in_process(memory_settings(), OPTIONS) as made:
        del made.client.headers["sec-fetch-site"]
        await made.register(EMAIL)
        yield made


@pytest.fixture(scope="module")
async def cookie(service: Service) -> str:
    return await logged_in(service)


async def logged_in(service: Service) -> str:
    answer = await service.client.post(
        "/api/auth/login/browser", json={"email": EMAIL, "password": PASSWORD}, headers={"origin": HERE}
    )
    assert answer.status_code == 200, answer.text
    return answer.headers["set-cookie"].partition(";")[0]


def site(value: str) -> Headers:
    return [("sec-fetch-site", value)]


def origin(value: str) -> Headers:
    return [("origin", value)]


REFUSED: dict[str, Headers] = {
    "another site": site("cross-site") + origin("https://evil.example"),
    "another site, without its origin": site("cross-site"),
    "another site that hides its origin": site("cross-site") + origin("null"),
    "another site that claims our origin": site("cross-site") + origin(HERE),
    "a sibling subdomain": site("same-site") + origin("https://evil.example.org"),
    "a sibling subdomain, without its origin": site("same-site"),
    "another port": site("same-site") + origin(f"{HERE}:8443"),
    "the page without TLS": site("cross-site") + origin("http://id.example.org"),
    "a sandboxed frame": site("cross-site") + origin("null"),
    "a value that browsers do not send": site("same-origin-but-not-quite"),
    "an empty value": site(""),
    "another case": site("Same-Origin"),
    "two values in one field": site("same-origin, cross-site"),
    "two fields": site("same-origin") + site("cross-site"),
    "an old browser on another site": origin("https://evil.example"),
    "an old browser on a sibling subdomain": origin("https://evil.example.org"),
    "an old browser on another port": origin(f"{HERE}:8443"),
    "an old browser on the page without TLS": origin("http://id.example.org"),
    "an old browser that hides the origin": origin("null"),
    "an old browser with an empty origin": origin(""),
    "a host that begins with ours": origin(f"{HERE}.evil.example"),
    "a host that ends with ours": origin("https://evil-id.example.org"),
    "our host as a user name": origin(f"{HERE}@evil.example"),
    "our origin with the default port": origin(f"{HERE}:443"),
    "our origin with a slash": origin(f"{HERE}/"),
    "our origin with a path": origin(f"{HERE}/below"),
    "our origin in capitals": origin(HERE.upper()),
    "two origins": origin(HERE) + origin("https://evil.example"),
    "two origins in one field": origin(f"{HERE} https://evil.example"),
    "a trusted origin without TLS": origin("http://app.example.org"),
    "a trusted origin on another port": site("same-site") + origin(f"{APP}:8443"),
    "a subdomain of a trusted origin": site("same-site") + origin("https://x.app.example.org"),
    "an origin of CORS alone": site("cross-site") + origin("https://public.example"),
    "a referrer instead of an origin": [("referer", f"{HERE}/account")],
    "a header of scripts instead of an origin": [("x-requested-with", "XMLHttpRequest")],
    "neither header, as a very old browser": [],
    "the host in a header of proxies": [("x-forwarded-host", "evil.example"), *origin("https://evil.example")],
}
ACCEPTED: dict[str, Headers] = {
    "a page of ours": site("same-origin") + origin(HERE),
    "a page of ours without an origin": site("same-origin"),
    "a form of ours, without a referrer": site("same-origin") + origin("null"),
    "an address that the user typed": site("none"),
    "an old browser on a page of ours": origin(HERE),
    "a trusted origin": site("same-site") + origin(APP),
    "an old browser on a trusted origin": origin(APP),
}
CHANGES = [
    ("PATCH", "/api/users/me-id", {"full_name": "Changed"}),
    ("PUT", "/api/users/me-id", {"full_name": "Changed"}),
    ("POST", "/api/auth/password", {"current_password": PASSWORD, "new_password": ANOTHER_PASSWORD}),
    ("POST", "/api/auth/email", {"email": "new@example.org", "current_password": PASSWORD}),
    ("POST", "/api/auth/logout", None),
    ("POST", "/api/auth/token/browser", None),
    ("DELETE", "/api/auth/sessions", None),
    ("DELETE", "/api/users/me-id", None),
]


async def tell(service: Service, cookie: str, headers: Headers, method: str = "PATCH", **more: Any) -> httpx.Response:
    me = (await service.client.get("/api/users/me", headers={"cookie": cookie})).json()
    path = more.pop("path", "/api/users/me-id").replace("me-id", me["id"])
    more = more or {"json": {"full_name": None}}
    return await service.client.request(method, path, headers=[("cookie", cookie), *headers], **more)


@pytest.mark.parametrize("name", REFUSED)
async def test_another_origin_changes_nothing(service: Service, cookie: str, name: str) -> None:
    before = await service.written()
    answer = await tell(service, cookie, REFUSED[name], json={"full_name": "Forged"})
    assert assert_problem(answer, 403)["type"] == "/problems/cross-origin-request"
    # The session of the user goes on: an attacker could end it otherwise.
    assert "set-cookie" not in answer.headers
    assert await service.written() == before


@pytest.mark.parametrize("name", ACCEPTED)
async def test_a_page_of_ones_own_is_not_locked_out(service: Service, cookie: str, name: str) -> None:
    assert (await tell(service, cookie, ACCEPTED[name])).status_code == 200


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
async def test_no_change_is_left_out(service: Service, cookie: str, method: str, path: str, body: Any) -> None:
    before = await service.written()
    for name in ("another site", "a sibling subdomain", "an old browser on another site"):
        more = {"path": path} if body is None else {"path": path, "json": body}
        answer = await tell(service, cookie, REFUSED[name], method, **more)
        assert assert_problem(answer, 403)["type"] == "/problems/cross-origin-request"
    assert await service.written() == before


@pytest.mark.parametrize("name", REFUSED)
async def test_a_foreign_page_logs_nobody_in(service: Service, name: str) -> None:
    """With an account of the attacker, whose victim would then type secrets into it."""
    before = await service.written()
    body = {"email": EMAIL, "password": PASSWORD}
    answer = await service.client.post("/api/auth/login/browser", headers=REFUSED[name], json=body)
    assert assert_problem(answer, 403)["type"] == "/problems/cross-origin-request"
    assert "set-cookie" not in answer.headers
    assert await service.written() == before


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", None]
)
async def test_a_form_is_no_call(service: Service, cookie: str, content_type: str | None) -> None:
    """A form needs no preflight. It is refused even from the origin of the service."""
    types = [] if content_type is None else [("content-type", content_type)]
    for headers in (REFUSED["another site"], ACCEPTED["a page of ours"]):
        answer = await tell(service, cookie, [*headers, *types], content=b'{"full_name": "Forged"}')
        assert_problem(answer, 415)


@pytest.mark.parametrize("name", ["x-http-method-override", "x-http-method", "x-method-override", "_method"])
async def test_a_method_is_what_it_is(service: Service, cookie: str, name: str) -> None:
    before = await service.written()
    for method in ("GET", "HEAD"):
        headers = [*REFUSED["another site"], (name, "DELETE")]
        answer = await tell(service, cookie, headers, method, path="/api/users/me-id")
        assert answer.status_code == 200
    smuggled = await tell(service, cookie, [*REFUSED["another site"], (name, "GET")])
    assert_problem(smuggled, 403)
    assert_problem(await service.client.get(f"/api/users/me?{name}=DELETE", headers={"cookie": cookie}), 400)
    assert await service.written() == before


@pytest.mark.parametrize("path", ["/api/auth/logout", "/api/auth/token/browser", "/api/auth/login/browser"])
async def test_a_link_does_nothing(service: Service, cookie: str, path: str) -> None:
    """The browser sends the cookie with a link on a foreign page."""
    for method in ("GET", "HEAD"):
        answer = await service.client.request(method, path, headers={"cookie": cookie, "sec-fetch-site": "cross-site"})
        assert answer.status_code == 405
    assert (await service.client.get("/api/users/me", headers={"cookie": cookie})).status_code == 200


async def test_every_read_is_open_to_links_and_may_not_be_framed(service: Service, cookie: str) -> None:
    answer = await service.client.get("/api/users/me", headers=[("cookie", cookie), *REFUSED["another site"]])
    assert answer.status_code == 200
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert "access-control-allow-origin" not in answer.headers


def granted(answer: httpx.Response) -> tuple[str | None, str | None]:
    names = ("access-control-allow-origin", "access-control-allow-credentials")
    return answer.headers.get(names[0]), answer.headers.get(names[1])


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (APP, (APP, "true")),
        ("https://public.example", ("https://public.example", None)),
        ("https://evil.example", (None, None)),
        ("https://x.app.example.org", (None, None)),
        ("http://app.example.org", (None, None)),
        (f"{APP}:443", (None, None)),
        ("null", (None, None)),
        ("*", (None, None)),
        ("", (None, None)),
    ],
)
async def test_only_a_trusted_page_may_read_with_the_cookie(
    service: Service, cookie: str, page: str, expected: tuple[str | None, str | None]
) -> None:
    preflight = await service.client.options(
        "/api/users/me", headers={"origin": page, "access-control-request-method": "GET"}
    )
    assert granted(preflight) == expected
    answer = await service.client.get("/api/users/me", headers={"origin": page, "cookie": cookie})
    assert granted(answer) == expected
    assert {"Origin", "Cookie"} <= {each.strip() for each in answer.headers["vary"].split(",")}


async def test_a_forged_request_is_counted_among_the_rejected() -> None:
    told: list[str] = []
    async with in_process(memory_settings(), HttpOptions(rejected=told.append)) as service:
        for headers in ({"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-origin"}):
            await service.client.post("/api/auth/login/browser", headers=headers, json={"email": "", "password": ""})
    assert told == ["cross-origin-request", "invalid-input"]


async def test_without_a_public_url_the_host_with_tls_is_ones_own() -> None:
    async with in_process(memory_settings(), HttpOptions()) as service:
        del service.client.headers["sec-fetch-site"]
        await service.register(EMAIL)
        body = {"email": EMAIL, "password": PASSWORD}
        for page, status in (("https://ubr.test", 200), ("http://ubr.test", 403), ("https://evil.example", 403)):
            answer = await service.client.post("/api/auth/login/browser", headers={"origin": page}, json=body)
            assert answer.status_code == status, page


async def test_a_page_of_this_host_under_another_address_names_the_remedy() -> None:
    """As in a browser without `Sec-Fetch-Site`, or over plain HTTP, of a service that does not know its address."""
    options = HttpOptions(public_url="http://0.0.0.0:8000")
    async with in_process(memory_settings(), options) as service:
        del service.client.headers["sec-fetch-site"]
        headers = {"host": "192.0.2.7:8000", "origin": "http://192.0.2.7:8000"}
        remedy = "Open the service at http://0.0.0.0:8000, or set UBR_PUBLIC_URL to the address in the browser"
        body = {"email": EMAIL, "password": PASSWORD}
        answer = await service.client.post("/api/auth/login/browser", headers=headers, json=body)
        assert assert_problem(answer, 403)["detail"] == remedy
        page = await service.client.post("/login", headers={**headers, "accept": "text/html"}, data=body)
        assert page.status_code == 403
        assert f"{remedy}." in page.text
        foreign = {**headers, "origin": "http://evil.example"}
        answer = await service.client.post("/api/auth/login/browser", headers=foreign, json=body)
        assert "UBR_PUBLIC_URL" not in answer.text


@pytest.mark.parametrize(
    "origins",
    ["*", "null", "http://app.example.org", "app.example.org", "https://app.example.org/", "https://A.example"],
)
def test_a_program_cannot_trust_what_is_no_origin(origins: str) -> None:
    nothing: Any = None
    with pytest.raises(ValueError, match="is not an origin of https"):
        create_app(nothing, options=HttpOptions(trusted_origins=(origins,)))
