"""The environment without any storage."""

from __future__ import annotations

from dependency_injector import containers, providers

from ubr.adapters.memory import MemoryFeed, MemoryStore, MemoryUnitOfWork
from ubr.adapters.memory.rate_limit_store import MemoryCounters
from ubr.adapters.security.system import elapsed, utc_now
from ubr.application.revocation.propagation import NoShortWay
from ubr.bootstrap.core import Core, Following, System
from ubr.settings import Settings


class MemoryContainer(containers.DeclarativeContainer):
    settings = providers.Dependency(instance_of=Settings)
    clock = providers.Object(utc_now)
    system = providers.Container(System, clock=clock)
    store = providers.Singleton(MemoryStore)
    redis: providers.Provider[None] = providers.Object(None)
    unit_of_work = providers.Singleton(MemoryUnitOfWork, store=store, recorder=system.recorder, clock=clock)
    feed = providers.Singleton(MemoryFeed, store)
    following = providers.Container(
        Following,
        settings=settings,
        new_id=system.new_id,
        elapsed=providers.Object(elapsed),
        unit_of_work=unit_of_work,
        feed=feed,
        lifeline=feed,
        lifeline_units=unit_of_work,
        nudges=providers.Singleton(NoShortWay),
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
        counters=providers.Singleton(MemoryCounters, clock),
    )
