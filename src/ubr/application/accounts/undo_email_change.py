from __future__ import annotations

import msgspec

from ubr.application.access.authorization import keep_an_admin
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.fields import LinkTokenStr
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.mail.queue import MailQueue
from ubr.application.ports.accounts import LinkTokenMint
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import EndingUnitOfWork
from ubr.application.protection.rate_limits import RateLimiter
from ubr.application.sessions.termination import end_links, end_sessions
from ubr.domain.accounts.one_time_link import UNDO_LIFETIME, LinkKind
from ubr.domain.actor import Actor, System
from ubr.domain.errors import InvalidLink
from ubr.domain.mail.kinds import MailKind
from ubr.domain.revocation.changes import Change
from ubr.domain.roles.role import ADMIN_ROLE_ID
from ubr.domain.sessions.termination import SecurityEvent


class UndoEmailChangeCommand(Command, frozen=True, kw_only=True):
    token: LinkTokenStr


class UndoEmailChange(msgspec.Struct, frozen=True):
    """Undo a change of e-mail with the link that was mailed to the previous e-mail.

    - The link is valid for a day. Until then no other account can take that e-mail.
    - Ends every session and link of the user, and reverts every later change of e-mail; an earlier change can still
      be undone.
    - The person who changed the e-mail knew the password: it is invalidated, and a link to set a new one is mailed.
    - Removes roles that were granted since the change, and roles whose permissions have grown since.
    """

    unit_of_work: EndingUnitOfWork
    tokens: LinkTokenMint
    rate_limiter: RateLimiter
    mail_queue: MailQueue
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: UndoEmailChangeCommand, /, *, actor: Actor | System | None = None) -> None:
        async with self.rate_limiter.redeeming():
            digest = self.tokens.digest(command.token)
            async with self.unit_of_work.read() as tx:
                link = await tx.links.get(digest)
            if link is None or link.kind is not LinkKind.EMAIL_UNDO or link.user_id is None:
                raise InvalidLink
            async with self.unit_of_work.ending(Change("user", str(link.user_id)), actor=actor) as tx:
                user = await tx.users.get(link.user_id)
                if user is None or await tx.links.redeem(digest, tx.now) is None:
                    raise InvalidLink
                changed_at = link.expires_at - UNDO_LIFETIME
                roles = await tx.roles.many(user.grants)
                # A role whose description alone changed is taken away too. Not `admin`: its permissions cannot change,
                # and a thief could block the undo of the last administrator by a new description.
                grown = {
                    role.id
                    for role in roles
                    if role.permissions.names and role.updated_at >= changed_at and role.id != ADMIN_ROLE_ID
                }
                was_lasting, old = user.lasting_admin, user.email
                user.undo_email_change(link.email, changed_at=changed_at, grown=grown, now=tx.now)
                await keep_an_admin(tx, user, was_lasting=was_lasting)
                await tx.users.save(user)
                await end_links(tx, user, changed_since=changed_at)
                await end_sessions(tx, user, SecurityEvent.EMAIL_CHANGE_UNDONE, actor=None, old=old)
                await self.mail_queue(tx, MailKind.PASSWORD_RESET, user.email, user_id=user.id)
