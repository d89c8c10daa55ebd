from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID, uuid5

from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.origin import Origin, calling_from
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.mail.contents import MailContents
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.mail import MailContext, Mailer, MailRenderer
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.accounts.user import MACHINES_DOMAIN
from ubr.domain.actor import System
from ubr.domain.errors import Forbidden, MailRefused, MailUnavailable, StoreUnavailable, UbrError
from ubr.domain.events import MailGivenUp
from ubr.domain.mail.queued_mail import QueuedMail

AT_ONCE: Final = 20
"""Maximum number of mails being sent by one process, without those that hang."""

HANGS_AFTER: Final = 10.0
"""Seconds after which a mail that is being sent leaves its place to another one: it only waits for its server."""

MAX_OPEN: Final = 100
"""Maximum number of mails being sent, with those that hang: each has a connection to the mail server."""

PER_DOMAIN: Final = 4
"""Maximum number of those to recipients of one domain: a domain whose server hangs leaves the others free."""

_CONNECTIONS: Final = 3
"""Maximum number of database connections that mails use at a time: the others are for requests."""

_LOOK: Final = 1.0
"""Seconds between two checks for further mails while some are being sent."""

_SPARE: Final = timedelta(minutes=2)
"""How much longer than an attempt a claim on a queued mail lasts."""

_FAREWELL: Final = 3.0
"""Seconds in which current attempts may finish when the process stops."""

_log: Final = logging.getLogger("ubr.mail")


@dataclass(frozen=True, slots=True)
class _Sending:
    """A mail that is being sent."""

    domain: str
    hangs_at: float
    """The time of the loop from which it no longer takes the place of another one."""


@dataclass(frozen=True, slots=True)
class DeliverMail:
    """Send the queued mails that are due.

    - Only the service itself may, in several processes at once: each claims other mails. A process without a mail
      server claims none.
    - Looks up the recipient and creates the link at this point: only the digest of the link is stored, and a retried
      mail has a new one. The links of earlier attempts stay valid, since their mails may have arrived.
    - Retries a failed mail with increasing pauses, and gives it up in the end.
    - Sends some mails at once, and only a few of them to one domain, so that a slow server delays its own mails alone.
      A mail that hangs leaves its place to another one, up to a number of open mails.
    - Sends a mail once, unless the process dies between sending and recording it. Does not send a cancelled mail.
    """

    unit_of_work: UnitOfWork
    contents: MailContents
    renderer: MailRenderer
    mailer: Mailer
    denials: DenialLog
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_CONNECTIONS), init=False, repr=False)

    @denials_recorded
    async def __call__(self, *, actor: System) -> int:
        """The number of mails finished: sent, or without a recipient."""
        if not isinstance(actor, System):
            raise Forbidden("Only the service itself may deliver mail")
        done = 0
        if not self.mailer.sends:  # another process may be able to
            return done
        sending: dict[asyncio.Task[bool], _Sending] = {}
        failure: BaseException | None = None
        unclaimed: UbrError | None = None
        try:
            while True:
                if failure is None:
                    # After an error of the store it looks again: a mail that hangs would delay all others.
                    unclaimed = await self._send_more(sending, actor)
                if not sending:
                    break
                ended, _ = await asyncio.wait(sending, timeout=_LOOK, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    del sending[task]
                    if (error := task.exception()) is not None:
                        failure = failure or error
                    else:
                        done += task.result()
        except asyncio.CancelledError:
            # Let current attempts finish, or the mails would be sent twice.
            if sending:
                await asyncio.wait(sending, timeout=_FAREWELL)
            for task in sending:
                task.cancel()
            raise
        if (error := failure or unclaimed) is not None:
            raise error
        return done

    async def _send_more(self, sending: dict[asyncio.Task[bool], _Sending], actor: System) -> UbrError | None:
        """Begin to send due mails while there is room for them. Returns the error of the store."""
        now = asyncio.get_running_loop().time
        try:
            while len(sending) < MAX_OPEN and sum(now() < mail.hangs_at for mail in sending.values()) < AT_ONCE:
                domains = Counter(mail.domain for mail in sending.values())
                full = [domain for domain, count in domains.items() if count >= PER_DOMAIN]
                queued = await self._claim(actor, full)
                if queued is None:
                    break
                task = asyncio.create_task(self._deliver(queued, actor))
                sending[task] = _Sending(queued.email.domain, now() + HANGS_AFTER)
        except UbrError as error:
            return error
        return None

    @retry_on_conflict
    async def _claim(self, actor: System, full: Collection[str]) -> QueuedMail | None:
        """The next mail, unless it goes to one of these domains."""
        async with self._places, self.unit_of_work.read() as tx:
            if not await tx.outbox.due(tx.now, without=full):
                return None
        async with self._places, self.unit_of_work.begin(actor) as tx:
            queued_mails = await tx.outbox.claim(tx.now, tx.now + self.mailer.max_duration + _SPARE, 1, without=full)
            await tx.commit()
        return queued_mails[0] if queued_mails else None

    async def _deliver(self, queued: QueuedMail, actor: System) -> bool:
        """True if the mail is finished. If the store is unavailable, the mail is due again after its claim expires."""
        origin = Origin(ip=queued.ip, request_id=queued.request_id, request_id_given=queued.request_id_given)
        with calling_from(origin):
            try:
                failure = await self._sent(queued, actor)
                if failure is None:
                    await self._done(queued, actor)
                else:
                    await self._failed(queued, failure, actor)
            except StoreUnavailable:
                return False
        return failure is None

    async def _sent(self, queued: QueuedMail, actor: System) -> MailRefused | MailUnavailable | None:
        """The error of the attempt; None if the mail was sent, or there is nothing to send."""
        try:
            context = await self._written(queued, actor)
            if context is not None:
                await self.mailer.send(self.renderer.render(context, _message_id(queued, context)))
        except (MailRefused, MailUnavailable) as error:
            return error
        except (StoreUnavailable, ModuleNotFoundError):  # no mail can be sent without that package
            raise
        except Exception:  # noqa: BLE001 - a failure of one mail does not stop the others
            _log.exception("A mail could not be rendered")
            return MailUnavailable("it could not be rendered")
        return None

    @retry_on_conflict
    async def _done(self, queued: QueuedMail, actor: System) -> None:
        async with self._places, self.unit_of_work.begin(actor) as tx:
            await tx.outbox.remove(queued)
            await tx.commit()

    @retry_on_conflict
    async def _failed(self, queued: QueuedMail, error: MailRefused | MailUnavailable, actor: System) -> None:
        async with self._places, self.unit_of_work.begin(actor) as tx:
            failed = queued.failed(error.detail, for_good=isinstance(error, MailRefused), now=tx.now)
            if await tx.outbox.save(failed, was=queued) and failed.dead:
                tx.record(MailGivenUp(queued_id=queued.id, kind=queued.kind.value, why=error.detail))
            await tx.commit()
        _log.warning("A mail could not be sent: %s", error.detail)

    @retry_on_conflict
    async def _written(self, queued: QueuedMail, actor: System) -> MailContext | None:
        """The data of the mail; None if there is no recipient."""
        if queued.email.key.endswith(f"@{MACHINES_DOMAIN}"):
            return None  # a machine has no mailbox
        async with self._places, self.unit_of_work.begin(actor) as tx:
            context = await self.contents(tx, queued)
            # Its user is locked by now: a unit that ended the request has deleted this mail, or waits for this unit.
            current = await tx.outbox.get(queued.id)
            if current is None or current.next_try_at != queued.next_try_at:
                return None
            await tx.commit()
        return context


def _message_id(queued: QueuedMail, context: MailContext) -> UUID:
    """The same for each attempt that sends the same text. A new link makes another text."""
    return queued.id if context.link is None else uuid5(queued.id, context.link)
