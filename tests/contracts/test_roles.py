"""What a store promises about roles."""

import asyncio
from collections.abc import Awaitable
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import func, select

from tests.contracts.conftest import Stored
from tests.contracts.kit import (
    HOUR,
    NOON,
    MovableClock,
    new_grant,
    new_role,
    new_session,
    new_user,
    page_of_users,
    pages,
    put,
    race,
    seen,
)
from tests.support.room import PROMPT
from tests.support.values import replace
from ubr.adapters.sql import roles as sql_roles
from ubr.adapters.sql.tables import user_roles
from ubr.application.ports.accounts import UserFilter
from ubr.application.ports.audit import LogFilter
from ubr.application.ports.paging import After
from ubr.application.ports.roles import ForgottenGrants
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.accounts.user import UserStatus
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import RoleNameTaken, RoleNotFound
from ubr.domain.ids import RoleId
from ubr.domain.roles.permissions import Permission, Permissions
from ubr.domain.roles.role import Role, RoleName, built_in_roles

pytestmark = pytest.mark.anyio


async def test_no_role_is_found_where_there_is_none(uow: UnitOfWork) -> None:
    for unit in (uow.begin(SYSTEM), uow.read()):
        async with unit as tx:
            assert await tx.roles.get(RoleId(uuid4())) is None
            assert await tx.roles.by_name(RoleName("none")) is None
            assert await tx.roles.many([RoleId(uuid4())]) == []
            assert await tx.roles.many([]) == []
            assert await tx.roles.page(None, 10) == []


async def test_a_role_comes_back_as_it_was(uow: UnitOfWork) -> None:
    full = replace(
        new_role("editor", "articles:write", "articles:read", "*"),
        description="Schreibt “Artikel” — {}\\",
        updated_at=NOON + timedelta(microseconds=1),
        version=3,
    )
    bare = new_role("bare")
    await put(uow, full, bare, *built_in_roles(NOON))
    for unit in (uow.begin(SYSTEM), uow.read()):
        async with unit as tx:
            assert await tx.roles.get(full.id) == full
            assert await tx.roles.by_name(full.name) == full
            assert await tx.roles.get(bare.id) == bare
            assert isinstance((await tx.roles.many([full.id]))[0].name, RoleName)


async def test_many_are_those_that_exist_by_name(uow: UnitOfWork) -> None:
    one, two, three = new_role("b_"), new_role("b-"), new_role("a")
    await put(uow, one, two, three, new_role("unasked"))
    found = await seen(uow, lambda tx: tx.roles.many([one.id, RoleId(uuid4()), two.id, three.id, two.id]))
    assert found == [three, two, one]


async def test_a_name_belongs_to_one_role(uow: UnitOfWork) -> None:
    await put(uow, first := new_role("taken"))
    with pytest.raises(RoleNameTaken):
        await put(uow, new_role("taken"))
    assert await seen(uow, lambda tx: tx.roles.page(None, 10)) == [first]


async def test_a_role_cannot_take_the_name_of_another(uow: UnitOfWork) -> None:
    one, two = new_role("one"), new_role("two")
    await put(uow, one, two)
    async with uow.begin(SYSTEM) as tx:
        role = await tx.roles.get(two.id)
        assert role is not None
        role.update(name=one.name, description="New", permissions=Permissions(), now=tx.now)
        with pytest.raises(RoleNameTaken):
            await tx.roles.save(role)
    assert await seen(uow, lambda tx: tx.roles.get(two.id)) == two


async def test_saving_stores_all_that_changed(uow: UnitOfWork) -> None:
    role = new_role("old", "a:b")
    await put(uow, role)
    async with uow.begin(SYSTEM) as tx:
        changed = await tx.roles.get(role.id)
        assert changed is not None
        permissions = Permissions.of([Permission("c:d"), Permission("e:f")])
        changed.update(name=RoleName("new"), description="New", permissions=permissions, now=NOON + HOUR)
        await tx.roles.save(changed)
        assert await tx.roles.get(role.id) == changed
        await tx.commit()
    async with uow.read() as tx:
        assert await tx.roles.get(role.id) == changed
        assert await tx.roles.by_name(RoleName("new")) == changed
        assert await tx.roles.by_name(RoleName("old")) is None
    await put(uow, new_role("old"))


async def test_saving_a_role_that_is_gone_stores_and_records_nothing(uow: UnitOfWork) -> None:
    role = new_role("gone")
    async with uow.begin(SYSTEM) as tx:
        role.update(name=role.name, description="New", permissions=Permissions(), now=tx.now)
        await tx.roles.save(role)
        await tx.commit()
    async with uow.read() as tx:
        assert await tx.roles.get(role.id) is None
        assert await tx.logs.page(LogFilter(), None, 10) == []


async def test_removing_a_role_takes_every_grant_of_it_along(uow: UnitOfWork) -> None:
    gone, kept = new_role("gone"), new_role("kept")
    users = [new_user(grants=[new_grant(gone), new_grant(kept)]) for _ in range(3)]
    await put(uow, gone, kept, *users)
    async with uow.begin(SYSTEM) as tx:
        role = await tx.roles.get(gone.id)
        assert role is not None
        await tx.roles.remove(role)
        await tx.roles.remove(role)  # A second time.
        await tx.commit()
    async with uow.begin(SYSTEM) as tx:
        await tx.roles.remove(gone)  # And in another unit.
        await tx.commit()
    async with uow.read() as tx:
        assert await tx.roles.page(None, 10) == [kept]
        assert await tx.roles.by_name(gone.name) is None
        found = await page_of_users(tx, UserFilter(), None, 10)
        assert [list(user.grants) for user in found] == [[kept.id]] * 3
    await put(uow, new_role("gone"))


async def test_a_role_with_many_holders_is_gone_at_once_and_its_grants_are_deleted_later(
    uow: UnitOfWork, monkeypatch: pytest.MonkeyPatch, stored: Stored
) -> None:
    monkeypatch.setattr(sql_roles, "GRANTS_AT_ONCE", 4)
    gone, few, kept = new_role("gone", "a:b"), new_role("few"), new_role("kept")
    users = [new_user(grants=[new_grant(gone), new_grant(kept)]) for _ in range(5)]
    users += [new_user(grants=[new_grant(few)]) for _ in range(4)]
    session = new_session(users[0])
    await put(uow, gone, few, kept, *users, session)

    async def rows() -> int:
        if stored.database is None:
            return 0
        async with stored.database.connect() as connection:
            counts = select(user_roles.c.role_id, func.count()).where(user_roles.c.role_id != kept.id)
            return sum(count for _, count in await connection.execute(counts.group_by(user_roles.c.role_id)))

    for role in (gone, few):
        async with uow.begin(SYSTEM) as tx:
            found = await tx.roles.get(role.id)
            assert found is not None
            await tx.roles.remove(found)
            assert await tx.roles.get(role.id) is None
            await tx.commit()
    assert await rows() == (0 if stored.database is None else 5)

    async def check() -> None:
        async with uow.begin(SYSTEM) as tx:
            assert await tx.roles.by_name(gone.name) is None
            assert await tx.roles.many([gone.id, few.id, kept.id]) == [kept]
            assert await tx.roles.page(None, 10) == [kept]
            found = await page_of_users(tx, UserFilter(), None, 20)
            assert sorted(list(user.grants) for user in found) == [[]] * 4 + [[kept.id]] * 5
            assert await page_of_users(tx, UserFilter(role=gone.name), None, 10) == []
            user = await tx.users.get(users[0].id)
            assert user is not None
            assert list(user.grants) == [kept.id]
            await tx.users.save(user)
            principal = await tx.principals.get(session.id)
            assert principal is not None
            assert principal.roles == (kept,)
            await tx.roles.save(replace(gone, description="back"))
            await tx.roles.remove(gone)
            assert await tx.roles.get(gone.id) is None

    await check()
    await put(uow, again := new_role("gone"))
    left = []
    for reached in [None] * 5:
        async with uow.begin(SYSTEM) as tx:
            batch = await tx.roles.forget_removed(2, reached=reached)
            await tx.commit()
        left.append((batch.grants, batch.more, await rows()))
    expected = [(2, True, 3), (2, True, 1), (1, True, 0), (0, False, 0), (0, False, 0)]
    assert left == (expected if stored.database is not None else [(0, False, 0)] * 5)
    async with uow.read() as tx:
        assert await tx.roles.by_name(gone.name) == again
        assert sum(kept.id in user.grants for user in await page_of_users(tx, UserFilter(), None, 20)) == 5


async def test_a_batch_of_grants_starts_after_the_holder_that_the_one_before_has_reached(
    uow: UnitOfWork, monkeypatch: pytest.MonkeyPatch, stored: Stored
) -> None:
    monkeypatch.setattr(sql_roles, "GRANTS_AT_ONCE", 0)
    role = new_role("gone")
    users = sorted((new_user(grants=[new_grant(role)]) for _ in range(5)), key=lambda user: user.id)
    await put(uow, role, *users)
    async with uow.begin(SYSTEM) as tx:
        await tx.roles.remove(role)
        await tx.commit()
    async with uow.begin(SYSTEM) as tx:
        batches = [
            await tx.roles.forget_removed(2, reached=reached) for reached in (users[1].id, users[3].id, None, None)
        ]
    if stored.database is not None:
        assert batches == [
            ForgottenGrants(2, True, users[3].id),
            ForgottenGrants(1, False, None),
            ForgottenGrants(2, True, users[1].id),
            ForgottenGrants(0, True, None),
        ]
    else:
        assert batches == [ForgottenGrants(0, False, None)] * 4


async def test_a_roll_back_brings_a_role_and_its_grants_back(uow: UnitOfWork) -> None:
    role = new_role("kept")
    user = new_user(grants=[new_grant(role)])
    await put(uow, role, user)
    async with uow.begin(SYSTEM) as tx:
        await tx.roles.remove(role)
        found = await tx.users.get(user.id)
        assert found is not None
        assert found.grants == {}
    async with uow.read() as tx:
        assert await tx.roles.by_name(role.name) == role
        assert await tx.users.get(user.id) == user


@pytest.mark.parametrize("limit", [1, 2, 50])
async def test_pages_hold_every_role_once_oldest_first(uow: UnitOfWork, limit: int) -> None:
    roles = [new_role(created=NOON + hours * HOUR) for hours in (3, 1, 1, 1, 1, 2, 0)]
    await put(uow, *roles)

    def page(last: Role | None) -> Awaitable[list[Role]]:
        after = None if last is None else After(last.created_at, last.id)
        return seen(uow, lambda tx: tx.roles.page(after, limit))

    expected = sorted(roles, key=lambda role: (role.created_at, role.id))
    assert await pages(page) == expected
    assert await page(None) == expected[:limit]


async def test_pages_and_many_wait_for_nobody(uow: UnitOfWork) -> None:
    await put(uow, role := new_role())
    async with uow.begin(SYSTEM) as tx:
        assert await tx.roles.get(role.id) == role
        async with asyncio.timeout(PROMPT), uow.read() as other:
            assert await other.roles.many([role.id]) == [role]
            assert await other.roles.page(None, 5) == [role]


async def test_one_of_many_new_roles_gets_the_name(uow: UnitOfWork) -> None:
    outcomes = await race(put(uow, new_role("wanted")) for _ in range(20))
    assert sorted(map(repr, outcomes)) == sorted(["None", *[repr(RoleNameTaken())] * 19])
    assert len(await seen(uow, lambda tx: tx.roles.page(None, 30))) == 1


async def test_a_role_that_is_granted_while_it_is_removed_is_gone_for_all(uow: UnitOfWork) -> None:
    role = new_role("contested")
    users = [new_user() for _ in range(10)]
    await put(uow, role, *users)

    async def grant(user_id: object) -> str:
        async with uow.begin(SYSTEM) as tx:
            user = await tx.users.get(user_id)  # type: ignore[arg-type]
            found = await tx.roles.get(role.id)
            assert user is not None
            if found is None:
                return "too late"
            await asyncio.sleep(0)
            user.grant(found.id, by=None, now=tx.now)
            await tx.users.save(user)
            await tx.commit()
            return "granted"

    async def remove() -> str:
        async with uow.begin(SYSTEM) as tx:
            found = await tx.roles.get(role.id)
            assert found is not None
            await tx.roles.remove(found)
            await tx.commit()
            return "removed"

    doings = [grant(user.id) for user in users]
    outcomes = await race([*doings[:5], remove(), *doings[5:]])
    assert set(outcomes) <= {"granted", "removed", "too late"}, outcomes
    async with uow.read() as tx:
        assert await tx.roles.get(role.id) is None
        assert all(not user.grants for user in await page_of_users(tx, UserFilter(), None, 20))


async def test_a_role_granted_unlocked_while_it_is_removed_is_refused(uow: UnitOfWork) -> None:
    role = new_role("contested")
    users = [new_user() for _ in range(8)]
    await put(uow, role, *users)

    async def grant(user_id: object) -> None:
        async with uow.begin(SYSTEM) as tx:
            user = await tx.users.get(user_id)  # type: ignore[arg-type]
            assert user is not None
            user.grant(role.id, by=None, now=tx.now)
            await tx.users.save(user)
            await tx.commit()

    async def remove() -> None:
        async with uow.begin(SYSTEM) as tx:
            await tx.roles.remove(role)
            await tx.commit()

    outcomes = await race([*(grant(user.id) for user in users[:4]), remove(), *(grant(user.id) for user in users[4:])])
    assert all(outcome is None or isinstance(outcome, RoleNotFound) for outcome in outcomes), outcomes
    found = await seen(uow, lambda tx: page_of_users(tx, UserFilter(), None, 20))
    assert all(not user.grants for user in found)


async def test_a_role_is_held_while_a_grant_is_in_force(uow: UnitOfWork, clock: MovableClock) -> None:
    lasting, ending, unheld = new_role("lasting"), new_role("ending"), new_role("unheld")
    owner, disabled = new_user("owner"), replace(new_user("disabled"), status=UserStatus.DISABLED)
    end = clock() + HOUR
    owner.grants |= {ending.id: replace(new_grant(ending.id), expires_at=end)}
    disabled.grants |= {lasting.id: new_grant(lasting.id)}
    await put(uow, lasting, ending, unheld, owner, disabled)

    async def held(at: datetime) -> list[bool]:
        async with uow.begin(SYSTEM) as tx:
            return [await tx.roles.held(role.id, at) for role in (lasting, ending, unheld)]

    assert await held(end - timedelta(seconds=1)) == [True, True, False]
    assert await held(end) == [True, False, False]


async def test_grants_of_a_role_are_those_in_force_by_the_id_of_the_user(uow: UnitOfWork, clock: MovableClock) -> None:
    role, other = new_role("editor"), new_role("another")
    end = clock() + HOUR
    lasting = replace(new_grant(role), granted_at=NOON + HOUR)
    ending = replace(new_grant(role, until=end), granted_by=new_user("giver").id)
    holders = sorted((new_user(f"user{n}", grants=[lasting]) for n in range(3)), key=lambda user: user.id)
    ended, unheld = new_user("ended", grants=[ending]), new_user("unheld", grants=[new_grant(other)])
    await put(uow, role, other, *holders, ended, unheld)
    for unit in (uow.begin(SYSTEM), uow.read()):
        async with unit as tx:
            found = await tx.roles.grants(role.id, end - HOUR, None, 10)
            assert found == sorted([*((user.id, lasting) for user in holders), (ended.id, ending)])
            assert await tx.roles.grants(role.id, end, None, 10) == [(user.id, lasting) for user in holders]
            assert await tx.roles.grants(role.id, end, None, 2) == [(user.id, lasting) for user in holders[:2]]
            assert await tx.roles.grants(role.id, end, holders[1].id, 2) == [(holders[2].id, lasting)]
            assert await tx.roles.grants(role.id, end, holders[2].id, 2) == []
            assert await tx.roles.grant(role.id, ended.id) == ending
            assert await tx.roles.grant(role.id, unheld.id) is None
    async with uow.begin(SYSTEM) as tx:
        await tx.roles.remove(role)
        await tx.commit()
    async with uow.read() as tx:
        assert await tx.roles.grants(role.id, end, None, 10) == []
        assert await tx.roles.grant(role.id, ended.id) is None


async def test_a_former_name_is_remembered_until_its_end(uow: UnitOfWork) -> None:
    first, second = new_role("first"), new_role("second")
    async with uow.begin(SYSTEM) as tx:
        await tx.roles.give_up_name(first, NOON + HOUR)
        await tx.commit()
    again = new_role("first")

    async def given_up(role: Role, at: datetime) -> bool:
        return await seen(uow, lambda tx: tx.roles.name_given_up(role, at))

    assert await given_up(again, NOON)
    assert not await given_up(again, NOON + HOUR), "it is over"
    assert not await given_up(first, NOON), "a role may have its own name again"
    assert not await given_up(second, NOON)

    async with uow.begin(SYSTEM) as tx:
        await tx.roles.give_up_name(again, NOON + 2 * HOUR)
        await tx.commit()
    assert await given_up(first, NOON + HOUR), "the last role that had it counts"
    assert not await given_up(again, NOON)

    async with uow.begin(SYSTEM) as tx:
        await tx.roles.give_up_name(second, NOON)
        assert await tx.roles.forget_names(NOON, 10) == 0
        assert await tx.roles.forget_names(NOON + HOUR, 10) == 1
        assert await tx.roles.forget_names(NOON + 3 * HOUR, 10) == 1
        await tx.commit()
    assert not await given_up(first, NOON)


async def test_a_name_is_not_taken_unseen_while_it_is_given_up(uow: UnitOfWork) -> None:
    """The unit that waits for the name finds that it was given up, though it was not when that unit began."""
    role = new_role("kept")
    await put(uow, role)
    given_up = asyncio.Event()

    async def give_up() -> None:
        async with uow.begin(SYSTEM) as tx:
            found = await tx.roles.get(role.id)
            assert found is not None
            await tx.roles.give_up_name(found, NOON + HOUR)
            await tx.roles.remove(found)
            given_up.set()
            await asyncio.sleep(0.05)  # the other one comes to wait: in the database, where nobody can tell
            await tx.commit()

    async def take() -> bool:
        await given_up.wait()
        async with uow.begin(SYSTEM) as tx:
            await tx.roles.add(new := new_role("kept"))
            return await tx.roles.name_given_up(new, NOON)

    assert (await asyncio.gather(give_up(), take()))[1]
