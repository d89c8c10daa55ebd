"""Which of two mistakes is told first: 404 and 405 of the route, 413 and 415, 401, 400, 403, 404, 412, 409."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.http.kit import ADMIN, PASSWORD, UNKNOWN, Service, assert_problem, bearer
from tests.integration.http.routes import BY_NAME, IDS, SIGNED_IN, WITH_BODY, Route

LARGE, BROKEN = b"x" * 70_000, b"{"
JSON = {"content-type": "application/json"}
FORGED = {"authorization": "Bearer forged"}


async def told(service: Service, route: Route, path: str, headers: dict[str, str], content: bytes) -> int:
    answer = await service.client.request(route.method, path, headers=headers, content=content)
    assert_problem(answer, answer.status_code)
    return answer.status_code


@pytest.mark.parametrize("route", WITH_BODY, ids=lambda route: route.name)
async def test_route_then_size_and_type_then_token_then_body(service: Service, route: Route) -> None:
    path = route.path()
    everything_wrong = {"content-type": "text/plain", **FORGED}
    assert await told(service, route, f"{path}/more/of/it?x=1", everything_wrong, LARGE) == 404
    other = await service.client.request("TRACE", path, headers=everything_wrong, content=LARGE)
    assert_problem(other, 405)
    assert await told(service, route, f"{path}?x=1", everything_wrong, LARGE) == 413
    assert await told(service, route, f"{path}?x=1", everything_wrong, BROKEN) == 415
    expected = 400 if route.operation.public else 401
    assert await told(service, route, f"{path}?x=1", {**JSON, **FORGED}, BROKEN) == expected
    assert await told(service, route, f"{path}?x=1", JSON, BROKEN) == expected


@pytest.mark.parametrize("route", SIGNED_IN, ids=lambda route: route.name)
async def test_token_then_query_then_permission(service: Service, route: Route) -> None:
    await service.register("plain@example.org")
    plain = bearer(await service.logged_in("plain@example.org"))
    path = route.path(**dict.fromkeys(IDS, UNKNOWN))
    body = route.sent()
    for headers, query, status in (({}, "?x=1", 401), (FORGED, "?x=1", 401), (plain, "?x=1", 400)):
        answer = await service.client.request(route.method, path + query, headers=headers, **body)
        assert_problem(answer, status)
    if "{" in route.template:
        # Neither is told whether it exists.
        answer = await service.client.request(route.method, path, headers=plain, **body)
        assert_problem(answer, 403)


@pytest.mark.parametrize("name", ["update_user", "patch_user", "delete_user", "update_role", "delete_role"])
async def test_body_then_permission_then_thing_then_revision_then_state(service: Service, name: str) -> None:
    route = BY_NAME[name]
    tokens = await service.logged_in(ADMIN)
    admin = bearer(tokens)
    await service.register("plain@example.org")
    plain = bearer(await service.logged_in("plain@example.org"))
    roles = (await service.client.get("/api/roles", headers=admin)).json()["items"]
    # What the present state stands against, for each route.
    there = {"user_id": tokens["user"]["id"], "role_id": next(role["id"] for role in roles if role["name"] == "admin")}
    against: dict[str, Any] = {"update_role": {"name": "boss"}}.get(name, {"status": "disabled"})
    broken = {"full_name": 1}
    stale, malformed = {"if-match": '"0"'}, {"if-match": "0"}

    async def status(who: dict[str, str], ids: dict[str, str], body: Any, **headers: str) -> int:
        sent = {} if route.operation.body is None else {"json": body}
        answer = await service.client.request(
            route.method,
            route.path(**ids),
            headers={**who, **headers},
            **sent,
        )
        assert_problem(answer, answer.status_code)
        return answer.status_code

    unknown = dict.fromkeys(there, UNKNOWN)
    if route.operation.body is not None:
        assert await status(plain, unknown, broken, **stale) == 400
    assert await status(plain, unknown, against, **malformed) == 400
    assert await status(plain, unknown, against, **stale) == 403
    assert await status(admin, unknown, against, **stale) == 404
    assert await status(admin, unknown, against, **{"if-match": "*"}) == 404
    assert await status(admin, there, against, **stale) == 412
    assert await status(admin, there, against) == 409


TAGGED = [route for route in SIGNED_IN if route.operation.tagged and route.method == "GET"]


@pytest.mark.parametrize("route", TAGGED, ids=lambda route: route.name)
async def test_token_then_tag_then_permission_then_thing(service: Service, route: Route) -> None:
    await service.register("plain@example.org")
    plain, admin = bearer(await service.logged_in("plain@example.org")), await service.admin()
    path = route.path(user_id=UNKNOWN, role_id=UNKNOWN)
    malformed, good = {"if-none-match": "0"}, {"if-none-match": '"0"'}
    assert await told(service, route, path, {**FORGED, **malformed}, b"") == 401
    for who in (plain, admin):
        assert await told(service, route, path, {**who, **malformed}, b"") == 400
    if "{" in route.template:
        assert await told(service, route, path, {**plain, **good}, b"") == 403
        assert await told(service, route, path, {**admin, **good}, b"") == 404


async def test_a_token_on_a_public_route_is_ignored(service: Service) -> None:
    answer = await service.client.post("/api/auth/login", headers=FORGED, json={"email": ADMIN, "password": PASSWORD})
    assert answer.status_code == 200
    wrong = await service.client.post("/api/auth/login", headers=FORGED, json={"email": ADMIN, "password": "wrong"})
    assert wrong.headers["www-authenticate"] == "Bearer"
