"""A Redis as ElastiCache offers it: a user with few rights, and a cluster, which ubr refuses."""

from __future__ import annotations

from datetime import timedelta

import anyio.to_thread
import pytest
from redis.asyncio import Redis

from deploy.aws.fleet.rights import REDIS_RIGHTS
from tests.integration.redis.conftest import NewLink
from tests.support.plugin import PrivateRedis
from tests.support.servers import RedisServer, run
from ubr.adapters.redis import RedisRateLimitStore
from ubr.adapters.redis.diagnosis import examine_redis
from ubr.adapters.security.secrets import HmacSigner, SecretKeys
from ubr.application.ports.protection import Quota
from ubr.entrypoints.cli.output import Refused
from ubr.entrypoints.cli.starting import check_redis
from ubr.settings import Settings

pytestmark = pytest.mark.system


def _with_user(server: RedisServer) -> str:
    """The URL as the user whose rights are those of the stacks of deploy/aws."""

    async def create() -> None:
        async with Redis.from_url(server.url()) as client:
            words = ("ACL", "SETUSER", "service", "on", ">secret", *REDIS_RIGHTS.split())
            await client.execute_command(*words)  # type: ignore[no-untyped-call]

    run(create())
    return server.url().replace("redis://", "redis://service:secret@")


async def test_the_rights_of_the_stacks_suffice(private_redis: PrivateRedis, new_link: NewLink) -> None:

    url = await anyio.to_thread.run_sync(_with_user, private_redis())
    facts = await examine_redis(url)
    assert (facts.primary, facts.refused, facts.cluster) == (True, (), False)
    assert facts.version
    link = new_link(url, deadline=30.0, connect_deadline=30.0)
    await link.ping()
    store = RedisRateLimitStore(link, HmacSigner(SecretKeys((b"k" * 32,))))
    decision = await store.take("name", Quota(limit=2, per=timedelta(minutes=1)))
    assert (decision.allowed, decision.remaining) == (True, 1)
    async with link.kept_connection() as connection:
        for command in ("SUBSCRIBE", "UNSUBSCRIBE"):
            await connection.send_command(command, link.channel("feed"))
            await connection.read_response(push_request=True)


async def test_a_cluster_is_refused_at_the_start(private_redis: PrivateRedis) -> None:
    server = private_redis("redis", settings={"cluster-enabled": "yes", "databases": "1"})
    settings = Settings.memory(redis_url=server.url())
    with pytest.raises(Refused, match="Redis in cluster mode"):
        await check_redis(settings)


async def test_a_cluster_is_refused_although_its_user_may_not_ask_for_it(private_redis: PrivateRedis) -> None:
    server = private_redis("redis", settings={"cluster-enabled": "yes", "databases": "1"})
    async with Redis.from_url(server.url()) as client:
        words = ("ACL", "SETUSER", "service", "on", ">secret", *REDIS_RIGHTS.split(), "-info")
        await client.execute_command(*words)  # type: ignore[no-untyped-call]
    settings = Settings.memory(redis_url=server.url().replace("redis://", "redis://service:secret@"))
    with pytest.raises(Refused, match="Redis in cluster mode"):
        await check_redis(settings)


async def test_a_redis_that_does_not_answer_stops_no_start(caplog: pytest.LogCaptureFixture) -> None:
    await check_redis(Settings.memory(redis_url=None))
    assert caplog.messages == []
    await check_redis(Settings.memory(redis_url="redis://127.0.0.1:1/0"))
    [line] = caplog.messages
    assert line.startswith("No server listens at the address of Redis. The service starts without it")
