"""No secret leaves the service: known ones go to every place that takes a secret, and to places that do not."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
import httpx
import pytest

from tests.integration.http.kit import OWN_PAGE
from tests.integration.http.routes import GOOD_BODIES, ROUTES
from tests.support import commands
from tests.support.commands import PATIENCE, clean_environment
from tests.support.mail import ACCOUNT, MailServer, certificate, mail_server
from tests.support.plugin import PrivatePostgres, PrivateRedis
from tests.support.servers import PostgresServer, RedisServer
from tests.support.service import ADMIN_EMAIL, UbrProcess
from ubr.domain.machines.key_text import keys_in

pytestmark = pytest.mark.anyio

ADA = "ada@example.org"
NO_ID = "01926e5c-7b0e-4f3a-9c55-0d2f6f1c8a10"
BY_CLIENTS = ("password", "second", "third", "wrong", "given", "invited", "key", "query", "path", "field", "scheme")
BY_OPERATORS = ("secret", "database", "redis", "metrics", "admin", "backup")


@dataclass
class Canaries:
    """Every secret, by its name."""

    known: dict[str, str] = field(default_factory=dict)

    def make(self, name: str) -> str:
        """A secret that is a good password, a good key, and a good part of a URL."""
        return self.known.setdefault(name, f"canary-{name}-kx83jvq0-{name[::-1]}-wu51")

    def note(self, name: str, secret: str) -> str:
        """Search for this one too: made by the service."""
        self.known[f"{name} {len(self.known)}"] = secret
        return secret

    def note_tokens(self, told: Mapping[str, Any]) -> str:
        """Search for the tokens of a login, whole or in part. Returns the refresh token."""
        for part in told["access_token"].split(".")[1:]:
            self.note("access token", part)
        self.note("refresh token", told["refresh_token"].removeprefix("ubr_rt_"))
        return str(told["refresh_token"])

    def hits(self, text: str) -> set[str]:
        """The names of the secrets that a text contains, plain or in another spelling."""
        return {
            name
            for name, secret in self.known.items()
            if any(spelling in text for spelling in _spellings(secret.encode()))
        }


def _spellings(secret: bytes) -> set[str]:
    plain = secret.decode()
    encoded = base64.b64encode(secret).decode()[: len(secret) // 3 * 4]
    return {plain, quote(plain, safe=""), json.dumps(plain)[1:-1], secret.hex(), encoded}


class Conversation:
    """Requests to a service, with all answers that are errors."""

    def __init__(self, client: httpx.AsyncClient, canaries: Canaries, mails: MailServer) -> None:
        self.client = client
        self.canaries = canaries
        self.mails = mails
        self.errors: list[str] = []
        self.statuses: set[int] = set()

    async def say(self, method: str, path: str, expected: int | None = None, **more: Any) -> httpx.Response:
        answer = await self.client.request(method, path, **more)
        self.statuses.add(answer.status_code)
        assert expected in {None, answer.status_code}, (method, path, answer.status_code, answer.text)
        if answer.status_code >= 400:
            self.errors.append(f"{answer.headers} {_without_echoes(answer)}")
        return answer

    async def log_in(self, email: str, password: str) -> tuple[dict[str, str], str]:
        """The header for its access token, and the refresh token."""
        answer = await self.say("POST", "/api/auth/login", 200, json={"email": email, "password": password})
        refresh = self.canaries.note_tokens(answer.json())
        return {"authorization": f"Bearer {answer.json()['access_token']}"}, refresh

    async def link(self, to: str, page: str) -> str:
        """The token of the newest link to a page, in a mail to this address, once it has arrived."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for mail in reversed(self.mails.received):
                    found = re.search(rf"/{page}#token=ubr_link_([A-Za-z0-9_-]+)", _text(mail.content))
                    if to in mail.recipients and found is not None and found[1] not in self.canaries.known.values():
                        return f"ubr_link_{self.canaries.note('link', found[1])}"
                await asyncio.sleep(0.02)


def _without_echoes(answer: httpx.Response) -> str:
    """An answer without the path of its request and the names of members, which tell the client its mistake."""
    if not answer.headers.get("content-type", "").startswith("application/problem+json"):
        return answer.text
    told = answer.json()
    del told["instance"]
    return json.dumps({**told, "errors": [each["detail"] for each in told.get("errors", ())]})


def _text(content: bytes) -> str:
    message = message_from_bytes(content, policy=default)
    assert isinstance(message, EmailMessage)
    body = message.get_body(("plain",))
    return "" if body is None else str(body.get_content())


# --- the flows -------------------------------------------------------------------------------------------------------


async def every_flow(talk: Conversation) -> None:
    """Every act with a secret, where it succeeds and where it fails."""
    make, say = talk.canaries.make, talk.say
    await say("POST", "/api/auth/register", 201, json={"email": ADA, "password": make("password"), "full_name": "Ada"})
    verification = await talk.link(ADA, "verify-email")
    proof = {"token": verification, "password": make("password")}
    await say("POST", "/api/auth/email/verify", 204, json=proof)
    await say("POST", "/api/auth/email/verify", 400, json=proof)

    _, refresh = await talk.log_in(ADA, make("password"))
    renewed = (await say("POST", "/api/auth/refresh", 200, json={"refresh_token": refresh})).json()
    talk.canaries.note_tokens(renewed)
    ada = {"authorization": f"Bearer {renewed['access_token']}"}
    await say("POST", "/api/auth/login", 401, json={"email": ADA, "password": make("wrong")})
    await say("POST", "/api/auth/login", json={"email": make("password"), "password": ADA})
    await say("POST", "/api/auth/refresh", 401, json={"refresh_token": make("field")})

    change = {"current_password": make("wrong"), "new_password": make("second")}
    await say("POST", "/api/auth/password", 403, json=change, headers=ada)
    await say("POST", "/api/auth/password", json={**change, "current_password": make("password")}, headers=ada)
    ada, _ = await talk.log_in(ADA, make("second"))
    await say("POST", "/api/auth/password/forgot", 202, json={"email": ADA})
    reset = await talk.link(ADA, "reset-password")
    await say("POST", "/api/auth/password/reset", 400, json={"token": reset, "new_password": "short"})
    await say("POST", "/api/auth/password/reset", json={"token": reset, "new_password": make("third")})
    await say("POST", "/api/auth/password/reset", 400, json={"token": reset, "new_password": make("third")})

    await a_browser(talk)

    ada, refresh = await talk.log_in(ADA, make("third"))
    wish = {"email": "ada@example.com", "current_password": make("third")}
    await say("POST", "/api/auth/email", 202, json=wish, headers=ada)
    move = await talk.link("ada@example.com", "verify-email")
    await say("POST", "/api/auth/email/verify", 400, json={"token": move, "password": make("third")})
    await say("POST", "/api/auth/email/verify", 204, json={"token": move})
    undo = await talk.link(ADA, "undo-email")
    await say("POST", "/api/auth/email/undo", json={"token": undo})
    await say("POST", "/api/auth/refresh", 401, json={"refresh_token": refresh})


async def a_browser(talk: Conversation) -> None:
    make, say = talk.canaries.make, talk.say
    login = await say("POST", "/api/auth/login/browser", 200, json={"email": ADA, "password": make("third")})
    talk.client.cookies.clear()  # the header below is the only one
    pair = login.headers["set-cookie"].partition(";")[0]
    talk.canaries.note("cookie", pair.partition("ubr_bs_")[2])
    mine = {"cookie": pair}
    token = await say("POST", "/api/auth/token/browser", 200, headers=mine)
    for part in token.json()["access_token"].split(".")[1:]:
        talk.canaries.note("access token", part)
    for cookie in (f"{pair}x", f"{pair}; {pair}", f"{pair[:-1]}{make('scheme')}"):
        await say("GET", "/api/users/me", 401, headers={"cookie": cookie})
    await say("POST", "/api/auth/logout", 403, headers={**mine, "sec-fetch-site": "cross-site"})
    await say("POST", "/api/auth/logout", 204, headers=mine)
    await say("POST", "/api/auth/logout", 401, headers=mine)


async def every_act_of_an_admin(talk: Conversation) -> dict[str, str]:
    make, say = talk.canaries.make, talk.say
    admin, _ = await talk.log_in(ADMIN_EMAIL, make("admin"))
    keyed = {**admin, "idempotency-key": make("key")}
    user = {"email": "grace@example.org", "password": make("given")}
    made = (await say("POST", "/api/users", 201, json=user, headers=keyed)).json()
    await say("POST", "/api/users", 201, json=user, headers=keyed)
    await say("POST", "/api/users", 422, json={**user, "password": make("invited")}, headers=keyed)
    await say("POST", "/api/users", 409, json=user, headers=admin)
    for name in ("target_id", "action", "request_id", "cursor"):
        await say("GET", "/api/logs", params={name: make("query")}, headers=admin)
    await say("GET", "/api/users", params={"q": make("query")}, headers=admin)
    await say("GET", "/metrics", 200, headers={"authorization": f"Bearer {make('metrics')}"})
    await say("GET", "/metrics", 404, headers={"authorization": f"Bearer {make('metrics')}x"})
    await say("PUT", f"/api/users/{made['id']}/roles/{make('path')}", 404, json={}, headers=admin)
    return admin


async def every_act_of_a_machine(talk: Conversation, admin: dict[str, str]) -> None:
    """Keys where they belong, and where they do not. `keys_in` finds them anywhere, by their checksum."""
    say, path = talk.say, "/api/auth/token"
    machine = (await say("POST", "/api/machines", 201, json={"name": "report"}, headers=admin)).json()
    keys = f"/api/machines/{machine['id']}/keys"
    made = (await say("POST", keys, 201, json={"name": "a key"}, headers=admin)).json()
    key = made["client_secret"]
    assert keys_in(key) == [key]
    new = (await say("POST", f"{keys}/{made['key']['id']}/rotate", 201, headers=admin)).json()["client_secret"]
    for number, secret in enumerate((key, new)):
        talk.canaries.known[f"machine key {number}"] = secret[29:72]
        form = {"grant_type": "client_credentials", "client_secret": secret}
        await say("POST", path, 200, data=form)
        await say("POST", path, 200, data={"grant_type": "client_credentials"}, auth=(machine["id"], secret))
        await say("POST", path, 400, data={**form, "scope": "*"})
        await say("POST", path, 401, data={**form, "client_secret": secret[:-1] + "!"})
        await say("POST", path, 401, data={**form, "client_id": secret})
        await say("POST", path, 400, data={"grant_type": "client_credentials"}, params=form)
        await say("POST", path, 415, json=form)
        await say("GET", "/api/users/me", 401, headers={"authorization": f"Bearer {secret}"})
        await say("GET", f"/api/machines/{secret}", 404, headers=admin)
    await say("DELETE", f"{keys}/{made['key']['id']}", 204, headers=admin)
    await say("POST", path, 401, data={"grant_type": "client_credentials", "client_secret": key})


async def everything_in_a_wrong_place(talk: Conversation, admin: dict[str, str]) -> None:
    """Secrets in queries, paths, header fields and unknown members, at every route."""
    make, say = talk.canaries.make, talk.say
    token = admin["authorization"].removeprefix("Bearer ")
    schemes: list[dict[str, str]] = [
        {"authorization": f"Basic {make('scheme')}"},
        {"authorization": make("scheme")},
        {"authorization": f"Bearer {make('scheme')}"},
        {"authorization": f"Bearer {token}x"},
        {"authorization": f"Bearer {token} {make('scheme')}"},
        {"cookie": f"session={make('scheme')}", "referer": f"https://app.example.org/?token={make('scheme')}"},
        {"traceparent": f"00-{make('scheme')}", "x-request-id": f"no/{make('scheme')}", "if-match": make("scheme")},
        {"x-forwarded-for": make("scheme"), "content-type": make("scheme"), "accept": make("scheme")},
    ]
    for number, route in enumerate(ROUTES):
        path, headers = route.path(), schemes[number % len(schemes)]
        await say(route.method, path, params={"token": make("query"), make("query"): "1"}, headers=headers)
        await say(route.method, f"{path}/{make('path')}", headers=headers)
        await say("OPTIONS", path.replace("0", make("path")))
        if "{" in route.template:
            hidden = {name: make("path") for name in re.findall(r"{(\w+)}", route.template)}
            await say(route.method, route.path(**hidden), headers=admin)
        if route.operation.body is not None and not route.operation.form and route.operation.name != "update_role":
            good = GOOD_BODIES[route.name]
            unknown = {**good, "pass_word": make("field"), "nested": {make("field"): make("field")}}
            await say(route.method, path, 400, json=unknown, headers=admin)
            await say(route.method, path, json=[make("field")], headers=admin)
            await say(route.method, path, content=f'{{"password": "{make("field")}', headers=_json(admin))
            for name in good.keys() & {"password", "new_password", "current_password", "token", "refresh_token"}:
                await say(route.method, path, 400, json={**good, name: {make("field"): 1}}, headers=admin)
    for header in schemes:
        await say("GET", "/api/users/me", headers=header)
    twice = [("authorization", admin["authorization"]), ("authorization", f"Bearer {make('scheme')}")]
    await say("GET", "/api/users/me", 401, headers=twice)


async def secrets_in_forms(talk: Conversation) -> None:
    """Secrets in the forms of pages, and in fields and addresses where none belongs."""
    make = talk.canaries.make
    forms: list[tuple[str, int, dict[str, str]]] = [
        ("/login", 401, {"email": ADA, "password": make("third")}),
        ("/register", 409, {"email": ADA, "password": make("password")}),
        ("/reset-password", 400, {"token": f"ubr_link_{'canary7' * 6}A", "new_password": make("third")}),
        ("/verify-email", 400, {"token": make("field"), "password": make("third")}),
        ("/undo-email", 400, {"token": make("field")}),
        ("/forgot", 400, {"email": "", make("field"): make("field")}),
        ("/account/password", 303, {"current_password": make("third"), "new_password": make("password")}),
        ("/account/confirm", 303, {"password": make("third"), "return_to": make("path")}),
    ]
    for path, expected, fields in forms:
        for accept in ("text/html", "application/json"):
            headers = {"accept": accept, "cookie": f"__Host-ubr={make('scheme')}; ubr-language={make('scheme')}"}
            await talk.say("POST", path, expected, data=fields, headers=headers)
            await talk.say("GET", path, params={"token": make("query"), "return_to": make("query")}, headers=headers)


def _json(headers: Mapping[str, str]) -> dict[str, str]:
    return {**headers, "content-type": "application/json"}


async def each_secret_again(talk: Conversation, admin: dict[str, str], expected: int) -> None:
    """Every secret to the operations that take one, which fail with this status."""
    make = talk.canaries.make
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("/api/auth/login", {"email": ADA, "password": make("third")}),
        ("/api/auth/refresh", {"refresh_token": f"ubr_rt_{'canary7' * 6}A"}),
        ("/api/auth/password/reset", {"token": f"ubr_link_{'canary7' * 6}A", "new_password": make("third")}),
        ("/api/auth/register", {"email": "eve@example.org", "password": make("password")}),
        ("/api/users", {"email": "eve@example.org", "password": make("given")}),
    ]
    talk.canaries.known["opaque"] = "canary7canary7canary7"
    for path, body in bodies:
        keyed = {**admin, "idempotency-key": f"{make('key')}-{expected}"} if path == "/api/users" else {}
        await talk.say("POST", path, expected, json=body, headers=keyed)


# --- the places ------------------------------------------------------------------------------------------------------


async def rows_of(dsn: str) -> str:
    """All rows of all tables, as text. Bytes are hexadecimal."""
    connection = await asyncpg.connect(dsn)
    try:
        tables = await connection.fetch(
            "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        )
        texts = []
        for table in tables:
            rows = await connection.fetch(f"SELECT t::text AS row FROM {table['name']} AS t")  # noqa: S608 - its own
            texts.append(f"{table['name']}: {len(rows)}")
            texts += [row["row"] for row in rows]
    finally:
        await connection.close()
    return "\n".join(texts)


@asynccontextmanager
async def watched(redis: RedisServer, password: str) -> AsyncIterator[list[str]]:
    """Every command that Redis gets meanwhile, with its keys and values."""
    seen: list[str] = []
    reader, writer = await asyncio.open_connection(redis.host, redis.port)
    writer.write(f"AUTH {password}\r\nMONITOR\r\n".encode())
    assert [await reader.readline() for _ in range(2)] == [b"+OK\r\n"] * 2

    async def listen() -> None:
        while line := await reader.readline():
            seen.append(line.decode())

    listening = asyncio.create_task(listen())
    try:
        yield seen
    finally:
        listening.cancel()
        writer.close()


COMMANDS = (
    "audit export",
    "doctor",
    "config",
    "config --json",
    f"explain login {ADA}",
    "outbox list",
)


def outputs_of(folder: Path, environment: dict[str, str]) -> dict[str, str]:
    """The output of each command that shows something."""
    told = {}
    for line in COMMANDS:
        code, out, err = commands.run(*line.split(), folder=folder, environment=clean_environment(**environment))
        assert code in {0, 1}, (line, code, out, err)
        told[f"ubr {line}"] = out + err
    return told


def new_database(postgres: PostgresServer, password: str) -> str:
    """The URL of a database whose owner has this password."""
    parts = urlsplit(postgres.create_database("ubr"))
    postgres.query(f"CREATE ROLE service LOGIN PASSWORD '{password}'")
    postgres.query("ALTER DATABASE ubr OWNER TO service")
    return urlunsplit(parts._replace(netloc=f"service:{password}@{parts.hostname}:{parts.port}"))


@pytest.mark.system(seconds=25)
async def test_no_secret_leaves_the_service(
    tmp_path: Path, private_postgres: PrivatePostgres, private_redis: PrivateRedis
) -> None:
    canaries = Canaries()
    make = canaries.make
    for name in (*BY_CLIENTS, *BY_OPERATORS):
        make(name)
    canaries.known["mail account"] = ACCOUNT[1]
    postgres, redis = private_postgres(), private_redis(settings={"requirepass": make("redis")})
    tls = certificate(tmp_path, "127.0.0.1")
    trusted = next(iter(tmp_path.glob("*.pem")))  # noqa: ASYNC240 - a folder of this test
    account = ":".join(quote(part, safe="") for part in ACCOUNT)
    async with AsyncExitStack() as stack:
        mails = await stack.enter_async_context(mail_server(tls, account=True))
        environment = {
            "UBR_SECRET_KEY": make("secret"),
            "UBR_DATABASE_URL": await asyncio.to_thread(new_database, postgres, make("database")),
            "UBR_REDIS_URL": redis.url(),
            "UBR_SMTP_URL": f"smtp://{account}@127.0.0.1:{mails.port}",
            "UBR_PUBLIC_URL": "https://accounts.example.org",
            "UBR_MAIL_FROM": "ubr@example.org",
            "UBR_METRICS_TOKEN": make("metrics"),
            "UBR_ADMIN_EMAIL": ADMIN_EMAIL,
            "UBR_ADMIN_PASSWORD": make("admin"),
            "UBR_BACKUP_KEY": make("backup"),
            "UBR_MIGRATE": "auto",
            "UBR_WORKERS": "2",
            "UBR_LOG_LEVEL": "debug",
            "UBR_LOGIN_RATE_LIMIT": "off",
            "UBR_INVALID_LINK_RATE_LIMIT": "off",
            "UBR_INVALID_REFRESH_RATE_LIMIT": "off",
            "UBR_REGISTRATION_RATE_LIMIT": "off",
            "SSL_CERT_FILE": str(trusted),
        }
        commands_of_redis = await stack.enter_async_context(watched(redis, make("redis")))
        service = UbrProcess(tmp_path, environment)
        stack.callback(service.kill)
        await asyncio.to_thread(service.wait_until_ready)
        client = await stack.enter_async_context(
            httpx.AsyncClient(base_url=service.url, timeout=PATIENCE, headers=OWN_PAGE)
        )
        talk = Conversation(client, canaries, mails)

        await every_flow(talk)
        admin = await every_act_of_an_admin(talk)
        await every_act_of_a_machine(talk, admin)
        await everything_in_a_wrong_place(talk, admin)
        await secrets_in_forms(talk)
        # The statements fail in a way that ubr does not foresee.
        for table in ("users", "refresh_tokens", "links"):
            await asyncio.to_thread(postgres.query, f"ALTER TABLE {table} RENAME TO gone_{table}", database="ubr")
        await each_secret_again(talk, admin, 500)
        for table in ("users", "refresh_tokens", "links"):
            await asyncio.to_thread(postgres.query, f"ALTER TABLE gone_{table} RENAME TO {table}", database="ubr")

        places = await asyncio.to_thread(outputs_of, tmp_path, environment)
        places["the database"] = await rows_of(postgres.dsn("ubr"))
        places["Redis"] = "".join(commands_of_redis)
        places["/metrics"] = (await client.get("/metrics", headers={"authorization": f"Bearer {make('metrics')}"})).text
        logs = await client.get("/api/logs?limit=200", headers=admin)
        places["/api/logs"] = logs.text
        await asyncio.to_thread(postgres.kill)
        await each_secret_again(talk, admin, 503)
        await asyncio.to_thread(service.stop)

    places["errors"] = "\n".join(talk.errors)
    places["standard output"] = "\n".join(service.said)
    places["standard error"] = service.log
    assert {name: found for name, text in places.items() if (found := canaries.hits(text))} == {}

    assert {name for name, text in places.items() if keys_in(text)} == set()

    # There was something to find: each place has its content, and each kind of failure happened.
    for place, known in (
        ("ubr audit export", "session.opened"),
        ("the database", ADA),
        ("Redis", "PUBLISH"),
        ("/metrics", 'route="/api/auth/login"'),
        ("/api/logs", "idempotency_key.mismatched"),
        ("ubr audit export", "machine.token_refused"),
        ("errors", "/problems/internal-error"),
        ("standard output", "serving"),
        ("standard error", "Traceback"),
    ):
        assert known in places[place], place
    assert {200, 201, 202, 400, 401, 403, 404, 409, 422, 500, 503} <= talk.statuses
    assert all(json.loads(line)["event"] for line in [*service.said, *service.log.splitlines()])
    assert len(canaries.known) > len(BY_CLIENTS) + len(BY_OPERATORS) + 15
