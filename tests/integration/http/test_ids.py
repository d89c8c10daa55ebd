"""Ids in requests: any case, and one answer to texts that are not ids."""

from __future__ import annotations

import pytest

from tests.integration.http.kit import UNKNOWN, Service, assert_problem, bearer
from tests.integration.http.routes import IDS, SIGNED_IN, Route

WITH_ID = [route for route in SIGNED_IN if "_id}" in route.template]


def ids(value: str) -> dict[str, str]:
    return dict.fromkeys(IDS, value)


@pytest.mark.parametrize("route", WITH_ID, ids=lambda route: route.name)
async def test_a_text_that_is_not_an_id_is_answered_as_an_unknown_id(service: Service, route: Route) -> None:
    admin = await service.admin()
    await service.register("plain@example.org")
    plain = bearer(await service.logged_in("plain@example.org"))
    body = route.sent()
    for headers in (admin, plain):
        told = []
        for each in (UNKNOWN, UNKNOWN.upper(), "0", "me-too", UNKNOWN.replace("-", ""), UNKNOWN[:-1] + "\uff45"):
            answer = await service.client.request(route.method, route.path(**ids(each)), headers=headers, **body)
            problem = assert_problem(answer, 403, 404)
            told.append((answer.status_code, problem["type"], problem["detail"]))
        assert len(set(told)) == 1


async def test_an_id_in_capitals_names_the_same(each_service: Service) -> None:
    client = each_service.client
    admin = await each_service.admin()
    user = await each_service.register("ada@example.org")
    tokens = await each_service.logged_in("ada@example.org")
    path = f"/api/users/{user['id'].upper()}"
    assert (await client.get(path, headers=admin)).json()["id"] == user["id"]
    assert (await client.put(f"{path}/roles/admin", headers=admin)).status_code == 204
    assert (await client.delete(f"{path}/roles/admin", headers=admin)).status_code == 204
    role = (await client.get("/api/roles", headers=admin)).json()["items"][0]
    assert (await client.get(f"/api/roles/{role['id'].upper()}", headers=admin)).json() == role
    listed = (await client.get(f"/api/logs?target_id={user['id'].upper()}", headers=admin)).json()["items"]
    assert {entry["target"]["id"] for entry in listed} == {user["id"]}
    by = (await client.get(f"/api/logs?actor_id={user['id'].upper()}", headers=admin)).json()["items"]
    assert {entry["actor_id"] for entry in by} == {user["id"]}
    session = f"/api/auth/sessions/{tokens['session_id'].upper()}"
    assert (await client.delete(session, headers=bearer(tokens))).status_code == 204
    assert_problem(await client.get("/api/users/me", headers=bearer(tokens)), 401)


async def test_the_log_shows_a_searched_id_in_lower_case(service: Service) -> None:
    admin = await service.admin()
    await service.client.get(f"/api/logs?target_id={UNKNOWN.upper()}", headers=admin)
    entry = (await service.client.get("/api/logs?action=log.read", headers=admin)).json()["items"][0]
    assert entry["data"]["filters"]["target_id"] == UNKNOWN
