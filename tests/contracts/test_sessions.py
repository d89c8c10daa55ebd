"""What a store promises about sessions."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from uuid import uuid4

import pytest

from tests.contracts.kit import HOUR, NOON, new_session, new_token, new_user, pages, put, race, seen
from tests.support.room import PROMPT
from tests.support.values import replace
from ubr.application.ports.audit import LogFilter
from ubr.application.ports.paging import After
from ubr.application.ports.sessions import TOKENS_EACH, ForgottenSessions
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.accounts.user import User
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import UbrError
from ubr.domain.ids import SessionId, TokenDigest
from ubr.domain.sessions.session import Session, SessionKind, SessionLimits
from ubr.domain.sessions.termination import SecurityEvent

pytestmark = pytest.mark.anyio

TICK = timedelta(microseconds=1)
MINUTE = timedelta(minutes=1)


async def live(uow: UnitOfWork, user: User) -> list[Session]:
    return await seen(uow, lambda tx: tx.sessions.page(user.id, NOON, None, 100))


async def recorded(uow: UnitOfWork) -> list[tuple[str | None, str]]:
    """The log, newest first: the target and the cause of each entry."""
    entries = await seen(uow, lambda tx: tx.logs.page(LogFilter(), None, 100))
    assert {entry.action for entry in entries} <= {"session.revoked"}
    return [(entry.target.id if entry.target else None, str(entry.facts["cause"])) for entry in entries]


@pytest.fixture
async def user(uow: UnitOfWork) -> User:
    await put(uow, user := new_user())
    return user


async def test_no_session_is_found_where_there_is_none(uow: UnitOfWork, user: User) -> None:
    for unit in (uow.begin(SYSTEM), uow.read()):
        async with unit as tx:
            assert await tx.sessions.get(SessionId(uuid4())) is None
            assert await tx.sessions.page(user.id, NOON, None, 10) == []


async def test_a_session_is_opened_with_its_first_token(uow: UnitOfWork, user: User) -> None:
    session = new_session(user)
    token = new_token(session)
    for done in (False, True):
        async with uow.begin(SYSTEM) as tx:
            await tx.sessions.open(session, token)
            assert await tx.refresh_tokens.get(token.digest) == token
            if done:
                await tx.commit()
        async with uow.read() as tx:
            expected = (session, token) if done else (None, None)
            assert (await tx.sessions.get(session.id), await tx.refresh_tokens.get(token.digest)) == expected


async def test_a_session_comes_back_as_it_was_ended_or_not(uow: UnitOfWork, user: User) -> None:
    live = new_session(user)
    ended = replace(new_session(user, ended=NOON + TICK), ip=None, user_agent=None, last_seen_at=NOON + HOUR)
    await put(uow, live, ended)
    for unit in (uow.begin(SYSTEM), uow.read()):
        async with unit as tx:
            assert await tx.sessions.get(live.id) == live
            assert await tx.sessions.get(ended.id) == ended


async def test_a_session_of_a_browser_keeps_the_digest_of_its_cookie(uow: UnitOfWork, user: User) -> None:
    session = replace(new_session(user), cookie_digest=TokenDigest(bytes(range(32))))
    async with uow.begin(SYSTEM) as tx:
        await tx.sessions.add(session)
        await tx.commit()
    assert await live(uow, user) == [session]
    assert session.kind is SessionKind.BROWSER
    async with uow.begin(SYSTEM) as tx:
        found = await tx.sessions.get(session.id)
        assert found is not None
        await tx.sessions.save(found)
        await tx.commit()
    principal = await seen(uow, lambda tx: tx.principals.get(session.id))
    assert principal is not None
    assert [principal.session.has_cookie(TokenDigest(raw)) for raw in (bytes(range(32)), bytes(32))] == [True, False]


async def test_saving_stores_all_that_changed(uow: UnitOfWork, user: User) -> None:
    session, other = new_session(user), new_session(user)
    await put(uow, session, other)
    async with uow.begin(SYSTEM) as tx:
        changed = await tx.sessions.get(session.id)
        assert changed is not None
        changed.refresh(limits=SessionLimits(idle=2 * HOUR, lifetime=HOUR, per_user=1), now=NOON + HOUR)
        changed.end(SecurityEvent.LOG_OUT, now=NOON + 2 * HOUR)
        await tx.sessions.save(changed)
        await tx.commit()
    async with uow.read() as tx:
        assert await tx.sessions.get(session.id) == changed
        assert await tx.sessions.get(other.id) == other


async def test_saving_a_session_that_is_gone_stores_and_records_nothing(uow: UnitOfWork, user: User) -> None:
    session = new_session(user)
    session.end(SecurityEvent.REVOKED, now=NOON)
    async with uow.begin(SYSTEM) as tx:
        await tx.sessions.save(session)
        await tx.commit()
    async with uow.read() as tx:
        assert await tx.sessions.get(session.id) is None
        assert await tx.logs.page(LogFilter(), None, 10) == []


async def test_live_sessions_are_those_that_have_not_ended_newest_first(uow: UnitOfWork, user: User) -> None:
    await put(uow, other := new_user())
    now = NOON + HOUR
    old, new = new_session(user, created=NOON + TICK), new_session(user, created=NOON + 2 * TICK)
    tie = new_session(user, created=NOON + TICK)
    await put(
        uow,
        new,
        old,
        tie,
        new_session(user, created=NOON),  # Its idle end is now.
        new_session(user, created=NOON, idle=48 * HOUR, lifetime=HOUR),  # Its absolute end is now.
        new_session(user, created=NOON + TICK, ended=NOON + TICK),
        new_session(other, created=NOON + TICK),
    )
    expected = [*sorted([old, tie], key=lambda session: session.id), new]
    for unit in (uow.begin(SYSTEM), uow.read()):
        async with unit as tx:
            assert await tx.sessions.page(user.id, now, None, 10) == expected[::-1]


async def test_only_live_sessions_of_the_user_are_counted(uow: UnitOfWork, user: User) -> None:
    other = new_user()
    counted = [new_session(user), new_session(user, created=NOON - HOUR, idle=HOUR + TICK)]
    await put(
        uow,
        other,
        *counted,
        new_session(other),
        new_session(user, ended=NOON),
        new_session(user, created=NOON - HOUR, idle=HOUR),
        new_session(user, created=NOON - 2 * HOUR, idle=3 * HOUR, lifetime=2 * HOUR),
    )
    assert await seen(uow, lambda tx: tx.sessions.count(user.id, NOON)) == 2
    assert await seen(uow, lambda tx: tx.sessions.count(new_user().id, NOON)) == 0


@pytest.mark.parametrize("limit", [1, 2, 50])
async def test_pages_hold_every_live_session_once_newest_first(uow: UnitOfWork, user: User, limit: int) -> None:
    sessions = [new_session(user, created=NOON - ticks * TICK) for ticks in (3, 1, 1, 1, 1, 2, 0)]
    await put(uow, *sessions, new_session(user, ended=NOON))

    def page(last: Session | None) -> Awaitable[list[Session]]:
        after = None if last is None else After(last.created_at, last.id)
        return seen(uow, lambda tx: tx.sessions.page(user.id, NOON, after, limit))

    expected = sorted(sessions, key=lambda session: (session.created_at, session.id), reverse=True)
    assert await pages(page) == expected
    assert await page(None) == expected[:limit]


async def test_a_page_does_not_wait(uow: UnitOfWork, user: User) -> None:
    await put(uow, session := new_session(user))
    async with uow.begin(SYSTEM) as tx:
        assert await tx.sessions.get(session.id) == session
        async with asyncio.timeout(PROMPT):
            assert await seen(uow, lambda other: other.sessions.page(user.id, NOON, None, 5)) == [session]


async def test_sessions_long_over_are_forgotten_with_their_tokens(uow: UnitOfWork, user: User) -> None:
    over = [new_session(user, created=NOON - HOUR, lifetime=HOUR - TICK) for _ in range(3)]
    just_over = new_session(user, created=NOON - HOUR, lifetime=HOUR)
    ended = new_session(user, ended=NOON - HOUR)
    tokens = [new_token(session) for session in (*over, just_over)]
    await put(uow, *over, just_over, ended, *tokens)
    async with uow.begin(SYSTEM) as tx:
        first = await tx.sessions.forget(NOON, 2)
        assert (first.sessions, first.more) == (2, True)
        assert await tx.sessions.forget(NOON, 2, reached=first.reached) == ForgottenSessions(1, False, NOON - TICK)
        assert await tx.sessions.forget(NOON, 2) == ForgottenSessions(0, False, None)
        await tx.commit()
    async with uow.read() as tx:
        assert [await tx.sessions.get(session.id) for session in over] == [None] * 3
        assert [await tx.refresh_tokens.get(token.digest) for token in tokens] == [None, None, None, tokens[3]]
        assert await tx.sessions.get(just_over.id) == just_over
        assert await tx.sessions.get(ended.id) == ended
        assert await tx.logs.page(LogFilter(), None, 10) == []


async def test_sessions_are_forgotten_oldest_end_first_and_those_before_are_passed_over(
    uow: UnitOfWork, user: User
) -> None:
    sessions = [new_session(user, created=NOON - HOUR, lifetime=minutes * MINUTE) for minutes in (3, 1, 2, 5, 4)]
    await put(uow, *sessions)

    async def left() -> list[int]:
        async with uow.read() as tx:
            found = [await tx.sessions.get(session.id) for session in sessions]
        return sorted((session.expires_at - session.created_at) // MINUTE for session in found if session is not None)

    async with uow.begin(SYSTEM) as tx:
        end = NOON - HOUR + 2 * MINUTE
        assert await tx.sessions.forget(NOON, 2) == ForgottenSessions(2, True, end)
        await tx.commit()
    assert await left() == [3, 4, 5]
    async with uow.begin(SYSTEM) as tx:
        assert await tx.sessions.forget(NOON, 5, reached=end + 2 * MINUTE) == ForgottenSessions(
            2, False, end + 3 * MINUTE
        )
        await tx.commit()
    assert await left() == [3]


async def test_a_session_with_very_many_tokens_is_forgotten_a_few_tokens_at_a_time(uow: UnitOfWork, user: User) -> None:
    busy, quiet = (new_session(user, created=NOON - HOUR, lifetime=minutes * MINUTE) for minutes in (1, 2))
    tokens = [new_token(busy) for _ in range(2 * TOKENS_EACH + 1)]
    await put(uow, busy, quiet, *tokens, new_token(quiet))
    reached = None
    for left in (TOKENS_EACH + 1, 1):
        async with uow.begin(SYSTEM) as tx:
            assert await tx.sessions.forget(NOON, 1, reached=reached) == ForgottenSessions(0, True, None)
            await tx.commit()
        async with uow.read() as tx:
            assert sum([await tx.refresh_tokens.get(token.digest) is not None for token in tokens]) == left
            assert await tx.sessions.get(busy.id) == busy
    async with uow.begin(SYSTEM) as tx:
        first = await tx.sessions.forget(NOON, 1)
        assert first == ForgottenSessions(1, True, busy.expires_at)
        second = await tx.sessions.forget(NOON, 1, reached=first.reached)
        assert second == ForgottenSessions(1, True, quiet.expires_at)
        assert await tx.sessions.forget(NOON, 1, reached=second.reached) == ForgottenSessions(0, False, second.reached)
        await tx.commit()
    async with uow.read() as tx:
        assert [await tx.sessions.get(session.id) for session in (busy, quiet)] == [None, None]


async def test_what_is_forgotten_comes_back_with_a_roll_back(uow: UnitOfWork, user: User) -> None:
    session = new_session(user)
    token = new_token(session)
    await put(uow, session, token)
    async with uow.begin(SYSTEM) as tx:
        assert (await tx.sessions.forget(NOON + 100 * HOUR, 10)).sessions == 1
    async with uow.read() as tx:
        assert await tx.sessions.get(session.id) == session
        assert await tx.refresh_tokens.get(token.digest) == token


async def test_many_who_forget_at_once_forget_each_session_once(uow: UnitOfWork, user: User) -> None:
    await put(uow, *(new_session(user) for _ in range(40)))

    async def forget() -> int:
        async with uow.begin(SYSTEM) as tx:
            forgotten = await tx.sessions.forget(NOON + 100 * HOUR, 10)
            await tx.commit()
            return forgotten.sessions

    outcomes = await race(forget() for _ in range(8))
    counts = [outcome for outcome in outcomes if isinstance(outcome, int)]
    assert len(counts) == 8, outcomes
    assert max(counts) <= 10
    # A store may leave those that another unit is just deleting for the next time.
    while left := await forget():
        counts.append(left)
    assert sum(counts) == 40
    assert await live(uow, user) == []


async def test_all_live_sessions_of_a_user_end_but_the_spared_one(uow: UnitOfWork, user: User) -> None:
    now = NOON + HOUR
    sessions = [new_session(user, created=NOON + ticks * TICK) for ticks in (3, 1, 2)]
    over, ended = new_session(user, created=NOON), new_session(user, created=NOON + TICK, ended=NOON + TICK)
    await put(uow, other := new_user())
    await put(uow, *sessions, over, ended, anothers := new_session(other, created=NOON + TICK))

    async def end(spared: SessionId | None) -> tuple[int, bool]:
        async with uow.begin(SYSTEM) as tx:
            count = await tx.sessions.end_of(user.id, SecurityEvent.PASSWORD_CHANGED, now, spared=spared)
            await tx.commit()
            return count, tx.must_propagate

    assert await end(sessions[0].id) == (2, True)
    async with uow.read() as tx:
        assert [await tx.sessions.get(session.id) for session in sessions] == [
            sessions[0],
            replace(sessions[1], ended_at=now),
            replace(sessions[2], ended_at=now),
        ]
        assert [await tx.sessions.get(session.id) for session in (over, ended, anothers)] == [over, ended, anothers]
    assert sorted(await recorded(uow)) == sorted((str(each.id), "password_changed") for each in sessions[1:])
    assert [await end(None), await end(None)] == [(1, True), (0, False)]
    assert len(await recorded(uow)) == 3


async def test_sessions_beyond_the_most_recently_used_ones_are_evicted_a_few_at_a_time(
    uow: UnitOfWork, user: User
) -> None:
    sessions = [replace(new_session(user), last_seen_at=NOON + ticks * TICK) for ticks in (5, 1, 3, 2, 4)]
    await put(uow, *sessions, new_session(user, ended=NOON))

    async def evict(keep: int, limit: int) -> tuple[int, list[int]]:
        async with uow.begin(SYSTEM) as tx:
            count = await tx.sessions.evict(user.id, NOON, keep=keep, limit=limit)
            await tx.commit()
            assert not tx.must_propagate, "a login does not wait for the sessions that it evicts"
        return count, sorted((session.last_seen_at - NOON) // TICK for session in await live(uow, user))

    assert await evict(5, 10) == (0, [1, 2, 3, 4, 5])
    assert await evict(2, 2) == (2, [3, 4, 5])
    assert await evict(2, 2) == (1, [4, 5])
    assert await evict(0, 10) == (2, [])
    assert sorted(await recorded(uow)) == sorted((str(session.id), "evicted") for session in sessions)


async def test_a_session_that_is_ended_by_many_ends_once(uow: UnitOfWork, user: User) -> None:
    await put(uow, session := new_session(user))

    async def end() -> None:
        async with uow.begin(SYSTEM) as tx:
            found = await tx.sessions.get(session.id)
            assert found is not None
            await asyncio.sleep(0)
            found.end(SecurityEvent.REVOKED, now=tx.now)
            await tx.sessions.save(found)
            await tx.commit()

    assert await race(end() for _ in range(10)) == [None] * 10
    assert len(await seen(uow, lambda tx: tx.logs.page(LogFilter(), None, 20))) == 1


async def test_a_user_with_a_cap_on_sessions_never_has_more(uow: UnitOfWork, user: User) -> None:
    async def open_one() -> None:
        async with uow.begin(None) as tx:
            assert await tx.users.get(user.id) is not None
            await tx.sessions.evict(user.id, tx.now, keep=2, limit=10)
            await asyncio.sleep(0)
            await tx.sessions.add(new_session(user))
            await tx.commit()

    assert await race(open_one() for _ in range(15)) == [None] * 15
    assert len(await live(uow, user)) == 3


async def test_a_user_who_is_removed_while_signing_in_has_no_session(uow: UnitOfWork, user: User) -> None:
    async def log_in() -> str:
        async with uow.begin(None) as tx:
            if await tx.users.get(user.id) is None:
                return "gone"
            await asyncio.sleep(0)
            await tx.sessions.add(session := new_session(user))
            await tx.refresh_tokens.add(new_token(session))
            await tx.commit()
            return "in"

    async def remove() -> str:
        async with uow.begin(SYSTEM) as tx:
            found = await tx.users.get(user.id)
            assert found is not None
            await tx.sessions.end_of(user.id, SecurityEvent.DELETED, tx.now)
            await tx.users.remove(found)
            await tx.commit()
            return "removed"

    outcomes = await race([*(log_in() for _ in range(4)), remove(), *(log_in() for _ in range(4))])
    assert set(outcomes) <= {"in", "gone", "removed"}, outcomes
    assert not any(isinstance(outcome, UbrError) for outcome in outcomes)
    assert await live(uow, user) == []
