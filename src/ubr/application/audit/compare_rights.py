"""Compares administrators and signing keys in the database with their entries in the log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Final

import msgspec

from ubr.application.kernel.paging import walk
from ubr.application.ports.audit import LogFilter
from ubr.application.ports.keys import KeyDates
from ubr.application.ports.paging import After
from ubr.application.ports.unit_of_work import Transaction, UnitOfWork
from ubr.domain.audit.entry import LogEntry
from ubr.domain.audit.events import LOG_PRUNED
from ubr.domain.events import (
    RoleAssigned,
    RoleCreated,
    RoleUnassigned,
    RoleUpdated,
    SigningKeyCreated,
    SigningKeyRevoked,
)
from ubr.domain.ids import UserId
from ubr.domain.roles.grant import Grant
from ubr.domain.roles.permissions import EVERYTHING
from ubr.domain.roles.role import Role

PAGE: Final = 200


class RightsCheck(msgspec.Struct):
    """Everything that the log does not explain. `found` contradicts the log.

    `pruned` has no entry, but claims to be older than the entries that were pruned. Anyone with write access to the
    database can claim that, so a person has to look at it.
    """

    unit_of_work: UnitOfWork
    found: list[str] = msgspec.field(default_factory=list)
    pruned: list[str] = msgspec.field(default_factory=list)
    _pruned_before: datetime | None = None

    async def __call__(self) -> None:
        async with self.unit_of_work.read() as tx:
            self._pruned_before = await _pruned_before(tx)
            for key in await tx.signing_keys.dates():
                self._note(await _about_key(tx, key), key.created_at)

        async def page(after: After[datetime] | None) -> list[Role]:
            async with self.unit_of_work.read() as tx:
                return await tx.roles.page(after, PAGE)

        async for role in walk(page, _created, limit=PAGE):
            if EVERYTHING in role.permissions:
                await self._role(role)

    async def _role(self, role: Role) -> None:
        if not role.built_in:
            async with self.unit_of_work.read() as tx:
                current = await tx.roles.get(role.id)
                if current is not None:
                    self._note(await _about_role(tx, current), current.updated_at)

        reached, full = None, True
        while full:
            async with self.unit_of_work.read() as tx:
                found = await tx.roles.grants(role.id, tx.now, reached, PAGE)
            for user_id, _ in found:
                await self._holder(user_id, role)
            full, reached = len(found) == PAGE, found[-1][0] if found else None

    async def _holder(self, user_id: UserId, role: Role) -> None:
        async with self.unit_of_work.read() as tx:
            grant = await tx.roles.grant(role.id, user_id)
            said = None if grant is None else await _about_grant(tx, user_id, grant, role)
        if said is None:
            return
        # The role may have been removed between the two reads of one unit. A second unit then finds no grant.
        async with self.unit_of_work.read() as tx:
            grant = await tx.roles.grant(role.id, user_id)
            if grant is not None:
                self._note(await _about_grant(tx, user_id, grant, role), grant.granted_at)

    def _note(self, said: tuple[str, bool] | None, since: datetime) -> None:
        if said is None:
            return
        sentence, missing = said
        old = missing and self._pruned_before is not None and since < self._pruned_before
        (self.pruned if old else self.found).append(sentence)


async def _about_grant(tx: Transaction, user_id: UserId, grant: Grant, role: Role) -> tuple[str, bool] | None:
    """A sentence about the grant if it differs from the log, and True if its entry is missing."""
    holds = f"User {user_id} holds the role {role.name}, which may do everything"
    given = await _latest(tx, RoleAssigned.action, str(user_id), role)
    if given is None:
        return f"{holds}: the log has no entry that assigns it", True
    taken = await _latest(tx, RoleUnassigned.action, str(user_id), role)
    if taken is not None and (taken.timestamp, taken.id) > (given.timestamp, given.id):
        return f"{holds}: the last entry about it removes it", False
    end = _facts(given).get("expires_at")
    if grant.expires_at != (None if end is None else datetime.fromisoformat(end)):
        return f"{holds}: its end is not the one in the log", False
    return None


async def _about_role(tx: Transaction, role: Role) -> tuple[str, bool] | None:
    has = f"The role {role.name} may do everything"
    changed = await _newest(tx, RoleUpdated.action, str(role.id))
    created = await _newest(tx, RoleCreated.action, str(role.id))
    # A change of the description alone is an entry too, with the permissions that stayed.
    for facts in [*(_facts(entry).get("after", {}) for entry in changed), *map(_facts, created)]:
        if str(EVERYTHING) in facts.get("permissions", ()):
            return None
        return f"{has}: the log gives it other permissions", False
    return f"{has}: the log has no entry about it", True


async def _about_key(tx: Transaction, key: KeyDates) -> tuple[str, bool] | None:
    if key.revoked_at is None and await _any(tx, SigningKeyRevoked.action, key.kid):
        return f"The database denies that the signing key {key.kid} was revoked", False
    if not await _any(tx, SigningKeyCreated.action, key.kid):
        return f"The log has no entry of the creation of the signing key {key.kid}", True
    return None


async def _pruned_before(tx: Transaction) -> datetime | None:
    """Entries before this were pruned; None if none was."""
    found = [_facts(entry).get("before") async for entry in _entries(tx, LOG_PRUNED, None)]
    return max((datetime.fromisoformat(before) for before in found if before is not None), default=None)


async def _any(tx: Transaction, action: str, target_id: str) -> bool:
    return bool(await _newest(tx, action, target_id))


async def _newest(tx: Transaction, action: str, target_id: str) -> list[LogEntry]:
    """The newest entry of an action about a target, if there is one."""
    return await tx.logs.page(LogFilter(action=action, target_id=target_id), None, 1)


async def _latest(tx: Transaction, action: str, target_id: str, role: Role) -> LogEntry | None:
    async for entry in _entries(tx, action, target_id):
        if _facts(entry).get("role_id") == str(role.id):
            return entry
    return None


def _entries(tx: Transaction, action: str, target_id: str | None) -> AsyncIterator[LogEntry]:
    """The entries of an action about a target, newest first."""
    which = LogFilter(action=action, target_id=target_id)
    return walk(
        lambda after: tx.logs.page(which, after, PAGE), lambda entry: After(entry.timestamp, entry.id), limit=PAGE
    )


def _created(made: Role) -> After[datetime]:
    return After(made.created_at, made.id)


def _facts(entry: LogEntry) -> dict[str, Any]:
    return dict(entry.facts)
