"""The contents of queued mails: who gets each, and the link in it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import msgspec

from ubr.application.ports.accounts import LinkTokenMint
from ubr.application.ports.mail import MailContext, MailRenderer
from ubr.application.ports.unit_of_work import Transaction
from ubr.domain.accounts.email import Email
from ubr.domain.accounts.one_time_link import LINK_LIFETIME, UNDO_LIFETIME, LinkKind, OneTimeLink
from ubr.domain.accounts.user import User
from ubr.domain.events import LinkIssued
from ubr.domain.ids import SessionId
from ubr.domain.mail.kinds import MailKind
from ubr.domain.mail.queued_mail import QueuedMail

_PAGES: Final = {
    LinkKind.REGISTRATION: "verify-email",
    LinkKind.VERIFICATION: "verify-email",
    LinkKind.EMAIL_CHANGE: "verify-email",
    LinkKind.PASSWORD_RESET: "reset-password",
    LinkKind.EMAIL_UNDO: "undo-email",
}


class MailContents(msgspec.Struct, frozen=True):
    """Finds the recipient of a queued mail and makes its link, when the mail is sent.

    Only the digest of the link is stored.
    """

    tokens: LinkTokenMint
    renderer: MailRenderer

    async def __call__(self, tx: Transaction, queued: QueuedMail) -> MailContext | None:
        """The data of the mail; None if there is no recipient. The row of its user is locked."""
        match queued.kind:
            case MailKind.REGISTRATION:
                return await self._registration(tx, queued)
            case MailKind.VERIFICATION:
                return await self._verification(tx, queued)
            case MailKind.PASSWORD_RESET | MailKind.INVITATION:
                user = await _addressee(tx, queued)
                return None if user is None else await self._with_link(tx, queued, LinkKind.PASSWORD_RESET, user)
            case MailKind.EMAIL_CHANGE:
                return await self._email_change(tx, queued)
            case MailKind.EMAIL_CHANGED:
                return await self._email_changed(tx, queued)
            case _:
                user = await _noticed(tx, queued)
                return None if user is None else _plain(queued.kind, queued.email, user, queued.new_email)

    async def _registration(self, tx: Transaction, queued: QueuedMail) -> MailContext | None:
        user = await tx.users.by_email(queued.email)
        if user is not None:
            return _plain(MailKind.ACCOUNT_EXISTS, user.email, user) if user.active else None
        return await self._with_link(tx, queued, LinkKind.REGISTRATION, email=queued.email, full_name=queued.full_name)

    async def _verification(self, tx: Transaction, queued: QueuedMail) -> MailContext | None:
        user = await _addressee(tx, queued)
        if user is not None:
            return None if user.email_verified else await self._with_link(tx, queued, LinkKind.VERIFICATION, user)
        pending = await tx.links.pending(LinkKind.REGISTRATION, queued.email, tx.now)
        if pending is None or await tx.users.by_email(queued.email) is not None:
            return None
        return await self._with_link(
            tx, queued, LinkKind.REGISTRATION, email=pending.email, full_name=pending.full_name
        )

    async def _email_change(self, tx: Transaction, queued: QueuedMail) -> MailContext | None:
        user = await _owner(tx, queued)
        if user is None:
            return None
        other = await tx.users.by_email(queued.email)
        if other is None or (other.id != user.id and other.gives_way):
            return await self._with_link(
                tx, queued, LinkKind.EMAIL_CHANGE, user, email=queued.email, session_id=queued.session_id
            )
        return _plain(MailKind.EMAIL_IN_USE, other.email, other) if other.active and other.id != user.id else None

    async def _email_changed(self, tx: Transaction, queued: QueuedMail) -> MailContext | None:
        user = await _owner(tx, queued)
        end = queued.created_at + UNDO_LIFETIME
        if user is None or tx.now >= end or user.email.key == queued.email.key:
            return None
        return await self._with_link(tx, queued, LinkKind.EMAIL_UNDO, user, email=queued.email, end=end)

    async def _with_link(
        self,
        tx: Transaction,
        queued: QueuedMail,
        kind: LinkKind,
        user: User | None = None,
        *,
        email: Email | None = None,
        full_name: str | None = None,
        session_id: SessionId | None = None,
        end: datetime | None = None,
    ) -> MailContext:
        """A mail with a new link, to the given e-mail, or else to the user's."""
        to = email or (queued.email if user is None else user.email)
        token = self.tokens.mint()
        user_id = None if user is None else user.id
        end = end or tx.now + LINK_LIFETIME
        await tx.links.add(
            OneTimeLink(
                digest=token.digest,
                kind=kind,
                email=to,
                user_id=user_id,
                full_name=full_name,
                session_id=session_id,
                created_at=tx.now,
                expires_at=end,
            ),
            keep_older=queued.tries > 0,
        )
        tx.record(LinkIssued(user_id=user_id, kind=kind.value))
        mail = MailKind.REGISTRATION if kind is LinkKind.REGISTRATION else queued.kind
        return MailContext(
            kind=mail,
            to=to.address,
            full_name=None if user is None else user.full_name,
            link=self.renderer.link(_PAGES[kind], token.secret),
            new_email=queued.new_email,
            minutes=max(1, int((end - tx.now) / timedelta(minutes=1))),
        )


async def _addressee(tx: Transaction, queued: QueuedMail) -> User | None:
    """The active user with the e-mail of a queued mail; if its account is known, only that user."""
    user = await tx.users.by_email(queued.email)
    if user is None or not user.active or queued.user_id not in {None, user.id}:
        return None
    return user


async def _noticed(tx: Transaction, queued: QueuedMail) -> User | None:
    """The user that a notice is about, for the notice of a replaced e-mail also a disabled one."""
    if queued.kind is not MailKind.EMAIL_REPLACED or queued.user_id is None:
        return await _owner(tx, queued)
    return await tx.users.get(queued.user_id)


async def _owner(tx: Transaction, queued: QueuedMail) -> User | None:
    """The active user that a queued mail is about."""
    user = None if queued.user_id is None else await tx.users.get(queued.user_id)
    return user if user is not None and user.active else None


def _plain(kind: MailKind, to: Email, user: User, new_email: str | None = None) -> MailContext:
    return MailContext(kind=kind, to=to.address, full_name=user.full_name, new_email=new_email)
