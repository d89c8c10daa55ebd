from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from ubr.application.kernel.command import Command, Result
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.paging import DEFAULT_LIMIT, Pager, check_limit
from ubr.application.kernel.representations import Page
from ubr.application.kernel.retry import repeatable
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.actor import System
from ubr.domain.errors import Forbidden
from ubr.domain.mail.kinds import MailKind


class ListMailCommand(Command, frozen=True, kw_only=True):
    state: Literal["waiting", "given_up"] | None = None
    limit: int = DEFAULT_LIMIT
    cursor: str | None = None


class LetterResult(Result, frozen=True, kw_only=True):
    """A mail that is not sent yet. `next_try_at` is null where nobody tries any more."""

    id: UUID
    kind: MailKind
    state: Literal["waiting", "given_up"]
    email: str
    created_at: datetime
    tries: int
    next_try_at: datetime | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class ListMail:
    """List the mails that are not sent yet, oldest first.

    - Only the service itself may.
    """

    unit_of_work: UnitOfWork
    pager: Pager
    denials: DenialLog

    @denials_recorded
    @repeatable
    async def __call__(self, command: ListMailCommand, /, *, actor: System) -> Page[LetterResult]:
        if not isinstance(actor, System):
            raise Forbidden("Only the service itself may read the outbox")
        limit = check_limit(command.limit)
        scope = ("outbox", command.state)
        after = self.pager.after(command.cursor, scope, datetime.fromisoformat)
        dead = None if command.state is None else command.state == "given_up"
        async with self.unit_of_work.read() as tx:
            found = await tx.outbox.page(after, limit + 1, dead=dead)
        letters, cursor = self.pager.cut(found, limit, scope, lambda letter: (letter.created_at, letter.id))
        return Page(
            items=[
                LetterResult(
                    id=letter.id,
                    kind=letter.kind,
                    state="given_up" if letter.dead else "waiting",
                    email=letter.email.address,
                    created_at=letter.created_at,
                    tries=letter.tries,
                    next_try_at=None if letter.dead else letter.next_try_at,
                    last_error=letter.last_error,
                )
                for letter in letters
            ],
            next_cursor=cursor,
        )
