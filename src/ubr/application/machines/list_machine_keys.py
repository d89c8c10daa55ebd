from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from ubr.application.access.authorization import Authorize
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.paging import DEFAULT_LIMIT, Pager, check_limit
from ubr.application.kernel.representations import MachineKeyResult, Page, machine_key_result
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.actor import Actor, System
from ubr.domain.errors import MachineNotFound
from ubr.domain.ids import UserId
from ubr.domain.roles.permissions import MACHINES_READ


class ListMachineKeysCommand(Command, frozen=True, kw_only=True):
    machine_id: UUID
    limit: int = DEFAULT_LIMIT
    cursor: str | None = None


class ListMachineKeys(msgspec.Struct, frozen=True):
    """List the keys of a machine, newest first, without their texts.

    - Requires `machines:read`; a machine may list its own keys.
    - Keys that have ended are listed for 30 days more.
    """

    authorize: Authorize
    unit_of_work: UnitOfWork
    pager: Pager
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: ListMachineKeysCommand, /, *, actor: Actor | System) -> Page[MachineKeyResult]:
        limit = check_limit(command.limit)
        bound_to = ("machine keys", command.machine_id)
        after = self.pager.after(command.cursor, bound_to, datetime.fromisoformat)
        user_id = UserId(command.machine_id)
        (await self.authorize(actor)).require_self_or(user_id, MACHINES_READ)
        async with self.unit_of_work.read() as tx:
            if await tx.machines.get(user_id) is None:
                raise MachineNotFound
            found = await tx.machine_keys.page(user_id, after, limit + 1)
        keys, cursor = self.pager.cut(found, limit, bound_to, lambda key: (key.created_at, key.id))
        return Page(items=[machine_key_result(MachineKeyResult, key) for key in keys], next_cursor=cursor)
