"""Who is behind a session, in one query."""

from __future__ import annotations

from typing import Final

from sqlalchemy import select

from ubr.adapters.sql.link import Link
from ubr.adapters.sql.rows import grant_from_row, role_from_row, session_from_row, user_from_row
from ubr.adapters.sql.tables import roles, sessions, user_roles, users
from ubr.application.ports.sessions import Principal
from ubr.domain.values import SessionId

_PRINCIPAL: Final = (
    select(sessions, users, user_roles, roles)
    .select_from(
        sessions.join(users, users.c.id == sessions.c.user_id)
        .outerjoin(user_roles, user_roles.c.user_id == users.c.id)
        .outerjoin(roles, roles.c.id == user_roles.c.role_id)
    )
    .order_by(roles.c.name)
)


class SqlPrincipals:
    def __init__(self, link: Link) -> None:
        self._link = link

    async def get(self, session_id: SessionId) -> Principal | None:
        rows = await self._link.rows(_PRINCIPAL.where(sessions.c.id == session_id))
        if not rows:
            return None
        held = [row for row in rows if row[roles.c.id] is not None]
        grants = [grant_from_row(row) for row in held]
        return Principal(
            user=user_from_row(rows[0], {grant.role_id: grant for grant in grants}),
            session=session_from_row(rows[0]),
            roles=tuple(map(role_from_row, held)),
        )
