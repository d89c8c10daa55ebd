"""What a unit of work promises, whatever it is over."""

import asyncio
from uuid import uuid4

import pytest

from tests.contracts.kit import (
    HOUR,
    NOON,
    MovableClock,
    email,
    new_key,
    new_role,
    new_session,
    new_token,
    new_user,
    put,
    race,
    seen,
    something_happened,
)
from tests.support.room import PROMPT
from ubr.application.kernel.origin import Origin, calling_from
from ubr.application.ports.audit import LogFilter
from ubr.application.ports.unit_of_work import Store, UnitOfWork
from ubr.domain.accounts.passwords import PasswordHash
from ubr.domain.accounts.user import User
from ubr.domain.actor import SYSTEM, Actor
from ubr.domain.audit.entry import LogEntry
from ubr.domain.events import LogInFailed, SessionOpened, Target
from ubr.domain.ids import SessionId, UserId
from ubr.domain.sessions.session import Session, SessionLimits

pytestmark = pytest.mark.anyio


async def log(uow: UnitOfWork) -> list[LogEntry]:
    return await seen(uow, lambda tx: tx.logs.page(LogFilter(), None, 100))


async def test_committed_changes_are_stored(uow: UnitOfWork) -> None:
    user, role = new_user(), new_role()
    session = new_session(user)
    token, key = new_token(session), new_key("one")
    await put(uow, user, role, session, token, key, something_happened())
    async with uow.read() as tx:
        assert await tx.users.get(user.id) == user
        assert await tx.roles.get(role.id) == role
        assert await tx.sessions.get(session.id) == session
        assert await tx.refresh_tokens.get(token.digest) == token
        assert list(await tx.signing_keys.all()) == [key]
        assert len(await tx.logs.page(LogFilter(), None, 10)) == 1


async def test_each_query_of_a_peek_sees_what_is_committed_by_then(uow: UnitOfWork) -> None:
    user, role = new_user(), new_role()
    async with uow.peek() as peek:
        assert await peek.users.get(user.id) is None
        await put(uow, user, role)
        assert await peek.users.get(user.id) == user
        assert await peek.roles.page(None, 10) == [role]


async def test_leaving_without_commit_rolls_everything_back(uow: UnitOfWork) -> None:
    user, role = new_user(), new_role()
    session = new_session(user)
    token, key = new_token(session), new_key("one")
    async with uow.begin(SYSTEM) as tx:
        await tx.users.add(user)
        await tx.roles.add(role)
        await tx.sessions.add(session)
        await tx.refresh_tokens.add(token)
        await tx.signing_keys.add(key)
        tx.record(something_happened())
    async with uow.read() as tx:
        assert await tx.users.get(user.id) is None
        assert await tx.users.by_email(user.email) is None
        assert await tx.roles.get(role.id) is None
        assert await tx.roles.by_name(role.name) is None
        assert await tx.sessions.get(session.id) is None
        assert await tx.refresh_tokens.get(token.digest) is None
        assert list(await tx.signing_keys.all()) == []
        assert await tx.logs.page(LogFilter(), None, 10) == []


async def test_an_exception_rolls_back_and_is_raised(uow: UnitOfWork) -> None:
    user = new_user()

    async def fail() -> None:
        async with uow.begin(SYSTEM) as tx:
            await tx.users.add(user)
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert await seen(uow, lambda tx: tx.users.get(user.id)) is None


async def test_changes_and_removals_are_rolled_back_too(uow: UnitOfWork) -> None:
    kept, changed = new_user("kept"), new_user("changed")
    await put(uow, kept, changed)
    async with uow.begin(SYSTEM) as tx:
        await tx.users.remove(kept)
        other = await tx.users.get(changed.id)
        assert other is not None
        other.update(email=email("new"), full_name="New", status=other.status, now=tx.now)
        await tx.users.save(other)
    async with uow.read() as tx:
        assert await tx.users.get(kept.id) == kept
        assert await tx.users.get(changed.id) == changed
        assert await tx.users.by_email(email("new")) is None


async def test_only_the_unit_itself_sees_its_uncommitted_changes(uow: UnitOfWork) -> None:
    user = new_user()
    async with uow.begin(SYSTEM) as tx:
        await tx.users.add(user)
        assert await tx.users.get(user.id) == user
        assert await seen(uow, lambda other: other.users.get(user.id)) is None
        await tx.commit()
    assert await seen(uow, lambda other: other.users.get(user.id)) == user


async def test_a_reader_does_not_wait_for_a_writer(uow: UnitOfWork) -> None:
    user = new_user("before")
    await put(uow, user)
    async with uow.begin(SYSTEM) as tx:
        changed = await tx.users.get(user.id)
        assert changed is not None
        changed.update(email=email("after"), full_name=None, status=changed.status, now=tx.now)
        await tx.users.save(changed)
        async with asyncio.timeout(PROMPT):
            assert await seen(uow, lambda other: other.users.get(user.id)) == user
            assert await seen(uow, lambda other: other.users.by_email(email("before"))) == user
        await tx.commit()


async def test_now_is_the_moment_a_unit_began(uow: UnitOfWork, clock: MovableClock) -> None:
    async with uow.begin(None) as tx:
        assert tx.now == NOON
        clock.move(HOUR)
        assert tx.now == NOON
    async with uow.read() as tx:
        assert tx.now == NOON + HOUR


async def test_every_read_is_fresh(uow: UnitOfWork) -> None:
    await put(uow, role := new_role(), user := new_user(grants=[]))
    async with uow.begin(SYSTEM) as tx:
        one, two = await tx.users.get(user.id), await tx.users.get(user.id)
        assert one is not None
        assert two is not None
        assert one is not two
        one.grant(role.id, by=None, now=tx.now)
        one.password_hash = PasswordHash("another")
        assert two == user
        assert await tx.users.get(user.id) == user


async def test_what_was_stored_does_not_follow_the_thing_it_came_from(uow: UnitOfWork) -> None:
    role, user = new_role(), new_user()
    async with uow.begin(SYSTEM) as tx:
        await tx.roles.add(role)
        await tx.users.add(user)
        user.full_name = "Later"
        user.grant(role.id, by=None, now=tx.now)
        stored = await tx.users.get(user.id)
        assert stored is not None
        assert (stored.full_name, stored.grants) == (None, {})
        await tx.users.save(user)
        user.grants.clear()
        await tx.commit()
    stored = await seen(uow, lambda tx: tx.users.get(user.id))
    assert stored is not None
    assert (stored.full_name, list(stored.grants)) == ("Later", [role.id])


# The log


async def test_storing_a_thing_records_what_happened_to_it(uow: UnitOfWork) -> None:
    admin = Actor(UserId(uuid4()), SessionId(uuid4()))
    user = User.create(id=UserId(uuid4()), email=email("a"), full_name=None, password_hash=None, now=NOON)
    user.grants = {}
    async with uow.begin(admin) as tx:
        await tx.users.add(user)
        assert user.events == []
        await tx.users.save(user)  # Nothing happened since.
        await tx.commit()
    (entry,) = await log(uow)
    assert (entry.action, entry.level, entry.timestamp) == ("user.created", "info", NOON)
    assert (entry.actor_id, entry.target) == (admin.user_id, Target("user", str(user.id)))


async def test_everything_that_is_changed_or_removed_is_recorded(uow: UnitOfWork) -> None:
    role, user = new_role("guest"), new_user()
    session = new_session(user)
    await put(uow, role, user, session)
    async with uow.begin(SYSTEM) as tx:
        session.refresh(limits=SessionLimits(idle=HOUR, lifetime=HOUR, per_user=1), now=tx.now)
        await tx.sessions.save(session)
        role.update(name=role.name, description="Guests", permissions=role.permissions, now=tx.now)
        await tx.roles.save(role)
        role.delete()
        await tx.roles.remove(role)
        user.delete()
        await tx.users.remove(user)
        await tx.commit()
    assert {entry.action for entry in await log(uow)} == {
        "session.refreshed",
        "role.updated",
        "role.deleted",
        "user.deleted",
    }


async def test_a_rolled_back_unit_records_no_event(uow: UnitOfWork) -> None:
    user = User.create(id=UserId(uuid4()), email=email("a"), full_name=None, password_hash=None, now=NOON)
    user.grants = {}
    async with uow.begin(SYSTEM) as tx:
        await tx.users.add(user)
        tx.record(something_happened())
    await put(uow, new_role())
    assert await log(uow) == []


async def test_an_entry_names_the_actor(uow: UnitOfWork) -> None:
    user = new_user()
    await put(uow, user)
    opened = SessionOpened(kind="tokens", session_id=SessionId(uuid4()), user_id=user.id)
    for actor, event in ((SYSTEM, something_happened()), (None, something_happened()), (None, opened)):
        async with uow.begin(actor) as tx:
            tx.record(event)
            await tx.commit()
    assert sorted(str(entry.actor_id) for entry in await log(uow)) == sorted(["None", "None", str(user.id)])


async def test_an_entry_says_where_the_call_came_from(uow: UnitOfWork) -> None:
    with calling_from(Origin(ip="192.0.2.7", user_agent="x", request_id="r-1", request_id_given=True)):
        await put(uow, something_happened())
    await put(uow, LogInFailed(user_id=UserId(uuid4()), reason="wrong_password"))
    found = {(entry.known_ip, entry.request_id, entry.request_id_given) for entry in await log(uow)}
    assert found == {("192.0.2.7", "r-1", True), (None, None, False)}


# Many at once


async def test_no_change_is_lost_where_many_change_one_thing(uow: UnitOfWork) -> None:
    user = new_user()
    await put(uow, user)

    async def change() -> None:
        async with uow.begin(SYSTEM) as tx:
            found = await tx.users.get(user.id)
            assert found is not None
            await asyncio.sleep(0)
            found.version += 1
            await tx.users.save(found)
            tx.record(something_happened())
            await tx.commit()

    assert await race(change() for _ in range(40)) == [None] * 40
    found = await seen(uow, lambda tx: tx.users.get(user.id))
    assert found is not None
    assert found.version == 41
    assert len(await log(uow)) == 40


async def test_no_change_is_lost_whichever_way_a_thing_is_read(uow: UnitOfWork) -> None:
    role, user = new_role(), new_user()
    session = new_session(user)
    await put(uow, role, user, session)

    async def by_email() -> None:
        async with uow.begin(SYSTEM) as tx:
            found = await tx.users.by_email(user.email)
            assert found is not None
            await asyncio.sleep(0)
            found.version += 1
            await tx.users.save(found)
            await tx.commit()

    async def by_name() -> None:
        async with uow.begin(SYSTEM) as tx:
            found = await tx.roles.by_name(role.name)
            assert found is not None
            await asyncio.sleep(0)
            found.version += 1
            await tx.roles.save(found)
            await tx.commit()

    async def by_id() -> None:
        async with uow.begin(SYSTEM) as tx:
            found = await tx.sessions.get(session.id)
            assert found is not None
            await asyncio.sleep(0)
            found.user_agent = f"{found.user_agent}+"
            await tx.sessions.save(found)
            await tx.commit()

    outcomes = await race([way() for way in (by_email, by_name, by_id) for _ in range(10)])
    assert outcomes == [None] * 30
    async with uow.read() as tx:
        counted = await tx.users.get(user.id), await tx.roles.get(role.id), await tx.sessions.get(session.id)
    assert isinstance(counted[0], User)
    assert counted[0].version == 11
    assert counted[1] is not None
    assert counted[1].version == 11
    assert isinstance(counted[2], Session)
    assert counted[2].user_agent == "a browser" + 10 * "+"


async def test_a_unit_that_is_cancelled_leaves_nothing_behind(uow: UnitOfWork) -> None:
    inside = asyncio.Event()
    user = new_user("gone")

    async def stuck() -> None:
        async with uow.begin(SYSTEM) as tx:
            await tx.users.add(user)
            inside.set()
            await asyncio.Event().wait()

    # More often than there are connections, so that one that is not given back is missed.
    for _ in range(25):
        inside.clear()
        task = asyncio.create_task(stuck())
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with asyncio.timeout(PROMPT):
        await put(uow, again := new_user("gone"))
    assert await seen(uow, lambda tx: tx.users.by_email(user.email)) == again


async def test_units_that_are_cancelled_anywhere_leave_nothing_behind(uow: UnitOfWork) -> None:
    user = new_user("kept")
    await put(uow, user)

    async def work() -> None:
        async with uow.begin(SYSTEM) as tx:
            found = await tx.users.get(user.id)
            assert found is not None
            await tx.users.save(found)
            await tx.users.add(new_user("gone"))

    for steps in range(60):
        task = asyncio.create_task(work())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await race([task])
    async with asyncio.timeout(PROMPT):
        async with uow.begin(SYSTEM) as tx:
            assert await tx.users.get(user.id) == user
            assert await tx.users.by_email(email("gone")) is None


async def test_failing_units_give_back_what_they_used(uow: UnitOfWork) -> None:
    for _ in range(25):
        with pytest.raises(LookupError):
            async with uow.begin(SYSTEM):
                raise LookupError
        with pytest.raises(LookupError):
            async with uow.read():
                raise LookupError
    async with asyncio.timeout(PROMPT):
        await put(uow, new_role())


# The store


async def test_a_store_that_is_there_says_so(store: Store) -> None:
    await store.ping()


async def test_closing_twice_does_nothing_more(store: Store) -> None:
    await store.close()
    await store.close()
