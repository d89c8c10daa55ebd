"""Calls within a transaction of the host, in memory, where there is none to share."""

from __future__ import annotations

from ubr.adapters.memory.unit_of_work import MemoryUnitOfWork
from ubr.application.ports.hosting import HostTransaction


class MemoryHosting:
    """Takes any object as the connection. Each call has its effect at once, whether the host commits or not."""

    def __init__(self, unit_of_work: MemoryUnitOfWork) -> None:
        self._unit_of_work = unit_of_work

    def within(self, connection: object) -> HostTransaction:  # noqa: ARG002 - for a host that tests with its database
        return HostTransaction(unit_of_work=self._unit_of_work)
