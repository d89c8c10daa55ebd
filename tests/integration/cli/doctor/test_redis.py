"""Mistakes about Redis."""

from __future__ import annotations

from functools import partial

import anyio.to_thread
import pytest
from redis.asyncio import Redis

from tests.integration.cli.doctor.kit import CANARY, Examine
from tests.support.mail import strange_server
from tests.support.plugin import PrivateRedis
from tests.support.servers import RedisServer, free_port, run

pytestmark = pytest.mark.system

NEEDED = ("ping", "eval", "evalsha", "set", "get", "del", "pttl", "pexpire", "time", "publish", "subscribe")
"""The commands of ubr. The library sends others, such as HELLO, which every user may send."""


def command(server: RedisServer, *words: str) -> None:
    async def ask() -> None:
        async with Redis.from_url(server.url()) as client:
            await client.execute_command(*words)  # type: ignore[no-untyped-call]

    run(ask())


def test_no_server(examine: Examine) -> None:
    report = examine(UBR_REDIS_URL=f"redis://:{CANARY}@127.0.0.1:{free_port()}/0")
    assert report.says("error", "redis", "No server listens at the address of Redis. Check UBR_REDIS_URL.")


def test_an_unknown_host(examine: Examine) -> None:
    report = examine(UBR_REDIS_URL="redis://nowhere.invalid:6379/0")
    assert report.says("error", "redis", "The host name of Redis is unknown")


@pytest.mark.parametrize("line", ["220 mail.example.org ESMTP", "HTTP/1.1 400 Bad Request"])
async def test_another_kind_of_server(line: str, examine: Examine) -> None:
    async with strange_server(line, hang=False) as port:
        look = partial(examine, UBR_REDIS_URL=f"redis://127.0.0.1:{port}/0")
        report = await anyio.to_thread.run_sync(look)
    assert report.says("error", "redis", "or the server at its address is not a Redis")


async def test_a_server_that_does_not_answer(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ubr.adapters.redis.diagnosis._DEADLINE", 0.05)
    async with strange_server() as port:
        look = partial(examine, UBR_REDIS_URL=f"redis://127.0.0.1:{port}/0")
        report = await anyio.to_thread.run_sync(look)
    assert report.says("error", "redis", "Redis did not answer in time")


async def test_a_server_without_tls(examine: Examine) -> None:
    async with strange_server("220 mail.example.org ESMTP", "500 what", hang=False) as port:
        look = partial(examine, UBR_REDIS_URL=f"rediss://127.0.0.1:{port}/0")
        report = await anyio.to_thread.run_sync(look)
    assert report.says("error", "redis", "Redis and ubr did not agree on TLS")


def test_no_tls_to_another_machine(redis_url: str, examine: Examine) -> None:
    report = examine(UBR_REDIS_URL=redis_url.replace("127.0.0.1", "0.0.0.0"))  # noqa: S104 - reaches this machine
    assert report.says("warning", "redis", "The connection to 0.0.0.0 is not encrypted")


def test_a_wrong_password(private_redis: PrivateRedis, examine: Examine) -> None:
    server = private_redis(settings={"requirepass": f"{CANARY}-right"})
    assert examine(UBR_REDIS_URL=server.url()).levels()["redis"] == "ok"
    for account in ("", f":{CANARY}@"):
        report = examine(UBR_REDIS_URL=f"redis://{account}127.0.0.1:{server.port}/0")
        assert report.says("error", "redis", "Redis rejects the password or the user, or demands one")


def test_a_replica(private_redis: PrivateRedis, examine: Examine) -> None:
    primary, replica = private_redis(), private_redis()
    command(replica, "REPLICAOF", "127.0.0.1", str(primary.port))
    report = examine(UBR_REDIS_URL=replica.url())
    assert report.says("error", "redis", "The Redis is a replica, which accepts no writes")


def test_a_cluster(private_redis: PrivateRedis, examine: Examine) -> None:
    server = private_redis("redis", settings={"cluster-enabled": "yes", "databases": "1"})
    report = examine(UBR_REDIS_URL=server.url())
    assert report.says("error", "redis", "UBR_REDIS_URL names a Redis in cluster mode")


def test_a_server_that_evicts(private_redis: PrivateRedis, examine: Examine) -> None:
    server = private_redis(settings={"maxmemory": "64mb", "maxmemory-policy": "allkeys-lru"})
    report = examine(UBR_REDIS_URL=server.url())
    assert report.says("warning", "redis", "maxmemory-policy is allkeys-lru")
    command(server, "CONFIG", "SET", "maxmemory-policy", "noeviction")
    assert examine(UBR_REDIS_URL=server.url()).levels()["redis"] == "ok"


def test_a_server_that_is_full(private_redis: PrivateRedis, examine: Examine) -> None:
    server = private_redis(settings={"maxmemory": "1kb"})
    assert examine(UBR_REDIS_URL=server.url()).says("error", "redis", "refuses commands of ubr: SET (O")


def test_a_user_who_may_not(private_redis: PrivateRedis, examine: Examine) -> None:
    server = private_redis()
    url = f"redis://ubr:{CANARY}@127.0.0.1:{server.port}/0"
    command(server, "ACL", "SETUSER", "ubr", "on", f">{CANARY}", "~ubr:*", "+@all", "-eval", "resetchannels")
    refused = "EVAL (NOPERM), PUBLISH (NOPERM), SUBSCRIBE (NOPERM)"
    assert examine(UBR_REDIS_URL=url).says("error", "redis", f"Redis refuses commands of ubr: {refused}. Allow")
    for name in NEEDED:
        command(server, "ACL", "SETUSER", "ubr", "reset", "on", f">{CANARY}", "~ubr:*", "&ubr:*", "+@all", f"-{name}")
        sentence = f"Redis refuses commands of ubr: {name.upper()} (NOPERM). Allow"
        assert examine(UBR_REDIS_URL=url).says("error", "redis", sentence), name


def test_a_user_without_more_than_ubr_needs(private_redis: PrivateRedis, examine: Examine) -> None:
    server = private_redis()
    rights = ("~ubr:*", "&ubr:*", "-@all", *(f"+{name}" for name in NEEDED))
    command(server, "ACL", "SETUSER", "ubr", "on", f">{CANARY}", *rights)
    report = examine(UBR_REDIS_URL=f"redis://ubr:{CANARY}@127.0.0.1:{server.port}/0")
    assert report.about("redis") == [
        ("ok", "It accepts the commands of ubr. Its user may not run INFO, which tells more.")
    ]


def test_a_check_writes_nothing(private_redis: PrivateRedis, examine: Examine) -> None:
    server = private_redis()
    assert examine(UBR_REDIS_URL=server.url()).levels()["redis"] == "ok"

    async def keys() -> object:
        async with Redis.from_url(server.url()) as client:
            return await client.dbsize()

    assert run(keys()) == 0
