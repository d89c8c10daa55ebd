"""What a store promises about who is logged in."""

import asyncio
from uuid import uuid4

import pytest

from tests.contracts.kit import HOUR, NOON, new_grant, new_role, new_session, new_user, put, race, seen
from tests.support.room import PROMPT
from ubr.application.ports.sessions import Principal
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.accounts.user import UserStatus
from ubr.domain.actor import SYSTEM
from ubr.domain.ids import SessionId
from ubr.domain.roles.permissions import Permission, Permissions
from ubr.domain.sessions.session import Session
from ubr.domain.sessions.termination import SecurityEvent

pytestmark = pytest.mark.anyio


async def principal(uow: UnitOfWork, session: Session) -> Principal | None:
    return await seen(uow, lambda tx: tx.principals.get(session.id))


async def test_a_missing_session_has_no_principal(uow: UnitOfWork) -> None:
    assert await seen(uow, lambda tx: tx.principals.get(SessionId(uuid4()))) is None


async def test_a_principal_is_the_user_the_session_and_every_role_given(uow: UnitOfWork) -> None:
    reader, writer, other = new_role("reader", "a:read"), new_role("writer", "a:write", "a:read"), new_role("other")
    user = new_user(grants=[new_grant(reader), new_grant(writer, until=NOON + HOUR, by=new_user().id)])
    stranger = new_user(grants=[new_grant(other), new_grant(reader)])
    session, second, strangers = new_session(user), new_session(user), new_session(stranger)
    await put(uow, reader, writer, other, user, stranger, session, second, strangers)
    found = await principal(uow, session)
    assert found is not None
    assert (found.user, found.session) == (user, session)
    assert sorted(found.roles, key=lambda role: role.name) == [reader, writer]
    assert found.permissions_at(NOON) == Permissions.of([Permission("a:read"), Permission("a:write")])
    # A grant that has ended is still told: whether it counts depends on the moment.
    assert found.permissions_at(NOON + HOUR) == Permissions.of([Permission("a:read")])


async def test_many_principals_are_those_of_the_sessions_that_exist(uow: UnitOfWork) -> None:
    reader, writer = new_role("reader", "a:read"), new_role("writer", "a:write")
    both, none = new_user(grants=[new_grant(reader), new_grant(writer)]), new_user()
    sessions = [new_session(both), new_session(both), new_session(none), new_session(both, ended=NOON)]
    unasked = new_session(none)
    await put(uow, reader, writer, both, none, *sessions, unasked)
    asked = [session.id for session in sessions]
    found = await seen(uow, lambda tx: tx.principals.many([*asked, SessionId(uuid4())]))
    assert found == {session.id: await principal(uow, session) for session in sessions}
    assert await seen(uow, lambda tx: tx.principals.many([SessionId(uuid4())])) == {}


async def test_a_user_without_roles_has_a_principal(uow: UnitOfWork) -> None:
    user = new_user()
    session = new_session(user)
    await put(uow, user, session)
    assert await principal(uow, session) == Principal(user=user, session=session, roles=())


async def test_a_principal_is_told_also_where_nothing_counts_any_more(uow: UnitOfWork) -> None:
    user = new_user(status=UserStatus.DISABLED)
    session = new_session(user, ended=NOON)
    await put(uow, user, session)
    found = await principal(uow, session)
    assert found == Principal(user=user, session=session, roles=())
    assert not found.live_at(NOON)


async def test_every_change_is_seen_at_once(uow: UnitOfWork) -> None:
    role = new_role("reader", "a:read")
    user = new_user(grants=[new_grant(role)])
    session = new_session(user)
    await put(uow, role, user, session)
    async with uow.begin(SYSTEM) as tx:
        role.update(name=role.name, description=None, permissions=Permissions(), now=tx.now)
        await tx.roles.save(role)
        session.end(SecurityEvent.REVOKED, now=tx.now)
        await tx.sessions.save(session)
        inside = await tx.principals.get(session.id)
        await tx.commit()
    outside = await principal(uow, session)
    assert inside == outside == Principal(user=user, session=session, roles=(role,))
    async with uow.begin(SYSTEM) as tx:
        await tx.roles.remove(role)
        await tx.commit()
    user.grants.clear()
    assert await principal(uow, session) == Principal(user=user, session=session, roles=())
    async with uow.begin(SYSTEM) as tx:
        await tx.users.remove(user)
        await tx.commit()
    assert await principal(uow, session) is None


async def test_a_rollback_changes_no_user(uow: UnitOfWork) -> None:
    user = new_user()
    session = new_session(user)
    await put(uow, user, session)
    async with uow.begin(SYSTEM) as tx:
        await tx.users.remove(user)
        assert await tx.principals.get(session.id) is None
    assert await principal(uow, session) == Principal(user=user, session=session, roles=())


async def test_a_read_does_not_wait(uow: UnitOfWork) -> None:
    role = new_role()
    user = new_user(grants=[new_grant(role)])
    session = new_session(user)
    await put(uow, role, user, session)
    async with uow.begin(SYSTEM) as tx:
        assert await tx.users.get(user.id) == user
        assert await tx.roles.get(role.id) == role
        await tx.users.remove(user)
        await tx.roles.remove(role)
        async with asyncio.timeout(PROMPT):
            assert await principal(uow, session) == Principal(user=user, session=session, roles=(role,))


async def test_a_read_during_a_change_sees_all_of_it_or_none(uow: UnitOfWork) -> None:
    role = new_role()
    user = new_user(grants=[new_grant(role)])
    session = new_session(user)
    await put(uow, role, user, session)

    async def swap() -> None:
        """Disable and strip the user, or bring back both."""
        async with uow.begin(SYSTEM) as tx:
            found = await tx.users.get(user.id)
            assert found is not None
            status = UserStatus.DISABLED if found.active else UserStatus.ACTIVE
            found.update(email=found.email, full_name=None, status=status, now=tx.now)
            found.grants = {role.id: new_grant(role)} if found.active else {}
            await tx.users.save(found)
            await tx.commit()

    async def look() -> tuple[bool, bool]:
        found = await principal(uow, session)
        assert found is not None
        assert set(found.user.grants) == {role.id for role in found.roles}
        return found.user.active, bool(found.roles)

    outcomes = await race([swap() if number % 3 == 0 else look() for number in range(60)])
    assert set(outcomes) <= {None, (True, True), (False, False)}, outcomes
