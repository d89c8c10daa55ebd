"""`Idempotency-Key`: a call that is tried again is answered with the same bytes, and done once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tests.integration.http.kit import (
    ADMIN,
    PASSWORD,
    Service,
    assert_problem,
    bearer,
    database_settings,
    in_process,
)
from tests.integration.http.routes import BY_NAME, GOOD_BODIES, ROUTES
from tests.support.plugin import NewDatabase
from tests.support.values import replace
from ubr.bootstrap import connect
from ubr.entrypoints.http.app import create_app
from ubr.entrypoints.http.openapi.document import described
from ubr.settings import Settings
from ubr.testing import MovableClock

KEYED = ["register_user", "create_user", "create_role"]
KEY = "8c9a2b1e-1f9d-4a53-9d55-5d8f0d2f6f1c"
of_each = pytest.mark.parametrize("name", KEYED)


def body(name: str) -> dict[str, Any]:
    return {key: value for key, value in GOOD_BODIES[name].items() if key != "roles"}


async def call(
    service: Service, name: str, key: str | None = KEY, who: dict[str, str] | None = None, **more: Any
) -> Any:
    headers = {} if BY_NAME[name].operation.public else who or await service.admin()
    if key is not None:
        headers["idempotency-key"] = key
    return await service.client.post(BY_NAME[name].path(), headers=headers, json={**body(name), **more})


def said(answer: httpx.Response) -> Any:
    """All of an answer that is about what was done."""
    kept = {name: value for name, value in answer.headers.items() if name != "x-request-id"}
    return answer.status_code, kept, answer.content


def test_these_routes_take_a_key() -> None:
    assert [route.name for route in ROUTES if route.operation.keyed] == KEYED


@of_each
async def test_the_same_bytes_at_the_same_place(service: Service, name: str) -> None:
    first = await call(service, name)
    assert first.status_code == 201
    assert {"etag", "location"} <= set(first.headers)
    before = await service.written()
    for _ in range(2):
        assert said(await call(service, name)) == said(first)
    changed = [entry for entry in (await service.written())[0] if entry not in before[0]]
    assert {action for action, _ in changed} <= {"session.opened"}, "nobody but the administrator did anything"


async def test_20_at_once_are_answered_alike(service: Service) -> None:
    answers = await asyncio.gather(*(call(service, "register_user") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1


@pytest.mark.system
async def test_20_at_once_are_answered_alike_by_two_workers_on_postgresql(new_database: NewDatabase) -> None:
    settings = replace(database_settings(new_database()), secret_keys=(bytes(32),))
    async with in_process(settings) as one, running_beside(settings) as other:
        answers = await asyncio.gather(*(call((one, other)[at % 2], "register_user") for at in range(20)))
        assert {answer.status_code for answer in answers} == {201}
        assert len({(answer.content, answer.headers["location"], answer.headers["etag"]) for answer in answers}) == 1
        written, *_ = await one.written()
        assert [action for action, _ in written].count("user.registered") == 1


@asynccontextmanager
async def running_beside(settings: Settings) -> AsyncIterator[Service]:
    """Another worker, once there is one."""
    async with connect(settings, clock=MovableClock()) as ubr:
        transport = httpx.ASGITransport(create_app(ubr), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://ubr.test") as client:
            yield Service(client, ubr)


@of_each
async def test_another_body_is_refused(service: Service, name: str) -> None:
    await call(service, name)
    changed: Any = {"description": "Other"} if name == "create_role" else {"full_name": "Other"}
    answer = await call(service, name, **changed)
    told = assert_problem(answer, 422)
    assert told["type"] == "/problems/idempotency-key-reused"
    assert told["detail"] == told["title"]


@of_each
async def test_fields_in_another_order_are_the_same_body(service: Service, name: str) -> None:
    first = await call(service, name)
    headers = {**(await service.admin()), "idempotency-key": KEY}
    if BY_NAME[name].operation.public:
        del headers["authorization"]
    turned = dict(reversed(body(name).items()))
    answer = await service.client.post(BY_NAME[name].path(), headers=headers, json=turned)
    assert said(answer) == said(first)


async def test_quotes_are_part_of_the_key(service: Service) -> None:
    first = await call(service, "create_role", f'"{KEY}"')
    assert first.status_code == 201
    assert said(await call(service, "create_role", f'"{KEY}"')) == said(first)
    assert_problem(await call(service, "create_role", KEY), 409)


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "é", "a\tb", "\x7f"])
async def test_an_invalid_key_is_reported(service: Service, key: str) -> None:
    headers = [(b"idempotency-key", key.encode("latin-1"))]
    answer = await service.client.post("/api/auth/register", headers=headers, json=body("register_user"))
    told = assert_problem(answer, 400)
    assert told["type"] == "/problems/invalid-input"
    assert "idempotency key" in told["detail"]
    await service.register("new@example.org")


async def test_two_keys_are_none(service: Service) -> None:
    headers = [("idempotency-key", "a"), ("idempotency-key", "b")]
    answer = await service.client.post("/api/auth/register", headers=headers, json=body("register_user"))
    assert "more than one" in assert_problem(answer, 400)["detail"]


@pytest.mark.parametrize("name", ["create_user", "create_role"])
async def test_authorization_comes_first(service: Service, name: str) -> None:
    await call(service, name)
    await service.register("reader@example.org")
    reader = bearer(await service.logged_in("reader@example.org"))
    assert_problem(await call(service, name, who=reader), 403)
    assert_problem(await call(service, name, who={"authorization": "Bearer x"}), 401)
    assert_problem(await call(service, name, "no key", who={"authorization": "Bearer x"}), 401)


async def test_whose_session_has_ended_hears_nothing_of_it(service: Service) -> None:
    admin = await service.admin()
    await call(service, "create_role", who=admin)
    await service.client.post("/api/auth/logout", headers=admin)
    assert_problem(await call(service, "create_role", who=admin), 401)


async def test_a_route_that_issues_tokens_ignores_the_key(service: Service) -> None:
    tokens = [
        (
            await service.client.post(
                "/api/auth/login", headers={"idempotency-key": key}, json={"email": ADMIN, "password": PASSWORD}
            )
        ).json()
        for key in (KEY, KEY, "not a key")
    ]
    assert len({each["refresh_token"] for each in tokens}) == 3


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if route.operation.described], ids=lambda route: route.name
)
def test_it_is_described_where_it_is_taken(route: Any) -> None:
    told = described()["paths"][route.template][route.method.lower()]
    names = [each["name"] for each in told.get("parameters", ()) if each["in"] == "header"]
    assert ("Idempotency-Key" in names) == (route.name in KEYED)
    assert ("422" in told["responses"]) == (route.name in KEYED)
