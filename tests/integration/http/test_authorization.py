"""Who may do what: every route, for everyone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.http.kit import PASSWORD, Service, assert_problem, bearer
from tests.integration.http.routes import BY_NAME, GOOD_BODIES, ROUTES, SIGNED_IN, WITHOUT_LINK

# What is done is done to the user "target", to their session, or to the role "editor", which holds nothing. For each
# route: the permissions it needs when done to another, or None where anyone may; and whether the target may, to itself.
ANYONE: list[str] = []
RIGHTS: dict[str, tuple[list[str] | None, bool]] = {
    "register_user": (None, True),
    "log_in": (None, True),
    "log_in_browser": (None, True),
    "issue_access_token": (None, True),
    "refresh_session": (None, True),
    "log_out": (ANYONE, True),
    "change_password": (ANYONE, True),
    "request_password_reset": (None, True),
    "reset_password": (None, True),
    "request_email_change": (ANYONE, True),
    "verify_email": (None, True),
    "resend_verification": (None, True),
    "undo_email_change": (None, True),
    "list_own_sessions": (ANYONE, True),
    "revoke_other_sessions": (ANYONE, True),
    "revoke_session": (["sessions:revoke"], True),
    "follow_revocations": (["revocations:read"], False),
    "stop_following_revocations": (["revocations:read"], False),
    "list_users": (["users:read"], False),
    "create_user": (["users:write", "roles:assign"], False),
    "get_me": (ANYONE, True),
    "get_user": (["users:read"], True),
    "update_user": (["users:write"], False),
    "patch_user": (["users:write"], False),
    "delete_user": (["users:delete"], True),
    "erase_user": (["users:erase"], False),
    "unlock_user": (["users:write"], False),
    "explain_login": (["users:read", "logs:read"], False),
    "explain_user_login": (["users:read", "logs:read"], False),
    "export_user": (["users:read", "sessions:read", "logs:read"], True),
    "list_sessions": (["sessions:read"], True),
    "revoke_user_sessions": (["sessions:revoke"], True),
    "list_user_roles": (["users:read"], True),
    "assign_role": (["roles:assign"], False),
    "unassign_role": (["roles:assign"], False),
    "list_roles": (["roles:read"], False),
    "get_role": (["roles:read"], False),
    "create_role": (["roles:write"], False),
    "update_role": (["roles:write"], False),
    "delete_role": (["roles:write"], False),
    "log_in_machine": (None, True),
    "list_machines": (["machines:read"], False),
    "create_machine": (["machines:write", "roles:assign"], False),
    "get_machine": (["machines:read"], False),
    "update_machine": (["machines:write"], False),
    "delete_machine": (["machines:write"], False),
    "list_machine_keys": (["machines:read"], False),
    "create_machine_key": (["machines:write"], False),
    "rotate_machine_key": (["machines:write"], False),
    "revoke_machine_key": (["machines:write"], False),
    "list_logs": (["logs:read"], False),
    "get_checkpoint": (["logs:read"], False),
    "prove_log_entry": (["logs:read"], False),
    "get_public_keys": (None, True),
    "check_liveness": (None, True),
    "check_readiness": (None, True),
    "get_openapi": (None, True),
    "get_root": (None, True),
    "get_docs": (None, True),
    "get_docs_asset": (None, True),
    "list_problems": (None, True),
    "get_problem": (None, True),
}
ALL_PERMISSIONS = {
    "users:read",
    "users:write",
    "users:delete",
    "users:erase",
    "roles:read",
    "roles:write",
    "roles:assign",
    "sessions:read",
    "sessions:revoke",
    "logs:read",
    "revocations:read",
    "machines:read",
    "machines:write",
    "metrics:read",
}
# A role may hold only what its maker does, so that this body suits everyone.
BODIES: dict[str, Any] = {
    **GOOD_BODIES,
    "create_role": {"name": "writer"},
    "update_role": {"name": "writer"},
    "log_in": {"email": "target@example.org", "password": PASSWORD},
}


def test_every_route_is_listed() -> None:
    # Its answer to others is that of an unknown path: see test_metrics.py.
    assert {*RIGHTS, "get_metrics"} == {route.name for route in ROUTES}
    assert {name for name, (needed, _) in RIGHTS.items() if needed is not None} == {route.name for route in SIGNED_IN}


class World:
    """A target, a role, and somebody who asks."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.ids: dict[str, str] = {}

    async def made(self) -> World:
        user = await self.service.register("target@example.org")
        self.admin = await self.service.admin()
        role = await self.service.client.post("/api/roles", headers=self.admin, json={"name": "editor"})
        machine = await self.service.client.post("/api/machines", headers=self.admin, json={"name": "machine"})
        keys = f"/api/machines/{machine.json()['id']}/keys"
        key = await self.service.client.post(keys, headers=self.admin, json={"name": "a key"})
        self.target = await self.service.logged_in("target@example.org")
        entries = (await self.service.client.get("/api/logs", headers=self.admin)).json()["items"]
        self.ids = {
            "user_id": user["id"],
            "role_id": role.json()["id"],
            "session_id": self.target["session_id"],
            "entry_id": entries[0]["id"],
            "machine_id": machine.json()["id"],
            "key_id": key.json()["key"]["id"],
        }
        return self

    async def holder(self, permissions: list[str]) -> dict[str, str]:
        """Somebody who holds these permissions and no other."""
        user = await self.service.register("holder@example.org")
        role = {"name": "holding", "permissions": permissions}
        assert (await self.service.client.post("/api/roles", headers=self.admin, json=role)).status_code == 201
        path = f"/api/users/{user['id']}/roles/holding"
        assert (await self.service.client.put(path, headers=self.admin)).status_code == 204
        return bearer(await self.service.logged_in("holder@example.org"))

    async def status(self, name: str, headers: dict[str, str]) -> int:
        route = BY_NAME[name]
        sent = route.sent(BODIES.get(name))
        answer = await self.service.client.request(
            route.method,
            route.target(**self.ids),
            headers=headers,
            **sent,
        )
        if answer.status_code >= 400 and not route.operation.form:
            assert_problem(answer, answer.status_code)
        return answer.status_code


def success(name: str) -> int:
    """What a route answers to whom it lets do it. No token in a body here is a good one."""
    return WITHOUT_LINK.get(name) or BY_NAME[name].operation.status


@pytest.fixture
async def world(service: Service) -> World:
    return await World(service).made()


@pytest.mark.parametrize("name", RIGHTS)
async def test_stranger(world: World, name: str) -> None:
    expected = success(name) if RIGHTS[name][0] is None else 401
    assert await world.status(name, {}) == expected
    if RIGHTS[name][0] is not None:
        assert await world.status(name, {"authorization": "Bearer forged"}) == 401


@pytest.mark.parametrize("name", RIGHTS)
async def test_plain_user(world: World, name: str) -> None:
    plain = await world.holder([])
    assert await world.status(name, plain) == (403 if RIGHTS[name][0] else success(name))


@pytest.mark.parametrize("name", RIGHTS)
async def test_the_target_itself(world: World, name: str) -> None:
    _, may = RIGHTS[name]
    assert await world.status(name, bearer(world.target)) == (success(name) if may else 403)


@pytest.mark.parametrize("name", RIGHTS)
async def test_holder_of_what_is_needed(world: World, name: str) -> None:
    holder = await world.holder(RIGHTS[name][0] or [])
    assert await world.status(name, holder) == success(name)


EACH = [(name, permission) for name, (needed, _) in RIGHTS.items() for permission in needed or ()]


@pytest.mark.parametrize(("name", "missing"), EACH)
async def test_holder_of_everything_else(world: World, name: str, missing: str) -> None:
    holder = await world.holder(sorted(ALL_PERMISSIONS - {missing}))
    assert await world.status(name, holder) == 403


@pytest.mark.parametrize("name", RIGHTS)
async def test_admin(world: World, name: str) -> None:
    assert await world.status(name, world.admin) == success(name)


async def test_oneself_may_change_the_full_name_alone(world: World) -> None:
    path, headers = f"/api/users/{world.ids['user_id']}", bearer(world.target)
    for method in ("PUT", "PATCH"):
        for body, status in (
            ({"full_name": "Me"}, 200),
            ({"full_name": None}, 200),
            ({}, 200),
            ({"email": "other@example.org"}, 403),
            ({"status": "active"}, 403),
            ({"full_name": "Me", "status": "disabled"}, 403),
        ):
            answer = await world.service.client.request(method, path, headers=headers, json=body)
            assert answer.status_code == status, body


STRONGER = [
    ("PUT", "/api/users/{admin}", {"email": "mine@example.org"}),
    ("PATCH", "/api/users/{admin}", {"status": "disabled"}),
    ("DELETE", "/api/users/{admin}", None),
    ("PUT", "/api/users/{admin}/roles/editor", None),
    ("DELETE", "/api/users/{admin}/roles/admin", None),
    ("POST", "/api/users/{admin}/unlock", None),
    ("POST", "/api/users/{admin}/erase", None),
    ("PUT", "/api/users/{self}/roles/admin", None),
    ("PUT", "/api/users/{target}/roles/admin", None),
    ("POST", "/api/users", {"email": "new@example.org", "roles": ["admin"]}),
    ("POST", "/api/roles", {"name": "all", "permissions": ["*"]}),
    ("PUT", "/api/roles/{role}", {"permissions": ["*"]}),
]


@pytest.mark.parametrize(("method", "path", "body"), STRONGER, ids=range(len(STRONGER)))
async def test_nobody_rises(world: World, method: str, path: str, body: Any) -> None:
    """Every permission by name is still less than `*`."""
    holder = await world.holder(sorted(ALL_PERMISSIONS))
    me = (await world.service.client.get("/api/users/me", headers=holder)).json()["id"]
    admin = (await world.service.client.get("/api/users/me", headers=world.admin)).json()["id"]
    ids = {"admin": admin, "self": me, "target": world.ids["user_id"], "role": world.ids["role_id"]}
    before = await world.service.written()
    sent = {} if body is None else {"json": body}
    answer = await world.service.client.request(method, path.format(**ids), headers=holder, **sent)
    assert assert_problem(answer, 403)["type"] == "/problems/grant-exceeds-own"
    assert await world.service.written() == before
    newest = (await world.service.client.get("/api/logs?action=act.refused", headers=world.admin)).json()["items"][0]
    assert newest["data"]["problem"] == "grant-exceeds-own"


async def test_a_change_of_the_role_user_applies_to_everyone_at_once(each_service: Service) -> None:
    client, admin = each_service.client, await each_service.admin()
    roles = (await client.get("/api/roles", headers=admin)).json()["items"]
    everyone = next(f"/api/roles/{role['id']}" for role in roles if role["name"] == "user")

    async def members(*names: str) -> list[dict[str, str]]:
        for name in names:
            await each_service.register(f"{name}@example.org")
        return [bearer(await each_service.logged_in(f"{name}@example.org")) for name in names]

    async def change(*permissions: str) -> None:
        changed = await client.put(everyone, headers=admin, json={"permissions": permissions})
        assert (changed.status_code, changed.json()["permissions"]) == (200, list(permissions))

    async def statuses() -> set[int]:
        return {(await client.get("/api/users", headers=headers)).status_code for headers in present}

    present = await members("ada", "bob")
    assert await statuses() == {403}
    await change("users:read")
    assert await statuses() == {200}
    present += await members("cyd")
    assert await statuses() == {200}
    await change()
    assert await statuses() == {403}
