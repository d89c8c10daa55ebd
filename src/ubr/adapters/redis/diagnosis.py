"""Facts about a Redis for an operator. Reading them changes nothing."""

from __future__ import annotations

import asyncio
import re
import secrets
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import AuthenticationError, NoPermissionError, NoScriptError, RedisError, ResponseError

from ubr.adapters.aws.credentials import NoCredentials
from ubr.adapters.redis.address import library_pool
from ubr.adapters.redis.client import NAME_SPACE, Word
from ubr.domain.errors import StoreUnavailable

_DEADLINE: Final = 3.0
"""Seconds for all of it."""

_IN_SCRIPTS: Final = {
    "SET": "redis.call('SET', KEYS[1], '', 'XX')",
    "GET": "redis.call('GET', KEYS[1])",
    "DEL": "redis.call('DEL', KEYS[1])",
    "PTTL": "redis.call('PTTL', KEYS[1])",
    "PEXPIRE": "redis.call('PEXPIRE', KEYS[1], 1)",
    "TIME": "redis.call('TIME')",
}
"""The commands of the scripts of ubr, on a key that does not exist: none of them writes anything.

The first one is a write to every server, in every role and setting.
"""

_SPREAD: Final = frozenset({"ASK", "MOVED", "CLUSTERDOWN", "CROSSSLOT"})
"""The errors by which a cluster shows itself to a user who may not run INFO."""


_REJECTED_CERTIFICATE: Final = re.compile("ALERT_.*(CERTIFICATE|UNKNOWN_CA|DECRYPT_ERROR)")
"""The alerts by which a server rejects the certificate of its client, or demands one (RFC 8446, 6.2)."""

_IN_SCRIPT: Final = "can't run this command"

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
    """The commands of ubr that the server refuses, each with the first word of its error, as in `SET (READONLY)`."""
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
    name = f"{NAME_SPACE}doctor:{secrets.token_hex(16)}"
    info, _ = await _tried(connection, "INFO")  # ubr itself does not need it
    refused: dict[str, str] = {}
    commands: dict[str, Sequence[Word]] = {
        "PING": ("PING",),
        "EVALSHA": ("EVALSHA", "0" * 40, 0),  # a script that no server has
        "EVAL": ("EVAL", "return 0", 0),
    }
    for command, words in commands.items():
        refused[command] = (await _tried(connection, *words))[1]
    if not refused["EVAL"]:
        for command, script in _IN_SCRIPTS.items():
            refused[command] = (await _tried(connection, "EVAL", f"{script} return 0", 1, name))[1]
    # To a channel without another listener. The subscription is last: it changes the meaning of what is read.
    refused["PUBLISH"] = (await _tried(connection, "PUBLISH", name, ""))[1]
    refused["SUBSCRIBE"] = (await _tried(connection, "SUBSCRIBE", name))[1]
    told = _parsed(info)
    return RedisFacts(
        version=told.get("valkey_version") or told.get("redis_version") or "",
        primary=told.get("role", "master") == "master" and "READONLY" not in refused.values(),
        refused=tuple(f"{command} ({code})" for command, code in refused.items() if code),
        max_memory=int(told.get("maxmemory", "0")),
        policy=told.get("maxmemory_policy", ""),
        cluster=told.get("cluster_enabled") == "1" or not _SPREAD.isdisjoint(refused.values()),
    )


async def _tried(connection: AbstractConnection, *words: Word) -> tuple[Any, str]:
    """The reply to a command; without one, the first word of the error."""
    await connection.send_command(*words)
    try:
        return await connection.read_response(push_request=True), ""
    except NoScriptError:
        return None, ""
    except ResponseError as error:
        return None, _code(error)


def _parsed(reply: Any) -> dict[str, str]:
    text = reply.decode(errors="replace") if isinstance(reply, bytes) else ""
    return {name: value for name, _, value in (line.partition(":") for line in text.splitlines()) if value}


def _code(error: ResponseError) -> str:
    """The first word of an error. The library removes it from the errors that have a class of their own."""
    if _IN_SCRIPT in str(error):  # Redis 7 calls this ERR
        return "NOPERM"
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
        if isinstance(at, ssl.SSLError) and _REJECTED_CERTIFICATE.search(f"{at.reason}"):
            return "Redis rejects the certificate of ubr, or demands one: check ssl_certfile and ssl_keyfile in its URL"
        for kind, sentence in _CAUSES:
            if isinstance(at, kind):
                return sentence
        at = at.__cause__ or at.__context__
    # A server that resets the connection may do so before its alert is read.
    return (
        "The connection to Redis failed, or the server at its address is not a Redis, or rejects the certificate of ubr"
    )
