"""Who sees the console."""

from __future__ import annotations

from typing import Final

from ubr.domain.roles.permissions import LOGS_READ, MACHINES_READ, ROLES_READ, USERS_READ, Permissions

_OPENING: Final = (USERS_READ, ROLES_READ, MACHINES_READ, LOGS_READ)
"""Each opens a section of the console. `*` opens them all, and those of the service itself."""


def entitled(own: Permissions) -> bool:
    """True if these permissions open a section of the console."""
    return any(map(own.allow, _OPENING))
