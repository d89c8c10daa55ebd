"""A service to talk to, in this process or another, and a way to write down what was said."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast
from urllib.parse import urljoin
from uuid import UUID

import httpx

from tests.support import service
from tests.support.people import NO_LIMITS
from tests.support.servers import run
from ubr.adapters.sql.migrations import upgrade
from ubr.application.accounts.create_admin import CreateAdminCommand
from ubr.application.accounts.list_users import ListUsersCommand
from ubr.application.app import Application
from ubr.application.audit.list_logs import ListLogsCommand
from ubr.application.roles.list_roles import ListRolesCommand
from ubr.bootstrap import connect
from ubr.domain.actor import SYSTEM
from ubr.entrypoints.http.app import HttpOptions, create_app
from ubr.entrypoints.http.edge import Edge
from ubr.settings import Settings
from ubr.testing import MovableClock
from ubr.testing.memory import TINY_HASHING

ADMIN = "admin@example.org"
PASSWORD = "correct horse battery staple"
ANOTHER_PASSWORD = "staple battery horse correct"
OWN_PAGE = {"sec-fetch-site": "same-origin"}
"""What a browser adds to a request of a page of the service. Clients with tokens may add it too: it changes nothing."""
UNKNOWN = "01926e5c-7b0e-7f3a-9c55-0d2f6f1c8a10"


@dataclass
class Service:
    """What a test talks to. `ubr`, `edge` and `clock` are there where it runs in this process, else `process` is."""

    client: httpx.AsyncClient
    ubr: Application | None = None
    edge: Edge | None = None
    clock: MovableClock | None = None
    process: service.UbrProcess | None = None

    async def logged_in(self, email: str, password: str = PASSWORD) -> dict[str, Any]:
        answer = await self.client.post("/api/auth/login", json={"email": email, "password": password})
        assert answer.status_code == 200, answer.text
        tokens: dict[str, Any] = answer.json()
        return tokens

    async def admin(self) -> dict[str, str]:
        """The header of a logged-in administrator."""
        return bearer(await self.logged_in(ADMIN))

    async def register(self, email: str) -> dict[str, Any]:
        answer = await self.client.post("/api/auth/register", json={"email": email, "password": PASSWORD})
        assert answer.status_code == 201, answer.text
        user: dict[str, Any] = answer.json()
        return user

    async def written(self) -> tuple[list[tuple[str, UUID]], object, object]:
        """What is stored, as far as anyone can see it: log entries without reads and denials; users; roles."""
        assert self.ubr is not None
        logs = await self.ubr.list_logs(ListLogsCommand(limit=200), actor=SYSTEM)
        users = await self.ubr.list_users(ListUsersCommand(limit=200), actor=SYSTEM)
        roles = await self.ubr.list_roles(ListRolesCommand(limit=200), actor=SYSTEM)
        looking = ("log.read", None)
        entries = [
            (entry.action, entry.id)
            for entry in logs.items
            if (entry.action, entry.actor_id) != looking and entry.action != "act.refused"
        ]
        return entries, users, roles


def bearer(tokens: dict[str, Any]) -> dict[str, str]:
    return {"authorization": f"Bearer {tokens['access_token']}"}


def following(answer: httpx.Response) -> str:
    """The path and query of the next page, which the answer gives relative to its own path; empty on the last page."""
    link = answer.links.get("next", {}).get("url")
    return "" if link is None else urljoin(answer.request.url.raw_path.decode(), link)


class _Present:
    """Whichever application is being tested: to make a service over one takes longer than most tests."""

    def __init__(self) -> None:
        self.ubr: Application | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ubr, name)


_present = _Present()
_usual_edge: list[Edge] = []


def _edge_over(ubr: Application, options: HttpOptions | None) -> Edge:
    if options is not None:
        return create_app(ubr, options=options)
    if not _usual_edge:
        _usual_edge.append(create_app(cast("Application", _present)))
    assert _present.ubr is None, "two services at once"
    _present.ubr = ubr
    return _usual_edge[0]


@asynccontextmanager
async def in_process(settings: Settings, options: HttpOptions | None = None) -> AsyncIterator[Service]:
    """A service of its own, on the clock of the test."""
    clock = MovableClock()
    async with connect(settings, clock=clock) as ubr:
        await ubr.create_admin(CreateAdminCommand(email=ADMIN, password=PASSWORD), actor=SYSTEM)
        edge = _edge_over(ubr, options)
        transport = httpx.ASGITransport(edge, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://ubr.test", headers=OWN_PAGE) as client:
            try:
                yield Service(client, ubr, edge, clock)
            finally:
                _present.ubr = None


def memory_settings(**changes: Any) -> Settings:
    return Settings.memory(**{**TINY_HASHING, "login_rate_limit": NO_LIMITS, **changes})


def database_settings(url: str, **changes: Any) -> Settings:
    return memory_settings(database_url=url, migrate="auto", **changes)


def sqlite_settings(folder: Path, **changes: Any) -> Settings:
    """A database of its own: to copy a file is sooner done than to bring an empty one up to date."""
    file = folder / "ubr.db"
    file.write_bytes(migrated_file())
    return database_settings(_address(file), **changes)


@cache
def migrated_file() -> bytes:
    """What is in the file of a SQLite database that was brought up to date and is empty."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "ubr.db"
        run(upgrade(_address(file)))
        return file.read_bytes()


def _address(file: Path) -> str:
    return f"sqlite+aiosqlite:///{file}"


@asynccontextmanager
async def in_a_process(folder: Path, **environment: str) -> AsyncIterator[Service]:
    """`ubr serve` as a newcomer runs it, on the embedded database of an empty folder, or as the environment says.

    Every request has a connection of its own, so that any worker may be the one to answer it.
    """
    process = service.UbrProcess(
        folder, {"UBR_ADMIN_EMAIL": ADMIN, "UBR_ADMIN_PASSWORD": PASSWORD, **environment}, room=True
    )
    try:
        await asyncio.to_thread(process.wait_until_ready)
        alone = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(base_url=process.url, timeout=30, limits=alone, headers=OWN_PAGE) as client:
            yield Service(client, process=process)
    finally:
        await asyncio.to_thread(process.stop)


# --- what was said ---------------------------------------------------------------------------------------------------

COUNTED = {"act.refused", "requests.rejected", "link.issued"}
"""Entries of the log that are written beside: as many, or as late, as minutes and workers have it."""

_KEPT_HEADERS = (
    "accept",
    "allow",
    "cache-control",
    "content-security-policy",
    "content-type",
    "etag",
    "link",
    "location",
    "referrer-policy",
    "retry-after",
    "www-authenticate",
    "x-content-type-options",
    "x-request-id",
)
_NAMED = re.compile(
    r"(?P<id>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
    r"|(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|\+00:00))"
    r"|(?P<token>ubr_rt_[A-Za-z0-9_-]{20,}|ubr_sk_[A-Za-z0-9]{71}|eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)"
    r"|(?P<cursor>(?<=cursor=)[A-Za-z0-9_%-]{20,}|^[A-Za-z0-9_-]{80,}$)"
    r"|(?P<key>^[A-Za-z0-9_-]{43}$)"
    r"|(?P<log>^[^\s+]+/log/[0-9a-f]{16}(?:\+[A-Za-z0-9+/=]+)?$)"
)


@dataclass
class Names:
    """Gives whatever differs from run to run a name by its first appearance."""

    known: dict[tuple[str, str], str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def __call__(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self(member) for name, member in value.items()}
        if isinstance(value, list):
            return [self(member) for member in value]
        return _NAMED.sub(self._name, value) if isinstance(value, str) else value

    def _name(self, found: re.Match[str]) -> str:
        kind = str(found.lastgroup)
        if (kind, found[0]) not in self.known:
            self.counts[kind] = self.counts.get(kind, 0) + 1
            self.known[kind, found[0]] = f"<{kind} {self.counts[kind]}>"
        return self.known[kind, found[0]]


def _alike(body: Any) -> Any:
    """An answer without what depends on the clock, and on which of several workers were asked."""
    if isinstance(body, dict) and "ubr_user_export" in body:
        return {**body, "acts": [], "acts_upon": [], "links": [], "mails": []}
    if not isinstance(body, dict) or "items" not in body:
        return body
    items = [item for item in body["items"] if item.get("action") not in COUNTED]
    for item in items:
        if item.get("action") in {"log.read", "user.erased"}:
            item["data"]["entries"] = 0
    return {**body, "items": items}


@dataclass
class Talk:
    """A conversation with a service, written down as it goes."""

    service: Service
    lines: list[dict[str, Any]] = field(default_factory=list)
    called: list[tuple[str, str]] = field(default_factory=list)
    _names: Names = field(default_factory=Names)

    async def say(
        self, method: str, path: str, body: Any = None, *, who: Any = None, form: Any = None, **headers: str
    ) -> httpx.Response:
        """Send a request with a body of JSON, or a form, in the name of whoever has these tokens."""
        if self.service.clock is not None:
            self.service.clock.move(seconds=1)
        sent = {
            "user-agent": "conversation",
            "x-request-id": f"line-{len(self.lines)}",
            **({} if who is None else bearer(who)),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        options: dict[str, Any] = {} if body is None else {"json": body}
        if form is not None:
            options = {"data": form}
        answer = await self.service.client.request(method, path, headers=sent, **options)
        self.called.append((method, path.partition("?")[0]))
        structured = "json" in answer.headers.get("content-type", "")
        self.lines.append(
            self._names(
                {
                    "request": f"{method} {path}",
                    "status": answer.status_code,
                    "headers": {name: answer.headers[name] for name in _KEPT_HEADERS if name in answer.headers},
                    "body": _alike(answer.json()) if structured and answer.content else answer.text,
                }
            )
        )
        return answer


class Like:
    """Equal to every text of a shape."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and re.fullmatch(self._pattern, other) is not None

    def __hash__(self) -> int:
        return hash(self._pattern)

    def __repr__(self) -> str:
        return f"like {self._pattern}"


ID = Like(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
TIME = Like(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")


def problem(status: int, slug: str, path: str, *pointers: str) -> Any:
    """What a problem looks like, but for what is said in words."""
    expected = {
        "type": f"/problems/{slug}",
        "title": Like(".+"),
        "status": status,
        "detail": Like(".+"),
        "instance": path,
        "request_id": Like("[A-Za-z0-9._-]{1,64}"),
    }
    if pointers:
        expected["errors"] = [{"pointer": pointer, "detail": Like(".+")} for pointer in pointers]
    return expected


def assert_problem(answer: httpx.Response, *statuses: int) -> dict[str, Any]:
    """An answer is a problem of one of these statuses, with every member it must have."""
    assert answer.status_code in statuses, (answer.status_code, answer.text)
    assert answer.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = answer.json()
    members = ["type", "title", "status", "detail", "instance", "request_id"]
    assert list(told)[:6] == members
    assert set(told) <= {*members, "errors"}
    assert all(isinstance(told[name], str) and told[name] for name in members if name != "status")
    assert told["status"] == answer.status_code
    assert told["request_id"] == answer.headers["x-request-id"]
    assert told["instance"].startswith("/")
    for flaw in told.get("errors", ()):
        assert set(flaw) == {"pointer", "detail"}
        assert flaw["pointer"] == "" or flaw["pointer"].startswith("/")
    if answer.status_code == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["cache-control"] == "no-store"
    return told
