from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from ubr.application.access.authorization import Authorize
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.paging import DEFAULT_LIMIT, Pager, check_limit
from ubr.application.kernel.representations import Page, SessionResult, session_result
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.system import Clock
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.actor import Actor, System
from ubr.domain.errors import UserNotFound
from ubr.domain.ids import UserId
from ubr.domain.roles.permissions import SESSIONS_READ


class ListSessionsCommand(Command, frozen=True, kw_only=True):
    user_id: UUID
    limit: int = DEFAULT_LIMIT
    cursor: str | None = None


class ListSessions(msgspec.Struct, frozen=True):
    """List a user's active sessions, newest first.

    - Users may list their own sessions; another user's require `sessions:read`.
    """

    authorize: Authorize
    unit_of_work: UnitOfWork
    clock: Clock
    pager: Pager
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: ListSessionsCommand, /, *, actor: Actor | System) -> Page[SessionResult]:
        limit = check_limit(command.limit)
        bound_to = ("sessions", command.user_id)
        after = self.pager.after(command.cursor, bound_to, datetime.fromisoformat)
        user_id = UserId(command.user_id)
        who = await self.authorize(actor)
        who.require_self_or(user_id, SESSIONS_READ)
        async with self.unit_of_work.peek() as tx:
            if not who.is_user(user_id) and await tx.users.get(user_id) is None:
                raise UserNotFound
            found = await tx.sessions.page(user_id, self.clock(), after, limit + 1)
        sessions, cursor = self.pager.cut(found, limit, bound_to, lambda session: (session.created_at, session.id))
        current = actor.session_id if isinstance(actor, Actor) else None
        return Page(items=[session_result(session, current) for session in sessions], next_cursor=cursor)
