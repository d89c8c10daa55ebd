"""Password attempts and known clients, on drafts of the tables."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

import msgspec

from ubr.adapters.memory.store import Drafts, Window
from ubr.application.ports.protection import Exhausted, FailedAttempts, Quota, Reservation
from ubr.domain.accounts.email import Email
from ubr.domain.errors import UserNotFound
from ubr.domain.ids import UserId


class MemoryPasswordAttempts:
    def __init__(self, drafts: Drafts, now: datetime) -> None:
        self._now = now
        self._windows = drafts.password_attempts

    async def take(self, bucket: bytes, quota: Quota) -> Reservation | Exhausted:
        now = self._now
        window = self._current(bucket, quota)
        if window is None:
            window = Window(now)
        elif not window.taken:
            window = msgspec.structs.replace(window, began_at=now, taken=1)
        elif window.taken < quota.limit:
            window = msgspec.structs.replace(window, taken=window.taken + 1)
        else:
            return Exhausted(
                wait=window.began_at + quota.per - now, all_failed=window.failed >= quota.limit, passed=window.passed
            )
        self._windows.put(bucket, window)
        return Reservation(bucket, window.began_at)

    async def give_back(self, reservation: Reservation, *, passed: bool) -> None:
        window = self._windows.get(reservation.bucket)
        if window is not None and window.began_at == reservation.began_at and window.taken > window.failed:
            self._windows.put(
                reservation.bucket,
                msgspec.structs.replace(window, taken=window.taken - 1, passed=window.passed + passed),
            )

    async def fail(self, reservation: Reservation) -> int:
        window = self._windows.get(reservation.bucket)
        if window is None or window.began_at != reservation.began_at or window.taken <= window.failed:
            return 0
        self._windows.put(reservation.bucket, msgspec.structs.replace(window, failed=window.failed + 1))
        return window.failed + 1

    async def failed(self, bucket: bytes, quota: Quota) -> FailedAttempts | None:
        window = self._current(bucket, quota)
        return None if window is None else FailedAttempts(count=window.failed, until=window.began_at + quota.per)

    def _current(self, bucket: bytes, quota: Quota) -> Window | None:
        window = self._windows.get(bucket)
        if window is None or not self._now - quota.per < window.began_at <= self._now + quota.per:
            return None
        return window

    async def clear(self, buckets: Collection[bytes]) -> None:
        for bucket in buckets:
            self._windows.drop(bucket)

    async def forget(self, began_before: datetime, limit: int) -> int:
        over = [bucket for bucket, window in self._windows.items() if window.began_at < began_before][:limit]
        for bucket in over:
            self._windows.drop(bucket)
        return len(over)


class MemoryKnownClients:
    def __init__(self, drafts: Drafts, now: datetime) -> None:
        self._now = now
        self._known = drafts.known_clients
        self._people = drafts.users
        self._users = drafts.user_by_email

    async def absence(self, email: Email, client: bytes) -> timedelta | None:
        user_id = self._users.get(email.key)
        seen_at = None if user_id is None else self._known.get((user_id, client))
        return None if seen_at is None else self._now - seen_at

    async def see(self, user_id: UserId, client: bytes, now: datetime) -> None:
        if self._people.get(user_id) is None:
            raise UserNotFound
        self._known.put((user_id, client), now)

    async def forget_of(self, user_id: UserId) -> None:
        for key in [key for key, _ in self._known.items() if key[0] == user_id]:
            self._known.drop(key)

    async def forget(self, seen_before: datetime, limit: int) -> int:
        old = [key for key, seen_at in self._known.items() if seen_at < seen_before][:limit]
        for key in old:
            self._known.drop(key)
        return len(old)
