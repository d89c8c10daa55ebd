"""The token endpoint as an OAuth client sees it, and the routes of machines and keys."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest

from tests.integration.http.kit import ID, TIME, UNKNOWN, Service, assert_problem, bearer

PATH = "/api/auth/token"
GRANT = {"grant_type": "client_credentials"}
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
async def admin(service: Service) -> dict[str, str]:
    return await service.admin()


async def made(service: Service, admin: dict[str, str], **key: Any) -> dict[str, Any]:
    """A machine that may read users and roles, and a key of it."""
    role = {"name": "reader", "permissions": ["users:read", "roles:read"]}
    assert (await service.client.post("/api/roles", json=role, headers=admin)).status_code in {201, 409}
    body = {"name": f"report{len(key)}", "roles": ["reader"]}
    machine = await service.client.post("/api/machines", json=body, headers=admin)
    assert machine.status_code == 201, machine.text
    path = f"/api/machines/{machine.json()['id']}/keys"
    answer = await service.client.post(path, json={"name": "production", **key}, headers=admin)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def basic(id: str, secret: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{id}:{secret}".encode()).decode()}


def assert_refused(answer: httpx.Response, status: int, error: str, slug: str) -> None:
    """An error as RFC 6749 (5.2) has it, which is a problem too."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    assert (told["error"], told["type"], told["status"]) == (error, f"/problems/{slug}", status)
    assert told["error_description"].isascii()
    assert not set('"\\') & set(told["error_description"])
    assert {"title", "detail", "instance", "request_id"} <= set(told)
    if status == 401:
        assert answer.headers["www-authenticate"] == 'Basic realm="ubr", charset="UTF-8"'


async def test_a_key_is_exchanged_in_each_way_of_the_standard(service: Service, admin: dict[str, str]) -> None:
    key = await made(service, admin)
    id, secret = key["client_id"], key["client_secret"]
    ways: list[dict[str, Any]] = [
        {"data": GRANT, "headers": basic(id, secret)},
        {"data": {**GRANT, "client_id": id}, "headers": basic(id, secret)},
        {"data": {**GRANT, "client_id": id, "client_secret": secret}},
        {"data": {**GRANT, "client_secret": secret}},
        {"data": {**GRANT, "client_secret": secret, "scope": "", "resource": "https://a.example"}},
        {
            "content": f"grant_type=client_credentials&client_secret={secret}",
            "headers": {"content-type": f"{FORM}; charset=UTF-8"},
        },
    ]
    for way in ways:
        answer = await service.client.post(PATH, **way)
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store"
        token = answer.json()
        assert list(token) == ["access_token", "token_type", "expires_in", "scope"]
        assert (token["token_type"], token["expires_in"], token["scope"]) == ("Bearer", 600, "roles:read users:read")
        users = await service.client.get("/api/users", headers=bearer(token))
        assert users.status_code == 200
        assert {user["kind"] for user in users.json()["items"]} == {"person", "machine"}


async def test_a_scope_is_granted_or_refused(service: Service, admin: dict[str, str]) -> None:
    key = await made(service, admin, scope=["users:read"])
    form = {**GRANT, "client_secret": key["client_secret"]}
    narrow = await service.client.post(PATH, data={**form, "scope": "users:read"})
    assert narrow.json()["scope"] == "users:read"
    assert (await service.client.get("/api/roles", headers=bearer(narrow.json()))).status_code == 403
    for scope in ("roles:read", "users:read roles:read", "no scope", "*"):
        answer = await service.client.post(PATH, data={**form, "scope": scope})
        assert_refused(answer, 400, "invalid_scope", "invalid-scope")


async def test_wrong_credentials_all_get_the_same_answer(service: Service, admin: dict[str, str]) -> None:
    key = await made(service, admin)
    id, secret = key["client_id"], key["client_secret"]
    other = await made(service, admin, scope=[])
    path = f"/api/machines/{other['client_id']}/keys/{other['key']['id']}"
    assert (await service.client.delete(path, headers=admin)).status_code == 204
    wrong: list[dict[str, Any]] = [
        {"data": {**GRANT, "client_secret": "secret"}},
        {"data": {**GRANT, "client_secret": secret[:-1] + "~"}},
        {"data": {**GRANT, "client_secret": other["client_secret"]}},
        {"data": {**GRANT, "client_secret": secret, "client_id": UNKNOWN}},
        {"data": {**GRANT, "client_secret": secret, "client_id": other["client_id"]}},
        {"data": GRANT, "headers": basic(UNKNOWN, secret)},
        {"data": GRANT, "headers": basic("", secret)},
        {"data": GRANT, "headers": basic(id, "")},
        {"data": GRANT, "headers": basic(secret, id)},
        {"data": GRANT, "headers": {"authorization": "Basic !"}},
        {"data": GRANT, "headers": {"authorization": "Basic " + base64.b64encode(b"no colon").decode()}},
        {"data": GRANT, "headers": {"authorization": f"Bearer {secret}"}},
    ]
    bodies = []
    for way in wrong:
        answer = await service.client.post(PATH, **way)
        assert_refused(answer, 401, "invalid_client", "invalid-client")
        bodies.append({name: value for name, value in answer.json().items() if name != "request_id"})
    assert all(body == bodies[0] for body in bodies)
    assert_refused(await service.client.post(PATH, data=GRANT), 401, "invalid_client", "invalid-client")


async def test_a_malformed_request_says_what_is_wrong(service: Service, admin: dict[str, str]) -> None:
    key = await made(service, admin)
    secret = key["client_secret"]
    form = {**GRANT, "client_secret": secret}
    for bad in (
        {"client_secret": secret},
        {"grant_type": "", "client_secret": secret},
    ):
        assert_refused(await service.client.post(PATH, data=bad), 400, "invalid_request", "invalid-input")
    both = await service.client.post(PATH, data=form, headers=basic(key["client_id"], secret))
    assert_refused(both, 400, "invalid_request", "invalid-input")
    other = await service.client.post(
        PATH, data={**GRANT, "client_id": UNKNOWN}, headers=basic(key["client_id"], secret)
    )
    assert_refused(other, 400, "invalid_request", "invalid-input")
    for content in (
        f"grant_type=client_credentials&client_secret={secret}&scope=a&scope=b",
        "grant_type=%ZZ",
        "grant_type=%ff",
        "é",
    ):
        raw = await service.client.post(PATH, content=content.encode(), headers={"content-type": FORM})
        assert_refused(raw, 400, "invalid_request", "invalid-input")
    for grant in ("password", "authorization_code", "refresh_token", "CLIENT_CREDENTIALS"):
        answer = await service.client.post(PATH, data={**form, "grant_type": grant})
        assert_refused(answer, 400, "unsupported_grant_type", "unsupported-grant-type")


async def test_a_key_in_a_url_or_in_json_is_not_accepted(service: Service, admin: dict[str, str]) -> None:
    form = {**GRANT, "client_secret": (await made(service, admin))["client_secret"]}
    in_url = await service.client.post(PATH, params=form, headers={"content-type": FORM})
    assert_refused(in_url, 400, "invalid_request", "invalid-input")
    partly = await service.client.post(PATH, params={"scope": "users:read"}, data=form)
    assert_refused(partly, 400, "invalid_request", "invalid-input")
    assert_problem(await service.client.post(PATH, json=form), 415)
    assert_problem(await service.client.post(PATH, content=b"", headers={"content-type": "text/plain"}), 415)
    assert_problem(await service.client.get(PATH, params=form), 405)


async def test_a_key_is_no_access_token(service: Service, admin: dict[str, str]) -> None:
    secret = (await made(service, admin))["client_secret"]
    answer = await service.client.get("/api/users/me", headers={"authorization": f"Bearer {secret}"})
    assert_problem(answer, 401)


async def test_a_machine_and_its_keys_over_http(service: Service, admin: dict[str, str]) -> None:
    client = service.client
    body = {"name": "report", "description": "Of the night"}
    created = await client.post("/api/machines", json=body, headers=admin)
    machine = created.json()
    assert created.status_code == 201
    assert created.headers["location"] == f"machines/{machine['id']}"
    assert machine == {
        "id": ID,
        **body,
        "status": "active",
        "roles": ["user"],
        "created_at": TIME,
        "updated_at": TIME,
    }
    path = f"/api/machines/{machine['id']}"
    assert_problem(await client.post("/api/machines", json=body, headers=admin), 409)
    assert (await client.get(path, headers=admin)).json() == machine
    assert (await client.get("/api/machines", headers=admin)).json() == {"items": [machine], "next_cursor": None}
    etag = created.headers["etag"]
    assert (await client.get(path, headers={**admin, "if-none-match": etag})).status_code == 304
    changed = await client.patch(path, json={"description": None}, headers={**admin, "if-match": etag})
    assert (changed.status_code, changed.json()["description"]) == (200, None)
    assert_problem(await client.patch(path, json={"status": "disabled"}, headers={**admin, "if-match": etag}), 412)

    end = "2031-01-01T00:00:00Z"
    key = await client.post(f"{path}/keys", json={"name": "k", "scope": [], "expires_at": end}, headers=admin)
    assert key.status_code == 201
    assert key.headers["cache-control"] == "no-store"
    shown = key.json()["key"]
    assert shown == {
        "id": ID,
        "name": "k",
        "scope": [],
        "created_at": TIME,
        "expires_at": end,
        "revoked_at": None,
        "last_used_at": None,
    }
    its_path = f"{path}/keys/{shown['id']}"
    successor = await client.post(f"{its_path}/rotate", headers=admin)
    assert successor.status_code == 201, successor.text
    listed = (await client.get(f"{path}/keys", headers=admin)).json()["items"]
    assert [each["id"] for each in listed] == [successor.json()["key"]["id"], shown["id"]]
    assert listed[1]["expires_at"] < end
    assert (await client.delete(its_path, headers=admin)).status_code == 204
    assert (await client.delete(its_path, headers=admin)).status_code == 204
    assert_problem(await client.post(f"{its_path}/rotate", json={"overlap": 0}, headers=admin), 409)
    assert_problem(await client.delete(f"{path}/keys/{UNKNOWN}", headers=admin), 404)

    user_path = f"/api/users/{machine['id']}"
    assert_problem(await client.patch(user_path, json={"full_name": "x"}, headers=admin), 409)
    assert_problem(await client.delete(user_path, headers=admin), 409)
    assert (await client.put(f"{user_path}/roles/admin", json={}, headers=admin)).status_code == 204
    assert (await client.delete(path, headers=admin)).status_code == 204
    assert_problem(await client.get(path, headers=admin), 404)


async def test_no_text_of_a_key_is_in_the_audit_log_or_in_an_export(service: Service, admin: dict[str, str]) -> None:
    key = await made(service, admin)
    form = {**GRANT, "client_secret": key["client_secret"]}
    await service.client.post(PATH, data=form)
    await service.client.post(PATH, data={**form, "scope": "*"})
    log = (await service.client.get("/api/logs", params={"limit": 200}, headers=admin)).text
    export = await service.client.get(f"/api/users/{key['client_id']}/export", headers=admin)
    assert export.status_code == 200, export.text
    assert "machine.token_refused" in log
    assert key["key"]["id"] in log
    for text in (log, export.text):
        assert key["client_secret"] not in text
        assert key["client_secret"][29:72] not in text
