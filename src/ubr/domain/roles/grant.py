"""A role granted to a user."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, TypeAlias

import msgspec

from ubr.domain.ids import RoleId, UserId

MIN_GRANT_DURATION: Final = timedelta(seconds=60)
"""Minimum time from now to the end of a grant."""


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """A role granted to a user. `granted_by` None means the service itself; `expires_at` None means unlimited."""

    role_id: RoleId
    granted_by: UserId | None
    granted_at: datetime
    expires_at: datetime | None = None

    def holds_at(self, now: datetime) -> bool:
        return self.expires_at is None or now < self.expires_at


Grants: TypeAlias = dict[RoleId, Grant]

MAX_ROLES: Final = 100
"""Maximum number of roles that one user holds at a time."""
