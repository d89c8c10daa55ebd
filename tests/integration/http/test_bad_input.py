"""Whatever is sent, the answer is a problem with a 4xx, and nothing is written."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from tests.integration.http.kit import Service, assert_problem
from tests.integration.http.routes import GOOD_BODIES, GOOD_QUERIES, ROUTES, WITH_BODY, WITHOUT_LINK, Route
from ubr.domain.errors import Invalid
from ubr.entrypoints.http.body import parse

JSON = {"content-type": "application/json"}
LONG = "x" * 70_000


def many_names() -> bytes:
    return b"{" + b"".join(b'"%d":1,' % number for number in range(6000)) + b'"5999":1}'


# What no route takes, whatever its fields: name, headers, body, status, slug.
BROKEN: list[tuple[str, dict[str, str], bytes, int, str]] = [
    ("no media type", {}, b"{}", 415, "unsupported-media-type"),
    ("text", {"content-type": "text/plain"}, b"{}", 415, "unsupported-media-type"),
    ("a form", {"content-type": "application/x-www-form-urlencoded"}, b"a=b", 415, "unsupported-media-type"),
    ("another charset", {"content-type": "application/json; charset=latin-1"}, b"{}", 415, "unsupported-media-type"),
    ("a parameter", {"content-type": "application/json; version=1"}, b"{}", 415, "unsupported-media-type"),
    ("like JSON", {"content-type": "application/jsonp"}, b"{}", 415, "unsupported-media-type"),
    ("two types", {"content-type": "application/json, text/plain"}, b"{}", 415, "unsupported-media-type"),
    ("compressed", {**JSON, "content-encoding": "gzip"}, b"\x1f\x8b", 415, "unsupported-media-type"),
    ("too large", JSON, b'{"x":"' + b"x" * 65_536 + b'"}', 413, "body-too-large"),
    ("too many spaces", JSON, b" " * 65_537, 413, "body-too-large"),
    ("nothing at all", JSON, b"", 400, "malformed-body"),
    ("a half", JSON, b'{"email": "a@', 400, "malformed-body"),
    ("an apostrophe", JSON, b"{'email': 1}", 400, "malformed-body"),
    ("a comma too many", JSON, b'{"a": 1,}', 400, "malformed-body"),
    ("more behind it", JSON, b"{} {}", 400, "malformed-body"),
    ("a comment", JSON, b"{} // yes", 400, "malformed-body"),
    ("a byte order mark", JSON, b"\xef\xbb\xbf{}", 400, "malformed-body"),
    ("not UTF-8", JSON, b'{"email": "\xff"}', 400, "malformed-body"),
    ("an encoded surrogate", JSON, b'{"email": "\xed\xa0\x80"}', 400, "malformed-body"),
    ("an overlong encoding", JSON, b'{"email": "\xc0\x80"}', 400, "malformed-body"),
    ("UTF-16", JSON, "{}".encode("utf-16"), 400, "malformed-body"),
    ("NaN", JSON, b'{"email": NaN}', 400, "malformed-body"),
    ("Infinity", JSON, b'{"email": -Infinity}', 400, "malformed-body"),
    ("an infinite exponent", JSON, b'{"email": 1e999}', 400, "malformed-body"),
    ("65 bits", JSON, b'{"email": 18446744073709551616}', 400, "malformed-body"),
    ("64 bits below", JSON, b'{"email": -9223372036854775809}', 400, "malformed-body"),
    ("5,000 digits", JSON, b'{"email": ' + b"9" * 5000 + b"}", 400, "malformed-body"),
    ("a long fraction", JSON, b'{"email": 0.' + b"1" * 5000 + b"}", 400, "malformed-body"),
    ("33 deep", JSON, b"[" * 33 + b"]" * 33, 400, "malformed-body"),
    ("65,536 deep", JSON, b"[" * 65_536, 400, "malformed-body"),
    ("objects, 10,000 deep", JSON, b'{"a":' * 10_000, 400, "malformed-body"),
    ("a raw NUL", JSON, b'{"email": "\x00"}', 400, "malformed-body"),
    ("a text of quotes without an end", JSON, b'"' + b'\\"' * 32_000, 400, "malformed-body"),
    ("many names, the last one twice", JSON, many_names(), 400, "invalid-input"),
    ("a list", JSON, b"[]", 400, "invalid-input"),
    ("a text", JSON, b'"text"', 400, "invalid-input"),
    ("a number", JSON, b"1", 400, "invalid-input"),
    ("null", JSON, b"null", 400, "invalid-input"),
    ("an unknown field", JSON, b'{"is_admin": true}', 400, "invalid-input"),
    ("a field of the answer", JSON, b'{"id": "01926e5c-7b0e-7f3a-9c55-0d2f6f1c8a10"}', 400, "invalid-input"),
    ("a name twice", JSON, b'{"email": 1, "email": 2}', 400, "invalid-input"),
    ("a name twice, in disguise", JSON, b'{"email": 1, "\\u0065mail": 2}', 400, "invalid-input"),
    ("a name twice, deeper", JSON, b'{"email": [{"a": 1, "a": 1}]}', 400, "invalid-input"),
    ("a name with NUL", JSON, b'{"\\u0000": 1}', 400, "invalid-input"),
    ("half a surrogate pair as a name", JSON, b'{"\\ud800": 1}', 400, "invalid-input"),
    ("a prototype", JSON, b'{"__proto__": {}}', 400, "invalid-input"),
]

MISTYPED: dict[str, list[Any]] = {
    "str": [1, 1.5, True, [], {}, ["x"], "a\x00b", "a\nb", "\x1b", "\ud800", "\ud83d", "", " ", LONG[:60_000]],
    "list": ["x", 1, True, {}, [1], [None], [[]], ["\x00"], [""], ["x" * 60_000], ["\ud800"], ["users:read", {}]],
    "datetime": [
        1,
        True,
        [],
        "",
        "tomorrow",
        "2040-13-01T00:00:00Z",
        "2040-01-01",
        "2040-01-01T00:00:00",
        "2001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-12:00",
        "99999-01-01T00:00:00Z",
        "2040-01-01T00:00:00Z\x00",
    ],
}


def parts_of(type_: msgspec.inspect.Type) -> Iterator[msgspec.inspect.Type]:
    """The types that a field may have, without what is said of them."""
    if isinstance(type_, msgspec.inspect.Metadata):
        yield from parts_of(type_.type)
    elif isinstance(type_, msgspec.inspect.UnionType):
        for part in type_.types:
            yield from parts_of(part)
    else:
        yield type_


def kinds(type_: msgspec.inspect.Type) -> tuple[set[str], bool]:
    """What a field may be, and whether null is."""
    parts = list(parts_of(type_))
    names = {
        msgspec.inspect.StrType: "str",
        msgspec.inspect.EnumType: "str",
        msgspec.inspect.ListType: "list",
        msgspec.inspect.DateTimeType: "datetime",
    }
    return {names[type(part)] for part in parts if type(part) in names}, any(
        isinstance(part, msgspec.inspect.NoneType) for part in parts
    )


def mistyped(route: Route) -> Iterator[tuple[str, bytes]]:
    """Good bodies with one thing wrong."""
    assert route.operation.body is not None
    good = GOOD_BODIES[route.name]
    described = msgspec.inspect.type_info(route.operation.body)
    assert isinstance(described, msgspec.inspect.StructType)
    for field in described.fields:
        found, nullable = kinds(field.type)
        for value in [value for kind in found for value in MISTYPED[kind]] + ([] if nullable else [None]):
            if value == " " and route.name in {"log_in", "log_in_browser", "change_password", "request_email_change"}:
                continue  # as anybody's password might have been
            # Python writes a half of a surrogate pair as an escape.
            yield field.encode_name, json.dumps({**good, field.encode_name: value}).encode()
        if field.required:
            yield field.encode_name, json.dumps({k: v for k, v in good.items() if k != field.encode_name}).encode()


def test_nothing_that_is_small_takes_long() -> None:
    """What is wrong with a body of 64 KiB is found in one pass over it."""
    bodies = [content for _, _, content, _, _ in BROKEN if len(content) <= 65_536]
    bodies += [b"[" + b"1," * 32_000 + b"1]", b'["' + b"\\u0041" * 10_000 + b'"]', b"[]" * 32_000, b'"' * 65_536]
    for content in bodies:
        began = time.thread_time()  # of this thread alone, whatever else the machine does
        with suppress(Invalid):
            parse(content)
        assert time.thread_time() - began < 0.25, content[:40]


async def target(service: Service) -> dict[str, str]:
    user = await service.register("target@example.org")
    role = await service.client.post("/api/roles", headers=await service.admin(), json={"name": "editor"})
    machine = await service.client.post("/api/machines", headers=await service.admin(), json={"name": "target"})
    path = f"/api/machines/{machine.json()['id']}/keys"
    key = await service.client.post(path, headers=await service.admin(), json={"name": "a key"})
    return {
        "user_id": user["id"],
        "role_id": role.json()["id"],
        "machine_id": machine.json()["id"],
        "key_id": key.json()["key"]["id"],
        "name": "editor",
    }


@pytest.mark.parametrize("route", WITH_BODY, ids=lambda route: route.name)
async def test_broken_bodies(each_service: Service, route: Route) -> None:
    path, headers = route.path(**await target(each_service)), await each_service.admin()
    before = await each_service.written()
    for name, extra, content, status, slug in BROKEN:
        if route.operation.body_optional and name == "nothing at all":
            continue
        answer = await each_service.client.request(route.method, path, headers={**headers, **extra}, content=content)
        told = assert_problem(answer, status)
        assert told["type"] == f"/problems/{slug}", name
        assert (status == 415) == ("accept" in answer.headers)
    assert await each_service.written() == before


@pytest.mark.parametrize("route", WITH_BODY, ids=lambda route: route.name)
async def test_mistyped_fields(each_service: Service, route: Route) -> None:
    path, headers = route.path(**await target(each_service)), await each_service.admin()
    before = await each_service.written()
    for field, content in mistyped(route):
        answer = await each_service.client.request(route.method, path, headers={**headers, **JSON}, content=content)
        if route.name == "refresh_session" and answer.status_code == 401:
            continue  # text that is no refresh token of ours is not logged in
        told = assert_problem(answer, 400)
        if route.name in WITHOUT_LINK and told["type"] == "/problems/invalid-token":
            continue  # the token is looked at before the password
        assert told["type"] in {"/problems/invalid-input", "/problems/weak-password"}, content
        assert [flaw["pointer"].split("/")[1] for flaw in told["errors"]] == [field], (content[:200], told)
        assert len(answer.content) < 1000  # nothing that was sent comes back
    assert await each_service.written() == before


@pytest.mark.parametrize("route", WITH_BODY, ids=lambda route: route.name)
async def test_a_good_body_is_taken(service: Service, route: Route) -> None:
    """What the tests above break is whole."""
    path, headers = route.path(**await target(service)), await service.admin()
    answer = await service.client.request(route.method, path, headers=headers, json=GOOD_BODIES[route.name])
    assert answer.status_code == (WITHOUT_LINK.get(route.name) or route.operation.status), answer.text


async def test_a_body_without_a_length_is_counted(service: Service) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b" " * 1024

    answer = await service.client.post("/api/auth/login", headers=JSON, content=endless())
    assert_problem(answer, 413)
    assert sent <= 9 * 1024, "some of it is thrown away, so that the client comes to read the answer, and not more"


async def test_a_body_longer_than_it_says_is_counted(service: Service) -> None:
    answer = await service.client.post(
        "/api/auth/login", headers={**JSON, "content-length": "2"}, content=b" " * 70_000
    )
    assert_problem(answer, 413)


@pytest.mark.parametrize("length", ["99999999999999999999999999", "65537", "000065537"])
async def test_a_body_that_says_it_is_too_long_is_believed(service: Service, length: str) -> None:
    headers = {**JSON, "content-length": length}
    assert_problem(await service.client.post("/api/auth/login", headers=headers, content=b"{}"), 413)


@pytest.mark.parametrize("content_type", ["application/json;charset=UTF-8", 'APPLICATION/JSON ; charset="utf-8"'])
async def test_media_types_are_read_as_the_standard_has_them(service: Service, content_type: str) -> None:
    answer = await service.client.post(
        "/api/auth/login", headers={"content-type": content_type}, content=b'{"email": "a@example.org"}'
    )
    assert assert_problem(answer, 400)["errors"] == [{"pointer": "/password", "detail": "is required"}]


async def test_merge_patch_is_for_patch_alone(service: Service) -> None:
    headers = {**await service.admin(), "content-type": "application/merge-patch+json"}
    me = (await service.client.get("/api/users/me", headers=headers)).json()
    path = f"/api/users/{me['id']}"
    assert (await service.client.patch(path, headers=headers, content=b'{"full_name": "A"}')).status_code == 200
    refused = await service.client.put(path, headers=headers, content=b'{"full_name": "A"}')
    assert_problem(refused, 415)
    assert refused.headers["accept"] == "application/json"


BODYLESS = [route for route in ROUTES if route.operation.body is None]


@pytest.mark.parametrize("route", BODYLESS, ids=lambda route: route.name)
async def test_a_body_that_nobody_asked_for_is_bounded_and_ignored(service: Service, route: Route) -> None:
    path, headers = route.target(**await target(service)), await service.admin()
    large = await service.client.request(route.method, path, headers=headers, content=b"x" * 70_000)
    assert_problem(large, 413)
    small = await service.client.request(route.method, path, headers=headers, content=b"\xff{")
    expected = WITHOUT_LINK.get(route.name) or route.operation.status
    assert small.status_code in {expected, 404, 409}  # the admin stays, and 0 is nobody's session


QUERIES = [
    ("unknown", "x=1"),
    ("unknown, without a value", "x"),
    ("empty", "&"),
    ("an unknown name in disguise", "%00=1"),
    ("not UTF-8", "limit=%ff"),
    ("a broken escape", "limit=%zz"),
    ("half a surrogate pair", "limit=%ed%a0%80"),
    ("twice", "limit=1&limit=1"),
    ("NUL", "cursor=%00"),
    ("no limit", "limit="),
    ("a limit of 0", "limit=0"),
    ("a limit of 201", "limit=201"),
    ("a negative limit", "limit=-1"),
    ("a signed limit", "limit=%2B1"),
    ("a fraction", "limit=1.0"),
    ("other digits", "limit=%D9%A1"),
    ("a huge limit", "limit=" + "9" * 400),
    ("no cursor", "cursor="),
    ("a made-up cursor", "cursor=AAAA"),
    ("not base64", "cursor=%E2%82%AC"),
    ("a long cursor", "cursor=" + "A" * 5000),
]
_VERIFIER = GOOD_QUERIES["follow_revocations"]
_NO_IDS = [
    "",
    "me",
    "01926e5c7b0e4f3a9c550d2f6f1c8a10",
    "%7B01926e5c-7b0e-4f3a-9c55-0d2f6f1c8a10%7D",
    "urn:uuid:01926e5c-7b0e-4f3a-9c55-0d2f6f1c8a10",
    "01926e5c-7b0e-4f3a-9c55-0d2f6f1c8a10%20",
]
OTHER_QUERIES = {
    "follow_revocations": [
        "",
        "since=1",
        *(f"verifier={id}" for id in _NO_IDS),
        f"{_VERIFIER}&since=",
        f"{_VERIFIER}&since=-1",
        f"{_VERIFIER}&since=1.0",
        f"{_VERIFIER}&since={2**63}",
        f"{_VERIFIER}&since={10**30}",
        f"{_VERIFIER}&since=2030-01-01T00:00:00Z",
        f"{_VERIFIER}&wait=301",
        f"{_VERIFIER}&wait=-1",
        f"{_VERIFIER}&wait=0.1",
        f"{_VERIFIER}&epoch=%00",
        f"{_VERIFIER}&limit=1",
    ],
    "stop_following_revocations": ["", *(f"verifier={id}" for id in _NO_IDS), f"{_VERIFIER}&since=1"],
    "list_users": ["role=", "role=Admin", "role=null%00", "status=gone", "status=", "sort=name", "sort=--email", "q="],
    "list_logs": [
        "level=debug",
        *(f"actor_id={id}" for id in _NO_IDS),
        "since=yesterday",
        "since=2030-01-01",
        "since=2030-01-01T00:00:00",
        "since=0001-01-01T00:00:00%2B23:59",
        "until=9999-12-31T23:59:59-23:59",
        "until=1893456000",
        "action=%00",
        "target_id=%1F",
        "request_id=%1F",
        "session_id=x",
    ],
}


@pytest.mark.parametrize(
    "route",
    [route for route in ROUTES if route.operation.strict and not route.operation.form],
    ids=lambda route: route.name,
)
async def test_bad_queries(service: Service, route: Route) -> None:
    path, headers = route.path(**await target(service)), await service.admin()
    body = route.sent()
    before = await service.written()
    for _, query in [*QUERIES, *(("", query) for query in OTHER_QUERIES.get(route.name, ()))]:
        answer = await service.client.request(route.method, f"{path}?{query}", headers=headers, **body)
        told = assert_problem(answer, 400)
        assert told["type"] in {"/problems/invalid-input", "/problems/invalid-cursor"}, query
        assert told["instance"] == path
    assert await service.written() == before


async def test_a_long_query_is_refused(service: Service) -> None:
    answer = await service.client.get("/api/users?cursor=" + "A" * 9000, headers=await service.admin())
    assert assert_problem(answer, 414)["type"] == "/problems/uri-too-long"


WRONG_IDS = [
    "0",
    "me%20",
    "not-an-id",
    "00000000-0000-0000-0000-000000000000",
    "01926e5c7b0e7f3a9c550d2f6f1c8a10",
    "%7B01926e5c-7b0e-7f3a-9c55-0d2f6f1c8a10%7D",
    "urn:uuid:01926e5c-7b0e-7f3a-9c55-0d2f6f1c8a10",
    "%00",
    "%FF",
    "%F0%9F%92%A9",
    "..%2Fme",
    "'%20or%201=1--",
    "x" * 4000,
]


@pytest.mark.parametrize("route", [route for route in ROUTES if "_id}" in route.template], ids=lambda route: route.name)
async def test_wrong_ids(each_service: Service, route: Route) -> None:
    await target(each_service)
    headers = await each_service.admin()
    before = await each_service.written()
    body = route.sent()
    name = route.template.partition("{")[2].partition("}")[0]
    for wrong in WRONG_IDS:
        path = route.path(**{name: wrong})
        answer = await each_service.client.request(route.method, path, headers=headers, **body)
        assert_problem(answer, 404)
    assert await each_service.written() == before


@pytest.mark.parametrize("name", ["Admin", "%00", "%FF", "%F0%9F%92%A9", "x" * 51, "%20editor", "1"])
async def test_wrong_role_names(service: Service, name: str) -> None:
    ids, headers = await target(service), await service.admin()
    for method in ("PUT", "DELETE"):
        path = f"/api/users/{ids['user_id']}/roles/{name}"
        assert_problem(await service.client.request(method, path, headers=headers), 400)
