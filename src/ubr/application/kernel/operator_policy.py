"""The operator's decisions about accounts and sessions."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import msgspec

from ubr.domain.errors import Invalid
from ubr.domain.roles.permissions import BUILT_IN_PERMISSIONS, Permission, Permissions
from ubr.domain.roles.role import MAX_PERMISSIONS
from ubr.domain.sessions.session import SessionLimits


class OperatorPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The operator's decisions, with the defaults of the service."""

    registration: Literal["open", "verified", "closed"] = "open"
    password_min_length: int = 15
    access_token_lifetime: timedelta = timedelta(minutes=10)
    sessions: SessionLimits = msgspec.field(
        default_factory=lambda: SessionLimits(idle=timedelta(days=14), lifetime=timedelta(days=90), per_user=50)
    )
    refresh_retry_window: timedelta = timedelta(minutes=2)
    """How long a spent refresh token yields another successor, while its successor is unused."""
    log_all_refreshes: bool = False
    """True for a log entry for each refresh; otherwise a session has one entry a day."""
    verifiers_per_user: int = 50
    machine_key_max_lifetime: timedelta | None = None
    """The longest life of a new key of a machine; None for no limit."""
    own_permissions: Permissions = msgspec.field(default_factory=Permissions)
    """Permissions of the operator's other services, usable in roles beside the built-in ones."""

    def permissions(self, raw: list[str]) -> Permissions:
        """Parse the permissions of a role. Duplicates count once.

        Errors: `Invalid` for an undeclared permission, and for more than `MAX_PERMISSIONS`.
        """
        if len(set(raw)) > MAX_PERMISSIONS:
            raise Invalid.at("/permissions", f"must name at most {MAX_PERMISSIONS} permissions")
        return Permissions.of(self.permission(name, f"/permissions/{at}") for at, name in enumerate(raw))

    def permission(self, raw: str, pointer: str) -> Permission:
        """Parse a built-in permission or one of the operator's. Errors: `Invalid` for any other."""
        permission = Permission.parse(raw, pointer)
        if permission not in BUILT_IN_PERMISSIONS.names | self.own_permissions.names:
            raise Invalid.at(pointer, "is not a permission of this service")
        return permission
