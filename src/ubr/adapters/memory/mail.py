"""Queued mails, and a mailer that keeps the mails it sends."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta
from uuid import UUID

from msgspec.structs import replace

from ubr.adapters.memory.store import Drafts
from ubr.application.ports.mail import Mail, MailBacklog
from ubr.application.ports.paging import After
from ubr.domain.accounts.email import Email
from ubr.domain.errors import MailRefused, UserNotFound
from ubr.domain.ids import UserId
from ubr.domain.mail.kinds import LINK_MAILS, MailKind
from ubr.domain.mail.queued_mail import QueuedMail


class MemoryOutbox:
    def __init__(self, drafts: Drafts) -> None:
        self._queued = drafts.outbox
        self._users = drafts.users

    async def add(self, queued: QueuedMail) -> None:
        if queued.user_id is not None and self._users.get(queued.user_id) is None:
            raise UserNotFound
        self._queued.put(queued.id, queued)

    async def due(self, now: datetime, *, without: Collection[str] = ()) -> bool:
        return any(self._due(now, without))

    async def backlog(self, now: datetime) -> MailBacklog:
        due = [queued.next_try_at for queued in self._due(now, ())]
        return MailBacklog(
            due=len(due), dead=sum(queued.dead for queued in self._queued), oldest=min(due, default=None)
        )

    async def claim(
        self, now: datetime, until: datetime, limit: int, *, without: Collection[str] = ()
    ) -> list[QueuedMail]:
        due = sorted(self._due(now, without), key=lambda queued: (queued.next_try_at, queued.id))[:limit]
        claimed = [replace(queued, next_try_at=until) for queued in due]
        for queued in claimed:
            self._queued.put(queued.id, queued)
        return sorted(claimed, key=_age)

    async def get(self, mail_id: UUID) -> QueuedMail | None:
        return self._queued.get(mail_id)

    async def page(self, after: After[datetime] | None, limit: int, *, dead: bool | None = None) -> list[QueuedMail]:
        found = sorted((queued for queued in self._queued if dead is None or queued.dead is dead), key=_age)
        return [queued for queued in found if after is None or _age(queued) > (after.key, after.id)][:limit]

    async def save(self, queued: QueuedMail, *, was: QueuedMail) -> bool:
        if not self._as(was):
            return False
        self._queued.put(queued.id, queued)
        return True

    async def remove(self, queued: QueuedMail) -> None:
        if self._as(queued):
            self._queued.drop(queued.id)

    def _as(self, queued: QueuedMail) -> bool:
        """True if the stored mail is unchanged since it was read."""
        found = self._queued.get(queued.id)
        return found is not None and found.next_try_at == queued.next_try_at

    async def forget_links(self, user_id: UserId, email: Email, *, changed_since: datetime | None) -> None:
        def ended(queued: QueuedMail) -> bool:
            if queued.kind is MailKind.EMAIL_CHANGED:
                return queued.user_id == user_id and changed_since is not None and queued.created_at >= changed_since
            return queued.kind in LINK_MAILS and (queued.user_id == user_id or queued.email.key == email.key)

        self._drop(queued for queued in self._queued if ended(queued))

    async def forget_email(self, email: Email, user_id: UserId) -> None:
        whose = {None, user_id}
        self._drop(queued for queued in self._queued if queued.email.key == email.key and queued.user_id in whose)

    async def forget_all(self, limit: int) -> int:
        return self._drop(list(self._queued)[:limit])

    async def forget(self, made_before: datetime, limit: int) -> int:
        return self._drop([queued for queued in self._queued if queued.created_at < made_before][:limit])

    def _due(self, now: datetime, without: Collection[str]) -> Iterator[QueuedMail]:
        return (
            queued
            for queued in self._queued
            if not queued.dead and queued.next_try_at <= now and queued.email.domain not in without
        )

    def _drop(self, which: Iterable[QueuedMail]) -> int:
        gone = list(which)
        for queued in gone:
            self._queued.drop(queued.id)
        return len(gone)


def _age(queued: QueuedMail) -> tuple[datetime, UUID]:
    return queued.created_at, queued.id


class MemoryMailer:
    """Keeps sent mails, oldest first."""

    def __init__(self) -> None:
        self.sent: list[Mail] = []

    @property
    def max_duration(self) -> timedelta:
        return timedelta(0)

    @property
    def sends(self) -> bool:
        return True

    async def send(self, mail: Mail) -> None:
        if "=?" in mail.to:  # it cannot be serialized either, see ubr.adapters.mail.message
            raise MailRefused
        self.sent.append(mail)
