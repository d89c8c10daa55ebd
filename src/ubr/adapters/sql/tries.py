"""Tries of passwords, from where people signed in, and counters."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import and_, case, delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from ubr.adapters.sql.link import Link
from ubr.adapters.sql.tables import counters, known_clients, password_tries, users
from ubr.application.ports.counters import Quota
from ubr.application.ports.repositories import NoSlot, Slot
from ubr.domain.values import Email, UserId


def _insert(link: Link, table: Any) -> Any:
    """An INSERT that can say what to do about a row that is there already."""
    return (sqlite if link.dialect == "sqlite" else postgresql).insert(table)


class SqlPasswordTries:
    def __init__(self, link: Link) -> None:
        self._link = link

    async def take(self, bucket: bytes, quota: Quota, now: datetime) -> Slot | NoSlot:
        c = password_tries.c
        # One that begins far in the future is of a clock that was set back since.
        over = or_(c.began_at <= now - quota.per, c.began_at > now + quota.per)
        upsert = _insert(self._link, password_tries).values(bucket=bucket, began_at=now, taken=1, failed=0, passed=0)
        statement = upsert.on_conflict_do_update(
            index_elements=[c.bucket],
            set_={
                "began_at": case((or_(over, c.taken == 0), upsert.excluded.began_at), else_=c.began_at),
                "taken": case((over, 1), else_=c.taken + 1),
                "failed": case((over, 0), else_=c.failed),
                "passed": case((over, 0), else_=c.passed),
            },
            where=or_(over, c.taken < quota.limit),
        )
        taken = await self._link.change(statement.returning(c.began_at))
        if taken:
            return Slot(bucket, taken[0][c.began_at])
        row = await self._link.row(select(c.began_at, c.failed, c.passed).where(c.bucket == bucket))
        if row is None:  # deleted a moment ago, so the next one is free
            return NoSlot(until=now, all_failed=False, passed=0)
        all_failed = row[c.failed] >= quota.limit
        return NoSlot(until=row[c.began_at] + quota.per, all_failed=all_failed, passed=row[c.passed])

    async def give_back(self, slot: Slot, *, passed: bool) -> None:
        c = password_tries.c
        await self._write(slot, taken=c.taken - 1, passed=c.passed + int(passed))

    async def fail(self, slot: Slot) -> None:
        await self._write(slot, failed=password_tries.c.failed + 1)

    async def _write(self, slot: Slot, **values: Any) -> None:
        c = password_tries.c
        here = and_(c.bucket == slot.bucket, c.began_at == slot.began_at, c.taken > c.failed)
        await self._link.write(update(password_tries).where(here).values(values))

    async def forget(self, began_before: datetime, limit: int) -> int:
        """One that somebody has locked is left for the next time."""
        c = password_tries.c
        over = select(c.bucket).where(c.began_at < began_before).order_by(c.began_at).limit(limit)
        over_cte = over.with_for_update(skip_locked=True).cte("over")
        forgotten = delete(password_tries).where(c.bucket.in_(select(over_cte.c.bucket)))
        return len(await self._link.change(forgotten.returning(c.bucket)))


class SqlKnownClients:
    def __init__(self, link: Link) -> None:
        self._link = link

    async def seen_at(self, email: Email, client: bytes) -> datetime | None:
        c = known_clients.c
        known = select(c.seen_at).join_from(known_clients, users, c.user_id == users.c.id)
        row = await self._link.row(known.where(users.c.email_key == email.key, c.client == client))
        return None if row is None else row[c.seen_at]

    async def see(self, user_id: UserId, client: bytes, now: datetime) -> None:
        c = known_clients.c
        upsert = _insert(self._link, known_clients).values(user_id=user_id, client=client, seen_at=now)
        await self._link.write(
            upsert.on_conflict_do_update(
                index_elements=[c.user_id, c.client], set_={"seen_at": upsert.excluded.seen_at}
            )
        )

    async def forget(self, seen_before: datetime, limit: int) -> int:
        """One that somebody has locked is left for the next time."""
        c = known_clients.c
        old = select(c.user_id, c.client).where(c.seen_at < seen_before).order_by(c.seen_at).limit(limit)
        old_cte = old.with_for_update(skip_locked=True).cte("old")
        same = and_(c.user_id == old_cte.c.user_id, c.client == old_cte.c.client)
        forgotten = delete(known_clients).where(select(old_cte.c.client).where(same).exists())
        return len(await self._link.change(forgotten.returning(c.client)))


class CounterRows:
    """When quotas will be full again, in microseconds since 1970."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def take(self, name: bytes, now: int, interval: int, span: int) -> tuple[bool, int]:
        """Whether one was taken, and when the quota will be full."""
        c = counters.c
        upsert = _insert(self._link, counters).values(name=name, full_at=now + interval)
        statement = upsert.on_conflict_do_update(
            index_elements=[c.name],
            set_={"full_at": case((c.full_at > now, c.full_at + interval), else_=now + interval)},
            where=c.full_at <= now + span - interval,
        )
        taken = await self._link.change(statement.returning(c.full_at))
        if taken:
            return True, taken[0][c.full_at]
        # Never later than with nothing left: a clock that was set back, or a smaller quota, shuts nobody out for long.
        cut = update(counters).where(c.name == name, c.full_at > now + span).values(full_at=now + span)
        if await self._link.write(cut):
            return False, now + span
        row = await self._link.row(select(c.full_at).where(c.name == name))
        return False, now + span if row is None else row[c.full_at]

    async def give_back(self, name: bytes, interval: int, most: int) -> None:
        c = counters.c
        full_at = case((c.full_at > most, most), else_=c.full_at)
        await self._link.write(update(counters).where(c.name == name).values(full_at=full_at - interval))

    async def forget(self, full_before: int, limit: int) -> int:
        """One that somebody has locked is left for the next time."""
        c = counters.c
        full = select(c.name).where(c.full_at < full_before).order_by(c.full_at).limit(limit)
        full_cte = full.with_for_update(skip_locked=True).cte("full_ones")
        forgotten = delete(counters).where(c.name.in_(select(full_cte.c.name)))
        return len(await self._link.change(forgotten.returning(c.name)))
