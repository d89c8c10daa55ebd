"""One-time links and letters, over drafts of the tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from ubr.adapters.memory.store import Drafts
from ubr.application.ports.repositories import After
from ubr.domain.errors import UserNotFound
from ubr.domain.letter import Letter
from ubr.domain.link import UNDO_LIFETIME, Link, LinkKind
from ubr.domain.mail import MailKind
from ubr.domain.values import Email, TokenDigest, UserId


class MemoryLinks:
    def __init__(self, drafts: Drafts) -> None:
        self._links = drafts.links
        self._users = drafts.users

    async def add(self, link: Link) -> None:
        if link.user_id is not None and self._users.get(link.user_id) is None:
            raise UserNotFound
        if link.kind is not LinkKind.EMAIL_UNDO:
            self._drop(
                other
                for other in self._links
                if other.kind is link.kind
                and (other.email.key == link.email.key if link.user_id is None else other.user_id == link.user_id)
            )
        self._links.put(link.digest, link)

    async def get(self, digest: TokenDigest) -> Link | None:
        return self._links.get(digest)

    async def redeem(self, digest: TokenDigest, now: datetime) -> Link | None:
        link = self._links.get(digest)
        if link is None or not link.live_at(now):
            return None
        self._links.drop(digest)
        return link

    async def pending(self, kind: LinkKind, email: Email, now: datetime) -> Link | None:
        found = [
            link
            for link in self._links
            if link.kind is kind and link.user_id is None and link.email.key == email.key and link.live_at(now)
        ]
        return max(found, key=lambda link: link.created_at, default=None)

    async def forget_of(self, user_id: UserId, *, changed_since: datetime | None) -> None:
        def ends(link: Link) -> bool:
            if link.kind is not LinkKind.EMAIL_UNDO:
                return True
            return changed_since is not None and link.expires_at >= changed_since + UNDO_LIFETIME

        self._drop(link for link in self._links if link.user_id == user_id and ends(link))

    async def forget_all(self, limit: int) -> int:
        return self._drop(list(self._links)[:limit])

    async def forget(self, expired_before: datetime, limit: int) -> int:
        return self._drop([link for link in self._links if link.expires_at < expired_before][:limit])

    def _drop(self, which: Iterable[Link]) -> int:
        gone = list(which)
        for link in gone:
            self._links.drop(link.digest)
        return len(gone)


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
