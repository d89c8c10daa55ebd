"""Users and one-time links, on drafts of the tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import islice
from operator import itemgetter

from ubr.adapters.memory.paging import cut
from ubr.adapters.memory.sessions import forget_sessions
from ubr.adapters.memory.store import Drafts, Reservation, copy_user
from ubr.application.ports.accounts import ReservedEmail, UserFilter
from ubr.application.ports.paging import After, Found
from ubr.domain.accounts.email import Email
from ubr.domain.accounts.one_time_link import EVER, UNDO_LIFETIME, LinkKind, OneTimeLink
from ubr.domain.accounts.passwords import PasswordHash
from ubr.domain.accounts.user import User, UserSummary
from ubr.domain.accounts.user_field import FieldValues, Terms
from ubr.domain.accounts.user_fields import FieldIndex
from ubr.domain.errors import EmailTaken, RoleNotFound, UserNotFound
from ubr.domain.events import Event
from ubr.domain.ids import TokenDigest, UserId


class MemoryUsers:
    def __init__(self, drafts: Drafts, events: list[Event], now: datetime) -> None:
        self._drafts = drafts
        self._events = events
        self._now = now

    async def get(self, user_id: UserId) -> User | None:
        user = self._drafts.users.get(user_id)
        return None if user is None else copy_user(user)

    async def again(self, user: User) -> User | None:
        return await self.get(user.id)

    async def by_email(self, email: Email) -> User | None:
        user_id = self._drafts.user_by_email.get(email.key)
        return None if user_id is None else await self.get(user_id)

    async def search(
        self, which: UserFilter, after: After[datetime] | After[str] | None, limit: int
    ) -> Found[UserSummary, datetime | str]:
        role_id = None
        if which.role is not None:
            role_id = self._drafts.role_by_name.get(which.role)
            if role_id is None:
                return Found([])
        by_email = which.sort.endswith("email")
        rows = (
            (user.email.key if by_email else user.created_at, user.id, user)
            for user in self._drafts.users
            if (which.prefix is None or which.prefix.begins(user.email, user.full_name))
            and (which.status is None or user.status is which.status)
            and (role_id is None or role_id in user.roles_at(self._now))
            and (not which.terms or (user.terms or Terms()).found_by.issuperset(which.terms))
        )
        found = cut(rows, after, limit, newest=which.sort.startswith("-"))
        return Found([self._summary(user) for user in found])

    def _summary(self, user: User) -> UserSummary:
        held = (self._drafts.roles.get(role_id) for role_id in user.roles_at(self._now))
        return user.summary(sorted(str(role.name) for role in held if role is not None))

    async def add(self, user: User) -> None:
        self._claim(user)
        self._write(user)

    async def save(self, user: User) -> None:
        before = self._drafts.users.get(user.id)
        if before is None:
            return
        if before.email.key != user.email.key:
            self._claim(user)
            self._drafts.user_by_email.drop(before.email.key)
        if user.terms is None:
            user.terms = before.terms
        self._write(user)

    async def field_values(self, after: UserId | None, limit: int) -> list[tuple[UserId, FieldValues]]:
        found = [
            (user.id, user.fields)
            for user in self._drafts.users
            if not user.is_machine and (after is None or user.id > after)
        ]
        return sorted(found, key=itemgetter(0))[:limit]

    async def index(self, terms: Mapping[UserId, Terms]) -> None:
        for user_id, found in terms.items():
            if (user := self._drafts.users.get(user_id)) is not None:
                self._drafts.users.put(user_id, replace(user, terms=found))

    async def declare_index(self, index: FieldIndex) -> None:
        self._drafts.field_indexes.put(index.name, index)

    async def indexes(self) -> list[FieldIndex]:
        names = {(user.terms or Terms()).index for user in self._drafts.users if not user.is_machine}
        return [self._drafts.field_indexes.get(name) or FieldIndex(name) for name in sorted(names)]

    async def indexed_under(self, name: str, limit: int) -> list[tuple[UserId, FieldValues]]:
        found = (user for user in self._drafts.users if not user.is_machine and (user.terms or Terms()).index == name)
        return [(user.id, user.fields) for user in islice(found, limit)]

    async def remove(self, user: User) -> None:
        self._note(user)
        if self._drafts.users.get(user.id) is None:
            return
        self._drafts.users.drop(user.id)
        self._drafts.user_by_email.drop(user.email.key)
        for link in [link for link in self._drafts.links if link.user_id == user.id]:
            self._drafts.links.drop(link.digest)
        for queued in [queued for queued in self._drafts.outbox if queued.user_id == user.id]:
            self._drafts.outbox.drop(queued.id)
        for (user_id, client), _ in list(self._drafts.known_clients.items()):
            if user_id == user.id:
                self._drafts.known_clients.drop((user_id, client))
        if (machine := self._drafts.machines.get(user.id)) is not None:
            self._drafts.machines.drop(user.id)
            self._drafts.machine_by_name.drop(machine.name)
        for key in [key for key in self._drafts.machine_keys if key.user_id == user.id]:
            self._drafts.machine_keys.drop(key.id)
        await self.release(user.id, EVER)
        gone = {session.id for session in self._drafts.sessions if session.user_id == user.id}
        forget_sessions(self._drafts, gone)
        for replay in list(self._drafts.replays):
            if user.id in {replay.actor_id, replay.user_id}:
                self._drafts.replays.drop(replay.digest)

    async def reserve(self, email: Email, user_id: UserId, until: datetime) -> None:
        self._drafts.reserved_emails.put(email.key, Reservation(email.key, user_id, until))

    async def reserved(self, email: Email, now: datetime) -> ReservedEmail | None:
        kept = self._drafts.reserved_emails.get(email.key)
        return None if kept is None or kept.until <= now else ReservedEmail(kept.user_id, kept.until)

    async def release(self, user_id: UserId, until: datetime) -> None:
        for kept in [k for k in self._drafts.reserved_emails if k.user_id == user_id and k.until >= until]:
            self._drafts.reserved_emails.drop(kept.email_key)

    async def forget_reservations(self, ended_before: datetime, limit: int) -> int:
        ended = [kept for kept in self._drafts.reserved_emails if kept.until < ended_before][:limit]
        for kept in ended:
            self._drafts.reserved_emails.drop(kept.email_key)
        return len(ended)

    async def forget_grants(self, ended_before: datetime, limit: int) -> int:
        ended = [
            (user.id, role_id)
            for user in self._drafts.users
            for role_id, grant in user.grants.items()
            if grant.expires_at is not None and grant.expires_at < ended_before
        ][:limit]
        for user_id, role_id in ended:
            user = self._drafts.users.get(user_id)
            assert user is not None  # noqa: S101 - just found
            grants = {held: grant for held, grant in user.grants.items() if held != role_id}
            self._drafts.users.put(user_id, replace(user, grants=grants))
        return len(ended)

    async def hashes(
        self, after: UserId | None, limit: int, *, among: int | None = None
    ) -> list[tuple[UserId, PasswordHash]]:
        ids = sorted(user.id for user in self._drafts.users if after is None or user.id > after)[:among]
        users = [user for user_id in ids if (user := self._drafts.users.get(user_id)) is not None]
        return [(user.id, user.password_hash) for user in users if user.password_hash is not None][:limit]

    async def rebind(self, user_id: UserId, before: PasswordHash, after: PasswordHash) -> bool:
        user = self._drafts.users.get(user_id)
        if user is None or user.password_hash != before:
            return False
        self._drafts.users.put(user_id, replace(user, password_hash=after))
        return True

    async def another_admin_stays(self, user_id: UserId) -> bool:
        return any(user.lasting_admin and user.id != user_id for user in self._drafts.users)

    def _claim(self, user: User) -> None:
        kept = self._drafts.reserved_emails.get(user.email.key)
        reserved = kept is not None and kept.user_id != user.id and kept.until > self._now
        if reserved or self._drafts.user_by_email.get(user.email.key) is not None:
            raise EmailTaken
        self._drafts.user_by_email.put(user.email.key, user.id)

    def _write(self, user: User) -> None:
        if any(self._drafts.roles.get(role_id) is None for role_id in user.grants):
            raise RoleNotFound
        self._note(user)
        self._drafts.users.put(user.id, copy_user(user))

    def _note(self, user: User) -> None:
        self._events += user.events
        user.events.clear()


class MemoryLinks:
    def __init__(self, drafts: Drafts) -> None:
        self._links = drafts.links
        self._users = drafts.users

    async def add(self, link: OneTimeLink, *, keep_older: bool = False) -> None:
        if link.user_id is not None and self._users.get(link.user_id) is None:
            raise UserNotFound
        if not keep_older:
            self._drop_others(link)
        self._links.put(link.digest, link)

    def _drop_others(self, link: OneTimeLink) -> None:
        if link.kind is not LinkKind.EMAIL_UNDO:
            self._drop(
                other
                for other in self._links
                if other.kind is link.kind
                and (other.email.key == link.email.key if link.user_id is None else other.user_id == link.user_id)
            )

    async def get(self, digest: TokenDigest) -> OneTimeLink | None:
        return self._links.get(digest)

    async def redeem(self, digest: TokenDigest, now: datetime) -> OneTimeLink | None:
        link = self._links.get(digest)
        if link is None or not link.live_at(now):
            return None
        self._links.drop(digest)
        self._drop_others(link)
        return link

    async def pending(self, kind: LinkKind, email: Email, now: datetime) -> OneTimeLink | None:
        found = [
            link
            for link in self._links
            if link.kind is kind and link.user_id is None and link.email.key == email.key and link.live_at(now)
        ]
        return max(found, key=lambda link: link.created_at, default=None)

    async def forget_of(self, user_id: UserId, *, changed_since: datetime | None) -> None:
        def ends(link: OneTimeLink) -> bool:
            if link.kind is not LinkKind.EMAIL_UNDO:
                return True
            return changed_since is not None and link.expires_at >= changed_since + UNDO_LIFETIME

        self._drop(link for link in self._links if link.user_id == user_id and ends(link))

    async def forget_unowned(self, email: Email) -> None:
        self._drop(link for link in self._links if link.user_id is None and link.email.key == email.key)

    async def forget_all(self, limit: int) -> int:
        return self._drop(list(self._links)[:limit])

    async def forget(self, expired_before: datetime, limit: int) -> int:
        return self._drop([link for link in self._links if link.expires_at < expired_before][:limit])

    def _drop(self, which: Iterable[OneTimeLink]) -> int:
        gone = list(which)
        for link in gone:
            self._links.drop(link.digest)
        return len(gone)
