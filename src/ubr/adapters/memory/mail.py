"""Mails that wait, and a mailer that keeps what it sends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from ubr.adapters.memory.store import Drafts
from ubr.application.ports.mail import Mail
from ubr.application.ports.paging import After
from ubr.domain.accounts.email import Email
from ubr.domain.errors import MailRefused, UserNotFound
from ubr.domain.ids import UserId
from ubr.domain.mail.kinds import MailKind
from ubr.domain.mail.queued_mail import Letter


class MemoryOutbox:
    def __init__(self, drafts: Drafts) -> None:
        self._letters = drafts.outbox
        self._users = drafts.users

    async def add(self, letter: Letter) -> None:
        if letter.user_id is not None and self._users.get(letter.user_id) is None:
            raise UserNotFound
        self._letters.put(letter.id, letter)

    async def due(self, now: datetime) -> bool:
        return any(self._due(now))

    async def claim(self, now: datetime, until: datetime, limit: int) -> list[Letter]:
        due = sorted(self._due(now), key=lambda letter: (letter.next_try_at, letter.id))[:limit]
        claimed = [replace(letter, next_try_at=until) for letter in due]
        for letter in claimed:
            self._letters.put(letter.id, letter)
        return sorted(claimed, key=_age)

    async def get(self, letter_id: UUID) -> Letter | None:
        return self._letters.get(letter_id)

    async def page(self, after: After[datetime] | None, limit: int, *, dead: bool | None = None) -> list[Letter]:
        found = sorted((letter for letter in self._letters if dead is None or letter.dead is dead), key=_age)
        return [letter for letter in found if after is None or _age(letter) > (after.key, after.id)][:limit]

    async def save(self, letter: Letter, *, was: Letter) -> bool:
        if not self._as(was):
            return False
        self._letters.put(letter.id, letter)
        return True

    async def remove(self, letter: Letter) -> None:
        if self._as(letter):
            self._letters.drop(letter.id)

    def _as(self, letter: Letter) -> bool:
        """Whether it is as somebody has it in hand."""
        found = self._letters.get(letter.id)
        return found is not None and found.next_try_at == letter.next_try_at

    async def forget_changes(self, user_id: UserId, *, changed_since: datetime | None) -> None:
        def ends(letter: Letter) -> bool:
            if letter.kind is MailKind.EMAIL_CHANGED:
                return changed_since is not None and letter.created_at >= changed_since
            return letter.kind is MailKind.EMAIL_CHANGE

        self._drop(letter for letter in self._letters if letter.user_id == user_id and ends(letter))

    async def forget_email(self, email: Email) -> None:
        self._drop(letter for letter in self._letters if letter.email.key == email.key)

    async def forget_all(self, limit: int) -> int:
        return self._drop(list(self._letters)[:limit])

    async def forget(self, made_before: datetime, limit: int) -> int:
        return self._drop([letter for letter in self._letters if letter.created_at < made_before][:limit])

    def _due(self, now: datetime) -> Iterator[Letter]:
        return (letter for letter in self._letters if not letter.dead and letter.next_try_at <= now)

    def _drop(self, which: Iterable[Letter]) -> int:
        gone = list(which)
        for letter in gone:
            self._letters.drop(letter.id)
        return len(gone)


def _age(letter: Letter) -> tuple[datetime, UUID]:
    return letter.created_at, letter.id


class MemoryMailer:
    """Keeps what was sent, oldest first."""

    def __init__(self) -> None:
        self.sent: list[Mail] = []

    @property
    def sends(self) -> bool:
        return True

    async def send(self, mail: Mail) -> None:
        if "=?" in mail.to:  # it cannot be written down either, see ubr.adapters.mail.message
            raise MailRefused
        self.sent.append(mail)
