"""Entity tags and cursors."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.integration.http.kit import ADMIN, Service, assert_problem, bearer, following
from ubr.domain.errors import Invalid
from ubr.entrypoints.http.conditional import if_match, none_match


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ([], None),
        (["*"], None),
        ([" * "], None),
        (['"1"'], ("1",)),
        (['"1", "2"'], ("1", "2")),
        (['"1","2"'], ("1", "2")),
        (['"1"', '"2"'], ("1", "2")),
        ([', "1" ,, "2" ,'], ("1", "2")),
        (['W/"1"'], ("1",)),
        (['W/"1", "2"'], ("1", "2")),
        (['"1-gzip"', 'W/"2-br"', '"3-zstd"'], ("1", "2", "3")),
        (['"1-other"', '"-gzip-1"'], ("1-other", "-gzip-1")),
        (['""'], ("",)),
        (['"a,b"'], ("a,b",)),
        (['"*"'], ("*",)),
    ],
)
def test_if_match(sent: list[str], expected: tuple[str, ...] | None) -> None:
    assert if_match({b"if-match": [each.encode() for each in sent]} if sent else {}) == expected


LONG = '"' + "x" * 5000 + '"'


@pytest.mark.parametrize(
    "sent", ["", "1", '"1', '1"', '"1" "2"', '*, "1"', '"1", *', 'w/"1"', '"a b"', '"\x01"', ",", LONG]
)
def test_malformed_if_match(sent: str) -> None:
    with pytest.raises(Invalid):
        if_match({b"if-match": [sent.encode()]})


@pytest.mark.parametrize(
    ("sent", "send"),
    [(None, True), ("*", False), ('"1"', False), ('W/"1"', False), ('"2"', True), ('"2", "1"', False)],
)
def test_none_match(sent: str | None, send: bool) -> None:
    assert none_match({} if sent is None else {b"if-none-match": [sent.encode()]}, "1") is send


async def test_a_user_changes_its_tag_with_its_roles(each_service: Service) -> None:
    client, headers = each_service.client, await each_service.admin()
    user = await each_service.register("ada@example.org")
    path = f"/api/users/{user['id']}"
    tags = [(await client.get(path, headers=headers)).headers["etag"]]

    async def step(method: str, where: str, body: Any = None) -> None:
        sent = {} if body is None else {"json": body}
        answer = await client.request(method, where, headers=headers, **sent)
        assert answer.status_code < 300, answer.text
        tags.append((await client.get(path, headers=headers)).headers["etag"])

    role = (await client.post("/api/roles", headers=headers, json={"name": "editor"})).json()
    await step("PUT", f"{path}/roles/editor")
    await step("PUT", f"/api/roles/{role['id']}", {"name": "writer"})
    await step("PATCH", path, {"full_name": "Ada"})
    await step("DELETE", f"/api/roles/{role['id']}")
    assert len(set(tags)) == 5
    await step("PATCH", path, {"full_name": "Ada"})
    assert tags[-1] == tags[-2], "nothing changed"


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_the_second_of_two_writers_gets_a_conflict(each_service: Service, method: str) -> None:
    client, headers = each_service.client, await each_service.admin()
    user = await each_service.register("ada@example.org")
    path = f"/api/users/{user['id']}"
    read = (await client.get(path, headers=headers)).headers["etag"]
    sent: Any = {} if method == "DELETE" else {"json": {"full_name": "Second"}}
    first = await client.patch(path, headers={**headers, "if-match": read}, json={"full_name": "First"})
    assert first.status_code == 200

    for stale in (read, f"W/{read}", f'{read[:-1]}-gzip"', '"nothing", "else"'):
        refused = await client.request(method, path, headers={**headers, "if-match": stale}, **sent)
        assert assert_problem(refused, 412)["type"] == "/problems/precondition-failed"
    assert (await client.get(path, headers=headers)).json()["full_name"] == "First"
    several = f'"nothing", {first.headers["etag"]}'
    taken = await client.request(method, path, headers={**headers, "if-match": several}, **sent)
    assert taken.status_code in {200, 204}


@pytest.mark.parametrize("form", ["W/{}", "{}-gzip", "W/{}-br"])
async def test_a_tag_that_a_compressing_proxy_changed_still_matches(service: Service, form: str) -> None:
    headers = await service.admin()
    tag = (await service.client.get("/api/users/me", headers=headers)).headers["etag"]
    weak, _, suffix = form.partition("{}")
    sent = f'{weak}{tag[:-1]}{suffix}"'
    me = (await service.client.get("/api/users/me", headers=headers)).json()["id"]
    for name, status in (("First", 200), ("Second", 412)):
        answer = await service.client.patch(
            f"/api/users/{me}", headers={**headers, "if-match": sent}, json={"full_name": name}
        )
        assert answer.status_code == status


async def test_a_revision_that_the_client_has_is_not_sent_again(service: Service) -> None:
    headers = await service.admin()
    roles = (await service.client.get("/api/roles", headers=headers)).json()["items"]
    for path in ("/api/users/me", f"/api/roles/{roles[0]['id']}", "/.well-known/jwks.json", "/api/openapi.json"):
        read = await service.client.get(path, headers=headers)
        again = await service.client.get(path, headers={**headers, "if-none-match": read.headers["etag"]})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", read.headers["etag"])
        assert "content-type" not in again.headers
        changed = await service.client.get(path, headers={**headers, "if-none-match": '"other"'})
        assert (changed.status_code, changed.content) == (200, read.content)
        malformed = await service.client.get(path, headers={**headers, "if-none-match": "other"})
        assert_problem(malformed, 400)


# --- cursors ---------------------------------------------------------------------------------------------------------


async def cursor_of(service: Service, path: str, headers: dict[str, str]) -> str:
    cursor = (await service.client.get(path, headers=headers)).json()["next_cursor"]
    assert isinstance(cursor, str)
    return cursor


async def refused(service: Service, path: str, headers: dict[str, str]) -> None:
    told = assert_problem(await service.client.get(path, headers=headers), 400)
    assert told["type"] == "/problems/invalid-cursor", path


async def test_a_cursor_is_bound_to_its_list(each_service: Service) -> None:
    headers = await each_service.admin()
    for name in ("ada", "bob", "cyd"):
        await each_service.register(f"{name}@example.org")
    other = bearer(await each_service.logged_in("ada@example.org"))
    await each_service.logged_in("ada@example.org")
    me = (await each_service.client.get("/api/users/me", headers=headers)).json()["id"]
    await each_service.admin()
    lists = [
        "/api/users?limit=1",
        "/api/users?limit=1&sort=-created_at",
        "/api/users?limit=1&sort=email",
        "/api/users?limit=1&sort=-email",
        "/api/users?limit=1&role=user",
        "/api/users?limit=1&status=active",
        "/api/roles?limit=1",
        "/api/logs?limit=1",
        "/api/logs?limit=1&level=info",
        "/api/logs?limit=1&since=2001-01-01T00:00:00Z",
        f"/api/users/{me}/sessions?limit=1",
        f"/api/users/{me}/roles?limit=1",
    ]
    cursors = {path: await cursor_of(each_service, path, headers) for path in lists}
    for path in lists:
        for origin, cursor in cursors.items():
            if origin == path:
                answer = await each_service.client.get(f"{path}&cursor={cursor}", headers=headers)
                assert answer.status_code == 200
            else:
                await refused(each_service, f"{path}&cursor={cursor}", headers)
    mine = cursors[f"/api/users/{me}/sessions?limit=1"]
    await refused(each_service, f"/api/auth/sessions?limit=1&cursor={mine}", other)
    # The size of a page is no part of what a cursor belongs to.
    mine = cursors["/api/users?limit=1"]
    larger = await each_service.client.get(f"/api/users?limit=2&cursor={mine}", headers=headers)
    assert larger.status_code == 200


async def test_a_cursor_is_tamper_proof(service: Service) -> None:
    headers = await service.admin()
    await service.register("ada@example.org")
    cursor = await cursor_of(service, "/api/users?limit=1", headers)
    raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    for bit in range(len(raw) * 8):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        forged = base64.urlsafe_b64encode(flipped).rstrip(b"=").decode()
        await refused(service, f"/api/users?limit=1&cursor={forged}", headers)
    for forged in (cursor[:-1], cursor[1:], cursor + "A", cursor * 2, cursor.upper(), cursor + "%3D", "A" * 60):
        await refused(service, f"/api/users?limit=1&cursor={forged}", headers)


async def test_a_cursor_of_another_installation_is_nothing(service: Service) -> None:
    headers = await service.admin()
    await service.register("ada@example.org")
    cursor = await cursor_of(service, "/api/users?limit=1", headers)
    assert service.ubr is not None
    message = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))[32:]
    forged = base64.urlsafe_b64encode(bytes(32) + message).rstrip(b"=").decode()
    await refused(service, f"/api/users?limit=1&cursor={forged}", headers)


async def test_a_walk_meets_everything_once(each_service: Service) -> None:
    headers = await each_service.admin()
    for number in range(11):
        await each_service.register(f"user{number:02}@example.org")
    for sort in ("created_at", "-created_at", "email", "-email"):
        url, met = f"/api/users?limit=3&sort={sort}", []
        while url:
            answer = await each_service.client.get(url, headers=headers)
            met += [user["email"] for user in answer.json()["items"]]
            url = following(answer)
        assert len(met) == len(set(met)) == 12
        ordered = sorted([ADMIN, *(f"user{number:02}@example.org" for number in range(11))])
        assert met == (ordered[::-1] if sort.startswith("-") else ordered)
