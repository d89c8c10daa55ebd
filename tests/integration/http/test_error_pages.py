"""Errors at addresses that people open: a page for a browser, and the same problem as ever for programs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast
from urllib.parse import urljoin

import httpx
import pytest

from tests.integration.http.kit import ADMIN, PASSWORD, Service, in_process, memory_settings
from tests.integration.http.test_pages import HOST, Person, Tags, heading, people, problem
from tests.integration.http.test_sub_path import OUTSIDE, Stripping, references
from tests.support.lines import capture_logs
from ubr.adapters.sql.errors import NO_CONNECTION, SqlUnavailable
from ubr.bootstrap import connect
from ubr.entrypoints.http.app import HttpOptions, create_app
from ubr.entrypoints.http.page_options import PageOptions
from ubr.entrypoints.http.pages.page import policy

FOREIGN = {"origin": "https://elsewhere.example.net", "sec-fetch-site": "cross-site"}
FOR_PROGRAMS = (
    "/api",
    "/api/nothing",
    "/api/users/",
    "/.well-known/nothing",
    "/health",
    "/health/nothing",
    "/metrics/x",
)
ELSEWHERE = ("/nothing", "/a/b/c", "/problems/nothing", "/assets/nothing.css", "/a//b", "/a%2Fb", "/x" * 5000)


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Person]:
    async with people(HttpOptions()) as somebody:
        yield somebody()


@pytest.fixture
async def person() -> AsyncIterator[Person]:
    async with people() as somebody:
        yield somebody()


def is_page(answer: httpx.Response, status: int) -> bool:
    return (
        answer.status_code == status
        and answer.headers["content-type"] == "text/html; charset=utf-8"
        and answer.headers["content-security-policy"] == policy()
        and answer.headers["cache-control"] == "no-store"
        and heading(answer) == "That did not work"
    )


@pytest.mark.parametrize("path", ELSEWHERE)
async def test_a_path_that_does_not_exist_is_a_page_in_a_browser(path: str, browser: Person) -> None:
    answer = await browser.open(path)
    assert is_page(answer, 414 if len(path) > 8192 else 404)
    [style] = [link["href"] for link in Tags(answer.text).of("link") if link["rel"] == "stylesheet"]
    assert (await browser.open(urljoin(f"{HOST}{path}", style))).status_code == 200


async def test_the_page_is_in_the_language_of_the_person_and_leads_to_the_others(person: Person) -> None:
    answer = await person.open("/a/b", **{"accept-language": "de-AT, en;q=0.5"})
    assert Tags(answer.text).of("html") == [{"lang": "de"}]
    assert problem(answer).startswith("Nicht gefunden.")
    links = {each["hreflang"]: each["href"] for each in Tags(answer.text).of("a") if "hreflang" in each}
    assert links == {"en": "?language=en", "de": "?language=de"}
    assert (await person.open("/a/b?language=de")).status_code == 404
    assert Tags((await person.open("/other")).text).of("html") == [{"lang": "de"}]


async def test_no_path_becomes_an_address_of_the_page(browser: Person) -> None:
    answer = await browser.open("/javascript:alert(1)")
    assert is_page(answer, 404)
    assert "javascript:" not in answer.text


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/problems", "/", "/console", "/assets/nothing"])
async def test_a_method_that_is_not_allowed_is_a_page(method: str, path: str, browser: Person) -> None:
    answer = await browser.client.request(method, path)
    assert is_page(answer, 405)
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    assert problem(answer) == "The path does not support this method."


async def test_a_form_of_another_origin_or_too_large_is_a_page(browser: Person) -> None:
    refused = await browser.client.post("/login", headers=FOREIGN, data={"email": ADMIN, "password": PASSWORD})
    assert is_page(refused, 403)
    assert "set-cookie" not in refused.headers
    large = await browser.client.post("/login", data={"email": "x" * 100_000})
    assert is_page(large, 413)
    assert problem(large) == "The body is too large."


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (RuntimeError("a secret"), 500, "The service failed unexpectedly."),
        (SqlUnavailable(NO_CONNECTION), 503, "Try again in a minute."),
    ],
)
async def test_a_failure_of_the_service_is_a_page(error: Exception, status: int, said: str, person: Person) -> None:
    async def failing(*_: object, **__: object) -> Any:
        raise error

    assert person.service.ubr is not None
    edge = create_app(replace(person.service.ubr, get_me=cast("Any", failing)))
    person.client._transport = httpx.ASGITransport(edge)  # noqa: SLF001 - httpx has no public way to it
    answer = await person.send("/login", email=ADMIN, password=PASSWORD)
    assert is_page(answer, status)
    assert said in problem(answer)
    assert "a secret" not in answer.text


async def test_a_failure_before_any_route_is_a_page(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    assert person.service.edge is not None

    async def failing(*_: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(person.service.edge, "app", _With(failing, person.service.edge.app))
    with capture_logs() as lines:
        answer = await person.open("/login")
        await person.client.get("/login", headers={"accept": "*/*"})
    assert is_page(answer, 500)
    assert "a secret" not in answer.text
    causes = {line["cause"] for line in lines if line["event"] == "request"}
    assert [cause.partition(" at ")[0] for cause in causes] == ["RuntimeError"]
    assert not [line for line in lines if line["event"] == "unavailable"]


class _With:
    """An application that fails, with the state of the one that does not."""

    def __init__(self, call: Any, app: Any) -> None:
        self._call, self.state = call, app.state

    async def __call__(self, *arguments: Any) -> None:
        await self._call(*arguments)


@pytest.mark.parametrize("path", ["/nothing", "/problems/nothing", "/logout"])
async def test_the_head_of_a_page_is_that_of_its_get(path: str, browser: Person) -> None:
    head, get = await browser.client.head(path), await browser.client.get(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert {name: head.headers[name] for name in head.headers if name != "x-request-id"} == {
        name: get.headers[name] for name in get.headers if name != "x-request-id"
    }


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"accept": "*/*"},
        {"accept": "application/json"},
        {"accept": "application/problem+json, text/html"},
        {"accept": "application/json, text/html;q=0.9, */*;q=0.8"},
        {"accept": "text/html;q=0, */*"},
        {"accept": "text/html", "sec-fetch-mode": "cors"},
        {"accept": "text/html", "sec-fetch-mode": "no-cors"},
    ],
)
async def test_everyone_else_gets_the_same_problem_as_without_pages(headers: dict[str, str], browser: Person) -> None:
    asked = {"x-request-id": "the-same", **headers}
    async with connect(memory_settings()) as ubr:
        edge = create_app(ubr, options=HttpOptions(pages=PageOptions(scope="off")))
        transport = httpx.ASGITransport(edge, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=HOST) as without:
            for method, path in (
                ("GET", "/nothing"),
                ("GET", "/a//b"),
                ("DELETE", "/problems"),
                ("GET", "/problems/x"),
            ):
                one = await without.request(method, path, headers=asked)
                other = await browser.client.request(method, path, headers={"accept": "*/*", **asked})
                assert one.headers["content-type"] == "application/problem+json"
                assert (one.status_code, one.content) == (other.status_code, other.content)
                assert dict(one.headers) == dict(other.headers)


@pytest.mark.parametrize("path", FOR_PROGRAMS)
async def test_a_path_of_the_interface_has_problems_whatever_its_client_prefers(path: str, browser: Person) -> None:
    answer = await browser.open(path)
    assert answer.status_code >= 400
    assert answer.headers["content-type"] == "application/problem+json"


async def test_every_reference_leads_through_a_proxy_that_removes_a_path() -> None:
    async with in_process(memory_settings(public_url=OUTSIDE)) as service:
        inner: Any = service.client._transport  # noqa: SLF001 - httpx has no public way to it
        async with httpx.AsyncClient(transport=Stripping(inner), headers={"accept": "text/html"}) as client:
            for path in ("/nothing", "/a/b/c", "/a%2Fb", "/problems/nothing"):
                page = await client.get(f"{OUTSIDE}{path}")
                assert page.status_code == 404
                for reference in references(page.text):
                    if reference.startswith(("?", "#")):  # the address of the page itself
                        continue
                    address = urljoin(f"{OUTSIDE}{path}", reference)
                    assert address.startswith(f"{OUTSIDE}/"), (path, reference)
                    assert (await client.get(address)).status_code in {200, 303}


async def test_a_program_that_mounts_routes_without_pages_has_no_error_pages(service: Service) -> None:
    assert service.ubr is not None
    edge = create_app(service.ubr, options=HttpOptions(), routes=["auth"])
    transport = httpx.ASGITransport(edge)
    async with httpx.AsyncClient(transport=transport, base_url=HOST, headers={"accept": "text/html"}) as client:
        answer = await client.get("/nothing")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
