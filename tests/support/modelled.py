"""State machines that drive an application in memory, and compare it with a model."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import datetime
from typing import Any, TypeVar

from hypothesis.stateful import RuleBasedStateMachine

from tests.support.people import World, new_world
from ubr.application.kernel.representations import LogEntryResult
from ubr.domain.errors import InvalidClient, InvalidCredentials, UbrError

T = TypeVar("T")


async def _done(work: Awaitable[T]) -> T:
    return await work


class Modelled(RuleBasedStateMachine):
    """An application with these settings. Its acts are compared with the audit log."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.opened = new_world(**settings)
        self.world: World = self.run(self.opened.__aenter__())

    def teardown(self) -> None:
        self.run(self.opened.__aexit__(None, None, None))
        self.runner.close()

    def run(self, work: Awaitable[T]) -> T:
        return self.runner.run(_done(work))

    @property
    def now(self) -> datetime:
        return self.world.clock()

    def acts(self, *, some: bool | None = None) -> list[LogEntryResult]:
        """The new entries of the log; `some` says whether there have to be any."""
        entries = self.run(self.world.acts())
        if some is not None:
            assert bool(entries) is some
        return entries

    def does(self, work: Awaitable[Any], expected: type[UbrError] | None, *, silent: bool = False) -> Any:
        """Do it, expecting this failure or none. What succeeds is in the log, what fails is not."""
        result, failure = None, None
        try:
            result = self.run(work)
        except UbrError as error:
            failure = error
        assert (failure and type(failure)) is expected, repr(failure)
        if failure is not None:
            self.acts(some=isinstance(failure, InvalidCredentials | InvalidClient))
            return None
        if not silent:
            self.acts(some=True)
        return result
