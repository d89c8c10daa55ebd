"""Roles. A row read in a writing unit stays locked until the unit ends."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

if TYPE_CHECKING:
    from ubr.application.ports.paging import After
    from ubr.domain.ids import RoleId, UserId
    from ubr.domain.roles.grant import Grant
    from ubr.domain.roles.role import Role, RoleName

GRANTS_AT_ONCE: Final = 1000
"""The number of holders up to which `Roles.remove` deletes a role completely."""


class ForgottenGrants(msgspec.Struct, frozen=True):
    """One batch of deleted grants of removed roles.

    `more` is True if others may be left; the next batch then starts after the holder `reached`.
    """

    grants: int
    more: bool
    reached: UserId | None


class Roles(Protocol):
    async def get(self, role_id: RoleId) -> Role | None:
        """The role; None if missing."""
        ...

    async def by_name(self, name: RoleName) -> Role | None:
        """The role of this name; None if missing."""
        ...

    async def many(self, role_ids: Collection[RoleId]) -> list[Role]:
        """The existing ones of these roles, by name; never locked."""
        ...

    async def page(self, after: After[datetime] | None, limit: int) -> list[Role]:
        """At most `limit` roles after `after`, oldest first; never locked."""
        ...

    async def add(self, role: Role) -> None:
        """Store a new role. Errors: `RoleNameTaken`."""
        ...

    async def save(self, role: Role) -> None:
        """Store the new state of a role read in this unit. Errors: `RoleNameTaken`."""
        ...

    async def remove(self, role: Role) -> None:
        """Delete a role and every grant of it. A second call does nothing.

        A role with more than `GRANTS_AT_ONCE` holders is only marked: neither the role nor a grant of it is found any
        more, its name is free, and `forget_removed` deletes the rows. This takes no longer for any number of holders.
        """
        ...

    async def forget_removed(self, limit: int, *, reached: UserId | None = None) -> ForgottenGrants:
        """Delete at most `limit` grants of a removed role, and the role with its last grant.

        `reached` is that of the previous batch: earlier holders are passed over, so that no batch reads again what the
        batches before have deleted.
        """
        ...

    async def held(self, role_id: RoleId, now: datetime) -> bool:
        """True if a user has a grant of the role that has not ended. No unit grants it while this unit locks it."""
        ...

    async def grants(
        self, role_id: RoleId, now: datetime, after: UserId | None, limit: int
    ) -> list[tuple[UserId, Grant]]:
        """At most `limit` grants of a role that have not ended, by the id of the user; never locked."""
        ...

    async def grant(self, role_id: RoleId, user_id: UserId) -> Grant | None:
        """The grant of a role to a user, which may have ended; None without one. Never locked."""
        ...

    async def give_up_name(self, role: Role, until: datetime) -> None:
        """Remember until then that the role, which is about to be renamed or deleted, had its name."""
        ...

    async def name_given_up(self, role: Role, now: datetime) -> bool:
        """True if another role gave up the name of this one, and that is still remembered.

        Call it after `add` or `save`, which wait for a unit that gives up the name at the same moment.
        """
        ...

    async def forget_names(self, ended_before: datetime, limit: int) -> int:
        """Forget at most `limit` former names that are remembered until before this. Returns the number forgotten."""
        ...
