"""Every list is walked page by page: nothing twice, nothing left out, and no cursor is good for anything else."""

import base64
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.people import World, new_world
from ubr.application.accounts.delete_user import DeleteUserCommand
from ubr.application.accounts.list_users import ListUsersCommand
from ubr.application.audit.list_logs import ListLogsCommand
from ubr.application.kernel.representations import Page
from ubr.application.roles.delete_role import DeleteRoleCommand
from ubr.application.roles.list_roles import ListRolesCommand
from ubr.application.roles.list_user_roles import ListUserRolesCommand
from ubr.application.sessions.list_sessions import ListSessionsCommand
from ubr.domain.accounts.user import UserStatus
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import Invalid, InvalidCursor

NOBODY = UUID(int=7)
Lister = Callable[..., Awaitable[Page[Any]]]


class Lists:
    """The lists there are, each with more than a page in it."""

    def __init__(self, world: World, member_id: UUID) -> None:
        self.world = world
        world.clock.move(minutes=1)
        self.now = world.clock()
        self.member_id = member_id

    async def users(self, **more: Any) -> Page[Any]:
        return await self.world.ubr.list_users(ListUsersCommand(**more), actor=SYSTEM)

    async def roles(self, **more: Any) -> Page[Any]:
        return await self.world.ubr.list_roles(ListRolesCommand(**more), actor=SYSTEM)

    async def logs(self, **more: Any) -> Page[Any]:
        """Those of before: reading them makes more."""
        return await self.world.ubr.list_logs(ListLogsCommand(until=self.now, **more), actor=SYSTEM)

    async def sessions(self, **more: Any) -> Page[Any]:
        command = ListSessionsCommand(user_id=more.pop("user_id", self.member_id), **more)
        return await self.world.ubr.list_sessions(command, actor=SYSTEM)

    async def grants(self, **more: Any) -> Page[Any]:
        command = ListUserRolesCommand(user_id=more.pop("user_id", self.member_id), **more)
        return await self.world.ubr.list_user_roles(command, actor=SYSTEM)


NAMES = ["users", "roles", "logs", "sessions", "grants"]
of_every_list = pytest.mark.parametrize("name", NAMES)


@pytest.fixture
async def lists(world: World) -> Lists:
    member = await world.user()
    for _ in range(6):
        role = await world.role()
        await world.assign(member.id, role.name)
        await world.register()
        await world.logged_in(member.email)
    return Lists(world, member.id)


def key(item: Any) -> object:
    return getattr(item, "id", None) or item.role


async def walk(lister: Lister, **more: Any) -> list[object]:
    found: list[object] = []
    cursor = None
    while True:
        page = await lister(cursor=cursor, **more)
        found += map(key, page.items)
        cursor = page.next_cursor
        if cursor is None:
            return found


@of_every_list
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 200])
async def test_pages_of_any_size_make_the_same_list(lists: Lists, name: str, limit: int) -> None:
    lister = getattr(lists, name)
    whole = [key(item) for item in (await lister(limit=200)).items]
    assert len(whole) >= 7
    assert await walk(lister, limit=limit) == whole


@of_every_list
async def test_a_page_holds_no_more_than_asked_for(lists: Lists, name: str) -> None:
    lister = getattr(lists, name)
    assert len((await lister(limit=2)).items) == 2
    exactly = len((await lister(limit=200)).items)
    assert (await lister(limit=exactly)).next_cursor is None
    assert (await lister(limit=exactly - 1)).next_cursor is not None


@of_every_list
@pytest.mark.parametrize("limit", [-1, 0, 201, 10**9])
async def test_a_limit_has_limits(lists: Lists, name: str, limit: int) -> None:
    with pytest.raises(Invalid) as failure:
        await getattr(lists, name)(limit=limit)
    assert [flaw.pointer for flaw in failure.value.flaws] == ["/limit"]


async def test_the_limit_is_fifty_unless_said_otherwise(world: World) -> None:
    for _ in range(51):
        await world.role()
    assert len((await world.ubr.list_roles(ListRolesCommand(), actor=SYSTEM)).items) == 50


@of_every_list
async def test_a_cursor_is_good_for_its_list_alone(lists: Lists, name: str) -> None:
    cursor = (await getattr(lists, name)(limit=2)).next_cursor
    for other in NAMES:
        if other == name:
            await getattr(lists, other)(limit=5, cursor=cursor)
            continue
        with pytest.raises(InvalidCursor):
            await getattr(lists, other)(limit=2, cursor=cursor)


@pytest.mark.parametrize(
    ("name", "filters"),
    [
        ("users", {"sort": "-created_at"}),
        ("users", {"sort": "email"}),
        ("users", {"status": UserStatus.ACTIVE}),
        ("users", {"role": "user"}),
        ("users", {"q": "member"}),
        ("logs", {"level": "info"}),
        ("logs", {"action": "user.registered"}),
        ("logs", {"actor_id": NOBODY}),
        ("logs", {"target_id": str(NOBODY)}),
        ("logs", {"request_id": "r-1"}),
        ("logs", {"session_id": UUID(int=1)}),
        ("sessions", {"user_id": "another"}),
        ("grants", {"user_id": "another"}),
    ],
)
async def test_a_cursor_is_good_for_its_filters_alone(lists: Lists, name: str, filters: dict[str, Any]) -> None:
    if "user_id" in filters:
        filters = {"user_id": (await lists.world.register()).id}
    lister = getattr(lists, name)
    cursor = (await lister(limit=2)).next_cursor
    with pytest.raises(InvalidCursor):
        await lister(limit=2, cursor=cursor, **filters)
    other = (await lister(limit=1, **filters)).next_cursor
    if other is not None:
        with pytest.raises(InvalidCursor):
            await lister(limit=2, cursor=other)


@of_every_list
async def test_a_forged_cursor_is_refused(lists: Lists, name: str) -> None:
    lister = getattr(lists, name)
    cursor = (await lister(limit=2)).next_cursor
    assert cursor is not None
    forged = [
        *(cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1 :] for at in range(len(cursor))),
        *("", "x", cursor[:-1], cursor[1:], cursor + "A", cursor + "=", cursor + "==", cursor * 2, " " + cursor),
        *("é", "\0", "\ud800", "A" * 2048, "A" * 100_000, cursor.replace("-", "+").replace("_", "/") + "\n"),
        base64.urlsafe_b64encode(
            b"\0" * 32 + b'["2030-01-01T00:00:00+00:00","' + str(NOBODY).encode() + b'"]'
        ).decode(),
    ]
    for other in forged:
        with pytest.raises(InvalidCursor):
            await lister(limit=2, cursor=other)


async def test_a_cursor_of_another_installation_is_refused(lists: Lists) -> None:
    cursor = (await lists.users(limit=2)).next_cursor
    async with new_world() as other:
        with pytest.raises(InvalidCursor):
            await Lists(other, NOBODY).users(cursor=cursor)


# --- users -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 3, 50])
async def test_users_come_in_the_order_asked_for(world: World, limit: int) -> None:
    emails = ["c@example.org", "A@example.org", "b@example.org", "Ä@example.org", "a2@example.org"]
    made = []
    for at, email in enumerate(emails):
        world.clock.move(seconds=at % 2)  # some at the same moment
        made.append((await world.register(email)).id)
    lists = Lists(world, NOBODY)
    assert await walk(lists.users, limit=limit) == made
    assert await walk(lists.users, limit=limit, sort="created_at") == made
    assert await walk(lists.users, limit=limit, sort="-created_at") == made[::-1]
    by_email = [made[at] for at in (4, 1, 2, 0, 3)]  # by key: a2@ a@ b@ c@ ä@
    assert await walk(lists.users, limit=limit, sort="email") == by_email
    assert await walk(lists.users, limit=limit, sort="-email") == by_email[::-1]


async def test_users_by_role_and_status(world: World) -> None:
    role = await world.role()
    one, two, three = [await world.register() for _ in range(3)]
    await world.assign(one.id, role.name)
    await world.assign(two.id, role.name)
    await world.set_status(two.id, UserStatus.DISABLED)
    lists = Lists(world, NOBODY)
    assert await walk(lists.users, role=role.name) == [one.id, two.id]
    assert await walk(lists.users, status=UserStatus.DISABLED) == [two.id]
    assert await walk(lists.users, role=role.name, status=UserStatus.ACTIVE) == [one.id]
    assert await walk(lists.users, role="user") == [one.id, two.id, three.id]
    assert await walk(lists.users, role="nobody") == []
    with pytest.raises(Invalid) as failure:
        await lists.users(role="No Role")
    assert [flaw.pointer for flaw in failure.value.flaws] == ["/role"]


# --- while the list changes ------------------------------------------------------------------------------------------

changes = st.lists(st.tuples(st.sampled_from(["add", "remove", "page"]), st.integers(0, 30)), max_size=14)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(0, 6), changes, st.sampled_from(["created_at", "-created_at", "email", "-email"]))
async def test_a_user_who_stays_is_seen_exactly_once(
    limit: int, begin: int, steps: list[tuple[str, int]], sort: str
) -> None:
    async with new_world() as world:
        ids = [(await world.register(f"u{97 - 7 * n:02}@example.org")).id for n in range(begin)]
        stayed, seen, cursor, done = set(ids), [], None, False
        for at, (step, pick) in enumerate([*steps, *[("page", 0)] * 40]):
            if step == "add" and at < len(steps):
                world.clock.move(seconds=pick % 2)
                ids.append((await world.register(f"u{pick:02}x{at}@example.org")).id)
            elif step == "remove" and ids:
                gone = ids.pop(pick % len(ids))
                stayed.discard(gone)
                await world.ubr.delete_user(DeleteUserCommand(user_id=gone), actor=SYSTEM)
            elif not done:
                command = ListUsersCommand(limit=limit, cursor=cursor, sort=sort)  # type: ignore[arg-type]
                page = await world.ubr.list_users(command, actor=SYSTEM)
                seen += [user.id for user in page.items]
                cursor = page.next_cursor
                done = cursor is None
        assert done
        assert len(seen) == len(set(seen))
        assert stayed <= set(seen)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 4), changes)
async def test_a_role_that_stays_is_seen_exactly_once(limit: int, steps: list[tuple[str, int]]) -> None:
    async with new_world() as world:
        ids = [(await world.role()).id for _ in range(4)]
        stayed, seen, cursor, done = set(ids), [], None, False
        for step, pick in [*steps, *[("page", 0)] * 30]:
            if step == "add":
                ids.append((await world.role()).id)
            elif step == "remove" and ids:
                gone = ids.pop(pick % len(ids))
                stayed.discard(gone)
                await world.ubr.delete_role(DeleteRoleCommand(role_id=gone), actor=SYSTEM)
            elif not done:
                page = await world.ubr.list_roles(ListRolesCommand(limit=limit, cursor=cursor), actor=SYSTEM)
                seen += [role.id for role in page.items]
                cursor = page.next_cursor
                done = cursor is None
        assert done
        assert len(seen) == len(set(seen))
        assert stayed <= set(seen)
