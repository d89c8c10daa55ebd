"""The previous version and this one, side by side on the new schema: `make test-upgrade`.

The previous version is installed from its own commit, with its own dependencies. Clients use it while the database is
migrated. Then both versions get the same requests, and their answers are compared field by field. A field or header
that only the new version has is an addition, and is printed.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio.to_thread
import httpx
import pytest

from tests.support import commands
from tests.support.commands import clean_environment
from tests.support.plugin import NewDatabase
from tests.support.service import ADMIN_EMAIL, ADMIN_PASSWORD, UbrProcess, on_postgres
from ubr.bootstrap import upgrade_preview
from ubr.settings import Settings

pytestmark = [pytest.mark.anyio, pytest.mark.system, pytest.mark.long]

CLIENTS = 3
ROUNDS = 10
"""The number of clients of each kind, and of the conversations of each client with both versions."""
MIN_CALLS = 50
"""Calls of the old version that have to surround the migration on each side."""
PASSWORD = "a long enough password"
VOLATILE = ("date", "content-length", "x-request-id", "ratelimit", "retry-after")
"""Headers whose values differ with each answer."""


# Clients


class Differences(Exception):
    """The answers of the two versions differ."""


@dataclass
class Sides:
    """A client of both versions, which says the same to both."""

    old: httpx.AsyncClient
    new: httpx.AsyncClient
    calls: Counter[str]
    additions: set[str] = field(default_factory=set)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        expect: int,
        at: Mapping[str, str] | None = None,
        tokens: tuple[str, str] = ("", ""),
        **of: Any,
    ) -> tuple[Any, Any]:
        """The bodies of the answers to the same request, which have to be alike.

        `at` fills the braces of the path for each side. Functions get the name of the side. Errors: `Differences`,
        `AssertionError` for another status.
        """
        answers = []
        for side, client, token in (("old", self.old, tokens[0]), ("new", self.new, tokens[1])):
            given = {name: value(side) if callable(value) else value for name, value in of.items()}
            headers = {**given.pop("headers", {}), **({"authorization": f"Bearer {token}"} if token else {})}
            where = path.format(at[side]) if at else path
            answer = await client.request(method, where, headers=headers, **given)
            self.calls[side] += 1
            assert answer.status_code == expect, (side, method, where, answer.status_code, answer.text)
            answers.append(answer)
        old, new = answers
        what = f"{method} {path}"
        self._compare(f"{what} headers", _headers(old), _headers(new))
        bodies = [
            answer.json() if "json" in answer.headers.get("content-type", "") else answer.text for answer in answers
        ]
        self._compare(what, *(_plain(body) for body in bodies))
        return bodies[0], bodies[1]

    def _compare(self, where: str, old: Any, new: Any) -> None:
        if isinstance(old, dict) and isinstance(new, dict):
            self.additions |= {f"{where}: {name}" for name in new.keys() - old.keys()}
            if missing := old.keys() - new.keys():
                raise Differences(f"{where}: the new version has no {sorted(missing)}")
            for name in old:
                self._compare(f"{where} {name}", old[name], new[name])
        elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
            for at, (one, other) in enumerate(zip(old, new, strict=True)):
                self._compare(f"{where}[{at}]", one, other)
        elif old != new:
            raise Differences(f"{where}: {old!r} became {new!r}")


def _headers(answer: httpx.Response) -> dict[str, str]:
    return {
        name: _text(value)
        for name, value in answer.headers.items()
        if not name.startswith(VOLATILE) and name != "server"
    }


def _plain(body: Any) -> Any:
    """A body without the values that are new in each answer."""
    if isinstance(body, dict):
        return {name: "OPAQUE" if name in OPAQUE else _plain(value) for name, value in body.items()}
    if isinstance(body, list):
        return [_plain(each) for each in body]
    return _text(body) if isinstance(body, str) else body


OPAQUE = {"access_token", "refresh_token", "request_id", "next_cursor"}
_PATTERNS = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"), "ID"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "TIME"),
    (re.compile(r"\b(old|new)-(?=\d)"), "side-"),
    (re.compile(r"127\.0\.0\.1:\d+"), "ADDRESS"),
)


def _text(text: str) -> str:
    for pattern, word in _PATTERNS:
        text = pattern.sub(word, text)
    return text


async def read_lists(sides: Sides) -> None:
    """Pages of all users and roles, which another conversation could change between the answers of the two sides."""
    admin = (await logged_in(sides.old))["access_token"]
    for path in ("/api/users?limit=3", "/api/roles?limit=3"):
        await sides.ask("GET", path, expect=200, tokens=(admin, admin))


async def converse(sides: Sides, number: str, admin: str) -> None:
    """A conversation about two accounts that differ in their name only. Each side also uses what the other one made."""

    def email(side: str) -> str:
        return f"{side}-{number}@example.org"

    body = {"password": PASSWORD, "full_name": "A Reader"}
    old, new = await sides.ask(
        "POST", "/api/auth/register", expect=201, json=lambda side: {**body, "email": email(side)}
    )
    ids = {"old": old["id"], "new": new["id"]}
    await sides.ask("POST", "/api/auth/register", expect=409, json=lambda side: {**body, "email": email(side)})
    await sides.ask("POST", "/api/auth/register", expect=400, json={"email": "not one", "password": "short"})
    await sides.ask(
        "POST", "/api/auth/login", expect=401, json=lambda side: {"email": email(side), "password": "not the password"}
    )
    old, new = await sides.ask(
        "POST", "/api/auth/login", expect=200, json=lambda side: {"email": email(side), "password": PASSWORD}
    )
    # Each side gets the token that the other one signed, and refreshes what the other one issued.
    crossed = (new["access_token"], old["access_token"])
    await sides.ask("GET", "/api/users/me", expect=200, tokens=crossed)
    await sides.ask("GET", "/api/auth/sessions", expect=200, tokens=crossed)
    await sides.ask("GET", "/api/users", expect=403, tokens=crossed)
    old, new = await sides.ask(
        "POST",
        "/api/auth/refresh",
        expect=200,
        json=lambda side: {"refresh_token": (new if side == "old" else old)["refresh_token"]},
    )
    sessions = {"old": new["session_id"], "new": old["session_id"]}

    both = (admin, admin)
    other = {"old": ids["new"], "new": ids["old"]}
    for path in ("/api/users/{}", "/api/users/{}/sessions", "/api/users/{}/roles"):
        await sides.ask("GET", path, expect=200, at=other, tokens=both)
    await sides.ask("PATCH", "/api/users/{}", expect=200, at=other, tokens=both, json={"full_name": "Another Name"})
    role = {"description": "A role", "permissions": ["logs:read"]}
    key = {"old": f"old-{number}", "new": f"new-{number}"}

    def keyed(side: str) -> dict[str, str]:
        return {"idempotency-key": key[side]}

    def named(side: str) -> dict[str, Any]:
        return {**role, "name": f"{key[side]}-role"}

    made = await sides.ask("POST", "/api/roles", expect=201, tokens=both, json=named, headers=keyed)
    # A retry at the other side finds the stored answer.
    again = await sides.ask(
        "POST",
        "/api/roles",
        expect=201,
        tokens=both,
        json=lambda side: named(_other(side)),
        headers=lambda side: keyed(_other(side)),
    )
    assert again == made[::-1]
    grants = {side: f"{other[side]}/roles/{key[side]}-role" for side in ids}
    await sides.ask("PUT", "/api/users/{}", expect=204, at=grants, tokens=both)
    await sides.ask("GET", "/api/users/{}/roles", expect=200, at=ids, tokens=both)
    await sides.ask("GET", "/api/logs?target_id={}&limit=20", expect=200, at=other, tokens=both)
    await sides.ask("GET", "/api/users?role={}-role", expect=200, at=key, tokens=both)
    for path in ("/.well-known/jwks.json", "/health/live", "/health/ready"):
        await sides.ask("GET", path, expect=200, tokens=both)
    await sides.ask("GET", "/api/users/00000000-0000-7000-8000-000000000000", expect=404, tokens=both)

    # A session that one side ends is over at the other one when the answer arrives.
    tokens = {old["session_id"]: old["access_token"], new["session_id"]: new["access_token"]}
    await sides.ask("DELETE", "/api/users/{}/sessions", expect=204, at=ids, tokens=both)
    ended = (tokens[sessions["old"]], tokens[sessions["new"]])
    await sides.ask("GET", "/api/users/me", expect=401, tokens=ended)
    await sides.ask("GET", "/api/users/me", expect=401, tokens=ended[::-1])
    await sides.ask("DELETE", "/api/users/{}", expect=204, at=other, tokens=both)


def _other(side: str) -> str:
    return "new" if side == "old" else "old"


@asynccontextmanager
async def using(url: str, said: Counter[str]) -> AsyncIterator[None]:
    """Clients that use one version all the time, and count their answers."""
    over = asyncio.Event()

    async def use() -> None:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            tokens = await logged_in(client)
            while not over.is_set():
                headers = {"authorization": f"Bearer {tokens['access_token']}"}
                found = [await client.get(path, headers=headers) for path in ("/api/users/me", "/api/users?limit=5")]
                refreshed = await client.post("/api/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
                for answer in (*found, refreshed):
                    said["good" if answer.status_code == 200 else f"{answer.status_code} {answer.text}"] += 1
                if refreshed.status_code != 200:
                    return
                tokens = refreshed.json()

    clients = [asyncio.create_task(use()) for _ in range(CLIENTS)]
    try:
        yield
    finally:
        over.set()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*clients)


def client_of(service: UbrProcess) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=service.url, timeout=60)


async def logged_in(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.post("/api/auth/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def more(said: Counter[str], count: int) -> None:
    """Wait for this many further answers, or for one that is not good."""
    target = said["good"] + count
    while said["good"] < target and set(said) <= {"good"}:  # noqa: ASYNC110 - a counter, not an event
        await asyncio.sleep(0.02)


def executed(program: str | None, *arguments: str, folder: Path, **settings: str) -> tuple[int, str]:
    """The exit code and the output of a command of one of the versions."""
    environment = clean_environment(**settings)
    code, out, err = commands.run(*arguments, folder=folder, environment=environment, program=program)
    return code, out + err


async def test_the_previous_version_works_on_the_new_schema(
    previous: str, new_database: NewDatabase, clean_redis_url: str, tmp_path: Path
) -> None:
    environment = {
        **on_postgres(new_database(migrated=False), clean_redis_url, workers=1),
        "UBR_MIGRATE": "check",
        "UBR_ISSUER": "https://users.example.org",  # else each port is an issuer of its own
        **{f"UBR_{name}_RATE_LIMIT": "off" for name in ("SESSION", "CLIENT_SESSION", "REFRESH", "REGISTRATION")},
    }
    assert executed(previous, "migrate", folder=tmp_path, **environment)[0] == 0
    found = await upgrade_preview(Settings.from_env(environment))
    code, text = await anyio.to_thread.run_sync(lambda: executed(None, "upgrade-check", folder=tmp_path, **environment))
    print(text)  # noqa: T201 - for the person who runs this
    stops = [each.revision for each in found.pending if not each.rolling]
    if stops:
        # The previous version is not promised to work. The check has to say so.
        assert code == 1
        assert all(revision in text for revision in stops)
        return
    assert code == 0

    said: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    additions: set[str] = set()
    with ExitStack() as stack:

        def start(program: str | None) -> UbrProcess:
            service = UbrProcess(tmp_path, environment, program=program)
            stack.callback(service.kill)
            return service.wait_until_ready()

        old = await anyio.to_thread.run_sync(start, previous)
        async with using(old.url, said):
            await more(said, MIN_CALLS)
            migrated = await anyio.to_thread.run_sync(lambda: executed(None, "migrate", folder=tmp_path, **environment))
            assert migrated[0] == 0, migrated[1]
            await more(said, MIN_CALLS)
            new = await anyio.to_thread.run_sync(start, None)
            async with using(new.url, said):
                clients = [Sides(client_of(old), client_of(new), calls) for _ in range(CLIENTS)]

                async def talk(at: int, sides: Sides) -> None:
                    admin = (await logged_in(sides.new if at % 2 else sides.old))["access_token"]
                    for turn in range(ROUNDS):
                        await converse(sides, f"{at}-{turn}", admin)

                async with asyncio.TaskGroup() as group:
                    for at, sides in enumerate(clients):
                        group.create_task(talk(at, sides))
                await read_lists(clients[0])
                await more(said, MIN_CALLS)
        for sides in clients:
            additions |= sides.additions
            await sides.old.aclose()
            await sides.new.aclose()
        assert (await anyio.to_thread.run_sync(new.stop), await anyio.to_thread.run_sync(old.stop)) == (0, 0)
    assert set(said) == {"good"}, said
    print(f"answers under load: {said['good']}; paired requests: {calls['old']}")  # noqa: T201 - as above
    for addition in sorted(additions):
        print(f"new: {addition}")  # noqa: T201 - as above
    assert calls["old"] == calls["new"] > CLIENTS * ROUNDS * 20
