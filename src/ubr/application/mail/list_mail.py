from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from ubr.application.access.authorization import Authorize
from ubr.application.kernel.command import Command, Result
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.paging import DEFAULT_LIMIT, Pager, check_limit
from ubr.application.kernel.representations import Page
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.actor import Actor, System
from ubr.domain.mail.kinds import MailKind
from ubr.domain.roles.permissions import EVERYTHING


class ListMailCommand(Command, frozen=True, kw_only=True):
    state: Literal["waiting", "given_up"] | None = None
    limit: int = DEFAULT_LIMIT
    cursor: str | None = None


class QueuedMailResult(Result, frozen=True, kw_only=True):
    """A queued mail. `next_try_at` is null once it was given up."""

    id: UUID
    kind: MailKind
    state: Literal["waiting", "given_up"]
    email: str
    created_at: datetime
    tries: int
    next_try_at: datetime | None
    last_error: str | None


class ListMail(msgspec.Struct, frozen=True):
    """List the queued mails, oldest first.

    - Requires `*`: a mail names its recipient, and the reason why it was not sent.
    """

    authorize: Authorize
    unit_of_work: UnitOfWork
    pager: Pager
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: ListMailCommand, /, *, actor: Actor | System) -> Page[QueuedMailResult]:
        limit = check_limit(command.limit)
        bound_to = ("outbox", command.state)
        after = self.pager.after(command.cursor, bound_to, datetime.fromisoformat)
        (await self.authorize(actor)).require(EVERYTHING)
        dead = None if command.state is None else command.state == "given_up"
        async with self.unit_of_work.read() as tx:
            found = await tx.outbox.page(after, limit + 1, dead=dead)
        queued_mails, cursor = self.pager.cut(found, limit, bound_to, lambda queued: (queued.created_at, queued.id))
        return Page(
            items=[
                QueuedMailResult(
                    id=queued.id,
                    kind=queued.kind,
                    state="given_up" if queued.dead else "waiting",
                    email=queued.email.address,
                    created_at=queued.created_at,
                    tries=queued.tries,
                    next_try_at=None if queued.dead else queued.next_try_at,
                    last_error=queued.last_error,
                )
                for queued in queued_mails
            ],
            next_cursor=cursor,
        )
