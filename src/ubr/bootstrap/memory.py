"""The environment without storage."""

from __future__ import annotations

from dependency_injector import containers, providers

from ubr.adapters.memory import MemoryChangeFeed, MemoryStore, MemoryUnitOfWork
from ubr.adapters.memory.hosting import MemoryHosting
from ubr.adapters.memory.rate_limit_store import MemoryRateLimitStore
from ubr.adapters.security.system import Uuid7, elapsed, random_bytes, utc_now
from ubr.application.audit.recorder import Recorder
from ubr.application.kernel.home_loop import HomeLoop
from ubr.application.kernel.hooks import NO_HOOKS, Hooks
from ubr.application.ports.metrics import NO_METRICS, Metrics
from ubr.application.ports.system import Clock, NewId
from ubr.application.revocation.propagation import PollingOnly
from ubr.bootstrap.composition.application import application
from ubr.bootstrap.decisions import decisions_of
from ubr.bootstrap.mailing import mailer_of, renderer_of
from ubr.bootstrap.ports import Ports, SecurityPorts
from ubr.bootstrap.security import hasher_of, security_of
from ubr.bootstrap.services import services_of
from ubr.settings import Settings


def ports_in_memory(
    *,
    settings: Settings,
    clock: Clock,
    new_id: NewId,
    home: HomeLoop,
    store: MemoryStore,
    unit_of_work: MemoryUnitOfWork,
    metrics: Metrics,
    hooks: Hooks,
    security: SecurityPorts,
) -> Ports:
    feed = MemoryChangeFeed(store)
    return Ports(
        clock=clock,
        elapsed=elapsed,
        new_id=new_id,
        home=home,
        store=store,
        unit_of_work=unit_of_work,
        hosting=MemoryHosting(unit_of_work),
        background_unit_of_work=unit_of_work,
        feed=feed,
        background_feed=feed,
        notifier=PollingOnly(),
        rate_limit_store=MemoryRateLimitStore(clock, home),
        mailer=mailer_of(settings, clock),
        renderer=renderer_of(settings),
        metrics=metrics,
        hooks=hooks,
        security=security,
        decisions=decisions_of(settings),
    )


class MemoryContainer(containers.DeclarativeContainer):
    """Few providers, because each test makes its own container: functions build the parts that are never replaced."""

    settings = providers.Dependency(instance_of=Settings)
    clock = providers.Object(utc_now)
    redis: providers.Provider[None] = providers.Object(None)
    new_id = providers.Singleton(Uuid7, clock=clock)
    recorder = providers.Singleton(Recorder, new_id=new_id, random_bytes=providers.Object(random_bytes))
    home = providers.Singleton(HomeLoop)
    store = providers.Singleton(MemoryStore, home=home)
    hooks: providers.Provider[Hooks] = providers.Object(NO_HOOKS)
    unit_of_work = providers.Singleton(MemoryUnitOfWork, store=store, recorder=recorder, clock=clock, hooks=hooks)
    metrics: providers.Provider[Metrics] = providers.Object(NO_METRICS)
    hasher = providers.Singleton(hasher_of, settings, metrics)
    security = providers.Singleton(security_of, settings, hasher)
    ports = providers.Singleton(
        ports_in_memory,
        settings=settings,
        clock=clock,
        new_id=new_id,
        home=home,
        store=store,
        unit_of_work=unit_of_work,
        metrics=metrics,
        hooks=hooks,
        security=security,
    )
    services = providers.Singleton(services_of, ports)
    application = providers.Singleton(application, ports, services)
