"""A role given to a user."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from ubr.domain.ids import RoleId, UserId

MIN_GRANT_DURATION: Final = timedelta(seconds=60)
"""How far ahead the end of a grant must lie."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A role given to a user. `granted_by` None means by the service itself, `expires_at` None for good."""

    role_id: RoleId
    granted_by: UserId | None
    granted_at: datetime
    expires_at: datetime | None = None

    def holds_at(self, now: datetime) -> bool:
        return self.expires_at is None or now < self.expires_at


Grants: TypeAlias = dict[RoleId, Grant]

MAX_ROLES: Final = 100
"""How many roles one user may hold at a time."""
