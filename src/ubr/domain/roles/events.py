"""Events about roles."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from ubr.domain.event_kinds import Facts, Level, RoleEvent, UserEvent
from ubr.domain.ids import RoleId
from ubr.domain.revocation.changes import Change


class RoleCreated(RoleEvent, frozen=True, kw_only=True):
    action = "role.created"
    message = "A role was created"
    name: str
    permissions: tuple[str, ...]

    @property
    def changes(self) -> tuple[Change, ...]:
        return ()

    def data(self) -> Facts:
        return {"name": self.name, "permissions": list(self.permissions)}


class RoleUpdated(RoleEvent, frozen=True, kw_only=True):
    action = "role.updated"
    message = "A role was changed"
    before: Facts
    after: Facts
    held: bool = True
    """True if users hold the role."""

    @property
    def changes(self) -> tuple[Change, ...]:
        """A change of the description, or of a role without holders, changes no permissions of users."""
        return () if self.before == self.after or not self.held else (Change("role", str(self.role_id)),)

    def data(self) -> Facts:
        return {"before": self.before, "after": self.after}


class RoleDeleted(RoleEvent, frozen=True, kw_only=True):
    action = "role.deleted"
    message = "A role was deleted"
    level: ClassVar[Level] = "warning"
    name: str

    def data(self) -> Facts:
        return {"name": self.name}


class RoleAssigned(UserEvent, frozen=True, kw_only=True):
    action = "role.assigned"
    message = "A role was assigned to a user"
    role_id: RoleId
    expires_at: datetime | None

    def data(self) -> Facts:
        return {
            "role_id": str(self.role_id),
            "expires_at": None if self.expires_at is None else self.expires_at.isoformat(),
        }


class RoleUnassigned(UserEvent, frozen=True, kw_only=True):
    action = "role.unassigned"
    message = "A role was removed from a user"
    role_id: RoleId

    def data(self) -> Facts:
        return {"role_id": str(self.role_id)}
