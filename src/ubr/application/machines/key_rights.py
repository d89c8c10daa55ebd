"""The right to act on the keys of a machine: the holder of a key acts as the machine."""

from __future__ import annotations

from datetime import datetime

from ubr.application.access.authorization import Authority, permissions_of
from ubr.application.kernel.operator_policy import OperatorPolicy
from ubr.application.ports.unit_of_work import Transaction
from ubr.domain.errors import GrantExceedsOwn, MachineKeyNotFound, MachineNotFound, TooManyMachineKeys
from ubr.domain.ids import MachineKeyId, UserId
from ubr.domain.machines.key import MAX_KEYS, MachineKey, check_expiry
from ubr.domain.machines.machine import Machine
from ubr.domain.roles.permissions import MACHINES_WRITE, forbid_escalation


async def machine_to_key(tx: Transaction, who: Authority, user_id: UserId) -> Machine:
    """The machine, locked, for an actor who may make and end its keys.

    Errors: `Forbidden`, `MachineNotFound`; `GrantExceedsOwn` if the machine has a permission that the actor lacks.
    """
    who.require(MACHINES_WRITE)
    machine = await tx.machines.get(user_id)
    if machine is None:
        raise MachineNotFound
    forbid_escalation(who.permissions, await permissions_of(tx, machine.user))
    return machine


async def key_of(tx: Transaction, machine: Machine, key_id: MachineKeyId) -> MachineKey:
    """A key of the machine. Errors: `MachineKeyNotFound`."""
    key = await tx.machine_keys.get(key_id)
    if key is None or key.user_id != machine.id:
        raise MachineKeyNotFound
    return key


async def end_of_new_key(
    tx: Transaction, who: Authority, machine: Machine, end: datetime | None, *, policy: OperatorPolicy
) -> datetime | None:
    """The end of a new key: the wanted one, or the latest that the operator allows; None for a key without end.

    Errors: `Invalid`; `GrantExceedsOwn` if it would give a permission for longer than the actor holds it, or outlast
    the key that makes it.
    """
    expires_at = check_expiry(end, max_lifetime=policy.machine_key_max_lifetime, now=tx.now)
    for role in await tx.roles.many(machine.user.roles_at(tx.now)):
        ends = [end for end in (machine.user.grants[role.id].expires_at, expires_at) if end is not None]
        who.forbid_outliving(role.permissions, min(ends, default=None), tx.now)
    own_id = None if who.principal is None else who.principal.session.key_id
    own = None if own_id is None else await tx.machine_keys.get(own_id)
    if own is not None and own.expires_at is not None and (expires_at is None or expires_at > own.expires_at):
        raise GrantExceedsOwn("Your own key ends before this one would")
    return expires_at


async def add_key(tx: Transaction, key: MachineKey) -> None:
    """Errors: `TooManyMachineKeys`."""
    if await tx.machine_keys.count(key.user_id, tx.now) >= MAX_KEYS:
        raise TooManyMachineKeys
    await tx.machine_keys.add(key)
