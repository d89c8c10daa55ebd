"""Facts about a Redis for an operator. Reading them changes nothing."""

from __future__ import annotations

import asyncio
import secrets
import socket
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

from ubr.adapters.aws.credentials import NoCredentials
from ubr.adapters.redis.address import library_pool
from ubr.adapters.redis.client import NAME_SPACE, Word
from ubr.domain.errors import StoreUnavailable

_DEADLINE: Final = 3.0
"""Seconds for all of it."""

_INFO: Final = "INFO"
_WRITE: Final = "return redis.call('SET', KEYS[1], '', 'XX')"
"""A write that every server, role and setting treats as one, to a key that does not exist: it writes nothing."""


_CAUSES: Final = (
    (AuthenticationError, "Redis rejects the password or the user, or demands one"),
    (ssl.SSLError, "Redis and ubr did not agree on TLS"),
    (socket.gaierror, "The host name of Redis is unknown"),
    (ConnectionRefusedError, "No server listens at the address of Redis"),
    (TimeoutError, "Redis did not answer in time"),
    (ResponseError, "Redis rejects the connection, or is older than version 6"),
)


class RedisFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A Redis, as the user of the URL sees it. Without the right to run INFO, they see no `version` and no `policy`."""

    version: str
    primary: bool
    refused: tuple[str, ...]
    """The commands of ubr that the server refuses, each with the first word of its error, as in `EVAL (READONLY)`."""
    max_memory: int
    """In bytes; 0 for no limit."""
    policy: str
    cluster: bool
    """True if keys are spread over several servers, which ubr does not support."""


async def examine_redis(url: str) -> RedisFacts:
    """Errors: `StoreUnavailable`, with a sentence that contains no part of the URL."""
    try:
        connection = library_pool(url).make_connection()  # type: ignore[no-untyped-call]
    except Exception:  # noqa: BLE001 - the library's errors quote the URL they cannot parse
        raise StoreUnavailable("The Redis URL cannot be read; it looks like redis://host:6379/0") from None
    try:
        async with asyncio.timeout(_DEADLINE):
            await connection.connect()
            return await _facts(connection)
    except NoCredentials as error:
        raise StoreUnavailable(f"AWS IAM issues no password for Redis: {error}") from None
    except (RedisError, OSError, EOFError, ValueError) as error:
        raise StoreUnavailable(_explained(error)) from None
    finally:
        with suppress(OSError, RedisError):
            await connection.disconnect(nowait=True)


async def _facts(connection: AbstractConnection) -> RedisFacts:
    refused = []
    info: Mapping[str, Any] = {}
    name = f"{NAME_SPACE}doctor:{secrets.token_hex(16)}"
    commands: Mapping[str, Sequence[Word]] = {
        _INFO: (),
        "EVAL": (_WRITE, 1, name),
        "PUBLISH": (name, ""),  # to a channel without a listener
    }
    for command, arguments in commands.items():
        await connection.send_command(command, *arguments)
        try:
            reply = await connection.read_response()
        except ResponseError as error:
            if command != _INFO:  # ubr itself does not need it
                refused.append(f"{command} ({_code(error)})")
        else:
            if command == _INFO:
                info = _parsed(reply)
    return RedisFacts(
        version=info.get("valkey_version") or info.get("redis_version") or "",
        primary=info.get("role", "master") == "master",
        refused=tuple(refused),
        max_memory=int(info.get("maxmemory", "0")),
        policy=info.get("maxmemory_policy", ""),
        cluster=info.get("cluster_enabled") == "1",
    )


def _parsed(reply: Any) -> dict[str, str]:
    text = reply.decode(errors="replace") if isinstance(reply, bytes) else ""
    return {name: value for name, _, value in (line.partition(":") for line in text.splitlines()) if value}


def _code(error: ResponseError) -> str:
    """The first word of an error. The library removes it from the errors that have a class of their own."""
    first = str(error).partition(" ")[0]
    if first.isupper() and first.isalpha():
        return first
    return "NOPERM" if isinstance(error, NoPermissionError) else type(error).__name__.removesuffix("Error").upper()


def _explained(error: BaseException) -> str:
    """The sentence for the first known error in the chain of those that led to this one."""
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, ssl.SSLCertVerificationError):
            return f"The certificate of Redis is not valid: {at.verify_message}"
        for kind, sentence in _CAUSES:
            if isinstance(at, kind):
                return sentence
        at = at.__cause__ or at.__context__
    return "The connection to Redis failed, or the server at its address is not a Redis"
