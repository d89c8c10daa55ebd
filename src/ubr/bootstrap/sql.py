"""The environment on a database: SQLite where it is embedded, PostgreSQL in production."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dependency_injector import containers, providers

from ubr.adapters.security.secrets import HmacSigner, SecretKeys
from ubr.adapters.security.system import elapsed, utc_now
from ubr.adapters.sql.engine import Limits, make_engine
from ubr.adapters.sql.rate_limit_store import SqlCounters
from ubr.adapters.sql.revocation import SqlFeed
from ubr.adapters.sql.unit_of_work import SqlStore, SqlUnitOfWork
from ubr.application.ports.protection import Counters
from ubr.application.ports.revocation import Nudges
from ubr.application.ports.secrets import Signer
from ubr.application.ports.system import Clock
from ubr.application.protection.rate_limits import FallbackCounters
from ubr.application.revocation.propagation import NoShortWay
from ubr.bootstrap.core import Core, Following, System
from ubr.settings import LIFELINE, Settings

if TYPE_CHECKING:
    from ubr.adapters.redis import RedisLink

# The Redis client is loaded only where there is a Redis.


def link_to(redis_url: str | None) -> RedisLink | None:
    """The way to Redis, which connects when it is first used; None where there is none."""
    if redis_url is None:
        return None
    from ubr.adapters.redis import RedisLink  # noqa: PLC0415

    return RedisLink(redis_url)


def nudges_through(redis: RedisLink | None, signer: Signer) -> Nudges:
    """The short way between workers; without a Redis there is none."""
    if redis is None:
        return NoShortWay()
    from ubr.adapters.redis import Envelope, RedisNudges  # noqa: PLC0415

    return RedisNudges(redis, Envelope(signer))


def counters_in(redis: RedisLink | None, unit_of_work: SqlUnitOfWork, signer: Signer) -> Counters:
    """Counters for all workers: in Redis, and in the database where there is none or it is out of reach."""
    in_sql = SqlCounters(unit_of_work, signer)
    if redis is None:
        return in_sql
    from ubr.adapters.redis import RedisCounters  # noqa: PLC0415

    return FallbackCounters(RedisCounters(redis, signer), in_sql)


class SqlContainer(containers.DeclarativeContainer):
    settings = providers.Dependency(instance_of=Settings)
    clock = providers.Object(utc_now)
    store_clock: providers.Provider[Clock | None] = providers.Dependency()
    """None where the database tells the time: PostgreSQL, whose clock all instances of the service share."""

    system = providers.Container(System, clock=clock)
    limits = providers.Factory(Limits, connections=settings.provided.pool_size)
    engine = providers.Singleton(make_engine, settings.provided.database_url, limits)
    # For reading the feed, here and for verifiers, for leases and for signing keys. Were these to stand in line with
    # requests, a storm would make views stale, and with them every request that needs no database.
    lifeline = providers.Singleton(
        make_engine, settings.provided.database_url, providers.Factory(Limits, connections=LIFELINE)
    )
    store = providers.Singleton(SqlStore, engine, lifeline)
    unit_of_work = providers.Singleton(SqlUnitOfWork, engine, system.recorder, clock=store_clock)
    redis = providers.Singleton(link_to, settings.provided.redis_url)
    signer = providers.Singleton(HmacSigner, providers.Singleton(SecretKeys, settings.provided.secret_keys))
    following = providers.Container(
        Following,
        settings=settings,
        new_id=system.new_id,
        elapsed=providers.Object(elapsed),
        unit_of_work=unit_of_work,
        feed=providers.Singleton(SqlFeed, engine, clock=store_clock),
        lifeline=providers.Singleton(SqlFeed, lifeline, clock=store_clock),
        lifeline_units=providers.Singleton(SqlUnitOfWork, lifeline, system.recorder, clock=store_clock),
        nudges=providers.Singleton(nudges_through, redis, signer),
    )
    core = providers.Container(
        Core,
        settings=settings,
        clock=clock,
        new_id=system.new_id,
        unit_of_work=following.settled,
        store=store,
        view=following.view,
        feed=following.lifeline,
        lifeline_units=following.lifeline_units,
        nudges=following.nudges,
        elapsed=following.elapsed,
        counters=providers.Singleton(counters_in, redis, unit_of_work, signer),
    )
