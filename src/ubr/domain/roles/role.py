"""A role: a name for a set of permissions."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from ubr.domain.error_kinds import Invalid
from ubr.domain.event_kinds import Event
from ubr.domain.ids import RoleId
from ubr.domain.roles.errors import BuiltInRole
from ubr.domain.roles.events import RoleCreated, RoleDeleted, RoleUpdated
from ubr.domain.roles.permissions import EVERYTHING, Permissions

MAX_DESCRIPTION_LENGTH: Final = 500

ROLE_NAME_PATTERN: Final = r"[a-z][a-z0-9_-]{0,49}"

_ROLE_NAME = re.compile(ROLE_NAME_PATTERN)


class RoleName(str):
    """The name of a role: `^[a-z][a-z0-9_-]{0,49}$`."""

    __slots__ = ()

    @classmethod
    def parse(cls, raw: str, pointer: str = "/name") -> RoleName:
        """Errors: `Invalid`."""
        if not _ROLE_NAME.fullmatch(raw):
            raise Invalid.at(pointer, f"must match ^{ROLE_NAME_PATTERN}$")
        return cls(raw)


ADMIN_ROLE_ID: Final = RoleId(UUID("00000000-0000-7000-8000-000000000001"))

USER_ROLE_ID: Final = RoleId(UUID("00000000-0000-7000-8000-000000000002"))
"""Built-in roles have the same ids in every installation, so no lookup is needed."""

MAX_PERMISSIONS: Final = 200
"""Maximum number of permissions named for one role. A bound on input: users who need more get several roles, or `*`."""


@dataclass(slots=True, kw_only=True)
class Role:
    """State of a role. `version` rises by one with every change."""

    id: RoleId
    name: RoleName
    description: str | None
    permissions: Permissions
    created_at: datetime
    updated_at: datetime
    version: int = 1
    events: list[Event] = field(default_factory=list, repr=False, compare=False)

    @classmethod
    def create(
        cls, *, id: RoleId, name: RoleName, description: str | None, permissions: Permissions, now: datetime
    ) -> Role:
        role = cls(id=id, name=name, description=description, permissions=permissions, created_at=now, updated_at=now)
        role.events.append(RoleCreated(role_id=id, name=name, permissions=tuple(permissions)))
        return role

    @property
    def built_in(self) -> bool:
        return self.id in {ADMIN_ROLE_ID, USER_ROLE_ID}

    def update(
        self, *, name: RoleName, description: str | None, permissions: Permissions, now: datetime, held: bool = True
    ) -> None:
        """Take the new values. Unchanged values leave no trace. `held` is true if users hold the role.

        Errors: `BuiltInRole` if the name of a built-in role, or the permissions of `admin`, would change: the latter
        keeps an installation manageable.
        """
        if self.built_in and name != self.name:
            raise BuiltInRole("The name of a built-in role cannot be changed")
        if self.id == ADMIN_ROLE_ID and permissions != self.permissions:
            raise BuiltInRole("The permissions of the role admin cannot be changed")
        before = self._facts()
        described = description != self.description
        self.name, self.description, self.permissions = name, description, permissions
        if before == self._facts() and not described:
            return
        self.version += 1
        self.updated_at = now
        self.events.append(RoleUpdated(role_id=self.id, before=before, after=self._facts(), held=held))

    def delete(self) -> None:
        """Errors: `BuiltInRole`."""
        if self.built_in:
            raise BuiltInRole("A built-in role cannot be deleted")
        self.events.append(RoleDeleted(role_id=self.id, name=self.name))

    def _facts(self) -> dict[str, object]:
        return {"name": str(self.name), "permissions": list(self.permissions)}


def built_in_roles(now: datetime) -> tuple[Role, Role]:
    """`admin`, which may do everything, and `user`, which everyone has and which initially has no permissions."""
    admin = Role(
        id=ADMIN_ROLE_ID,
        name=RoleName("admin"),
        description="May do everything",
        permissions=Permissions.of([EVERYTHING]),
        created_at=now,
        updated_at=now,
    )
    user = Role(
        id=USER_ROLE_ID,
        name=RoleName("user"),
        description="Everyone",
        permissions=Permissions(),
        created_at=now,
        updated_at=now,
    )
    return admin, user
