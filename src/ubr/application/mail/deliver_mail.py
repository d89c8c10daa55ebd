from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.origin import Origin, calling_from
from ubr.application.kernel.retry import repeatable
from ubr.application.ports.accounts import LinkTokenMint
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.mail import Composer, Mailer, MailFacts
from ubr.application.ports.unit_of_work import Transaction, UnitOfWork
from ubr.domain.accounts.email import Email
from ubr.domain.accounts.one_time_link import LINK_LIFETIME, UNDO_LIFETIME, Link, LinkKind
from ubr.domain.accounts.user import User
from ubr.domain.actor import System
from ubr.domain.errors import Forbidden, MailRefused, MailUnavailable, StoreUnavailable
from ubr.domain.events import LinkIssued, MailGivenUp
from ubr.domain.ids import SessionId
from ubr.domain.mail.kinds import MailKind
from ubr.domain.mail.queued_mail import Letter

_AT_ONCE: Final = 10
_CLAIMED: Final = timedelta(minutes=2)
"""How long a letter is nobody else's: longer than a try can last."""

_FAREWELL: Final = 3.0
"""Seconds that what is being sent has to its end when the process stops."""

_PAGES: Final = {
    LinkKind.REGISTRATION: "verify-email",
    LinkKind.VERIFICATION: "verify-email",
    LinkKind.EMAIL_CHANGE: "verify-email",
    LinkKind.PASSWORD_RESET: "reset-password",
    LinkKind.EMAIL_UNDO: "undo-email",
}

_log: Final = logging.getLogger("ubr.mail")


@dataclass(frozen=True, slots=True)
class DeliverMail:
    """Send the mails that wait and are due.

    - Only the service itself may. Several may at once: each sends others. Who has no way to send any leaves them.
    - Whether there is anybody to write to is decided now, and so is what good a link is: it is made now, only its
      digest is stored, and a mail that has to be sent again has another one.
    - What cannot be sent is tried again, later each time, and given up in the end.
    - A mail is sent once, unless somebody dies between sending it and saying so. What was ended meanwhile is not sent.
    """

    unit_of_work: UnitOfWork
    tokens: LinkTokenMint
    composer: Composer
    mailer: Mailer
    denials: DenialLog

    @denials_recorded
    async def __call__(self, *, actor: System) -> int:
        """How many letters are done with: sent, or with nobody to write to."""
        if not isinstance(actor, System):
            raise Forbidden("Only the service itself may deliver mail")
        done = 0
        if not self.mailer.sends:  # another process may be able to
            return done
        while letters := await self._claim(actor):
            sending = asyncio.gather(*(self._deliver(letter, actor) for letter in letters), return_exceptions=True)
            try:
                outcomes = await asyncio.shield(sending)
            except asyncio.CancelledError:
                # What is on its way is brought to its end, or it would be sent twice.
                await asyncio.wait([sending], timeout=_FAREWELL)
                sending.cancel()
                raise
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome
                done += outcome
        return done

    @repeatable
    async def _claim(self, actor: System) -> list[Letter]:
        async with self.unit_of_work.read() as tx:
            if not await tx.outbox.due(tx.now):
                return []
        async with self.unit_of_work.begin(actor) as tx:
            letters = await tx.outbox.claim(tx.now, tx.now + _CLAIMED, _AT_ONCE)
            await tx.commit()
        return letters

    async def _deliver(self, letter: Letter, actor: System) -> bool:
        """Whether it is done with. Where the store is out of reach it is due again once nobody has it any more."""
        origin = Origin(ip=letter.ip, request_id=letter.request_id, request_id_given=letter.request_id_given)
        with calling_from(origin):
            try:
                failure = await self._sent(letter, actor)
                if failure is None:
                    await self._done(letter, actor)
                else:
                    await self._failed(letter, failure, actor)
            except StoreUnavailable:
                return False
        return failure is None

    async def _sent(self, letter: Letter, actor: System) -> MailRefused | MailUnavailable | None:
        """Why it was not; None where it was, or there is nothing to send."""
        try:
            facts = await self._written(letter, actor)
            if facts is not None:
                await self.mailer.send(self.composer.compose(facts, letter.id))
        except (MailRefused, MailUnavailable) as error:
            return error
        except StoreUnavailable:
            raise
        except Exception:  # noqa: BLE001 - whatever is wrong with one letter, the others go out
            _log.exception("A mail could not be written")
            return MailUnavailable("it could not be written")
        return None

    @repeatable
    async def _done(self, letter: Letter, actor: System) -> None:
        async with self.unit_of_work.begin(actor) as tx:
            await tx.outbox.remove(letter)
            await tx.commit()

    @repeatable
    async def _failed(self, letter: Letter, error: MailRefused | MailUnavailable, actor: System) -> None:
        async with self.unit_of_work.begin(actor) as tx:
            failed = letter.failed(error.detail, for_good=isinstance(error, MailRefused), now=tx.now)
            if await tx.outbox.save(failed, was=letter) and failed.dead:
                tx.record(MailGivenUp(letter_id=letter.id, kind=letter.kind.value, why=error.detail))
            await tx.commit()
        _log.warning("A mail could not be sent: %s", error.detail)

    # --- what a letter comes to --------------------------------------------------------------------------------------

    @repeatable
    async def _written(self, letter: Letter, actor: System) -> MailFacts | None:
        """What the mail says; None where there is nothing to say to anybody."""
        async with self.unit_of_work.begin(actor) as tx:
            facts = await self._facts(tx, letter)
            # Its user is locked by now: whoever ended what it is about has deleted it, or waits for us.
            current = await tx.outbox.get(letter.id)
            if current is None or current.next_try_at != letter.next_try_at:
                return None
            await tx.commit()
        return facts

    async def _facts(self, tx: Transaction, letter: Letter) -> MailFacts | None:
        match letter.kind:
            case MailKind.REGISTRATION:
                return await self._registration(tx, letter)
            case MailKind.VERIFICATION:
                return await self._verification(tx, letter)
            case MailKind.PASSWORD_RESET | MailKind.INVITATION:
                user = await _addressee(tx, letter)
                return None if user is None else await self._with_link(tx, letter, LinkKind.PASSWORD_RESET, user)
            case MailKind.EMAIL_CHANGE:
                return await self._email_change(tx, letter)
            case MailKind.EMAIL_CHANGED:
                return await self._email_changed(tx, letter)
            case _:
                user = await _owner(tx, letter)
                return None if user is None else _plain(letter.kind, letter.email, user, letter.new_email)

    async def _registration(self, tx: Transaction, letter: Letter) -> MailFacts | None:
        user = await tx.users.by_email(letter.email)
        if user is not None:
            return _plain(MailKind.ACCOUNT_EXISTS, user.email, user) if user.active else None
        return await self._with_link(tx, letter, LinkKind.REGISTRATION, email=letter.email, full_name=letter.full_name)

    async def _verification(self, tx: Transaction, letter: Letter) -> MailFacts | None:
        user = await _addressee(tx, letter)
        if user is not None:
            return None if user.email_verified else await self._with_link(tx, letter, LinkKind.VERIFICATION, user)
        pending = await tx.links.pending(LinkKind.REGISTRATION, letter.email, tx.now)
        if pending is None or await tx.users.by_email(letter.email) is not None:
            return None
        return await self._with_link(
            tx, letter, LinkKind.REGISTRATION, email=pending.email, full_name=pending.full_name
        )

    async def _email_change(self, tx: Transaction, letter: Letter) -> MailFacts | None:
        user = await _owner(tx, letter)
        if user is None:
            return None
        other = await tx.users.by_email(letter.email)
        if other is None:
            return await self._with_link(
                tx, letter, LinkKind.EMAIL_CHANGE, user, email=letter.email, session_id=letter.session_id
            )
        return _plain(MailKind.EMAIL_IN_USE, other.email, other) if other.active and other.id != user.id else None

    async def _email_changed(self, tx: Transaction, letter: Letter) -> MailFacts | None:
        user = await _owner(tx, letter)
        end = letter.created_at + UNDO_LIFETIME
        if user is None or tx.now >= end or user.email.key == letter.email.key:
            return None
        return await self._with_link(tx, letter, LinkKind.EMAIL_UNDO, user, email=letter.email, end=end)

    async def _with_link(
        self,
        tx: Transaction,
        letter: Letter,
        kind: LinkKind,
        user: User | None = None,
        *,
        email: Email | None = None,
        full_name: str | None = None,
        session_id: SessionId | None = None,
        end: datetime | None = None,
    ) -> MailFacts:
        """A mail with a new link in it, to the e-mail given, or the one of the user."""
        to = email or (letter.email if user is None else user.email)
        token = self.tokens.mint()
        user_id = None if user is None else user.id
        end = end or tx.now + LINK_LIFETIME
        await tx.links.add(
            Link(
                digest=token.digest,
                kind=kind,
                email=to,
                user_id=user_id,
                full_name=full_name,
                session_id=session_id,
                created_at=tx.now,
                expires_at=end,
            )
        )
        tx.record(LinkIssued(user_id=user_id, kind=kind.value))
        mail = MailKind.REGISTRATION if kind is LinkKind.REGISTRATION else letter.kind
        return MailFacts(
            kind=mail,
            to=to.address,
            full_name=None if user is None else user.full_name,
            link=self.composer.link(_PAGES[kind], token.secret),
            new_email=letter.new_email,
            minutes=max(1, int((end - tx.now) / timedelta(minutes=1))),
        )


async def _addressee(tx: Transaction, letter: Letter) -> User | None:
    """The active user with the e-mail of a letter; the one it is about, where that is known."""
    user = await tx.users.by_email(letter.email)
    if user is None or not user.active or letter.user_id not in {None, user.id}:
        return None
    return user


async def _owner(tx: Transaction, letter: Letter) -> User | None:
    """The active user whom a letter is about."""
    user = None if letter.user_id is None else await tx.users.get(letter.user_id)
    return user if user is not None and user.active else None


def _plain(kind: MailKind, to: Email, user: User, new_email: str | None = None) -> MailFacts:
    return MailFacts(kind=kind, to=to.address, full_name=user.full_name, new_email=new_email)
