"""A grant that ends, seen by those who call: with a token that lives on, and without any job."""

from datetime import timedelta

import pytest

from tests.integration.http.kit import ADMIN, Service, assert_problem, bearer

pytestmark = pytest.mark.anyio


async def test_a_live_token_may_no_more_from_the_very_moment(each_service: Service) -> None:
    service = each_service
    assert service.clock is not None
    user = await service.register("somebody@example.org")
    somebody = bearer(await service.logged_in("somebody@example.org"))  # before the grant, so it outlives it
    admin, own = await service.admin(), f"/api/users/{user['id']}"
    terms = {"expires_at": (service.clock() + timedelta(seconds=90)).isoformat()}
    assert (await service.client.put(f"{own}/roles/admin", json=terms, headers=admin)).status_code == 204
    plain = await service.client.get(own, headers=somebody)
    assert plain.json()["roles"] == ["admin", "user"]
    service.clock.move(seconds=90, microseconds=-1)
    for path in ("/api/users", "/api/roles", "/api/logs", "/api/users?role=admin"):
        assert (await service.client.get(path, headers=somebody)).status_code == 200
    service.clock.move(microseconds=1)
    for path in ("/api/users", "/api/roles", "/api/logs", "/api/users?role=admin"):
        assert_problem(await service.client.get(path, headers=somebody), 403)
    assert_problem(await service.client.post("/api/roles", json={"name": "mine"}, headers=somebody), 403)
    me = await service.client.get("/api/users/me", headers=somebody)
    assert (me.status_code, me.json()["roles"]) == (200, ["user"])
    assert me.headers["etag"] != plain.headers["etag"]
    roles = await service.client.get(f"{own}/roles", headers=somebody)
    assert [item["role"] for item in roles.json()["items"]] == ["user"]
    admins = await service.client.get("/api/users?role=admin", headers=admin)
    assert [item["email"] for item in admins.json()["items"]] == [ADMIN]
    stale = {"if-match": plain.headers["etag"]}
    assert_problem(await service.client.patch(own, json={"full_name": "X"}, headers=somebody | stale), 412)


@pytest.mark.parametrize("other", ["nobody", "ends", "disabled"])
async def test_the_last_administrator_gets_no_end(service: Service, other: str) -> None:
    assert service.clock is not None
    admin = await service.logged_in(ADMIN)
    headers, end = bearer(admin), (service.clock() + timedelta(days=1)).isoformat()
    if other != "nobody":
        user = await service.register("other@example.org")
        path, terms = f"/api/users/{user['id']}", {"expires_at": end} if other == "ends" else {}
        assert (await service.client.put(f"{path}/roles/admin", json=terms, headers=headers)).status_code == 204
        if other == "disabled":
            disabled = await service.client.patch(path, json={"status": "disabled"}, headers=headers)
            assert disabled.status_code == 200
    own = f"/api/users/{admin['user']['id']}/roles/admin"
    told = assert_problem(await service.client.put(own, json={"expires_at": end}, headers=headers), 409)
    assert told["type"] == "/problems/last-admin"


@pytest.mark.parametrize("seconds", [-3600, 0, 59])
async def test_an_end_that_is_too_near_is_refused(service: Service, seconds: int) -> None:
    assert service.clock is not None
    user, admin = await service.register("somebody@example.org"), await service.admin()
    terms = {"expires_at": (service.clock() + timedelta(seconds=seconds)).isoformat()}
    answer = await service.client.put(f"/api/users/{user['id']}/roles/admin", json=terms, headers=admin)
    assert [flaw["pointer"] for flaw in assert_problem(answer, 400)["errors"]] == ["/expires_at"]
