"""What holds for every request and every response."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote
from uuid import UUID

import httpx
import pytest
from jwt import decode

from tests.integration.http.kit import (
    ADMIN,
    PASSWORD,
    UNKNOWN,
    Service,
    assert_problem,
    bearer,
    in_a_process,
    in_process,
    memory_settings,
)
from tests.integration.http.routes import IDS, ROUTES, Route
from tests.support.lines import capture_logs
from ubr.adapters.sql.errors import NO_CONNECTION, SqlTooSlow, SqlTransactionConflict, SqlUnavailable
from ubr.application.app import Application
from ubr.domain.errors import (
    Busy,
    LogDamaged,
    LogKeyLocked,
    NoSigningKey,
    RateLimited,
    StoreTooSlow,
    StoreUnavailable,
    UbrError,
    Unavailable,
)
from ubr.domain.roles.grant import MAX_ROLES
from ubr.entrypoints.http.app import HttpOptions, create_app
from ubr.entrypoints.http.client_ip import client_ip
from ubr.entrypoints.http.log_fields import FIELDS
from ubr.entrypoints.http.problems import faults
from ubr.settings import TrustedProxies


@pytest.fixture(autouse=True)
def no_earlier_tracebacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "TRACEBACKS", faults.Tracebacks())


# --- requests as a server hands them on ------------------------------------------------------------------------------


def post(path: str, *headers: tuple[bytes, bytes]) -> Any:
    """What a server says of a request whose body is yet to come."""
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"ubr.test"), (b"content-type", b"application/json"), *headers],
        "client": None,
    }


async def told(service: Service, scope: Any, receive: Callable[[], Awaitable[Any]]) -> httpx.Response:
    """The answer to a request that arrives as a test has it."""
    assert service.edge is not None
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await service.edge(scope, cast("Any", receive), send)
    start, *parts = sent
    body = b"".join(part["body"] for part in parts)
    return httpx.Response(start["status"], headers=start["headers"], content=body)


# --- request ids -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["a", "0", "A.b_c-9", "x" * 64])
async def test_a_request_id_is_kept(standing: Service, given: str) -> None:
    headers = {"x-request-id": given}
    for path in ("/health/live", "/nothing", "/api/users"):
        assert (await standing.client.get(path, headers=headers)).headers.get_list("x-request-id") == [given]
    await standing.client.post("/api/auth/login", headers=headers, json={"email": ADMIN, "password": PASSWORD})
    entries = (await standing.client.get("/api/logs", headers=await standing.admin())).json()["items"]
    assert given in [entry["request_id"] for entry in entries]
    assert {entry["request_id_given"] for entry in entries if entry["request_id"] == given} == {True}


ODD_IDS = ["", " ", "x" * 65, "a b", "a,b", "a\tb", "é", '"a"', "a/b", "<script>", "%0d%0a", "a\x7f"]


@pytest.mark.parametrize("given", ODD_IDS)
async def test_another_request_id_is_made_up(standing: Service, given: str) -> None:
    answer = await standing.client.get("/health/live", headers=[(b"x-request-id", given.encode("latin-1"))])
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


async def test_two_request_ids_are_none(standing: Service) -> None:
    answer = await standing.client.get("/health/live", headers=[("x-request-id", "a"), ("x-request-id", "b")])
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


async def test_no_two_requests_have_one_id(standing: Service) -> None:
    ids = {(await standing.client.get("/health/live")).headers["x-request-id"] for _ in range(100)}
    assert len(ids) == 100


# --- where a request comes from --------------------------------------------------------------------------------------

NETWORKS: TrustedProxies = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
XFF = "x-forwarded-for"


@pytest.mark.parametrize(
    ("peer", "trusted", "headers", "expected"),
    [
        # Nobody is trusted unless somebody says so.
        ("192.0.2.1", (), {XFF: "203.0.113.9"}, "192.0.2.1"),
        ("10.0.0.1", (), {XFF: "203.0.113.9"}, "10.0.0.1"),
        # Networks: the right-most hop that is not one of ours.
        ("192.0.2.1", NETWORKS, {XFF: "203.0.113.9"}, "192.0.2.1"),
        ("10.0.0.1", NETWORKS, {}, "10.0.0.1"),
        ("10.0.0.1", NETWORKS, {XFF: "203.0.113.9"}, "203.0.113.9"),
        ("10.0.0.1", NETWORKS, {XFF: "1.1.1.1, 203.0.113.9"}, "203.0.113.9"),
        ("10.0.0.1", NETWORKS, {XFF: "1.1.1.1, 203.0.113.9, 10.9.9.9,10.8.8.8"}, "203.0.113.9"),
        ("10.0.0.1", NETWORKS, {XFF: "10.1.1.1, 10.2.2.2"}, "10.1.1.1"),
        ("fd00::1", NETWORKS, {XFF: "2001:db8::9"}, "2001:db8::9"),
        ("fd00::1", NETWORKS, {XFF: "2001:DB8:0:0::9"}, "2001:db8::9"),
        ("::ffff:10.0.0.1", NETWORKS, {XFF: "::ffff:203.0.113.9"}, "203.0.113.9"),
        ("10.0.0.1", NETWORKS, {XFF: "203.0.113.9:4711"}, "203.0.113.9"),
        ("10.0.0.1", NETWORKS, {XFF: "[2001:db8::9]:4711"}, "2001:db8::9"),
        # Hops: so many proxies stand in front, whatever they are called.
        ("192.0.2.1", 1, {XFF: "203.0.113.9"}, "203.0.113.9"),
        ("192.0.2.1", 1, {XFF: "1.1.1.1, 203.0.113.9"}, "203.0.113.9"),
        ("192.0.2.1", 2, {XFF: "1.1.1.1, 203.0.113.9, 198.51.100.1"}, "203.0.113.9"),
        ("192.0.2.1", 2, {XFF: "203.0.113.9"}, "192.0.2.1"),
        (None, 1, {XFF: "203.0.113.9"}, "203.0.113.9"),
        # Whatever makes no sense counts for nothing.
        ("10.0.0.1", NETWORKS, {XFF: ""}, "10.0.0.1"),
        ("10.0.0.1", NETWORKS, {XFF: "unknown"}, "10.0.0.1"),
        ("10.0.0.1", NETWORKS, {XFF: "203.0.113.9, _hidden"}, "10.0.0.1"),
        ("10.0.0.1", NETWORKS, {XFF: "203.0.113.9,"}, "10.0.0.1"),
        ("10.0.0.1", NETWORKS, {XFF: "203.0.113.999"}, "10.0.0.1"),
        ("10.0.0.1", NETWORKS, {XFF: "0x7f000001"}, "10.0.0.1"),
        ("10.0.0.1", NETWORKS, {XFF: "2130706433"}, "10.0.0.1"),
        ("10.0.0.1", NETWORKS, {XFF: "fe80::1%eth0"}, "10.0.0.1"),
        ("10.0.0.1", NETWORKS, {XFF: "127.0.0.1\x00"}, "10.0.0.1"),
        ("10.0.0.1", 1, {XFF: "9" * 10_000}, "10.0.0.1"),
        # But nobody hides behind it: what a proxy of ours wrote stands, whatever the client wrote before.
        ("10.0.0.1", NETWORKS, {XFF: "junk, 203.0.113.9"}, "203.0.113.9"),
        ("10.0.0.1", NETWORKS, {XFF: "junk, 10.9.9.9"}, "10.9.9.9"),
        ("10.0.0.1", NETWORKS, {XFF: "1.1.1.1," * 2000 + "203.0.113.9"}, "203.0.113.9"),
        ("192.0.2.1", 1, {XFF: "junk, 203.0.113.9"}, "203.0.113.9"),
        # The header's look-alikes do not count, and a client that has it dropped gains nothing (CVE-2022-31813).
        ("10.0.0.1", NETWORKS, {"forwarded": "for=203.0.113.9", "x-real-ip": "203.0.113.9"}, "10.0.0.1"),
        ("10.0.0.1", NETWORKS, {XFF: "203.0.113.9", "connection": "close, X-Forwarded-For"}, "10.0.0.1"),
        ("10.0.0.1", 1, {XFF: "203.0.113.9", "connection": "x-forwarded-for"}, "10.0.0.1"),
        (None, NETWORKS, {XFF: "203.0.113.9"}, None),
        ("unix", NETWORKS, {XFF: "203.0.113.9"}, None),
    ],
)
def test_client_ip(peer: str | None, trusted: TrustedProxies, headers: dict[str, str], expected: str | None) -> None:
    fields = {name.encode(): [value.encode()] for name, value in headers.items()}
    assert client_ip(peer, fields, trusted) == expected


def test_several_fields_are_one_list() -> None:
    fields = {b"x-forwarded-for": [b"1.1.1.1", b"203.0.113.9"]}
    assert client_ip("10.0.0.1", fields, NETWORKS) == "203.0.113.9"


async def test_the_client_ip_is_in_sessions_and_logs() -> None:
    options = HttpOptions(trusted_proxies=1)
    async with in_process(memory_settings(), options) as service:
        service.client.headers[XFF] = "203.0.113.9"
        headers = await service.admin()
        [session] = (await service.client.get("/api/auth/sessions", headers=headers)).json()["items"]
        [entry, *_] = (await service.client.get("/api/logs", headers=headers)).json()["items"]
    assert (session["ip"], entry["ip"]) == ("203.0.113.9", "203.0.113.9")


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b"curl/8.5.0", "curl/8.5.0"),
        (b"a\x01b\x7fc", "a b c"),
        (b"x" * 2000, "x" * 512),
        ("é".encode() * 1000, "é" * 512),
        (b"\xff\xfe", "\ufffd\ufffd"),
        ("\u202eevil\u0000".encode(), "evil"),
        (b"  ", None),
        (b"", None),
    ],
)
async def test_user_agents_are_bounded(service: Service, sent: bytes, kept: str | None) -> None:
    headers = [(b"user-agent", sent)]
    signed_in = await service.client.post(
        "/api/auth/login", headers=headers, json={"email": ADMIN, "password": PASSWORD}
    )
    listed = await service.client.get("/api/auth/sessions", headers=bearer(signed_in.json()))
    assert listed.json()["items"][0]["user_agent"] == kept


# --- which host it asks for ------------------------------------------------------------------------------------------

GOOD_HOSTS = [
    b"ubr.test",
    b"UBR.test:8000",
    b"192.0.2.1",
    b"[2001:db8::1]:80",
    b"my_service:",
    b"xn--bcher-kva.example",
]
BAD_HOSTS = [
    b"",
    b"a b",
    b"a/b",
    b"a@b",
    b"a:b",
    b"a:1:2",
    b"[::1",
    b"::1",
    b"b\xc3\xbccher.example",
    b"\xff",
    b"a?b",
    b"a#b",
]


@pytest.mark.parametrize(
    ("version", "hosts", "status"),
    [
        *(("1.1", [host], 204) for host in GOOD_HOSTS),
        *(("1.1", [host], 400) for host in BAD_HOSTS),
        ("1.1", [], 400),
        ("1.1", [b"ubr.test", b"ubr.test"], 400),
        ("1.0", [], 204),
        ("1", [b""], 204),
        ("1", [b"ubr.test"], 204),
        ("1", [b"a", b"b"], 400),
        ("1", [b"a b"], 400),
    ],
)
async def test_a_request_names_one_host(standing: Service, version: str, hosts: list[bytes], status: int) -> None:
    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = post("/api/auth/login") | {"method": "OPTIONS", "http_version": version}
    scope["headers"] = [(b"host", host) for host in hosts]
    answer = await told(standing, scope, receive)
    assert answer.status_code == status
    if status == 400:
        assert assert_problem(answer, 400)["type"] == "/problems/invalid-input"


# --- which path ------------------------------------------------------------------------------------------------------


def aliases(path: str) -> list[str]:
    """Other ways to write a path, which somebody on the way may read as this one."""
    head, _, last = path.rpartition("/")
    return [
        *(f"/{path}", f"{path}/", f"{path}//", f"{head}//{last}", f"/%2F{path[1:]}", f"{head}%2f{last}", f"{path}%2F"),
        *(f"/.{path}", f"{path}/.", f"/x/..{path}", f"{path}/x/..", f"/%2e{path}", f"/x/%2E.{path}"),
        *([f"{head}/%{ord(last[0]):02X}{last[1:]}"] if last else []),
    ]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
async def test_a_route_has_one_path(standing: Service, route: Route) -> None:
    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    path = route.path(**dict.fromkeys(IDS, UNKNOWN))
    with capture_logs() as lines:
        found = (await told(standing, post(path) | {"method": route.method}, receive)).status_code
        assert (found == 404) == (route.name == "get_metrics"), "they are hidden from whoever may not read them"
        for alias in aliases(path):
            answer = await told(standing, post(alias) | {"method": route.method}, receive)
            assert assert_problem(answer, 404)["type"] == "/problems/not-found", alias
    assert [line["route"] for line in lines if line["event"] == "request"] == [
        route.template,
        *(None for _ in aliases(path)),
    ]


@pytest.mark.parametrize("path", ["", "*", "/.", "/..", "/...", "//", "/%2F", "api/users"])
async def test_where_there_is_nothing(standing: Service, path: str) -> None:
    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    answer = await told(standing, post(path), receive)
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")


# --- what every response has -----------------------------------------------------------------------------------------

CACHEABLE = {"get_public_keys", "get_openapi", "get_docs", "get_docs_asset", "list_problems", "get_problem"}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
async def test_every_answer_has_the_headers_that_protect_it(standing: Service, route: Any) -> None:
    for method in (route.method, "OPTIONS", "TRACE"):
        answer = await standing.client.request(method, route.path())
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "strict-transport-security" not in answer.headers
        assert answer.headers["server"] == ""
        assert not {"x-powered-by", "set-cookie", "access-control-allow-origin"} & set(answer.headers)
        cacheable = route.name in CACHEABLE and method == "GET"
        assert answer.headers["cache-control"] == (route.operation.cache_control if cacheable else "no-store")
        assert answer.headers["cache-control"].startswith("public" if cacheable else "no-store")


async def test_https_is_for_good_where_the_public_url_says_so() -> None:
    for url, expected in (("https://ubr.example.org", "max-age=31536000"), ("http://ubr.example.org", None)):
        async with in_process(memory_settings(), HttpOptions(public_url=url)) as service:
            answer = await service.client.get("/nothing")
        assert answer.headers.get("strict-transport-security") == expected


GETS = [route for route in ROUTES if route.method == "GET"]


@pytest.mark.parametrize("route", GETS, ids=lambda route: route.name)
async def test_head_is_get_without_the_body(standing: Service, route: Any) -> None:
    headers = await standing.admin()
    get, head = [await standing.client.request(verb, route.path(), headers=headers) for verb in ("GET", "HEAD")]
    assert (head.status_code, head.content) == (get.status_code, b"")
    changing = {"x-request-id", "content-length"}  # a problem holds the request's id, which need not be equally long
    assert {k: v for k, v in head.headers.items() if k not in changing} == {
        k: v for k, v in get.headers.items() if k not in changing
    }


@pytest.mark.parametrize(
    ("sent", "challenge"),
    [
        ([], "Bearer"),
        (["Basic YTpi"], "Bearer"),
        (["Bearer"], "Bearer"),
        (["Bearer  "], "Bearer"),
        (["Bearer x"], 'Bearer error="invalid_token"'),
        (["bearer a.b.c"], 'Bearer error="invalid_token"'),
        (["Bearer a b"], 'Bearer error="invalid_token"'),
        (["Bearer é"], 'Bearer error="invalid_token"'),
        (["Bearer " + "x" * 60_000], 'Bearer error="invalid_token"'),
        (["Bearer {token}", "Bearer {token}"], 'Bearer error="invalid_token"'),
        (["Bearer {token}="], 'Bearer error="invalid_token"'),
    ],
)
async def test_bad_credentials(standing: Service, sent: list[str], challenge: str) -> None:
    token = (await standing.logged_in(ADMIN))["access_token"]
    headers = [(b"authorization", each.format(token=token).encode()) for each in sent]
    answer = await standing.client.get("/api/users/me", headers=headers)
    assert_problem(answer, 401)
    assert answer.headers["www-authenticate"] == challenge


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer "])
async def test_the_scheme_has_no_case(standing: Service, scheme: str) -> None:
    token = (await standing.logged_in(ADMIN))["access_token"]
    answer = await standing.client.get("/api/users/me", headers={"authorization": f"{scheme} {token}"})
    assert answer.status_code == 200


async def test_a_user_with_the_maximum_number_of_roles_can_log_in(service: Service) -> None:
    user, admin = await service.register("ada@example.org"), await service.admin()
    for number in range(MAX_ROLES - 1):  # everyone has one already
        name = f"r{number:049}"
        assert (await service.client.post("/api/roles", headers=admin, json={"name": name})).status_code == 201
        given = await service.client.put(f"/api/users/{user['id']}/roles/{name}", headers=admin)
        assert given.status_code == 204
    me = await service.client.get("/api/users/me", headers=bearer(await service.logged_in("ada@example.org")))
    assert (me.status_code, len(me.json()["roles"])) == (200, MAX_ROLES)


# --- what goes wrong inside ------------------------------------------------------------------------------------------


class Broken:
    """An application of which nothing works."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        async def fail(*_: Any, **__: Any) -> None:
            raise self._error

        return fail


def broken(error: BaseException) -> httpx.AsyncClient:
    edge = create_app(cast("Application", Broken(error)))
    transport = httpx.ASGITransport(edge, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://ubr.test")


async def test_an_error_is_logged_and_not_revealed() -> None:
    async with broken(ZeroDivisionError("the secret of the house")) as client:
        with capture_logs() as lines:
            for method, path in (("POST", "/api/auth/login"), ("GET", "/api/users/me"), ("GET", "/health/ready")):
                body = {"email": "a@example.org", "password": "x"} if method == "POST" else None
                headers = {"x-request-id": "r-1", "authorization": "Bearer x"}
                answer = await client.request(method, path, headers=headers, json=body)
                assert assert_problem(answer, 500)["type"] == "/problems/internal-error"
                assert "secret" not in answer.text
    failed = [line for line in lines if line["event"] == "failed"]
    assert len(failed) == 3
    assert all("ZeroDivisionError" in line["exception"] for line in failed)


async def test_a_fault_in_telling_a_fault_ends_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RecursionError

    edge = create_app(cast("Application", Broken(ValueError())))
    monkeypatch.setitem(edge.app.exception_handlers, Exception, fail)
    for route in edge.app.routes:
        for handler in getattr(route, "route_handlers", ()):
            handler.resolve_exception_handlers()[Exception] = fail
    transport = httpx.ASGITransport(edge, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://ubr.test") as client:
        for path in ("/health/ready", "/nothing"):
            assert assert_problem(await client.get(path), 500)["type"] == "/problems/internal-error"


@pytest.mark.parametrize(
    ("error", "status", "slug", "wait"),
    [
        (StoreUnavailable("at postgres.internal:5432"), 503, "store-unavailable", "1"),
        (StoreTooSlow("at postgres.internal:5432"), 503, "store-too-slow", "1"),
        (NoSigningKey(), 503, "no-signing-key", "1"),
        (LogKeyLocked("postgres.internal/log/1"), 503, "log-key-locked", "1"),
        (Busy(retry_after=7), 503, "busy", "7"),
        (RateLimited(42), 429, "rate-limited", "42"),
    ],
)
async def test_come_again_later(error: Exception, status: int, slug: str, wait: str) -> None:
    async with broken(error) as client:
        answer = await client.get("/health/ready")
    assert assert_problem(answer, status)["type"] == f"/problems/{slug}"
    assert answer.headers["retry-after"] == wait
    assert "internal" not in answer.text


async def test_the_log_names_the_route_and_the_reason_of_a_slow_statement() -> None:
    slow = SqlTooSlow("sqlstate 57014: statement_timeout, or cancelled by an administrator")
    async with broken(slow) as client:
        with capture_logs() as lines:
            answer = await client.get("/health/ready")
    assert assert_problem(answer, 503)["type"] == "/problems/store-too-slow"
    [line] = lines
    assert (line["event"], line["level"], line["route"]) == ("request", "error", "/health/ready")
    assert (line["reason"], line["cause"]) == ("store-too-slow", f"The database took too long ({slow.reason})")


@pytest.mark.parametrize("path", ["/api/auth/login", "/api/auth/logout"])
@pytest.mark.parametrize("pause", [0.01, 60], ids=["drop by drop", "silence"])
async def test_a_body_has_a_deadline(path: str, pause: float) -> None:
    asked = 0

    async def slow() -> Any:
        nonlocal asked
        asked += 1
        if asked > 1:
            await asyncio.sleep(pause)
        return {"type": "http.request", "body": b" ", "more_body": True}

    async with in_process(memory_settings(), HttpOptions(body_seconds=0.1)) as service:
        began = time.perf_counter()
        answer = await told(service, post(path, (b"transfer-encoding", b"chunked")), slow)
        took = time.perf_counter() - began
    assert assert_problem(answer, 408)["type"] == "/problems/request-timeout"
    assert answer.headers["connection"] == "close"
    assert 0.1 <= took < 30, "and nobody waits for the rest of it"


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/api/auth/login", [(b"content-length", b"1000000")], 413),
        ("/api/auth/logout", [(b"content-length", b"1000000")], 413),
        ("/api/auth/login", [(b"content-length", b"10"), (b"content-encoding", b"gzip")], 415),
        ("/api/nothing", [(b"transfer-encoding", b"chunked")], 404),
    ],
)
async def test_a_body_that_waits_to_be_asked_for_is_refused_unasked(
    service: Service, path: str, headers: list[tuple[bytes, bytes]], status: int
) -> None:
    async def receive() -> Any:
        pytest.fail("To receive is to ask for it.")

    answer = await told(service, post(path, (b"expect", b"100-Continue"), *headers), receive)
    assert_problem(answer, status)
    assert answer.headers["connection"] == "close"


async def test_a_body_that_was_asked_for_is_taken_before_it_is_refused(service: Service) -> None:
    """As any other: a connection that is closed over what was sent loses the answer."""
    left = 100

    async def receive() -> Any:
        nonlocal left
        left -= 1
        return {"type": "http.request", "body": b" " * 1024, "more_body": left > 0}

    answer = await told(
        service, post("/api/auth/login", (b"expect", b"100-continue"), (b"transfer-encoding", b"chunked")), receive
    )
    assert_problem(answer, 413)
    assert left == 0
    assert "connection" not in answer.headers


async def test_a_client_that_hangs_up_is_not_an_error(service: Service) -> None:
    """Whether it went or sent what is not HTTP, a server does not say: it is answered, in case it is there."""

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    with capture_logs() as lines:
        answer = await told(service, post("/api/auth/login", (b"content-length", b"9")), receive)
    assert assert_problem(answer, 400)["type"] == "/problems/malformed-body"
    assert answer.headers["connection"] == "close"
    assert [(line["event"], line["status"]) for line in lines] == [("request", 499)]


async def test_the_log_line(service: Service) -> None:
    headers = await service.admin()
    with capture_logs() as lines:
        await service.client.get("/api/users?sort=email&limit=1", headers={**headers, "x-request-id": "r-2"})
        await service.client.get("/api/nothing/secret-path")
    for line in lines:
        assert line.pop("ms") >= 0
        assert line.pop("timestamp")
    known, unknown = lines
    claims = decode(headers["authorization"].removeprefix("Bearer "), options={"verify_signature": False})
    assert set(known) < {field.name for field in FIELDS}
    assert known == {
        "event": "request",
        "level": "info",
        "method": "GET",
        "route": "/api/users",
        "path": "/api/users",
        "status": 200,
        "reason": None,
        "actor_id": UUID(claims["sub"]),
        "session_id": UUID(claims["sid"]),
        "ip": "127.0.0.1",
        "request_id": "r-2",
        "request_id_given": True,
    }
    assert (unknown["route"], unknown["status"], unknown["reason"]) == (None, 404, "not-found")
    assert unknown["path"] == "/api/*/*"
    assert (unknown["actor_id"], unknown["session_id"]) == (None, None)
    assert "secret" not in str(lines)


async def test_the_trace_of_the_caller_is_in_the_lines_of_its_request(service: Service) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    with capture_logs() as lines:
        await service.client.get("/health/live", headers={"traceparent": f"00-{trace_id}-00f067aa0b5902b7-01"})
        await service.client.get("/health/live", headers={"traceparent": f"00-{trace_id}-0000000000000000-01"})
    assert [line.get("trace_id") for line in lines] == [trace_id, None]


UNAVAILABLE = {
    "unreachable": (SqlUnavailable("sqlstate 08006"), "The database is unreachable (sqlstate 08006)"),
    "slow": (SqlTooSlow("sqlstate 57014: timeout"), "The database took too long (sqlstate 57014: timeout)"),
    "no connection": (
        SqlUnavailable("no connection was free", NO_CONNECTION),
        "All database connections of this worker are in use: UBR_POOL_SIZE is their number (no connection was free)",
    ),
    "conflict": (
        SqlTransactionConflict("sqlstate 40001"),
        "The changes of other requests kept conflicting with this one (sqlstate 40001)",
    ),
    "signing": (NoSigningKey(), "No key signs access tokens"),
    "log": (LogDamaged("The log has no checkpoint"), "The log has no checkpoint"),
    "log key": (LogKeyLocked("k"), "No secret key decrypts the key k, which signs the log"),
}


@pytest.mark.parametrize(("error", "cause"), UNAVAILABLE.values(), ids=UNAVAILABLE)
async def test_the_line_of_a_request_names_the_cause_of_an_unavailability(error: UbrError, cause: str) -> None:
    async with broken(error) as client:
        with capture_logs() as lines:
            answer = await client.get("/health/ready", headers={"x-request-id": "r-1"})
    assert answer.status_code == 503
    assert [(line["route"], line["request_id"], line["cause"]) for line in lines] == [("/health/ready", "r-1", cause)]
    assert cause == error.title or cause not in answer.text


def test_the_page_about_the_log_names_every_cause() -> None:
    page = (Path(__file__).parents[3] / "docs" / "operations" / "logs.md").read_text()
    rows = [re.findall(r"[^|]+", line) for line in page.partition("## Server errors")[2].splitlines() if "| `" in line]
    known = [(reason, begin.strip()) for row in rows for reason in row[0].split(",") for begin in row[1].split(",")]
    raised_elsewhere = [
        (Busy(), "Too many passwords are waiting to be hashed"),
        (Unavailable(), "Not enough memory to hash a password"),
        (Unavailable(), "Passwords cannot be hashed at the moment"),
        (Unavailable(), "The service is shutting down"),
        (Unavailable(), "The user's roles do not fit into an access token"),
        (StoreUnavailable(), "The session cache did not become fresh in time"),
        (StoreUnavailable(), "The session cache is closed, because the service is shutting down"),
        (StoreUnavailable(), "The signing keys were not read in time"),
    ]
    for error, cause in [*UNAVAILABLE.values(), *raised_elsewhere]:
        assert any(error.code in reason and cause.startswith(begin) for reason, begin in known), cause


async def test_a_storm_of_one_error_logs_one_traceback() -> None:
    error = SqlUnavailable("a reason of this test alone")
    error.__cause__ = OSError("as the driver said")
    async with broken(error) as client:
        with capture_logs() as lines:
            for _ in range(20):
                await client.get("/health/ready")
    assert len([line for line in lines if "exception" in line]) == 1
    assert {name for line in lines for name in line} <= {field.name for field in FIELDS}
    causes = {line["cause"] for line in lines if line["event"] == "request"}
    assert causes == {"The database is unreachable (a reason of this test alone)"}
    assert len(lines) == 21


async def test_a_storm_of_a_bug_logs_one_traceback() -> None:
    async with broken(NotImplementedError("what is known of it")) as client:
        with capture_logs() as lines:
            for _ in range(20):
                await client.get("/health/ready")
    [failed] = [line for line in lines if "exception" in line]
    assert failed["exception"].endswith("NotImplementedError: what is known of it")
    requests = [line for line in lines if line["event"] == "request"]
    assert len(requests) == 20
    assert {line["cause"] for line in requests} == {failed["cause"]}
    assert failed["cause"].startswith("NotImplementedError at ubr.entrypoints.http.routes.health:")
    assert "known of it" not in str(requests)


async def test_a_websocket_is_refused(service: Service) -> None:
    assert service.edge is not None
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Any = {"type": "websocket", "path": "/api/users", "query_string": b"", "headers": []}
    await service.edge(scope, cast("Any", None), send)
    assert sent == [{"type": "websocket.close", "code": 1000, "reason": ""}]


# --- over a wire -----------------------------------------------------------------------------------------------------


async def raw(port: int, request: bytes, *, half_closed: bool = False) -> httpx.Response:
    """The first thing that is answered to these bytes, an interim response included."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(10):
            writer.write(request)
            if half_closed:
                writer.write_eof()
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in head[1:] if line)]
            length = int(dict(headers).get("content-length", "0"))
            return httpx.Response(int(head[0].split(" ")[1]), headers=headers, content=await reader.readexactly(length))
    finally:
        writer.close()


async def check_broken_bodies(port: int) -> None:
    chunked = b"Transfer-Encoding: chunked\r\n\r\n"
    for what, body, half_closed in (
        ("a size that is none", chunked + b"zz\r\n{}\r\n0\r\n\r\n", False),
        ("a size that is none, later", chunked + b"2\r\n{}\r\nzz\r\n\r\n", False),
        ("a trailer that is none", chunked + b"2\r\n{}\r\n0\r\nno trailer\r\n\r\n", False),
        ("chunks that break off", chunked + b"2\r\n{}\r\n", True),
        ("a body that breaks off", b"Content-Length: 50\r\n\r\n{}", True),
    ):
        for line in (b"POST /api/auth/login", b"GET /health/live"):
            head = line + b" HTTP/1.1\r\nHost: ubr\r\nContent-Type: application/json\r\n"
            answer = await raw(port, head + body, half_closed=half_closed)
            assert assert_problem(answer, 400)["type"] == "/problems/malformed-body", (what, line)
            assert answer.headers["connection"] == "close"


async def check_expectations(port: int) -> None:
    """A body that may be sent is asked for, and one that is too long is refused at once."""
    head = b"POST /api/auth/login HTTP/1.1\r\nHost: ubr\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
    assert (await raw(port, head + b"Content-Length: 2\r\n\r\n")).status_code == 100
    refused = await raw(port, head + b"Content-Length: 1000000\r\n\r\n")
    assert_problem(refused, 413)
    assert refused.headers["connection"] == "close"


@pytest.mark.system
async def test_a_real_server(tmp_path: Path) -> None:
    """What no client library would send, and what the server adds by itself."""
    async with in_a_process(tmp_path) as service:
        port = service.client.base_url.port
        assert port is not None
        headers = await service.admin()

        answer = await service.client.get("/api/users/me", headers=headers)
        assert answer.headers.get_list("server") == [""]
        assert answer.headers.get_list("x-request-id") == [answer.headers["x-request-id"]]

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(80):
                yield b" " * 1024

        json = {"content-type": "application/json"}
        assert_problem(await service.client.post("/api/auth/login", headers=json, content=chunks()), 413)
        for size in (65_537, 1_000_000, 5_000_000):
            for where, status in (("/api/auth/login", 413), ("/api/auth/logout", 413), ("/api/nothing", 404)):
                assert_problem(await service.client.post(where, headers=json, content=b" " * size), status)

        for path in (b"/api/users/%FF", b"/api/users/\xff", b"/api/users/%00"):
            answer = await raw(port, b"GET " + path + b" HTTP/1.1\r\nHost: ubr\r\nConnection: close\r\n\r\n")
            assert 400 <= answer.status_code < 500, path
        for path in (
            b"/%2e%2e/health/live",
            b"//",
            b"/health/live/",
            b"//health/live",
            b"/health%2Flive",
            b"/x/../health/live",
        ):
            assert_problem(await raw(port, b"GET " + path + b" HTTP/1.1\r\nHost: ubr\r\n\r\n"), 404)
        for version, host, status in (
            (b"1.1", b"Host: a b\r\n", 400),
            (b"1.1", b"Host: \xff\r\n", 400),
            (b"1.1", b"Host: a\r\nHost: b\r\n", 400),
            (b"1.1", b"", 400),
            (b"1.1", b"Host: ubr:8000\r\n", 200),
            (b"1.0", b"", 200),
            (b"1.0", b"Host: a\r\nHost: b\r\n", 400),
        ):
            answer = await raw(port, b"GET /health/live HTTP/" + version + b"\r\n" + host + b"\r\n")
            assert answer.status_code == status, (version, host)
            if status == 400:
                assert_problem(answer, 400)
        await check_broken_bodies(port)
        await check_expectations(port)
        assert (await service.client.get("/health/ready")).status_code == 200
