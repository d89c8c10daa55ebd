"""Machines and their keys, on drafts of the tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from ubr.adapters.memory.accounts import MemoryUsers
from ubr.adapters.memory.paging import cut
from ubr.adapters.memory.store import Drafts, MachineRow
from ubr.application.ports.paging import After
from ubr.domain.errors import MachineNameTaken, UserNotFound
from ubr.domain.events import Event
from ubr.domain.ids import MachineKeyId, UserId
from ubr.domain.machines.key import MachineKey
from ubr.domain.machines.machine import Machine


class MemoryMachines:
    def __init__(self, drafts: Drafts, users: MemoryUsers) -> None:
        self._drafts = drafts
        self._users = users

    async def get(self, user_id: UserId) -> Machine | None:
        row, user = self._drafts.machines.get(user_id), await self._users.get(user_id)
        return None if row is None or user is None else Machine(user=user, name=row.name, description=row.description)

    async def page(self, after: After[str] | None, limit: int) -> list[Machine]:
        rows = ((str(row.name), row.user_id, row.user_id) for row in self._drafts.machines)
        found = [await self.get(user_id) for user_id in cut(rows, after, limit, newest=False)]
        return [machine for machine in found if machine is not None]

    async def add(self, machine: Machine) -> None:
        if self._drafts.machine_by_name.get(machine.name) is not None:
            raise MachineNameTaken
        await self._users.add(machine.user)
        self._drafts.machine_by_name.put(machine.name, machine.id)
        self._write(machine)

    async def save(self, machine: Machine) -> None:
        if self._drafts.machines.get(machine.id) is not None:
            await self._users.save(machine.user)
            self._write(machine)

    def _write(self, machine: Machine) -> None:
        self._drafts.machines.put(machine.id, MachineRow(machine.id, machine.name, machine.description))


class MemoryMachineKeys:
    def __init__(self, drafts: Drafts, events: list[Event]) -> None:
        self._drafts = drafts
        self._events = events

    async def get(self, key_id: MachineKeyId) -> MachineKey | None:
        key = self._drafts.machine_keys.get(key_id)
        return None if key is None else replace(key, events=[])

    async def page(self, user_id: UserId, after: After[datetime] | None, limit: int) -> list[MachineKey]:
        rows = ((key.created_at, key.id, key) for key in self._drafts.machine_keys if key.user_id == user_id)
        return [replace(key, events=[]) for key in cut(rows, after, limit, newest=True)]

    async def count(self, user_id: UserId, now: datetime) -> int:
        return sum(key.user_id == user_id and key.accepted_at(now) for key in self._drafts.machine_keys)

    async def add(self, key: MachineKey) -> None:
        if self._drafts.users.get(key.user_id) is None:
            raise UserNotFound
        self._write(key, key.sealed)

    async def save(self, key: MachineKey) -> None:
        before = self._drafts.machine_keys.get(key.id)
        if before is not None:
            self._write(key, before.sealed)

    def _write(self, key: MachineKey, sealed: bytes) -> None:
        self._events += key.events
        key.events.clear()
        self._drafts.machine_keys.put(key.id, replace(key, sealed=sealed, events=[]))

    async def every(self, after: MachineKeyId | None, limit: int) -> list[MachineKey]:
        found = (key for key in self._drafts.machine_keys if after is None or key.id > after)
        return [replace(key, events=[]) for key in sorted(found, key=lambda key: key.id)[:limit]]

    async def rebind(self, key: MachineKey, sealed: bytes) -> bool:
        before = self._drafts.machine_keys.get(key.id)
        if before is None or before.sealed != key.sealed:
            return False
        self._drafts.machine_keys.put(key.id, replace(before, sealed=sealed))
        return True

    async def forget(self, ended_before: datetime, limit: int) -> int:
        ended = [
            key.id
            for key in self._drafts.machine_keys
            if any(end is not None and end < ended_before for end in (key.revoked_at, key.expires_at))
        ][:limit]
        for key_id in ended:
            self._drafts.machine_keys.drop(key_id)
        return len(ended)
