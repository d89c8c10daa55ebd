"""Roles. A row read in a writing unit stays locked until the unit ends."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Protocol

from ubr.application.ports.paging import After
from ubr.domain.ids import RoleId
from ubr.domain.roles.role import Role, RoleName


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
        """Delete a role and every grant of it. A second call does nothing."""
        ...
