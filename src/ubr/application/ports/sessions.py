"""Who is signed in, and what they may do now."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from ubr.domain.policy import union
from ubr.domain.role import Role
from ubr.domain.session import Session
from ubr.domain.user import User
from ubr.domain.values import Permissions, SessionId


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A user in a session, with every role they were given. Whether it counts depends on the moment."""

    user: User
    session: Session
    roles: tuple[Role, ...]

    def with_session(self, session: Session) -> Principal:
        """The same, with the session as it is now."""
        return replace(self, session=session)

    def live_at(self, now: datetime) -> bool:
        return self.user.active and self.session.live_at(now)

    def permissions_at(self, now: datetime) -> Permissions:
        held = self.user.roles_at(now)
        return union(role.permissions for role in self.roles if role.id in held)


class Principals(Protocol):
    async def get(self, session_id: SessionId) -> Principal | None:
        """Whose session it is, with user and roles, as they are now; None where there is no such session. No locks."""
        ...
