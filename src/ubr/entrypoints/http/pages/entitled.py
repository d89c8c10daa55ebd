"""Who sees the console."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ubr.domain.roles.permissions import LOGS_READ, MACHINES_READ, ROLES_READ, USERS_READ, Permission, Permissions

_OPENING: Final = (USERS_READ, ROLES_READ, MACHINES_READ, LOGS_READ)
"""Each opens a section of the console. `*` opens them all, and those of the service itself."""


def entitled(permissions: Iterable[str]) -> bool:
    """True if these permissions open a section of the console."""
    own = Permissions.of(map(Permission, permissions))
    return any(map(own.allow, _OPENING))
