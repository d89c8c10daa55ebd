"""Roles. What one reads in a writing unit is locked until it ends."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Protocol

from ubr.application.ports.paging import After
from ubr.domain.ids import RoleId
from ubr.domain.roles.role import Role, RoleName


class Roles(Protocol):
    async def get(self, role_id: RoleId) -> Role | None:
        """The role; None where there is none."""
        ...

    async def by_name(self, name: RoleName) -> Role | None:
        """The role of this name; None where there is none."""
        ...

    async def many(self, role_ids: Collection[RoleId]) -> list[Role]:
        """Those of the roles that exist, by name; never locked."""
        ...

    async def page(self, after: After[datetime] | None, limit: int) -> list[Role]:
        """At most `limit` roles behind `after`, oldest first; never locked."""
        ...

    async def add(self, role: Role) -> None:
        """Store a new role. Errors: `RoleNameTaken`."""
        ...

    async def save(self, role: Role) -> None:
        """Store the new state of a role that was read here. Errors: `RoleNameTaken`."""
        ...

    async def remove(self, role: Role) -> None:
        """Delete a role and every grant of it. A second time does nothing."""
        ...
