"""What a store promises about refresh tokens."""

import asyncio
import secrets
from datetime import timedelta
from itertools import pairwise

import pytest

from tests.contracts.kit import HOUR, NOON, new_session, new_token, new_user, put, race, seen
from tests.support.values import replace
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.actor import SYSTEM
from ubr.domain.ids import SessionId, TokenDigest
from ubr.domain.sessions.session import RefreshToken, Session
from ubr.domain.sessions.termination import SecurityEvent

pytestmark = pytest.mark.anyio

TICK = timedelta(microseconds=1)
SEALED = bytes(range(256))


@pytest.fixture
async def session(uow: UnitOfWork) -> Session:
    user = new_user()
    session = new_session(user)
    await put(uow, user, session)
    return session


@pytest.fixture
async def token(uow: UnitOfWork, session: Session) -> RefreshToken:
    await put(uow, token := new_token(session))
    return token


async def spend(uow: UnitOfWork, token: RefreshToken, successor: bytes = SEALED) -> SessionId | None:
    async with uow.begin(None) as tx:
        session_id = await tx.refresh_tokens.spend(token.digest, successor=successor, now=tx.now)
        await tx.commit()
        return session_id


async def test_an_unknown_token_is_not_there_and_cannot_be_spent(uow: UnitOfWork, token: RefreshToken) -> None:
    unknown = TokenDigest(secrets.token_bytes(32))
    async with uow.begin(None) as tx:
        assert await tx.refresh_tokens.get(unknown) is None
        assert await tx.refresh_tokens.spend(unknown, successor=SEALED, now=tx.now) is None
    assert await seen(uow, lambda tx: tx.refresh_tokens.get(unknown)) is None


async def test_a_token_that_is_good_comes_back_as_it_was(uow: UnitOfWork, token: RefreshToken) -> None:
    for unit in (uow.begin(SYSTEM), uow.read()):
        async with unit as tx:
            assert await tx.refresh_tokens.get(token.digest) == token


async def test_a_token_is_spent_once_and_keeps_its_first_successor(uow: UnitOfWork, token: RefreshToken) -> None:
    assert await spend(uow, token) == token.session_id
    assert await spend(uow, token, b"another") is None
    spent = replace(token, spent_at=NOON, successor=SEALED)
    assert await seen(uow, lambda tx: tx.refresh_tokens.get(token.digest)) == spent


async def test_a_token_is_spent_once_in_one_unit_too(uow: UnitOfWork, token: RefreshToken) -> None:
    async with uow.begin(None) as tx:
        assert await tx.refresh_tokens.spend(token.digest, successor=SEALED, now=tx.now) == token.session_id
        assert await tx.refresh_tokens.spend(token.digest, successor=b"x", now=tx.now) is None
        found = await tx.refresh_tokens.get(token.digest)
        assert found is not None
        assert found.successor == SEALED


async def test_a_spent_token_gets_another_successor(uow: UnitOfWork, token: RefreshToken, session: Session) -> None:
    await put(uow, unspent := new_token(session))
    await spend(uow, token)
    async with uow.begin(None) as tx:
        for digest in (token.digest, unspent.digest, TokenDigest(secrets.token_bytes(32))):
            await tx.refresh_tokens.reseal(digest, successor=b"another")
        await tx.commit()
    async with uow.read() as tx:
        assert await tx.refresh_tokens.get(token.digest) == replace(token, spent_at=NOON, successor=b"another")
        assert await tx.refresh_tokens.get(unspent.digest) == unspent


async def test_a_token_is_spent_without_a_successor(uow: UnitOfWork, token: RefreshToken) -> None:
    async with uow.begin(None) as tx:
        assert await tx.refresh_tokens.spend(token.digest, successor=None, now=tx.now) == token.session_id
        await tx.commit()
    assert await seen(uow, lambda tx: tx.refresh_tokens.get(token.digest)) == replace(token, spent_at=NOON)


async def test_every_generation_is_remembered(uow: UnitOfWork, session: Session) -> None:
    chain = [new_token(session) for _ in range(4)]
    await put(uow, chain[0])
    for one, following in pairwise(chain):
        async with uow.begin(None) as tx:
            assert await tx.refresh_tokens.spend(one.digest, successor=SEALED, now=tx.now) == session.id
            await tx.refresh_tokens.add(following)
            await tx.commit()
    async with uow.read() as tx:
        found = [await tx.refresh_tokens.get(one.digest) for one in chain]
    assert [one.spent_at for one in found if one is not None] == [NOON, NOON, NOON, None]


async def test_a_roll_back_leaves_a_token_good(uow: UnitOfWork, token: RefreshToken) -> None:
    async with uow.begin(None) as tx:
        assert await tx.refresh_tokens.spend(token.digest, successor=SEALED, now=tx.now) == token.session_id
    assert await seen(uow, lambda tx: tx.refresh_tokens.get(token.digest)) == token
    assert await spend(uow, token) == token.session_id


async def test_successors_are_erased_of_tokens_spent_before(uow: UnitOfWork, session: Session) -> None:
    now, good, *long_ago = (new_token(session) for _ in range(5))
    await put(uow, now, good, *long_ago)
    async with uow.begin(None) as tx:
        for token in long_ago:
            await tx.refresh_tokens.spend(token.digest, successor=SEALED, now=NOON - TICK)
        await tx.refresh_tokens.spend(now.digest, successor=SEALED, now=NOON)
        await tx.commit()
    for expected in (2, 1, 0):
        async with uow.begin(SYSTEM) as tx:
            assert await tx.refresh_tokens.forget_successors(NOON, 2) == expected
            await tx.commit()
    async with uow.read() as tx:
        for token in long_ago:
            assert await tx.refresh_tokens.get(token.digest) == replace(token, spent_at=NOON - TICK)
        assert await tx.refresh_tokens.get(now.digest) == replace(now, spent_at=NOON, successor=SEALED)
        assert await tx.refresh_tokens.get(good.digest) == good


async def test_tokens_that_name_their_session_are_deleted_with_their_successor(
    uow: UnitOfWork, session: Session
) -> None:
    now, good, *long_ago = (replace(new_token(session), names_session=True) for _ in range(5))
    other = new_token(session)
    await put(uow, now, good, other, *long_ago)
    async with uow.begin(None) as tx:
        for token in (other, *long_ago):
            await tx.refresh_tokens.spend(token.digest, successor=SEALED, now=NOON - TICK)
        await tx.refresh_tokens.spend(now.digest, successor=SEALED, now=NOON)
        await tx.commit()
    for expected in (3, 1, 0):
        async with uow.begin(SYSTEM) as tx:
            assert await tx.refresh_tokens.forget_successors(NOON, 3) == expected
            await tx.commit()
    async with uow.read() as tx:
        assert [await tx.refresh_tokens.get(token.digest) for token in long_ago] == [None] * 3
        assert await tx.refresh_tokens.get(other.digest) == replace(other, spent_at=NOON - TICK)
        assert await tx.refresh_tokens.get(now.digest) == replace(now, spent_at=NOON, successor=SEALED)
        assert await tx.refresh_tokens.get(good.digest) == good


async def test_one_of_many_calls_spends_a_token(uow: UnitOfWork, token: RefreshToken) -> None:
    async def attempt(number: int) -> bool:
        return await spend(uow, token, bytes([number])) == token.session_id

    outcomes = await race(attempt(number) for number in range(40))
    assert sorted(map(str, outcomes)) == [*["False"] * 39, "True"]
    found = await seen(uow, lambda tx: tx.refresh_tokens.get(token.digest))
    assert found is not None
    assert found.successor == bytes([outcomes.index(True)])


async def test_refreshing_ending_and_removing_at_once_end_well(uow: UnitOfWork) -> None:
    """Nobody waits in a circle: each of these takes what it locks in its own order."""

    async def refresh(token: RefreshToken) -> str:
        async with uow.begin(None) as tx:
            spent = await tx.refresh_tokens.spend(token.digest, successor=SEALED, now=tx.now)
            await asyncio.sleep(0)
            if spent is None:
                found = await tx.refresh_tokens.get(token.digest)
                if found is None:
                    return "gone"
            session = await tx.sessions.get(token.session_id)
            if session is None:
                return "gone"
            session.user_agent = "refreshed"
            await tx.sessions.save(session)
            await tx.commit()
            return "refreshed" if spent else "again"

    async def remove(session: Session) -> str:
        async with uow.begin(SYSTEM) as tx:
            user = await tx.users.get(session.user_id)
            assert user is not None
            await tx.sessions.end_of(user.id, SecurityEvent.DELETED, tx.now)
            await asyncio.sleep(0)
            await tx.users.remove(user)
            await tx.commit()
            return "removed"

    async def tidy() -> str:
        async with uow.begin(SYSTEM) as tx:
            await tx.sessions.forget(NOON + 1000 * HOUR, 1)
            await tx.refresh_tokens.forget_successors(NOON + HOUR, 10)
            await tx.commit()
            return "tidied"

    for _ in range(5):
        user = new_user()
        sessions = [new_session(user) for _ in range(3)]
        tokens = [new_token(session) for session in sessions]
        await put(uow, user, *sessions, *tokens)
        doings = [refresh(token) for token in tokens for _ in range(3)]
        outcomes = await race([*doings[:6], tidy(), remove(sessions[0]), *doings[6:]])
        assert set(outcomes) <= {"refreshed", "again", "gone", "removed", "tidied"}, outcomes
        assert await seen(uow, lambda tx: tx.users.get(user.id)) is None  # noqa: B023 - must_propagate at once
