"""The fleet of deploy/aws under load: roll-outs, and failovers of the database and of the cache.

`make test-fleet` runs it for ten minutes; FLEET_SECONDS is another length, and FLEET_SEED repeats the acts of the
clients. Its output has each event with its times. docs/deploy/aws.md has some of them.

PostgreSQL has a synchronous standby, so that an acknowledged commit is on two disks, as with Multi-AZ of RDS. Redis has
a replica. In a failover the first server vanishes without a word, and after an outage the endpoint leads to the second.
"""

from __future__ import annotations

import asyncio
import os
import random
import shlex
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from deploy.aws.fleet.parameters import load
from deploy.aws.fleet.rights import REDIS_RIGHTS
from deploy.aws.fleet.task import Addresses, of_owner, plain
from tests.integration.production.clients import SLACK, Fault, Record, arrived
from tests.integration.production.fleet import NO_TASK, Fleet
from tests.integration.production.ledgers import differences, figures, the_log, the_users, verdict
from tests.support.aws import Agent, CacheEndpoint, DatabaseEndpoint, trust_socket
from tests.support.plugin import PrivatePostgres, PrivateRedis
from tests.support.servers import PostgresServer, RedisServer
from tests.support.service import ADMIN, SECRET_KEY

pytestmark = [pytest.mark.anyio, pytest.mark.system, pytest.mark.long]

SECONDS: Final = float(os.environ.get("FLEET_SECONDS") or 180)  # noqa: TID251 - of the test, not of ubr
SEED: Final = int(os.environ.get("FLEET_SEED") or random.SystemRandom().randrange(10**6))  # noqa: TID251
CLIENTS: Final = 8
PACE: Final = 0.4
"""Seconds between two acts of a client."""
DATABASE_OUTAGE: Final = min(60.0, SECONDS / 8)
"""Seconds from the end of a primary until the endpoint leads to the standby; RDS takes 60 to 120."""
CACHE_OUTAGE: Final = min(30.0, SECONDS / 12)
OWNER, SERVICE, DATABASE = "ubr_owner", "ubr_service", "ubr"
LINES: Final = 100
"""The lines of each log in the report of a run that did not get to its end."""


@dataclass
class Data:
    """The databases behind their endpoints, and what is done to them."""

    fleet: Fleet
    postgres: PostgresServer
    standby: PostgresServer
    redis: RedisServer
    replica: RedisServer
    database: DatabaseEndpoint
    cache: CacheEndpoint
    replicated: Callable[[RedisServer], RedisServer]
    """Starts a replica of a Redis."""

    async def fail_over_database(self) -> None:
        # While no task is healthy, the balancer also sends requests to replacements, which do not serve yet.
        async with self.fleet.record.fault("a failover of the database", "balancer") as fault:
            self.database.vanish()
            await asyncio.to_thread(self.postgres.kill)
            await asyncio.sleep(DATABASE_OUTAGE)
            await asyncio.to_thread(self.standby.promote)
            self.database.lead_to(self.standby)
            fault.note = f"the endpoint moved after {time.monotonic() - fault.began:.1f} s"
            await self.fleet.some_healthy()
        await asyncio.to_thread(self.postgres.stop)
        self.postgres = self.standby
        self.standby = await asyncio.to_thread(self.postgres.standby)

    async def fail_over_cache(self) -> None:
        async with self.fleet.record.fault("a failover of the cache") as fault:
            self.cache.vanish()
            await asyncio.to_thread(self.redis.kill)
            await asyncio.sleep(CACHE_OUTAGE)
            await asyncio.to_thread(self.replica.promote)
            self.cache.lead_to(self.replica)
            fault.note = f"the endpoint moved after {time.monotonic() - fault.began:.1f} s"
        await asyncio.to_thread(self.redis.stop)
        self.redis, self.replica = self.replica, await asyncio.to_thread(self.replicated, self.replica)

    def end_all(self) -> None:
        self.standby.stop()
        self.postgres.stop()


def prepare(server: PostgresServer, password: str) -> None:
    """What RDS has before the first migration: the owner, the role for IAM, and an empty database."""
    trust_socket(server)
    for statement in (
        "CREATE ROLE rds_iam",
        f"CREATE ROLE {OWNER} LOGIN CREATEROLE PASSWORD '{password}'",
        f"GRANT rds_iam TO {OWNER} WITH ADMIN OPTION",
        f"CREATE DATABASE {DATABASE} OWNER {OWNER}",
    ):
        server.query(statement)


@asynccontextmanager
async def everything(
    folder: Path, private_postgres: PrivatePostgres, private_redis: PrivateRedis, record: Record, previous: str
) -> AsyncIterator[tuple[Fleet, Data]]:
    parameters = load("production")
    user = f"{parameters.prefix}-service"
    rights = shlex.join([user, "on", "nopass", *REDIS_RIGHTS.split()])

    def replicated(primary: RedisServer) -> RedisServer:
        return private_redis(settings={"user": rights, "replicaof": f"{primary.host} {primary.port}"})

    async with AsyncExitStack() as stack:
        agent = await stack.enter_async_context(Agent())
        postgres = await asyncio.to_thread(private_postgres, durable=True)
        redis = await asyncio.to_thread(private_redis, settings={"user": rights})
        fleet = Fleet(folder, parameters, {}, {}, record, previous)
        await asyncio.to_thread(prepare, postgres, fleet.rotate())
        database = DatabaseEndpoint(folder / "database", agent, postgres, OWNER, lambda: fleet.owner_password)
        cache = CacheEndpoint(folder / "cache", agent, redis, cache=parameters.prefix, user=user)
        await stack.enter_async_context(database)
        await stack.enter_async_context(cache)
        standby = await asyncio.to_thread(postgres.standby)
        replica = await asyncio.to_thread(replicated, redis)
        data = Data(fleet, postgres, standby, redis, replica, database, cache, replicated)
        stack.callback(data.end_all)
        stack.callback(fleet.end_all)  # first, so that no connection is left
        place = f"localhost:{database.port}/{DATABASE}?sslmode=verify-full&sslrootcert={database.certificate}"
        addresses = Addresses(
            database_url=f"postgresql://{SERVICE}@{place}&auth=aws-iam",
            owner_url=f"postgresql://{OWNER}@{place}",
            redis_url=(
                f"rediss://{user}@localhost:{cache.port}/0"
                f"?auth=aws-iam&cache={parameters.prefix}&ssl_ca_certs={cache.certificate}"
            ),
            secret_key="",
            admin="",
            owner="",
        )
        fleet.settings |= {
            **plain(parameters, addresses),
            **agent.environment,
            **ADMIN,
            "UBR_SECRET_KEY": SECRET_KEY,
            # All clients have one address here.
            "UBR_TRUSTED_PROXIES": "127.0.0.1",
            "UBR_LOGIN_RATE_LIMIT": "off",
            "UBR_LOG_LEVEL": "warning",
        }
        fleet.owner_settings |= of_owner(addresses)[0]
        try:
            await fleet.deploy()
            await fleet.settled()
            yield fleet, data
        except BaseException:
            for task in fleet.tasks:
                print(task.name, task.service.process.poll(), *task.service.log.splitlines()[-LINES:], sep="\n")  # noqa: T201
            print(*record.faults, dict(fleet.counts), database.denied, cache.denied, sep="\n")  # noqa: T201
            raise


async def events(fleet: Fleet, data: Data, until: float) -> None:
    """Each event once, then again in turn until it is time. After each one the fleet is complete again."""

    async def new_version() -> None:
        fleet.version = None
        fleet.rotate()
        async with fleet.record.fault("a roll-out"):
            await fleet.deploy()

    async def new_version_in_a_failover() -> None:
        """The failover begins while old and new tasks serve, and not in the migration, which would fail."""
        migrations = fleet.counts["migrations"]
        roll_out = asyncio.create_task(new_version())
        while fleet.counts["migrations"] == migrations:  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.2)
        await asyncio.sleep(5)
        await data.fail_over_database()
        await roll_out

    every: list[Callable[[], Awaitable[None]]] = [
        new_version,
        data.fail_over_cache,
        data.fail_over_database,
        new_version_in_a_failover,
    ]
    turn = 0
    while turn < 3 or time.monotonic() < until:
        await every[turn % len(every)]()
        await fleet.settled()
        turn += 1


def pause_of_writes(record: Record, fault: Fault) -> float:
    """The longest time between two acknowledged writes around a fault, in seconds."""
    end = (fault.ended or fault.began) + SLACK
    inside = [moment for moment in record.writes if fault.began - 1 <= moment <= end]
    return max((later - earlier for earlier, later in pairwise(inside)), default=float("inf"))


def what_happened(record: Record) -> list[str]:
    lines = []
    for fault in record.faults:
        ended = fault.ended or fault.began
        refused = Counter(
            failure.outcome for failure in record.failures if fault.began <= failure.moment <= ended + SLACK
        )
        lines.append(
            f"{fault.name}, {record.at(fault.began)} to {record.at(ended)}, {fault.note or 'no outage'}: "
            f"no write for {pause_of_writes(record, fault):.1f} s, not answered: {dict(refused)}"
        )
    return lines


async def test_nothing_is_lost_in_roll_outs_and_failovers(
    tmp_path: Path, private_postgres: PrivatePostgres, private_redis: PrivateRedis, previous: str
) -> None:
    print(f"{SECONDS:g} s, FLEET_SEED={SEED}")  # noqa: T201 - to repeat it
    record, over, quiet = Record(), asyncio.Event(), SECONDS / 20
    async with everything(tmp_path, private_postgres, private_redis, record, previous) as (fleet, data):
        clients = await arrived(record, fleet.balancer.url, fleet.instances, number=CLIENTS, seed=SEED, pace=PACE)
        record.began = time.monotonic()
        supervising = [asyncio.create_task(each) for each in (fleet.supervise(), fleet.watch())]
        working = [asyncio.create_task(client.run(over)) for client in clients]
        try:
            await asyncio.sleep(quiet)
            await events(fleet, data, record.began + SECONDS - quiet)
            calm = time.monotonic()
            await asyncio.sleep(quiet)
        finally:
            over.set()
            await asyncio.gather(*working)
            for client in clients:
                client.wire.close()
        await asyncio.gather(*record.later)
        await asyncio.gather(*(client.use_ended() for client in clients))
        for task in supervising:
            assert not task.done(), task.result()
            task.cancel()
        await asyncio.gather(*supervising, return_exceptions=True)
        users = await the_users(fleet.balancer.url)
        entries = await asyncio.to_thread(the_log, tmp_path, fleet.settings)

    *_, load = os.getloadavg()  # of a quarter of an hour
    lost = differences(clients, users, entries)
    lines = [*figures(record, clients, fleet.logs), *what_happened(record), f"{dict(fleet.counts)}"]
    print(f"load of the machine: {load:.1f}", *lines, *verdict(record, lost), sep="\n")  # noqa: T201 - the figures are the result
    assert record.wrong == []
    assert lost == []
    assert data.database.denied == data.cache.denied == []
    assert {outcome.rpartition(" ")[2] for outcome in record.uses_after_end} == {"401"}
    outages = [fault for fault in record.faults if fault.name == "a failover of the database"]
    alone = [
        fault
        for fault in record.faults
        if fault.name == NO_TASK and not any(each.covers("balancer", fault.began, fault.began) for each in outages)
    ]
    # On an overloaded machine, tasks miss the four seconds of a check.
    assert alone == [] or load > 2 * (os.cpu_count() or 1)
    rest = [each for each in record.failures if each.moment < record.began + quiet or each.moment > calm + SLACK]
    assert [str(each) for each in rest if each.outcome != "503 of ubr"] == []
