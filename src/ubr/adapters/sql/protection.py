"""Password attempts, the clients that users logged in from, and counters."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Executable,
    Integer,
    Interval,
    Update,
    and_,
    bindparam,
    case,
    cast,
    delete,
    func,
    or_,
    select,
    tuple_,
    update,
)

from ubr.adapters.sql.connection import SqlConnection
from ubr.adapters.sql.statements import Statement, among, moment, upserting
from ubr.adapters.sql.tables import Timestamp, counters, known_clients, password_tries, users
from ubr.application.ports.protection import Exhausted, FailedAttempts, Quota, Reservation
from ubr.domain.accounts.email import Email
from ubr.domain.ids import UserId

MICROSECOND: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _taking(dialect: str) -> Executable:
    c = password_tries.c
    now, since, ahead = _around(dialect)
    # A window that begins far in the future dates from before the clock was set back.
    over = or_(c.began_at <= since, c.began_at > ahead)
    new = {"bucket": bindparam("bucket"), "began_at": now, "taken": 1, "failed": 0, "passed": 0}
    upsert = upserting(dialect, password_tries).values(new)
    statement: Executable = upsert.on_conflict_do_update(
        index_elements=[c.bucket],
        set_={
            "began_at": case((or_(over, c.taken == 0), upsert.excluded.began_at), else_=c.began_at),
            "taken": case((over, upsert.excluded.taken), else_=c.taken + 1),
            "failed": case((over, upsert.excluded.failed), else_=c.failed),
            "passed": case((over, upsert.excluded.passed), else_=c.passed),
        },
        where=or_(over, c.taken < bindparam("limit", type_=Integer)),
    ).returning(c.began_at)
    return statement


def _around(dialect: str) -> tuple[ColumnElement[Any], ColumnElement[Any], ColumnElement[Any]]:
    """The moment, and the time `per` before and after it."""
    now: ColumnElement[Any] = moment(dialect, bindparam("now", type_=Timestamp))
    if dialect == "sqlite":  # it does not calculate with times
        return now, bindparam("since", type_=Timestamp), bindparam("ahead", type_=Timestamp)
    per = bindparam("per", type_=Interval)
    return now, now - per, now + per


def _changing(**values: Any) -> Update:
    """An update of the window that a reservation belongs to."""
    c = password_tries.c
    same = and_(c.bucket == bindparam("its_bucket"), c.began_at == bindparam("its_start"))
    return update(password_tries).where(same, c.taken > c.failed).values(values)


_TAKE: Final = Statement(_taking)
_WINDOW: Final = Statement(
    lambda dialect: select(
        password_tries.c.began_at,
        password_tries.c.failed,
        password_tries.c.passed,
        moment(dialect, bindparam("now", type_=Timestamp)),
    ).where(password_tries.c.bucket == bindparam("bucket"))
)
_CLEAR: Final = Statement(
    lambda dialect: delete(password_tries).where(among(dialect, password_tries.c.bucket, "buckets"))
)
_GIVE_BACK: Final = {
    passed: Statement(_changing(taken=password_tries.c.taken - 1, passed=password_tries.c.passed + int(passed)))
    for passed in (True, False)
}
_FAIL: Final = Statement(_changing(failed=password_tries.c.failed + 1).returning(password_tries.c.failed))
_SEEN_AT: Final = Statement(
    lambda dialect: (
        select(known_clients.c.seen_at, moment(dialect, bindparam("now", type_=Timestamp)))
        .join_from(known_clients, users, known_clients.c.user_id == users.c.id)
        .where(users.c.email_key == bindparam("email_key"), known_clients.c.client == bindparam("client"))
    )
)


def _seeing(dialect: str) -> Executable:
    c = known_clients.c
    upsert = upserting(dialect, known_clients).values({column.name: bindparam(column.name) for column in c})
    statement: Executable = upsert.on_conflict_do_update(
        index_elements=[c.user_id, c.client], set_={"seen_at": upsert.excluded.seen_at}
    )
    return statement


_SEE: Final = Statement(_seeing)
_FORGET_CLIENTS: Final = Statement(delete(known_clients).where(known_clients.c.user_id == bindparam("user_id")))


_INTERVAL: Final = bindparam("interval", type_=BigInteger)
_SPAN: Final = bindparam("span", type_=BigInteger)


def _microseconds(dialect: str) -> ColumnElement[int]:
    """The moment as the microseconds since 1970."""
    given: ColumnElement[int] = bindparam("now", type_=BigInteger)
    if dialect == "sqlite":
        return given
    return func.coalesce(given, cast(func.extract("epoch", func.statement_timestamp()) * 1_000_000, BigInteger))


def _counting(dialect: str) -> Executable:
    c, now = counters.c, _microseconds(dialect)
    upsert = upserting(dialect, counters).values(name=bindparam("name"), full_at=now + _INTERVAL)
    statement: Executable = upsert.on_conflict_do_update(
        index_elements=[c.name],
        set_={"full_at": case((c.full_at > now, c.full_at + _INTERVAL), else_=upsert.excluded.full_at)},
        where=c.full_at <= now + _SPAN - _INTERVAL,
    ).returning(c.full_at, now)
    return statement


def _cutting(dialect: str) -> Executable:
    c, most = counters.c, _microseconds(dialect) + _SPAN
    return update(counters).where(c.name == bindparam("its_name"), c.full_at > most).values(full_at=most)


def _counting_back(dialect: str) -> Executable:
    c, most = counters.c, _microseconds(dialect) + _SPAN
    full_at = case((c.full_at > most, most), else_=c.full_at) - _INTERVAL
    return update(counters).where(c.name == bindparam("its_name")).values(full_at=full_at)


_COUNT: Final = Statement(_counting)
_CUT: Final = Statement(_cutting)
_COUNT_BACK: Final = Statement(_counting_back)
_FULL_AT: Final = Statement(
    lambda dialect: select(counters.c.full_at, _microseconds(dialect)).where(counters.c.name == bindparam("name"))
)


def microseconds_of(moment: datetime) -> int:
    """The microseconds since 1970."""
    return (moment - _EPOCH) // MICROSECOND


def _of(reservation: Reservation) -> dict[str, Any]:
    return {"its_bucket": reservation.bucket, "its_start": reservation.began_at}


class SqlPasswordAttempts:
    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def take(self, bucket: bytes, quota: Quota) -> Reservation | Exhausted:
        now = self._connection.moment
        which = {"bucket": bucket, "now": now, "per": quota.per, "limit": quota.limit}
        if now is not None:
            which |= {"since": now - quota.per, "ahead": now + quota.per}
        taken = await self._connection.change(_TAKE, which)
        if taken:
            return Reservation(bucket, taken[0][0])
        row = await self._connection.row(_WINDOW, which)
        if row is None:  # deleted a moment ago, so the next attempt is free
            return Exhausted(wait=timedelta(0), all_failed=False, passed=0)
        began_at, failed, passed, now = row
        return Exhausted(wait=began_at + quota.per - now, all_failed=failed >= quota.limit, passed=passed)

    async def give_back(self, reservation: Reservation, *, passed: bool) -> None:
        await self._connection.write(_GIVE_BACK[passed], _of(reservation))

    async def fail(self, reservation: Reservation) -> int:
        failed = await self._connection.change(_FAIL, _of(reservation))
        return failed[0][0] if failed else 0

    async def failed(self, bucket: bytes, quota: Quota) -> FailedAttempts | None:
        row = await self._connection.row(_WINDOW, {"bucket": bucket, "now": self._connection.moment})
        if row is None:
            return None
        began_at, failed, _, now = row
        # As in `take`: a window that begins far in the future does not count.
        if not now - quota.per < began_at <= now + quota.per:
            return None
        return FailedAttempts(count=failed, until=began_at + quota.per)

    async def clear(self, buckets: Collection[bytes]) -> None:
        await self._connection.write(_CLEAR, {"buckets": list(buckets)})

    async def forget(self, began_before: datetime, limit: int) -> int:
        """Skips a row that another unit has locked; a later call deletes it."""
        c = password_tries.c
        over = select(c.bucket).where(c.began_at < began_before).order_by(c.began_at).limit(limit)
        return await self._connection.forget(c.bucket, over.with_for_update(skip_locked=True))


class SqlKnownClients:
    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def absence(self, email: Email, client: bytes) -> timedelta | None:
        which = {"email_key": email.key, "client": client, "now": self._connection.moment}
        row = await self._connection.row(_SEEN_AT, which)
        return None if row is None else row[1] - row[0]

    async def see(self, user_id: UserId, client: bytes, now: datetime) -> None:
        await self._connection.write(_SEE, {"user_id": user_id, "client": client, "seen_at": now})

    async def forget_of(self, user_id: UserId) -> None:
        await self._connection.write(_FORGET_CLIENTS, {"user_id": user_id})

    async def forget(self, seen_before: datetime, limit: int) -> int:
        """Skips a row that another unit has locked; a later call deletes it."""
        c = known_clients.c
        old = select(c.user_id, c.client).where(c.seen_at < seen_before).order_by(c.seen_at).limit(limit)
        ended = old.with_for_update(skip_locked=True).cte("ended")
        key = tuple_(c.user_id, c.client)
        # With EXISTS, SQLite would read the whole table.
        forgotten = delete(known_clients).where(key.in_(select(ended.c.user_id, ended.c.client)))
        return len(await self._connection.change(forgotten.returning(c.client)))


class CounterRows:
    """The times at which quotas will be full again, in microseconds: stored since 1970, and returned from now on."""

    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def take(self, name: bytes, interval: int, span: int) -> tuple[bool, int]:
        """Take one call. Returns True if the quota allowed it, and the time until the quota will be full."""
        which = {"name": name, "its_name": name, "now": self._now, "interval": interval, "span": span}
        taken = await self._connection.change(_COUNT, which)
        if taken:
            full_at, now = taken[0]
            return True, full_at - now
        # Never later than for an exhausted quota: a clock set back or a smaller quota then blocks no client for long.
        if await self._connection.write(_CUT, which):
            return False, span
        row = await self._connection.row(_FULL_AT, which)
        return False, span if row is None else row[0] - row[1]

    async def look(self, name: bytes, span: int) -> int:
        """The time until the quota will be full, at most that of an exhausted one."""
        row = await self._connection.row(_FULL_AT, {"name": name, "now": self._now})
        return 0 if row is None else min(max(row[0] - row[1], 0), span)

    async def give_back(self, name: bytes, interval: int, span: int) -> None:
        which = {"its_name": name, "now": self._now, "interval": interval, "span": span}
        await self._connection.write(_COUNT_BACK, which)

    @property
    def _now(self) -> int | None:
        moment = self._connection.moment
        return None if moment is None else microseconds_of(moment)

    async def forget(self, full_before: int, limit: int) -> int:
        """Skips a row that another unit has locked; a later call deletes it."""
        c = counters.c
        full = select(c.name).where(c.full_at < full_before).order_by(c.full_at).limit(limit)
        return await self._connection.forget(c.name, full.with_for_update(skip_locked=True))
