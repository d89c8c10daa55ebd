"""One conversation over every route, with every kind of store: whoever listens cannot tell which one it is."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.integration.http.kit import (
    ADMIN,
    ANOTHER_PASSWORD,
    COUNTED,
    ID,
    PASSWORD,
    TIME,
    UNKNOWN,
    Like,
    Service,
    Talk,
    database_settings,
    following,
    in_a_process,
    in_process,
    memory_settings,
    problem,
    sqlite_settings,
)
from tests.support.service import SECRET_KEY
from ubr.settings import Limit, LoginRateLimit

pytestmark = pytest.mark.system

_MINUTE = timedelta(minutes=1)
USUAL_LIMITS = LoginRateLimit(Limit(10, _MINUTE), Limit(100, _MINUTE))


# A process has SQLite and production PostgreSQL: within this process they say the same.
_IN_PROCESS = [pytest.param(store, marks=pytest.mark.long) for store in ("sqlite", "postgres")]


@pytest.fixture(params=[*_IN_PROCESS, "process", "production"])
def store(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def opened(store: str, tmp_path: Path, request: pytest.FixtureRequest) -> AbstractAsyncContextManager[Service]:
    if store == "process":
        return in_a_process(tmp_path)
    if store == "production":
        return in_a_process(
            tmp_path,
            UBR_DATABASE_URL=request.getfixturevalue("new_database")(migrated=False),
            UBR_REDIS_URL=request.getfixturevalue("clean_redis_url"),
            UBR_SECRET_KEY=SECRET_KEY,
            UBR_MIGRATE="auto",
            UBR_WORKERS="2",
        )
    if store == "postgres":
        url = request.getfixturevalue("new_database")(migrated=False)
        return in_process(database_settings(url, login_rate_limit=USUAL_LIMITS))
    return in_process(sqlite_settings(tmp_path, login_rate_limit=USUAL_LIMITS))


@pytest.fixture(scope="module")
async def expected() -> list[str]:
    """What is said where everything is kept in memory."""
    async with in_process(memory_settings(login_rate_limit=USUAL_LIMITS)) as service:
        talk = await talk_over(service)
        await guess(service)
        return transcript(talk)


@pytest.mark.system(seconds=15)
async def test_conversation(
    store: str, opened: AbstractAsyncContextManager[Service], expected: list[str], tmp_path: Path
) -> None:
    async with opened as service:
        talk = await talk_over(service)
        await guess(service)
    assert transcript(talk) == expected
    if service.process is not None:
        _check_log(service.process.log, talk)


async def talk_over(service: Service) -> Talk:
    talk = Talk(service)
    await converse(talk)
    document = (await service.client.get("/api/openapi.json")).json()
    assert unspoken(talk, document) == set()
    for line in talk.lines:
        assert_as_described(line, document)
    return talk


async def guess(service: Service) -> None:
    """Of 12 guesses at once 10 are looked at, and the right password is one too many. Each answer tells the limits of
    the client, and none that of the account. How long there is to wait depends on the clock.
    """
    path, body = "/api/auth/login", {"email": "guessed@example.org", "password": ANOTHER_PASSWORD}
    answers = await asyncio.gather(*(service.client.post(path, json=body) for _ in range(12)))
    assert sorted(answer.status_code for answer in answers) == [401] * 10 + [429] * 2
    for answer in answers:
        assert answer.headers["ratelimit-policy"] == '"login-ip";q=100;w=60'
        assert re.fullmatch(r'"login-ip";r=\d\d;t=\d+', answer.headers["ratelimit"])
        if answer.status_code == 429:
            assert answer.json() == problem(429, "rate-limited", path)
            assert 0 < int(answer.headers["retry-after"]) <= 60
    others = await service.client.post(path, json={"email": ADMIN, "password": PASSWORD})
    assert others.status_code == 200


def transcript(talk: Talk) -> list[str]:
    """All that was said. A real clock never stands where the test's does: that a time was told is enough."""
    return [re.sub(r"<time \d+>", "<time>", json.dumps(line, ensure_ascii=False)) for line in talk.lines]


def _check_log(log: str, talk: Talk) -> None:
    """A line for each request, as JSON, that says nothing it should not."""
    lines = [json.loads(line) for line in log.splitlines()]
    told = {line["request_id"]: line for line in lines if line["event"] == "request"}
    for number, said in enumerate(talk.lines):
        line = told[f"line-{number}"]
        assert set(line) - {"cause"} == {"event", "level", "timestamp", "method", "route", "path", "status", "ms"} | {
            "reason",
            "actor_id",
            "session_id",
            "ip",
            "request_id",
            "request_id_given",
        }
        assert line["status"] == said["status"]
    for secret in (PASSWORD, ANOTHER_PASSWORD, "example.org", "cursor", "sort", "eyJ", "ubr_rt_"):
        assert secret.lower() not in log.lower()


def assert_as_described(line: dict[str, Any], document: dict[str, Any]) -> None:
    """What was answered is what the OpenAPI document says is answered."""
    method, _, target = line["request"].partition(" ")
    method, template = _route(method, target.partition("?")[0], document).split(" ")
    described = document["paths"].get(template, {}).get(method.lower())
    if described is None:  # OPTIONS, HEAD, and what there is not
        return
    assert str(line["status"]) in described["responses"], line
    response = described["responses"][str(line["status"])]
    for name, header in response["headers"].items():
        told = document["components"]["headers"][name] if "$ref" in header else header
        assert name.lower() in line["headers"] or not told["required"], (name, line)
        if "const" in told["schema"]:
            assert line["headers"][name.lower()] == told["schema"]["const"], line
    content = response.get("content")
    if content is None:
        assert line["body"] == "", line
        return
    [(media_type, body)] = content.items()
    assert line["headers"]["content-type"].partition(";")[0] == media_type
    if "problem" in media_type:
        assert line["body"]["type"].removeprefix("/problems/") in body["examples"], line
    if "json" in media_type:
        assert_fits(line["body"], body["schema"], document["components"]["schemas"])


def assert_fits(value: Any, schema: dict[str, Any], schemas: dict[str, Any]) -> None:
    """A value is of the shape that a schema gives; answers alone, so that nothing beyond it may be there."""
    schema = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    if "anyOf" in schema:
        [schema] = [part for part in schema["anyOf"] if (part.get("type") == "null") == (value is None)]
        assert_fits(value, schema, schemas)
    elif "enum" in schema:
        assert value in schema["enum"]
    elif schema.get("type") == "object":
        named = schema.get("properties", {})
        rest = schema.get("additionalProperties")
        assert set(schema.get("required", ())) <= set(value)
        assert rest is not None or not named or set(value) <= set(named), (value, named)
        for name, member in value.items():
            assert_fits(member, named.get(name, rest if isinstance(rest, dict) else {}), schemas)
    elif schema.get("type") == "array":
        for item in value:
            assert_fits(item, schema["items"], schemas)
    elif "type" in schema:
        kinds = {"string": str, "integer": int, "boolean": bool, "null": type(None)}
        assert type(value) is kinds[schema["type"]], (value, schema)


def unspoken(talk: Talk, document: dict[str, Any]) -> set[str]:
    """The routes that nobody spoke of."""
    routes = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    return routes - {_route(method, path, document) for method, path in talk.called}


def _route(method: str, path: str, document: dict[str, Any]) -> str:
    patterns = sorted(document["paths"], key=lambda template: "{" in template)  # /users/me is not an id
    for template in patterns:
        if re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path):
            return f"{method} {template}"
    return f"{method} -"


def user(email: str, full_name: str | None, roles: list[str], **other: Any) -> dict[str, Any]:
    return {
        "id": ID,
        "email": email,
        "full_name": full_name,
        "status": "active",
        "email_verified": False,
        "roles": roles,
        "created_at": TIME,
        "updated_at": TIME,
        "kind": "person",
        **other,
    }


def role(name: str, description: str | None, permissions: list[str], **other: Any) -> dict[str, Any]:
    return {
        "id": ID,
        "name": name,
        "description": description,
        "permissions": permissions,
        "built_in": False,
        "created_at": TIME,
        "updated_at": TIME,
        **other,
    }


def tokens(of: dict[str, Any]) -> dict[str, Any]:
    return {
        "access_token": Like(r"[\w-]+\.[\w-]+\.[\w-]+"),
        "token_type": "Bearer",
        "expires_in": 600,
        "refresh_token": Like(r"[\w-]{40,}"),
        "refresh_expires_in": 1209600,
        "session_id": ID,
        "user": of,
    }


_OF_A_PAGE = ("access_token", "token_type", "expires_in", "session_id")


def session(of: dict[str, Any], *, current: bool) -> dict[str, Any]:
    return {
        "id": ID,
        "user_id": of["id"],
        "kind": "tokens",
        "created_at": TIME,
        "last_seen_at": TIME,
        "expires_at": TIME,
        "ip": "127.0.0.1",
        "user_agent": "conversation",
        "current": current,
    }


def page(*items: Any, more: bool = False) -> dict[str, Any]:
    return {"items": list(items), "next_cursor": Like(r"[\w-]{40,}") if more else None}


async def converse(talk: Talk) -> None:
    await _the_service_itself(talk)
    admin = (await talk.say("POST", "/api/auth/login", {"email": ADMIN, "password": PASSWORD})).json()
    assert admin == tokens(user(ADMIN, None, ["admin", "user"]))
    ada = await _signing_up_and_in(talk)
    await _sessions(talk, ada)
    await _a_browser(talk, ada)
    ada = await _passwords(talk, ada)
    await _mail(talk, ada)
    await _failed_logins(talk, admin, ada)
    await _users(talk, admin, ada)
    await _roles(talk, admin, ada)
    await _grants(talk, admin, ada)
    await _verifiers(talk, admin, ada)
    await _machines(talk, admin, ada)
    await _exports(talk, admin, ada)
    await _leaving(talk, admin, ada)
    await _the_log(talk, admin, ada)
    await _what_shows_that_it_is_the_log(talk, admin, ada)


async def _the_service_itself(talk: Talk) -> None:
    for path in ("/health/live", "/health/ready"):
        answer = await talk.say("GET", path)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})

    keys = await talk.say("GET", "/.well-known/jwks.json")
    base64url = Like(r"[\w-]{43}")
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": base64url, "use": "sig", "alg": "EdDSA", "kid": base64url}
    assert keys.json() == {"keys": [jwk]}
    # Its tag is made of the keys, and they are new each time.
    talk.lines[-1]["headers"]["etag"] = "made of the keys"
    assert keys.headers["cache-control"] == "public, max-age=300"

    document = await talk.say("GET", "/api/openapi.json")
    assert document.json()["openapi"] == "3.1.0"
    assert (await talk.say("GET", "/api/openapi.json", if_none_match=document.headers["etag"])).status_code == 304
    docs = await talk.say("GET", "/api/docs")
    assert docs.headers["content-type"] == "text/html; charset=utf-8"
    assert "last-admin" in (await talk.say("GET", "/problems")).text
    assert "last-admin" in (await talk.say("GET", "/problems/last-admin")).text

    nothing = await talk.say("GET", "/api/nothing")
    assert nothing.json() == problem(404, "not-found", "/api/nothing")
    other = await talk.say("PATCH", "/api/auth/login")
    assert other.json() == problem(405, "method-not-allowed", "/api/auth/login")
    assert other.headers["allow"] == "OPTIONS, POST"
    options = await talk.say("OPTIONS", "/api/users")
    assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")
    head = await talk.say("HEAD", "/health/live")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "15")


async def _a_browser(talk: Talk, ada: Any) -> None:
    login = await talk.say("POST", "/api/auth/login/browser", {"email": "ada@example.org", "password": PASSWORD})
    assert login.json() == {"session_id": ID, "expires_in": 1209600, "user": ada["user"]}
    cookie = login.headers["set-cookie"].partition(";")[0]
    me = await talk.say("GET", "/api/users/me", cookie=cookie)
    assert me.json()["id"] == ada["user"]["id"]
    token = await talk.say("POST", "/api/auth/token/browser", cookie=cookie)
    assert token.json() == {name: tokens(ada["user"])[name] for name in _OF_A_PAGE}
    foreign = await talk.say("POST", "/api/auth/logout", cookie=cookie, sec_fetch_site="cross-site")
    assert foreign.json() == problem(403, "cross-origin-request", "/api/auth/logout")
    assert (await talk.say("POST", "/api/auth/logout", cookie=cookie)).status_code == 204
    ended = await talk.say("GET", "/api/users/me", cookie=cookie)
    assert ended.json() == problem(401, "invalid-token", "/api/users/me")


async def _signing_up_and_in(talk: Talk) -> Any:
    wanted = {"email": "Ada@Example.org", "password": PASSWORD, "full_name": " Ada Lovelace "}
    registered = await talk.say("POST", "/api/auth/register", wanted)
    ada = registered.json()
    assert (registered.status_code, ada) == (201, user("Ada@Example.org", "Ada Lovelace", ["user"]))
    assert registered.headers["location"] == f"../users/{ada['id']}"
    assert registered.headers["etag"].startswith('"1-')

    again = await talk.say("POST", "/api/auth/register", {**wanted, "email": "ada@example.ORG"})
    assert again.json() == problem(409, "email-taken", "/api/auth/register")
    weak = await talk.say("POST", "/api/auth/register", {"email": "eve@example.org", "password": "short"})
    assert weak.json() == problem(400, "weak-password", "/api/auth/register", "/password")

    for credentials in (("ada@example.org", "not the right one"), ("nobody@example.org", PASSWORD)):
        refused = await talk.say("POST", "/api/auth/login", dict(zip(("email", "password"), credentials, strict=True)))
        assert refused.json() == problem(401, "invalid-credentials", "/api/auth/login")
        assert refused.headers["www-authenticate"] == "Bearer"

    signed_in = await talk.say("POST", "/api/auth/login", {"email": "ADA@example.org", "password": PASSWORD})
    assert (signed_in.status_code, signed_in.json()) == (200, tokens(ada))
    first = signed_in.json()
    assert first["user"]["id"] == ada["id"]
    me = await talk.say("GET", "/api/users/me", who=first)
    assert (me.status_code, me.json()) == (200, {**ada, "permissions": []})
    assert me.headers["etag"] == registered.headers["etag"]
    assert (await talk.say("GET", "/api/users/me")).json() == problem(401, "unauthenticated", "/api/users/me")

    refreshed = await talk.say("POST", "/api/auth/refresh", {"refresh_token": first["refresh_token"]})
    assert (refreshed.status_code, refreshed.json()) == (200, tokens(ada))
    assert refreshed.json()["session_id"] == first["session_id"]
    retried = await talk.say("POST", "/api/auth/refresh", {"refresh_token": first["refresh_token"]})
    assert retried.json()["refresh_token"] == refreshed.json()["refresh_token"]
    forged = await talk.say("POST", "/api/auth/refresh", {"refresh_token": first["refresh_token"][:-8] + "AAAAAAAA"})
    assert forged.json() == problem(401, "invalid-token", "/api/auth/refresh")
    assert forged.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    return refreshed.json()


async def _sessions(talk: Talk, ada: Any) -> None:
    credentials = {"email": "ada@example.org", "password": PASSWORD}
    second = (await talk.say("POST", "/api/auth/login", credentials)).json()
    third = (await talk.say("POST", "/api/auth/login", credentials)).json()

    listed = await talk.say("GET", "/api/auth/sessions", who=ada)
    here, elsewhere = session(ada["user"], current=True), session(ada["user"], current=False)
    assert (listed.status_code, listed.json()) == (200, page(elsewhere, elsewhere, here))
    assert [each["id"] for each in listed.json()["items"]] == [
        third["session_id"],
        second["session_id"],
        ada["session_id"],
    ]
    part = await talk.say("GET", "/api/auth/sessions?limit=2", who=ada)
    assert part.json() == page(elsewhere, elsewhere, more=True)
    assert part.headers["link"] == (f'<?limit=2&cursor={part.json()["next_cursor"]}>; rel="next"')
    rest = await talk.say("GET", following(part), who=ada)
    assert rest.json() == page(here)

    assert (await talk.say("DELETE", f"/api/auth/sessions/{second['session_id']}", who=ada)).status_code == 204
    assert (await talk.say("DELETE", f"/api/auth/sessions/{second['session_id']}", who=ada)).status_code == 204
    ended = await talk.say("GET", "/api/users/me", who=second)
    assert ended.json() == problem(401, "invalid-token", "/api/users/me")
    unknown = await talk.say("DELETE", f"/api/auth/sessions/{UNKNOWN}", who=ada)
    assert unknown.json() == problem(403, "forbidden", f"/api/auth/sessions/{UNKNOWN}")

    assert (await talk.say("DELETE", "/api/auth/sessions", who=ada)).status_code == 204
    assert (await talk.say("GET", "/api/users/me", who=third)).status_code == 401
    assert (await talk.say("POST", "/api/auth/refresh", {"refresh_token": third["refresh_token"]})).status_code == 401
    assert (await talk.say("GET", "/api/auth/sessions", who=ada)).json() == page(here)

    fourth = (await talk.say("POST", "/api/auth/login", credentials)).json()
    assert (await talk.say("POST", "/api/auth/logout", who=fourth)).status_code == 204
    assert (await talk.say("POST", "/api/auth/logout", who=fourth)).status_code == 401


async def _passwords(talk: Talk, ada: Any) -> Any:
    other = (await talk.say("POST", "/api/auth/login", {"email": "ada@example.org", "password": PASSWORD})).json()
    path = "/api/auth/password"
    wrong = {"current_password": "not the right one", "new_password": ANOTHER_PASSWORD}
    assert (await talk.say("POST", path, wrong, who=ada)).json() == problem(403, "wrong-password", path)
    weak = {"current_password": PASSWORD, "new_password": "short"}
    assert (await talk.say("POST", path, weak, who=ada)).json() == problem(400, "weak-password", path, "/new_password")
    right = {"current_password": PASSWORD, "new_password": ANOTHER_PASSWORD}
    changed = await talk.say("POST", path, right, who=ada)
    assert (changed.status_code, changed.content) == (204, b"")

    assert (await talk.say("GET", "/api/users/me", who=other)).status_code == 401
    assert (await talk.say("GET", "/api/users/me", who=ada)).status_code == 200
    old = await talk.say("POST", "/api/auth/login", {"email": "ada@example.org", "password": PASSWORD})
    assert old.status_code == 401
    new = await talk.say("POST", "/api/auth/login", {"email": "ada@example.org", "password": ANOTHER_PASSWORD})
    assert new.status_code == 200
    return new.json()


async def _mail(talk: Talk, ada: Any) -> None:
    """As far as it goes without a mailbox."""
    for path in ("/api/auth/password/forgot", "/api/auth/email/verify/resend"):
        for email in ("ada@example.org", "nobody@example.org"):
            asked = await talk.say("POST", path, {"email": email})
            assert (asked.status_code, asked.content) == (202, b"")
    path = "/api/auth/email"
    wrong = {"email": "countess@example.org", "current_password": PASSWORD}
    assert (await talk.say("POST", path, wrong, who=ada)).json() == problem(403, "wrong-password", path)
    same = {"email": "ADA@example.org", "current_password": ANOTHER_PASSWORD}
    assert (await talk.say("POST", path, same, who=ada)).json() == problem(400, "invalid-input", path, "/email")
    asked = await talk.say("POST", path, {**same, "email": "countess@example.org"}, who=ada)
    assert (asked.status_code, asked.content) == (202, b"")
    token = {"token": "ubr_link_" + "A" * 43}
    for path, body in (
        ("/api/auth/password/reset", {**token, "new_password": PASSWORD}),
        ("/api/auth/email/verify", {**token, "password": PASSWORD}),
        ("/api/auth/email/undo", token),
    ):
        assert (await talk.say("POST", path, body)).json() == problem(400, "invalid-token", path, "/token")


async def _failed_logins(talk: Talk, admin: Any, ada: Any) -> None:
    email = {"email": "ADA@example.org"}
    by_email = await talk.say("POST", "/api/auth/login/explain", email, who=admin)
    assert by_email.status_code == 200
    told = by_email.json()
    assert (told["email"], told["user"], told["obstacles"]) == (email["email"], ada["user"], [])
    assert told["failed_logins"][0] == {"timestamp": TIME, "reason": "wrong_password", "ip": "127.0.0.1"}
    path = f"/api/users/{ada['user']['id']}/login-explanation"
    by_id = await talk.say("GET", path, who=admin)
    assert {**by_id.json(), "remaining_logins": 0} == {**told, "email": "Ada@Example.org", "remaining_logins": 0}
    # It rises with the time.
    for line in talk.lines[-2:]:
        line["body"]["remaining_logins"] = 0
    nobody = (await talk.say("POST", "/api/auth/login/explain", {"email": "zoe@example.org"}, who=admin)).json()
    assert (nobody["user"], nobody["obstacles"]) == (None, ["no_account"])
    for method, refused, body in (("GET", path, None), ("POST", "/api/auth/login/explain", email)):
        assert (await talk.say(method, refused, body, who=ada)).json() == problem(403, "forbidden", refused)
    unlock = f"/api/users/{ada['user']['id']}/unlock"
    unlocked = await talk.say("POST", unlock, who=admin)
    assert (unlocked.status_code, unlocked.json()) == (200, {"locks": 0})
    assert (await talk.say("POST", unlock, who=ada)).json() == problem(403, "forbidden", unlock)
    nothing = f"/api/users/{UNKNOWN}/unlock"
    assert (await talk.say("POST", nothing, who=admin)).json() == problem(404, "user-not-found", nothing)


async def _users(talk: Talk, admin: Any, ada: Any) -> None:
    grace = await _making_users(talk, admin, ada)
    await _finding_users(talk, admin, ada, grace)
    await _changing_users(talk, admin, ada, grace)


async def _making_users(talk: Talk, admin: Any, ada: Any) -> Any:
    wanted = {"email": "grace@example.org", "password": PASSWORD, "full_name": "Grace Hopper", "roles": []}
    created = await talk.say("POST", "/api/users", wanted, who=admin)
    grace = created.json()
    assert (created.status_code, grace) == (201, user("grace@example.org", "Grace Hopper", ["user"]))
    assert created.headers["location"] == f"users/{grace['id']}"
    assert created.headers["etag"].startswith('"1-')
    bare = await talk.say("POST", "/api/users", {"email": "zoe@example.org"}, who=admin)
    assert bare.json() == user("zoe@example.org", None, ["user"])
    assert (await talk.say("POST", "/api/users", wanted, who=ada)).json() == problem(403, "forbidden", "/api/users")
    taken = await talk.say("POST", "/api/users", wanted, who=admin)
    assert taken.json() == problem(409, "email-taken", "/api/users")
    return grace


async def _finding_users(talk: Talk, admin: Any, ada: Any, grace: Any) -> None:
    by_email = await talk.say("GET", "/api/users?sort=email", who=admin)
    emails = [each["email"] for each in by_email.json()["items"]]
    assert emails == ["Ada@Example.org", ADMIN, "grace@example.org", "zoe@example.org"]
    backwards = await talk.say("GET", "/api/users?sort=-email&limit=3", who=admin)
    assert [each["email"] for each in backwards.json()["items"]] == emails[:0:-1]
    last = await talk.say("GET", following(backwards), who=admin)
    assert [each["email"] for each in last.json()["items"]] == emails[:1]
    newest = await talk.say("GET", "/api/users?sort=-created_at&limit=1&status=active", who=admin)
    assert newest.json() == page(user("zoe@example.org", None, ["user"]), more=True)
    admins = await talk.say("GET", "/api/users?role=admin", who=admin)
    assert [each["email"] for each in admins.json()["items"]] == [ADMIN]
    assert (await talk.say("GET", "/api/users?status=disabled", who=admin)).json() == page()
    assert (await talk.say("GET", "/api/users", who=ada)).json() == problem(403, "forbidden", "/api/users")
    begins = await talk.say("GET", "/api/users?q=GRA&sort=-email&limit=1", who=admin)
    assert begins.json() == page(grace)
    of_two = await talk.say("GET", "/api/users?q=a&role=user&status=active&sort=email&limit=1", who=admin)
    assert [each["email"] for each in of_two.json()["items"]] == emails[:1]
    rest = await talk.say("GET", following(of_two), who=admin)
    assert [each["email"] for each in rest.json()["items"]] == [ADMIN]
    assert (await talk.say("GET", "/api/users?q=%25", who=admin)).json() == page()
    for query, pointer in (
        ("q=", "/q"),
        ("limit=0", "/limit"),
        ("sort=name", "/sort"),
        ("status=gone", "/status"),
        ("x=1", "/x"),
    ):
        bad = await talk.say("GET", f"/api/users?{query}", who=admin)
        assert bad.json() == problem(400, "invalid-input", "/api/users", pointer)


async def _changing_users(talk: Talk, admin: Any, ada: Any, grace: Any) -> None:
    path = f"/api/users/{grace['id']}"
    read = await talk.say("GET", path, who=admin)
    assert (read.status_code, read.json()) == (200, grace)
    assert (await talk.say("GET", path, who=admin, if_none_match=read.headers["etag"])).status_code == 304
    assert (await talk.say("GET", path, who=ada)).json() == problem(403, "forbidden", path)
    nobody = f"/api/users/{UNKNOWN}"
    assert (await talk.say("GET", nobody, who=ada)).json() == problem(403, "forbidden", nobody)
    assert (await talk.say("GET", nobody, who=admin)).json() == problem(404, "user-not-found", nobody)

    changed = await talk.say("PUT", path, {"full_name": None}, who=admin, if_match=read.headers["etag"])
    assert (changed.status_code, changed.json()) == (200, user("grace@example.org", None, ["user"]))
    assert changed.headers["etag"].startswith('"2-')
    stale = await talk.say("PATCH", path, {"full_name": "G."}, who=admin, if_match=read.headers["etag"])
    assert stale.json() == problem(412, "precondition-failed", path)
    patched = await talk.say(
        "PATCH", path, {"email": "hopper@example.org"}, who=admin, content_type="application/merge-patch+json"
    )
    assert patched.json() == user("hopper@example.org", None, ["user"])
    disabled = await talk.say("PUT", path, {"status": "disabled"}, who=admin)
    assert disabled.json() == user("hopper@example.org", None, ["user"], status="disabled")
    shut_out = await talk.say("POST", "/api/auth/login", {"email": "hopper@example.org", "password": PASSWORD})
    assert shut_out.json() == problem(401, "invalid-credentials", "/api/auth/login")
    assert (await talk.say("PATCH", path, {"status": "active"}, who=admin)).json()["status"] == "active"

    own = f"/api/users/{ada['user']['id']}"
    renamed = await talk.say("PATCH", own, {"full_name": "Ada King"}, who=ada)
    assert renamed.json() == user("Ada@Example.org", "Ada King", ["user"])
    reached = await talk.say("PATCH", own, {"status": "disabled"}, who=ada)
    assert reached.json() == problem(403, "forbidden", own)
    top = f"/api/users/{admin['user']['id']}"
    last_one = await talk.say("PUT", top, {"status": "disabled"}, who=admin)
    assert last_one.json() == problem(409, "last-admin", top)

    sessions = await talk.say("GET", f"{own}/sessions", who=admin)
    assert sessions.json()["items"][0] == session(ada["user"], current=False)
    assert (await talk.say("DELETE", f"{nobody}/sessions", who=admin)).status_code == 404
    assert (await talk.say("DELETE", f"{path}/sessions", who=admin)).status_code == 204


async def _roles(talk: Talk, admin: Any, ada: Any) -> None:
    built_in = await talk.say("GET", "/api/roles", who=admin)
    root = role("admin", "May do everything", ["*"], built_in=True)
    everyone = role("user", "Everyone", [], built_in=True)
    assert (built_in.status_code, built_in.json()) == (200, page(root, everyone))

    wanted = {"name": "editor", "description": "Edits", "permissions": ["users:read", "logs:read"]}
    created = await talk.say("POST", "/api/roles", wanted, who=admin)
    assert (created.status_code, created.json()) == (201, role("editor", "Edits", ["logs:read", "users:read"]))
    path = f"/api/roles/{created.json()['id']}"
    assert (created.headers["location"], created.headers["etag"]) == (path.removeprefix("/api/"), '"1"')
    taken = await talk.say("POST", "/api/roles", wanted, who=admin)
    assert taken.json() == problem(409, "role-name-taken", "/api/roles")
    odd = await talk.say("POST", "/api/roles", {"name": "other", "permissions": ["users:read", "x:y"]}, who=admin)
    assert odd.json() == problem(400, "invalid-input", "/api/roles", "/permissions/1")
    assert (await talk.say("POST", "/api/roles", wanted, who=ada)).json() == problem(403, "forbidden", "/api/roles")

    read = await talk.say("GET", path, who=admin)
    assert (read.status_code, read.json(), read.headers["etag"]) == (200, created.json(), '"1"')
    assert (await talk.say("GET", path, who=ada)).json() == problem(403, "forbidden", path)
    nothing = f"/api/roles/{UNKNOWN}"
    assert (await talk.say("GET", nothing, who=admin)).json() == problem(404, "role-not-found", nothing)

    changed = await talk.say("PUT", path, {"description": None}, who=admin, if_match='"1"')
    assert (changed.json(), changed.headers["etag"]) == (role("editor", None, ["logs:read", "users:read"]), '"2"')
    stale = await talk.say("PUT", path, {"name": "writer"}, who=admin, if_match='"1"')
    assert stale.json() == problem(412, "precondition-failed", path)
    fixed = f"/api/roles/{built_in.json()['items'][0]['id']}"
    assert (await talk.say("PUT", fixed, {"name": "boss"}, who=admin)).json() == problem(409, "built-in-role", fixed)
    assert (await talk.say("DELETE", fixed, who=admin)).json() == problem(409, "built-in-role", fixed)

    spare = (await talk.say("POST", "/api/roles", {"name": "spare"}, who=admin)).json()
    assert spare == role("spare", None, [])
    gone = f"/api/roles/{spare['id']}"
    assert (await talk.say("DELETE", gone, who=admin, if_match='"7"')).status_code == 412
    assert (await talk.say("DELETE", gone, who=admin, if_match='"1"')).status_code == 204
    assert (await talk.say("DELETE", gone, who=admin)).json() == problem(404, "role-not-found", gone)


async def _grants(talk: Talk, admin: Any, ada: Any) -> None:
    own = f"/api/users/{ada['user']['id']}"
    path = f"{own}/roles/editor"
    assert (await talk.say("PUT", path, who=ada)).json() == problem(403, "forbidden", path)
    assert (await talk.say("PUT", path, who=admin)).status_code == 204
    assert (await talk.say("PUT", path, {}, who=admin)).status_code == 204
    assert (await talk.say("PUT", path, {"expires_at": "2099-12-31T23:59:59+02:00"}, who=admin)).status_code == 204
    past = await talk.say("PUT", path, {"expires_at": "2001-01-01T00:00:00Z"}, who=admin)
    assert past.json() == problem(400, "invalid-input", path, "/expires_at")

    held = await talk.say("GET", f"{own}/roles", who=ada)
    given = {"role": "editor", "granted_by": admin["user"]["id"], "granted_at": TIME}
    assert held.json() == page(
        {**given, "expires_at": "2099-12-31T21:59:59Z"},
        {"role": "user", "granted_by": None, "granted_at": TIME, "expires_at": None},
    )
    me = await talk.say("GET", "/api/users/me", who=ada)
    shown = me.json()
    assert "users:read" in shown.pop("permissions")
    assert shown["roles"] == ["editor", "user"]
    assert (await talk.say("GET", "/api/users?role=editor", who=ada)).json() == page(shown)

    rise = f"{own}/roles/admin"
    assert (await talk.say("PUT", rise, who=ada)).json() == problem(403, "forbidden", rise)
    unknown = f"{own}/roles/nothing"
    assert (await talk.say("PUT", unknown, who=admin)).json() == problem(404, "role-not-found", unknown)
    everyone = f"{own}/roles/user"
    assert (await talk.say("DELETE", everyone, who=admin)).json() == problem(409, "built-in-role", everyone)
    last_one = f"/api/users/{admin['user']['id']}/roles/admin"
    assert (await talk.say("DELETE", last_one, who=admin)).json() == problem(409, "last-admin", last_one)


async def _verifiers(talk: Talk, admin: Any, ada: Any) -> None:
    path = "/api/revocations"
    who = f"{path}?verifier={UNKNOWN}"
    assert (await talk.say("GET", who, who=ada)).json() == problem(403, "forbidden", path)
    assert (await talk.say("GET", path, who=admin)).json() == problem(400, "invalid-input", path, "/verifier")
    long = await talk.say("GET", f"{who}&wait=301", who=admin)
    assert long.json() == problem(400, "invalid-input", path, "/wait")

    ended = (await talk.say("POST", "/api/auth/login", {"email": ADMIN, "password": PASSWORD})).json()["session_id"]
    begin = (await talk.say("GET", who, who=admin)).json()
    assert begin == {"epoch": Like("[0-9a-f]{16}"), "number": begin["number"], "rows": [], "fresh_for_ms": 1000}
    assert (await talk.say("DELETE", f"/api/auth/sessions/{ended}", who=admin)).status_code == 204
    after = f"{who}&since={begin['number']}&wait=300"
    told = await talk.say("GET", f"{after}&epoch={begin['epoch']}", who=admin)
    row = {"number": begin["number"] + 1, "kind": "session", "id": ended}
    assert told.json() == {**begin, "number": row["number"], "rows": [row]}
    other = await talk.say("GET", f"{after}&epoch=0123456789abcdef", who=admin)
    assert other.json() == {**begin, "number": row["number"]}
    for _ in range(2):
        assert (await talk.say("DELETE", who, who=admin)).status_code == 204
    # The epoch of a new database is a new one.
    for line in talk.lines[-6:]:
        if isinstance(line["body"], dict) and "epoch" in line["body"]:
            line["body"]["epoch"] = "new each time"
            line["request"] = line["request"].partition("&epoch")[0]


async def _machines(talk: Talk, admin: Any, ada: Any) -> None:
    path = "/api/machines"
    assert (await talk.say("GET", path, who=ada)).json() == problem(403, "forbidden", path)
    machine = (await talk.say("POST", path, {"name": "report", "description": "Of the night"}, who=admin)).json()
    assert (await talk.say("POST", path, {"name": "report"}, who=admin)).json() == problem(
        409, "machine-name-taken", path
    )
    assert (await talk.say("GET", path, who=admin)).json() == {"items": [machine], "next_cursor": None}
    its_path = f"{path}/{machine['id']}"
    assert (await talk.say("GET", its_path, who=admin)).json() == machine
    made = (await talk.say("POST", f"{its_path}/keys", {"name": "a key", "scope": ["users:read"]}, who=admin)).json()

    async def log_in(key: Any, **more: str) -> Any:
        form = {"grant_type": "client_credentials", "client_secret": key["client_secret"], **more}
        return (await talk.say("POST", "/api/auth/token", form=form)).json()

    assert "scope" not in await log_in(made)
    role = {"name": "reporter", "permissions": ["users:read", "logs:read"]}
    assert (await talk.say("POST", "/api/roles", role, who=admin)).status_code == 201
    assert (await talk.say("PUT", f"/api/users/{machine['id']}/roles/reporter", who=admin)).status_code == 204
    token = await log_in(made)
    assert token == {
        "access_token": Like("eyJ.+"),
        "token_type": "Bearer",
        "expires_in": 600,
        "scope": "users:read",
    }
    assert (await talk.say("GET", "/api/users/me", who=token)).json()["permissions"] == ["users:read"]
    assert (await talk.say("GET", "/api/roles", who=token)).status_code == 403
    assert (await log_in(made, scope="logs:read"))["error"] == "invalid_scope"
    keys = f"{its_path}/keys/{made['key']['id']}"
    new = (await talk.say("POST", f"{keys}/rotate", {"overlap": 60}, who=admin)).json()
    listed = (await talk.say("GET", f"{its_path}/keys", who=admin)).json()["items"]
    assert [each["id"] for each in listed] == [new["key"]["id"], made["key"]["id"]]
    assert (await talk.say("DELETE", keys, who=admin)).status_code == 204
    assert (await log_in(made))["error"] == "invalid_client"
    token = await log_in(new)
    changed = (await talk.say("PATCH", its_path, {"status": "disabled"}, who=admin)).json()
    assert changed == {**machine, "status": "disabled", "roles": ["reporter", "user"], "updated_at": TIME}
    assert (await talk.say("GET", "/api/users/me", who=token)).status_code == 401
    assert (await talk.say("DELETE", f"/api/users/{machine['id']}", who=admin)).json() == problem(
        409, "machine-account", f"/api/users/{machine['id']}"
    )
    assert (await talk.say("DELETE", its_path, who=admin)).status_code == 204
    assert (await log_in(new))["error"] == "invalid_client"


async def _exports(talk: Talk, admin: Any, ada: Any) -> None:
    path = f"/api/users/{ada['user']['id']}/export"
    own = await talk.say("GET", path, who=ada)
    document = own.json()
    assert (own.status_code, document["ubr_user_export"]) == (200, 1)
    assert document["user"]["email"] == "Ada@Example.org"
    assert document["acts"][0]["action"] == "user.exported"
    assert {entry["ip"] for entry in document["acts"]} == {"127.0.0.1"}
    given = next(entry for entry in document["acts_upon"] if entry["action"] == "role.assigned")
    assert (given["actor_id"], given["ip"], given["request_id"]) == (admin["user"]["id"], None, None)
    other = f"/api/users/{admin['user']['id']}/export"
    assert (await talk.say("GET", other, who=ada)).json() == problem(403, "forbidden", other)
    nobody = f"/api/users/{UNKNOWN}/export"
    assert (await talk.say("GET", nobody, who=admin)).json() == problem(404, "user-not-found", nobody)


async def _leaving(talk: Talk, admin: Any, ada: Any) -> None:
    found = (await talk.say("GET", "/api/users?sort=-email", who=admin)).json()["items"]
    zoe, hopper = (next(each for each in found if each["email"].startswith(name)) for name in ("zoe", "hopper"))
    path = f"/api/users/{zoe['id']}"
    assert (await talk.say("DELETE", path, who=ada)).json() == problem(403, "forbidden", path)
    assert (await talk.say("DELETE", path, who=admin, if_match='W/"1-0"')).status_code == 412
    assert (await talk.say("DELETE", path, who=admin, if_match="*")).status_code == 204
    assert (await talk.say("GET", path, who=admin)).json() == problem(404, "user-not-found", path)

    erased = await talk.say("POST", f"{path}/erase", who=admin)
    assert (erased.status_code, set(erased.json())) == (200, {"entries"})
    # Her invitation may have been sent by then.
    talk.lines[-1]["body"]["entries"] = 0
    for who, status, slug in ((ada, 403, "forbidden"), (admin, 404, "user-not-found")):
        nobody = f"/api/users/{UNKNOWN}/erase"
        assert (await talk.say("POST", nobody, who=who)).json() == problem(status, slug, nobody)

    leaver = (await talk.say("POST", "/api/auth/login", {"email": "hopper@example.org", "password": PASSWORD})).json()
    assert (await talk.say("DELETE", f"/api/users/{hopper['id']}", who=leaver)).status_code == 204
    assert (await talk.say("GET", "/api/users/me", who=leaver)).status_code == 401
    top = f"/api/users/{admin['user']['id']}"
    assert (await talk.say("DELETE", top, who=admin)).json() == problem(409, "last-admin", top)
    assert (await talk.say("DELETE", f"/api/users/{ada['user']['id']}/roles/editor", who=admin)).status_code == 204


async def _the_log(talk: Talk, admin: Any, ada: Any) -> None:
    refused = await talk.say("GET", "/api/logs", who=ada)
    assert refused.json() == problem(403, "forbidden", "/api/logs")
    whole = await talk.say("GET", "/api/logs?limit=200", who=admin)
    assert whole.json()["next_cursor"] is None
    told = {
        "id": ID,
        "timestamp": TIME,
        "ip": "127.0.0.1",
        "request_id": Like(r"line-\d+"),
        "request_id_given": True,
    }
    [refusal] = [each for each in whole.json()["items"] if each["data"].get("act") == "list_logs"]
    assert refusal == {
        **told,
        "level": "warning",
        "action": "act.refused",
        "message": "An action was denied",
        "actor_id": ada["user"]["id"],
        "target": None,
        "session_id": ID,
        "data": {"act": "list_logs", "problem": "forbidden", "count": 1},
    }
    entries = [each for each in whole.json()["items"] if each["action"] not in COUNTED]
    assert entries[0] == {
        **told,
        "level": "info",
        "action": "role.unassigned",
        "message": "A role was removed from a user",
        "actor_id": admin["user"]["id"],
        "target": {"type": "user", "id": ada["user"]["id"]},
        "session_id": admin["session_id"],
        "data": {"role_id": ID},
    }
    walked: list[Any] = []
    url = "/api/logs?action=session.opened&limit=3"
    while url:
        part = await talk.say("GET", url, who=admin)
        walked += part.json()["items"]
        url = following(part)
    assert walked == [each for each in entries if each["action"] == "session.opened"]
    assert len(walked) > 6

    async def actions(query: str) -> set[str]:
        found = (await talk.say("GET", f"/api/logs?limit=200&{query}", who=admin)).json()["items"]
        return {each["action"] for each in found}

    assert await actions("action=user.deleted") == {"user.deleted"}
    assert await actions("action=log.read") == {"log.read"}
    warnings = {each["action"] for each in whole.json()["items"] if each["level"] == "warning"}
    assert await actions("level=warning") == warnings
    assert {"session.login_failed", "act.refused"} <= warnings
    assert await actions(f"actor_id={ada['user']['id']}&action=user.updated") == {"user.updated"}
    assert "user.registered" in await actions(f"target_id={ada['user']['id']}")
    assert await actions(f"request_id={entries[0]['request_id']}") == {"role.unassigned"}
    of_session = await actions(f"session_id={admin['session_id']}")
    assert {"session.opened", "log.read", "role.unassigned", "user.deleted"} <= of_session
    assert "session.login_failed" not in of_session
    assert await actions("until=2001-01-01T00:00:00Z") == set()
    since = entries[3]["timestamp"]
    later = await talk.say("GET", f"/api/logs?since={since}", who=admin)
    acts = [each for each in later.json()["items"] if each["action"] not in {*COUNTED, "log.read"}]
    assert acts == entries[: len(acts)]
    assert len(acts) >= 4


async def _what_shows_that_it_is_the_log(talk: Talk, admin: Any, ada: Any) -> None:
    path = "/api/logs/checkpoint"
    assert (await talk.say("GET", path, who=ada)).json() == problem(403, "forbidden", path)
    newest = await talk.say("GET", path, who=admin)
    assert (newest.status_code, newest.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert re.fullmatch(r"127\.0\.0\.1:\d+/log/[0-9a-f]{16}\n\d+\n[\w+/]{43}=\n\n\u2014 .+\n", newest.text)
    # Every log has random bits in its name, and in each of its entries.
    talk.lines[-1]["body"] = "new each time"

    read = {"action": "log.read", "actor_id": admin["user"]["id"]}
    entry = (await talk.say("GET", "/api/logs?action=log.read&limit=1", who=admin)).json()["items"][0]
    assert {name: entry[name] for name in read} == read
    path = f"/api/logs/{entry['id']}/proof"
    proof = await talk.say("GET", path, who=admin)
    said = proof.json()
    assert (proof.status_code, said["entry_id"]) == (200, entry["id"])
    assert 0 <= said["index"] < said["size"] == int(said["checkpoint"].split("\n")[1])
    talk.lines[-1]["body"] |= {"index": 0, "size": 1, "checkpoint": "new", "leaf_hash": "", "hashes": [], "content": ""}
    assert (await talk.say("GET", path, who=ada)).json() == problem(403, "forbidden", path)
    nothing = f"/api/logs/{UNKNOWN}/proof"
    assert (await talk.say("GET", nothing, who=admin)).json() == problem(404, "log-entry-not-found", nothing)
