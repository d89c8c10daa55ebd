"""The environment with a database: embedded SQLite, or PostgreSQL in production."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dependency_injector import containers, providers

from ubr.adapters.security.system import Uuid7, elapsed, random_bytes, utc_now
from ubr.adapters.sql.engine import ConnectionLimits, make_engine
from ubr.adapters.sql.hosting import SqlHosting
from ubr.adapters.sql.rate_limit_store import SqlRateLimitStore
from ubr.adapters.sql.revocation import SqlChangeFeed
from ubr.adapters.sql.unit_of_work import SqlStore, SqlUnitOfWork
from ubr.application.audit.recorder import Recorder
from ubr.application.kernel.home_loop import HomeLoop
from ubr.application.kernel.hooks import NO_HOOKS, Hooks
from ubr.application.ports.metrics import NO_METRICS, Metrics
from ubr.application.ports.protection import RateLimitStore
from ubr.application.ports.revocation import ChangeNotifier
from ubr.application.ports.secrets import Signer
from ubr.application.ports.system import Clock, NewId
from ubr.application.protection.rate_limits import FallbackRateLimitStore
from ubr.application.revocation.propagation import PollingOnly
from ubr.bootstrap.composition.application import application
from ubr.bootstrap.decisions import decisions_of
from ubr.bootstrap.mailing import mailer_of, renderer_of
from ubr.bootstrap.ports import OperatorDecisions, Ports, SecurityPorts
from ubr.bootstrap.security import hasher_of, security_of
from ubr.bootstrap.services import services_of
from ubr.settings import BACKGROUND_CONNECTIONS, Settings

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from ubr.adapters.redis import RedisClient

# The Redis client is loaded only if a Redis is configured.


def redis_client(redis_url: str | None, home: HomeLoop) -> RedisClient | None:
    """The Redis client, which connects on first use; None without a Redis."""
    if redis_url is None:
        return None
    from ubr.adapters.redis import RedisClient  # noqa: PLC0415

    return RedisClient(redis_url, home=home)


def notifier_through(redis: RedisClient | None, signer: Signer) -> ChangeNotifier:
    """The fast path between workers, if a Redis is configured."""
    if redis is None:
        return PollingOnly()
    from ubr.adapters.redis import Envelope, RedisChangeNotifier  # noqa: PLC0415

    return RedisChangeNotifier(redis, Envelope(signer))


def rate_limit_store_in(redis: RedisClient | None, unit_of_work: SqlUnitOfWork, signer: Signer) -> RateLimitStore:
    """One counter for all workers: in Redis, or in the database if Redis is not configured or unavailable."""
    in_sql = SqlRateLimitStore(unit_of_work, signer)
    if redis is None:
        return in_sql
    from ubr.adapters.redis import RedisRateLimitStore  # noqa: PLC0415

    return FallbackRateLimitStore(RedisRateLimitStore(redis, signer), in_sql)


def ports_on_sql(
    *,
    settings: Settings,
    clock: Clock,
    store_clock: Clock | None,
    new_id: NewId,
    home: HomeLoop,
    engine: AsyncEngine,
    background_engine: AsyncEngine,
    store: SqlStore,
    recorder: Recorder,
    unit_of_work: SqlUnitOfWork,
    background_unit_of_work: SqlUnitOfWork,
    redis: RedisClient | None,
    metrics: Metrics,
    hooks: Hooks,
    security: SecurityPorts,
    decisions: OperatorDecisions,
) -> Ports:
    return Ports(
        clock=clock,
        elapsed=elapsed,
        new_id=new_id,
        home=home,
        store=store,
        unit_of_work=unit_of_work,
        hosting=SqlHosting(engine, recorder, store_clock, security.signer, hooks),
        background_unit_of_work=background_unit_of_work,
        feed=SqlChangeFeed(engine, clock=store_clock),
        background_feed=SqlChangeFeed(background_engine, clock=store_clock),
        notifier=notifier_through(redis, security.signer),
        rate_limit_store=rate_limit_store_in(redis, unit_of_work, security.signer),
        mailer=mailer_of(settings, clock),
        renderer=renderer_of(settings),
        metrics=metrics,
        hooks=hooks,
        security=security,
        decisions=decisions,
    )


class SqlContainer(containers.DeclarativeContainer):
    settings = providers.Dependency(instance_of=Settings)
    clock = providers.Object(utc_now)
    store_clock: providers.Provider[Clock | None] = providers.Dependency()
    """None for PostgreSQL, whose clock all instances of the service share."""

    new_id = providers.Singleton(Uuid7, clock=clock)
    recorder = providers.Singleton(Recorder, new_id=new_id, random_bytes=providers.Object(random_bytes))
    limits = providers.Factory(ConnectionLimits, connections=settings.provided.pool_size)
    decisions = providers.Singleton(decisions_of, settings)
    home = providers.Singleton(HomeLoop)
    engine = providers.Singleton(
        make_engine, settings.provided.database_url, limits, home=home, schema=settings.provided.database_schema
    )
    background_engine = providers.Singleton(
        make_engine,
        settings.provided.database_url,
        providers.Factory(ConnectionLimits, connections=BACKGROUND_CONNECTIONS),
        home=home,
        schema=settings.provided.database_schema,
    )
    store = providers.Singleton(SqlStore, engine, background_engine)
    hooks: providers.Provider[Hooks] = providers.Object(NO_HOOKS)
    unit_of_work = providers.Singleton(SqlUnitOfWork, engine, recorder, clock=store_clock, hooks=hooks)
    background_unit_of_work = providers.Singleton(SqlUnitOfWork, background_engine, recorder, clock=store_clock)
    redis = providers.Singleton(redis_client, settings.provided.redis_url, home)
    metrics: providers.Provider[Metrics] = providers.Object(NO_METRICS)
    hasher = providers.Singleton(hasher_of, settings, metrics)
    security = providers.Singleton(security_of, settings, hasher)
    ports = providers.Singleton(
        ports_on_sql,
        settings=settings,
        clock=clock,
        store_clock=store_clock,
        new_id=new_id,
        home=home,
        engine=engine,
        background_engine=background_engine,
        store=store,
        recorder=recorder,
        unit_of_work=unit_of_work,
        background_unit_of_work=background_unit_of_work,
        redis=redis,
        metrics=metrics,
        hooks=hooks,
        security=security,
        decisions=decisions,
    )
    services = providers.Singleton(services_of, ports)
    application = providers.Singleton(application, ports, services)
