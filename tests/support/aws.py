"""AWS on this machine, as far as ubr sees it: an agent with credentials, and the endpoints of two databases.

An endpoint is one address with TLS. Like those of RDS and ElastiCache it admits only clients with a password that IAM
has issued, and after a failover it leads to another server. While a server has failed, nothing passes and nothing is
refused: a machine that vanished sends no reset.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import ssl
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hmac import compare_digest
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlsplit

from tests.support.certificates import certificate
from tests.support.servers import PostgresServer, RedisServer
from ubr.adapters.aws.credentials import Credentials
from ubr.adapters.aws.signing import signed_url

REGION: Final = "eu-central-1"
LIFETIME: Final = timedelta(minutes=7)
"""The life of issued credentials. ubr renews them five minutes before their end, so every two minutes."""
_PASSWORD_SECONDS: Final = 900
_SSL, _CANCEL, _GSS = 80877103, 80877102, 80877104
_UNAUTHORIZED: Final = b"SFATAL\0VFATAL\0C28P01\0MPAM authentication failed\0\0"


class Denied(Exception):
    """A client has no valid password."""


class Agent:
    """The agent of ECS that gives credentials to the tasks, and the IAM that checks what they sign."""

    def __init__(self) -> None:
        self._issued: dict[str, Credentials] = {}
        self._token = secrets.token_hex(16)
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()

    @property
    def environment(self) -> dict[str, str]:
        """The variables that ECS sets in a task."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return {
            "AWS_REGION": REGION,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{port}/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": self._token,
        }

    def check(self, password: str, *, service: str, host: str, parameters: dict[str, str]) -> None:
        """Errors: `Denied` unless IAM has issued this password for these parameters."""
        given = {name: values[0] for name, values in parse_qs(urlsplit(f"//{password}").query).items()}
        credentials = self._issued.get(given.get("X-Amz-Credential", "").partition("/")[0])
        now = _now()
        if credentials is None or credentials.expires is None or credentials.expires < now:
            raise Denied("unknown or expired credentials")
        signed = datetime.strptime(given["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if now - signed > timedelta(seconds=_PASSWORD_SECONDS):
            raise Denied("an expired password")
        right = signed_url(
            credentials,
            service=service,
            region=REGION,
            host=host,
            parameters=parameters,
            seconds=_PASSWORD_SECONDS,
            now=signed,
        )
        if not compare_digest(password, right):
            raise Denied("a wrong signature")

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, EOFError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            allowed = head.startswith("GET /credentials ") and f"Authorization: {self._token}\r\n" in head
            body = json.dumps(self._issue() if allowed else {}).encode()
            status = "200 OK" if allowed else "401 Unauthorized"
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
            )
            await writer.drain()
        writer.close()

    def _issue(self) -> dict[str, str]:
        key_id, expires = f"ASIA{secrets.token_hex(8).upper()}", (_now() + LIFETIME).replace(microsecond=0)
        issued = Credentials(key_id, secrets.token_urlsafe(30), secrets.token_urlsafe(60), expires)
        self._issued[key_id] = issued
        return {
            "AccessKeyId": key_id,
            "SecretAccessKey": issued.secret,
            "Token": issued.token,
            "Expiration": expires.isoformat().replace("+00:00", "Z"),
        }


def _now() -> datetime:
    return datetime.now(UTC)


class Endpoint(ABC):
    """One address for one server after another; use as `async with`."""

    def __init__(self, folder: Path) -> None:
        """`folder` gets the certificate."""
        folder.mkdir()
        _, key = certificate(folder)
        self.certificate = folder / "certificate.pem"
        (folder / "key.pem").write_text(key)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(self.certificate, folder / "key.pem")
        self._server: asyncio.Server | None = None
        self._alive = asyncio.Event()
        """Set while the server is there. Each server has another one, so that old connections stay silent."""
        self._alive.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.denied: list[str] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def vanish(self) -> None:
        """From now on no byte passes, in open connections and in new ones."""
        self._alive.clear()

    def _appear(self) -> None:
        """New connections lead to a server again. Those from before stay silent."""
        self._alive = asyncio.Event()
        self._alive.set()

    @abstractmethod
    async def _admit(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Check the client, and open its connection to the server. Errors: `Denied`, `OSError`, `EOFError`."""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        alive, ends, relays = self._alive, [writer], list[asyncio.Task[None]]()
        try:
            if not alive.is_set():
                await _relay(reader, None, alive)  # until the client gives up
                return
            answers, requests = await self._admit(reader, writer)
            ends.append(requests)
            relays = [
                asyncio.create_task(_relay(reader, requests, alive)),
                asyncio.create_task(_relay(answers, writer, alive)),
            ]
            await asyncio.wait(relays, return_when=asyncio.FIRST_COMPLETED)
            if not alive.is_set():
                await relays[0]  # the end of the server does not pass either
        except Denied as denied:
            self.denied.append(str(denied))
        except (OSError, EOFError, asyncio.CancelledError):
            pass  # one of the ends is gone, or the test is over
        finally:
            # Before the first wait, which the end of the test may cancel.
            for relay in relays:
                relay.cancel()
            for end in ends:
                end.transport.abort()
            await asyncio.gather(*relays, return_exceptions=True)


async def _relay(source: asyncio.StreamReader, target: asyncio.StreamWriter | None, alive: asyncio.Event) -> None:
    """Until the source ends. While the server is not there, all is lost. Errors: `OSError`."""
    while chunk := await source.read(65536):
        if target is not None and alive.is_set():
            target.write(chunk)
            await target.drain()


class DatabaseEndpoint(Endpoint):
    """The endpoint of an RDS for PostgreSQL: roles with `rds_iam` have issued passwords, the owner has one of its own.

    Source of the messages: https://www.postgresql.org/docs/current/protocol-message-formats.html
    """

    def __init__(
        self, folder: Path, agent: Agent, server: PostgresServer, owner: str, password: Callable[[], str]
    ) -> None:
        """`password` is that of the owner now. The servers must have been told to `trust_socket`."""
        super().__init__(folder)
        self._agent, self._owner, self._password = agent, owner, password
        self._path = _socket(server)

    def lead_to(self, server: PostgresServer) -> None:
        self._path = _socket(server)
        self._appear()

    async def _admit(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        secure = False
        while True:
            first = await _sized(reader)
            (code,) = struct.unpack("!I", first[4:8])
            if code == _SSL and not secure:
                writer.write(b"S")
                await writer.drain()
                await writer.start_tls(self._tls)
                secure = True
            elif code == _GSS:
                writer.write(b"N")
            else:
                break
        if code != _CANCEL:
            if not secure:
                raise Denied("no TLS")
            names = iter(first[8:].decode().split("\0"))
            await self._check(dict(zip(names, names, strict=False))["user"], reader, writer)
        answers, requests = await asyncio.open_unix_connection(self._path)
        requests.write(first)
        return answers, requests

    async def _check(self, role: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"R" + struct.pack("!II", 8, 3))  # asks for the password in clear text
        await writer.drain()
        if await reader.readexactly(1) != b"p":
            raise Denied("no password")
        password = (await _sized(reader))[4:].rstrip(b"\0").decode()
        try:
            self._verify(role, password)
        except Denied:
            writer.write(b"E" + struct.pack("!I", 4 + len(_UNAUTHORIZED)) + _UNAUTHORIZED)
            await writer.drain()
            raise

    def _verify(self, role: str, password: str) -> None:
        if role != self._owner:
            place, parameters = f"localhost:{self.port}", {"Action": "connect", "DBUser": role}
            self._agent.check(password, service="rds-db", host=place, parameters=parameters)
        elif not compare_digest(password, self._password()):
            raise Denied("a wrong password of the owner")


def trust_socket(server: PostgresServer) -> None:
    """Let everyone in who may open the Unix socket, in a folder of the server's user: the endpoint has checked them."""
    rules = server.data_directory / "pg_hba.conf"
    rules.write_text(f"local all all trust\n{rules.read_text()}")
    server.query("SELECT pg_reload_conf()")


def _socket(server: PostgresServer) -> str:
    return str(server.data_directory.with_name(f".s.PGSQL.{server.port}"))


async def _sized(reader: asyncio.StreamReader) -> bytes:
    """A message with its length in front, which counts itself."""
    head = await reader.readexactly(4)
    return head + await reader.readexactly(struct.unpack("!I", head)[0] - 4)


class CacheEndpoint(Endpoint):
    """The primary endpoint of an ElastiCache. The server itself must accept any password of the user."""

    def __init__(self, folder: Path, agent: Agent, server: RedisServer, *, cache: str, user: str) -> None:
        super().__init__(folder)
        self._agent, self._cache, self._user = agent, cache, user
        self._target = server

    def lead_to(self, server: RedisServer) -> None:
        self._target = server
        self._appear()

    async def _admit(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        await writer.start_tls(self._tls)
        raw, words = await _command(reader)
        if b"AUTH" not in [word.upper() for word in words] or words[-2].decode() != self._user:
            writer.write(b"-NOAUTH Authentication required.\r\n")
            await writer.drain()
            raise Denied("no login")
        parameters: dict[str, Any] = {"Action": "connect", "User": self._user}
        try:
            self._agent.check(words[-1].decode(), service="elasticache", host=self._cache, parameters=parameters)
        except Denied:
            writer.write(b"-WRONGPASS invalid username-password pair or user is disabled.\r\n")
            await writer.drain()
            raise
        answers, requests = await asyncio.open_connection(self._target.host, self._target.port)
        requests.write(raw)
        return answers, requests


async def _command(reader: asyncio.StreamReader) -> tuple[bytes, list[bytes]]:
    """The next command, as bytes and as words. Source: https://redis.io/docs/latest/develop/reference/protocol-spec/"""
    raw = await reader.readuntil(b"\r\n")
    words = []
    for _ in range(int(raw[1:])):
        head = await reader.readuntil(b"\r\n")
        word = await reader.readexactly(int(head[1:]) + 2)
        raw += head + word
        words.append(word[:-2])
    return raw, words
