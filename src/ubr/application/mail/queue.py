"""Requests for mails: a queued mail is stored in the transaction that it reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ubr.application.kernel.origin import current_origin
from ubr.domain.mail.queued_mail import QueuedMail

if TYPE_CHECKING:
    from ubr.application.ports.system import NewId
    from ubr.application.ports.unit_of_work import Transaction
    from ubr.domain.accounts.email import Email
    from ubr.domain.ids import SessionId, UserId
    from ubr.domain.mail.kinds import MailKind


class MailQueue(msgspec.Struct, frozen=True):
    """Puts mails into the outbox. Delivery finds out later whether there is a recipient.

    A call that requests a mail therefore does the same for every e-mail, and takes the same time.
    """

    new_id: NewId

    async def __call__(
        self,
        tx: Transaction,
        kind: MailKind,
        email: Email,
        *,
        user_id: UserId | None = None,
        full_name: str | None = None,
        new_email: Email | None = None,
        session_id: SessionId | None = None,
    ) -> None:
        origin = current_origin()
        await tx.outbox.add(
            QueuedMail(
                id=self.new_id(),
                kind=kind,
                email=email,
                user_id=user_id,
                full_name=full_name,
                new_email=None if new_email is None else new_email.address,
                session_id=session_id,
                ip=origin.ip,
                request_id=origin.request_id,
                request_id_given=origin.request_id_given,
                created_at=tx.now,
                next_try_at=tx.now,
            )
        )
