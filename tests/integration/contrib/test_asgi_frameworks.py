"""A program with each ASGI framework knows its users, over the library and over tokens of another process."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import jsonschema
import pytest
from litestar import Litestar
from starlette.requests import HTTPConnection

from tests.integration.contrib.services import FRAMEWORKS, running
from tests.integration.http.kit import PASSWORD, Service, bearer, in_process, memory_settings, problem
from tests.integration.verifier.kit import Way, make_follower, make_verifier
from ubr import SYSTEM, AssignRoleCommand, CreateRoleCommand, ListLogsCommand, RevokeUserSessionsCommand, errors
from ubr.application.kernel.origin import Origin, current_origin
from ubr.contrib.asgi import Origins
from ubr.contrib.auth import Library, Tokens
from ubr.contrib.litestar import LitestarAuth
from ubr.contrib.starlette import StarletteAuth
from ubr.testing import Double

READER = "reader@example.org"


@dataclass
class Program:
    """A program, a client of it, and the service whose users it has."""

    app: Any
    auth: Any
    client: httpx.AsyncClient
    users: Service

    async def reader(self) -> dict[str, str]:
        """The header of a logged-in user without permissions."""
        await self.users.register(READER)
        return bearer(await self.users.logged_in(READER))

    async def editor(self) -> dict[str, str]:
        """The header of a logged-in user who may edit notes."""
        user = await self.users.register("editor@example.org")
        assert self.users.ubr is not None
        await self.users.ubr.create_role(CreateRoleCommand(name="editor", permissions=["notes:edit"]), actor=SYSTEM)
        await self.users.ubr.assign_role(AssignRoleCommand(user_id=UUID(user["id"]), role="editor"), actor=SYSTEM)
        return bearer(await self.users.logged_in("editor@example.org"))


@pytest.fixture(params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=["library", "tokens"])
async def program(framework: str, request: pytest.FixtureRequest) -> AsyncIterator[Program]:
    async with AsyncExitStack() as stack:
        users = await stack.enter_async_context(in_process(memory_settings(permissions=("notes:edit",))))
        assert users.ubr is not None
        if request.param == "library":
            app, auth = FRAMEWORKS[framework](Library(), mounted=True)
            stack.enter_context(auth.using(users.ubr))
        else:
            verifier = make_verifier(users, Way(users), await make_follower(users.ubr))
            app, auth = FRAMEWORKS[framework](Tokens(verifier), mounted=False)
        await stack.enter_async_context(running(app))
        transport = httpx.ASGITransport(app)
        client = httpx.AsyncClient(transport=transport, base_url="http://notes.example.org")
        yield Program(app, auth, await stack.enter_async_context(client), users)


@pytest.fixture
async def embedded(framework: str) -> AsyncIterator[Program]:
    """With the library alone."""
    async with in_process(memory_settings(permissions=("notes:edit",))) as users:
        app, auth = FRAMEWORKS[framework](Library(), mounted=True)
        assert users.ubr is not None
        transport = httpx.ASGITransport(app)
        with auth.using(users.ubr):
            async with running(app), httpx.AsyncClient(transport=transport, base_url="http://notes.test") as client:
                yield Program(app, auth, client, users)


async def test_a_route_that_needs_a_user(program: Program) -> None:
    reader = await program.reader()
    answer = await program.client.get("/notes", headers=reader)
    assert (answer.status_code, list(answer.json())) == (200, ["reader"])
    assert answer.headers["x-request-id"]
    stranger = await program.client.get("/notes")
    assert stranger.json() == problem(401, "unauthenticated", "/notes")
    assert stranger.headers["www-authenticate"] == "Bearer"
    forged = await program.client.get("/notes", headers={"authorization": "Bearer forged"})
    assert forged.json() == problem(401, "invalid-token", "/notes")
    assert forged.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    for refused in (stranger, forged):
        assert refused.status_code == 401
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.headers["cache-control"] == "no-store"
        assert refused.headers["x-request-id"] == refused.json()["request_id"]


async def test_an_id_that_the_client_gave_is_kept(program: Program) -> None:
    answer = await program.client.get("/notes", headers={"x-request-id": "mine"})
    assert (answer.headers["x-request-id"], answer.json()["request_id"]) == ("mine", "mine")


async def test_two_tokens_in_one_request_are_refused(program: Program) -> None:
    reader = await program.reader()
    twice = [("authorization", reader["authorization"])] * 2
    answer = await program.client.get("/notes", headers=twice)
    assert answer.json() == problem(401, "invalid-token", "/notes")


async def test_a_route_for_everyone(program: Program) -> None:
    assert (await program.client.get("/public")).json() == {"reader": None}
    known = await program.client.get("/public", headers=await program.reader())
    assert known.json()["reader"] is not None
    forged = await program.client.get("/public", headers={"authorization": "Bearer forged"})
    assert forged.json() == problem(401, "invalid-token", "/public")


async def test_a_route_that_needs_a_permission(program: Program) -> None:
    denied = await program.client.post("/notes", headers=await program.reader())
    assert denied.json() == problem(403, "forbidden", "/notes")
    assert "notes:edit" in denied.json()["detail"]
    assert (await program.client.post("/notes")).status_code == 401
    written = await program.client.post("/notes", headers=await program.editor())
    assert (written.status_code, list(written.json())) == (200, ["writer"])


async def test_a_logged_out_user_is_refused_at_once(program: Program) -> None:
    reader = await program.reader()
    assert (await program.client.get("/notes", headers=reader)).status_code == 200
    assert (await program.users.client.post("/api/auth/logout", headers=reader)).status_code == 204
    answer = await program.client.get("/notes", headers=reader)
    assert answer.json() == problem(401, "invalid-token", "/notes")


async def test_the_interface_of_ubr_below_a_path(embedded: Program) -> None:
    client = embedded.client
    reader = {"email": READER, "password": PASSWORD}
    user = await client.post("/users/api/auth/register", json=reader)
    assert (user.status_code, user.headers["x-content-type-options"]) == (201, "nosniff")
    tokens = (await client.post("/users/api/auth/login", json=reader)).json()
    me = await client.get("/users/api/users/me", headers=bearer(tokens))
    assert me.json()["id"] == user.json()["id"]
    assert len(me.headers.get_list("x-request-id")) == 1
    wrong = await client.post("/users/api/auth/login", json={**reader, "password": "another password"})
    assert wrong.json() == problem(401, "invalid-credentials", "/api/auth/login")
    # Further routes were not asked for, nor does another spelling reach one.
    for path in ("/users/api/roles", "/users/api/users", "/users/api/auth/login/", "/users/api/nothing"):
        answer = await client.get(path, headers=bearer(tokens))
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found"), path
    assert (await client.get("/notes", headers=bearer(tokens))).json() == {"reader": user.json()["id"]}


@pytest.mark.parametrize("path", ["/usersapi/users/me", "/users.api/users/me"])
async def test_a_path_that_only_begins_like_the_mount_is_not_below_it(embedded: Program, path: str) -> None:
    reader = await embedded.reader()
    assert (await embedded.client.get("/users/api/users/me", headers=reader)).status_code == 200
    answer = await embedded.client.get(path, headers=reader)
    assert (answer.status_code, bool(answer.headers["x-request-id"])) == (404, True)


async def test_the_interface_of_ubr_at_the_root() -> None:
    auth = LitestarAuth(Library())
    auth.mount("/")
    app: Any = Litestar([], plugins=[auth], openapi_config=None)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://users.test") as client:
        with Double() as double, auth.using(double.ubr):
            answer = await client.get("/api/users/me", headers=double.a_user().headers)
            assert answer.status_code == 200


async def test_the_audit_log_knows_the_client(embedded: Program) -> None:
    ubr = embedded.auth.ubr
    await embedded.client.post(
        "/users/api/auth/register",
        json={"email": READER, "password": PASSWORD},
        headers={"x-request-id": "the-registration"},
    )
    page = await ubr.list_logs(ListLogsCommand(limit=10), actor=SYSTEM)
    [entry] = [entry for entry in page.items if entry.action == "user.registered"]
    assert (entry.ip, entry.request_id) == ("127.0.0.1", "the-registration")


@pytest.mark.parametrize("framework", ["fastapi", "litestar"], indirect=True)
async def test_the_openapi_document_has_the_parts_of_ubr(embedded: Program) -> None:
    path = "/openapi.json" if "/openapi.json" in str(embedded.app.routes) else "/schema/openapi.json"
    document = (await embedded.client.get(path)).json()
    assert document["components"]["securitySchemes"].keys() == {"ubr"}
    read, write = document["paths"]["/notes"]["get"], document["paths"]["/notes"]["post"]
    public = document["paths"]["/public"]["get"]
    assert read["security"] == [{"ubr": []}]
    assert write["security"] == [{"ubr": ["notes:edit"]}]
    assert public["security"] == [{"ubr": []}, {}]
    assert read["responses"].keys() == {"200", "401", "503"}
    assert write["responses"].keys() == {"200", "401", "403", "503"}
    assert write["responses"]["403"]["content"].keys() == {"application/problem+json"}
    assert "WWW-Authenticate" in read["responses"]["401"]["headers"]

    mounted = {path for path in document["paths"] if path.startswith("/users")}
    assert {"/users/api/auth/login", "/users/api/users/me"} <= mounted
    assert "/users/api/users" not in mounted
    assert "/users/api/roles" not in mounted
    assert document["paths"]["/users/api/auth/login"]["post"]["security"] == []
    assert document["paths"]["/users/api/users/me"]["get"]["security"] == [{"ubr": []}]
    for reference in references(document):
        found: Any = document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
    # A real problem has the form that the document describes.
    schema = {"$ref": "#/components/schemas/ProblemDetails", "components": document["components"]}
    jsonschema.validate((await embedded.client.get("/notes")).json(), schema)


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [each for member in value.values() for each in references(member)]
    return [each for member in value for each in references(member)] if isinstance(value, list) else []


@pytest.mark.parametrize("framework", sorted(FRAMEWORKS.keys() - {"litestar"}))  # which mounts before it is made
async def test_the_pages_below_a_path(framework: str) -> None:
    settings = memory_settings(
        service_name="Notes", public_url="https://notes.example.org/id", permissions=("notes:edit",)
    )
    app, auth = FRAMEWORKS[framework](Library(settings), mounted=False)
    auth.mount(app, "/id", routes=["pages"])
    headers = {"accept": "text/html", "origin": "https://notes.example.org", "sec-fetch-site": "same-origin"}
    async with (
        running(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="https://notes.example.org",
            headers=headers,
            follow_redirects=True,
        ) as client,
    ):
        login = await client.get("/id/login")
        assert "Notes" in login.text
        [style] = re.findall(r'<link rel="stylesheet" href="([^"]+)">', login.text)
        assert (await client.get(f"/id/{style}")).headers["content-type"].startswith("text/css")
        account = await client.post("/id/register", data={"email": READER, "password": PASSWORD})
        assert (account.status_code, account.url.path) == (200, "/id/account")
        sessions = await client.get("/id/account/sessions")
        assert "This device" in sessions.text
        out = await client.post("/id/logout")
        assert (out.status_code, out.url.path) == (200, "/id/login")
        assert (await client.get("/id/api/docs")).status_code == 404


def test_a_route_that_does_not_exist_cannot_be_mounted(framework: str) -> None:
    app, auth = FRAMEWORKS[framework](Library(), mounted=False)
    arguments = ["/users"] if framework == "litestar" else [app, "/users"]
    with pytest.raises(ValueError, match="No route has the name passkeys"):
        auth.mount(*arguments, routes=["passkeys"])


async def test_the_source_is_opened_once_and_closed_at_the_end(framework: str) -> None:
    settings = memory_settings(permissions=("notes:edit",))
    app, auth = FRAMEWORKS[framework](Library(settings), mounted=True)
    with pytest.raises(RuntimeError, match="not open"):
        _ = auth.ubr
    async with running(app):
        with pytest.raises(RuntimeError, match="open already"):
            async with auth.running():
                pass
        await auth.ubr.check_health()
    with pytest.raises(RuntimeError, match="not open"):
        _ = auth.ubr


async def test_a_websocket_without_a_user_is_closed() -> None:
    app, auth = FRAMEWORKS["starlette"](Library(), mounted=False)
    sent: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/notes", "headers": [], "query_string": b"", "subprotocols": []}
    with Double() as double, auth.using(double.ubr):
        headers = [(b"authorization", double.a_user().headers["Authorization"].encode())]
        await app(dict(scope), receive, send)
        await app({**scope, "headers": headers}, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close", "websocket.accept", "websocket.close"]
    assert (sent[0]["code"], sent[0]["reason"]) == (1008, "unauthenticated")


async def test_a_request_that_outlasts_its_session_is_refused_from_then_on() -> None:
    auth = StarletteAuth(Library())
    with Double() as double, auth.using(double.ubr):
        user = double.a_user()
        scope = {"type": "websocket", "headers": [(b"authorization", user.headers["Authorization"].encode())]}
        connection = HTTPConnection(scope)
        assert (await auth.actor(connection)).user_id == user.id
        await auth.ubr.revoke_user_sessions(RevokeUserSessionsCommand(user_id=user.id), actor=SYSTEM)
        for dependency in (auth.actor, auth.optional_actor, auth.require("users:read")):
            with pytest.raises(errors.InvalidToken):
                await dependency(connection)


async def test_calls_in_a_websocket_know_its_client() -> None:
    auth = StarletteAuth(Library())
    found: list[Origin] = []

    async def app(_: Any, __: Any, ___: Any) -> None:
        found.append(current_origin())

    scope = {"type": "websocket", "headers": [(b"x-request-id", b"mine")], "client": ("192.0.2.7", 1)}
    with Double() as double, auth.using(double.ubr):
        await Origins(app, auth)(scope, _nothing, _nothing)
    assert (found[0].ip, found[0].request_id) == ("192.0.2.7", "mine")


async def _nothing(*_: Any) -> Any:
    return None


async def test_a_user_of_one_auth_is_none_of_another_one_below_it() -> None:
    outer, inner = StarletteAuth(Library()), StarletteAuth(Library())
    with Double() as double, Double() as other, outer.using(double.ubr), inner.using(other.ubr):
        user = double.a_user()
        connection = HTTPConnection(
            {"type": "http", "headers": [(b"authorization", user.headers["Authorization"].encode())]}
        )
        assert (await outer.actor(connection)).user_id == user.id
        with pytest.raises(errors.InvalidToken):
            await inner.actor(connection)


async def test_a_permission_that_does_not_exist_is_a_mistake_of_the_program(framework: str) -> None:
    _, auth = FRAMEWORKS[framework](Library(), mounted=False)
    with Double() as double, auth.using(double.ubr), pytest.raises(RuntimeError, match="add it to UBR_PERMISSIONS"):
        await auth.check(double.a_user().actor, "notes:edit")


async def test_a_route_with_a_permission_that_does_not_exist_stops_the_start(framework: str) -> None:
    _, auth = FRAMEWORKS[framework](Library(memory_settings()), mounted=False)
    with pytest.raises(RuntimeError, match="notes:edit is not a permission of ubr: add it to UBR_PERMISSIONS"):
        async with auth.running():
            pass
    _, auth = FRAMEWORKS[framework](Library(memory_settings(permissions=("notes:edit",))), mounted=False)
    async with auth.running():
        assert await auth.ubr.permits(SYSTEM, "notes:edit")


async def test_use_cases_of_another_process_are_not_called() -> None:
    async with in_process(memory_settings()) as users:
        await users.register(READER)
        tokens = await users.logged_in(READER)
        verifier = make_verifier(users, Way(users), _no_token, patience=0.1)
        auth = StarletteAuth(Tokens(verifier))
        async with auth.running():
            with pytest.raises(RuntimeError, match="another process"):
                _ = auth.ubr
            # Without credentials it follows nothing, so it decides nothing.
            with pytest.raises(errors.Unavailable, match="cannot be checked"):
                await auth.gate.authenticate(tokens["access_token"])


async def _no_token() -> str:
    return "no token"
