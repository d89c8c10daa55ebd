"""Calls that are tried again with their key: done once, and answered alike, on every store."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.support.people import OTHER_PASSWORD, PASSWORD, PassingOn, World, new_world
from tests.support.plugin import Desk, NewDatabase
from tests.support.proxy import FaultProxy
from tests.support.races import two_instances
from tests.support.servers import PostgresServer
from tests.support.values import replace
from ubr import (
    SYSTEM,
    Actor,
    CreateRoleCommand,
    CreateUserCommand,
    DeleteRoleCommand,
    DeleteUserCommand,
    IdempotencyKey,
    ListRolesCommand,
    ListUsersCommand,
    RegisterUserCommand,
    RevokeSessionCommand,
    Settings,
    UnassignRoleCommand,
    UpdateUserCommand,
    UserChanges,
    connect,
)
from ubr.application.kernel.idempotency import Answered, IdempotentCall
from ubr.application.kernel.origin import Origin, calling_from
from ubr.application.kernel.representations import RoleResult, UserResult
from ubr.bootstrap import open_environment
from ubr.domain.accounts.passwords import PasswordHash
from ubr.domain.accounts.user import UserStatus
from ubr.domain.actor import System
from ubr.domain.errors import (
    EmailTaken,
    Forbidden,
    IdempotencyKeyReused,
    Invalid,
    InvalidToken,
    LastAdmin,
    RateLimited,
    RegistrationClosed,
    RoleNameTaken,
    StoreUnavailable,
    WeakPassword,
)
from ubr.domain.ids import UserId
from ubr.settings import Limit, LoginRateLimit
from ubr.testing import TINY_HASHING, MovableClock

KEY = IdempotencyKey("8c9a2b1e-1f9d-4a53-9d55-5d8f0d2f6f1c")
OTHER_KEY = IdempotencyKey("another-key")
SECRET = secrets.token_bytes(32)
MEMORY = "memory:"
Anyone: TypeAlias = Actor | System | None


def settings_on(url: str, **changes: Any) -> Settings:
    known = {} if url == MEMORY else {"database_url": url, "migrate": "auto"}
    return Settings.memory(**{**TINY_HASHING, **known, "secret_keys": (SECRET,), **changes})


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[World]:
    clock = MovableClock()
    async with connect(settings_on(url), clock=clock) as ubr:
        yield World(ubr, clock)


@pytest.fixture
async def memory() -> AsyncIterator[World]:
    async with opened(MEMORY) as world:
        await world.acts()
        yield world


@pytest.fixture(scope="module")
async def whole_sqlite(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One for all: to make a database takes longer than most of the tests."""
    async with opened(f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('sqlite') / 'ubr.db'}") as world:
        yield world


@pytest.fixture(scope="module")
async def whole_postgresql(desk: Desk, postgres_server: PostgresServer, migrated_template: str) -> AsyncIterator[World]:
    name = f"{desk.run_id}_{secrets.token_hex(6)}"
    try:
        async with opened(postgres_server.create_database(name, migrated_template)) as world:
            yield world
    finally:
        postgres_server.drop_database(name)


@pytest.fixture
async def sqlite(whole_sqlite: World) -> World:
    return await emptied(whole_sqlite)


@pytest.fixture
async def postgresql(whole_postgresql: World) -> World:
    return await emptied(whole_postgresql)


async def emptied(world: World) -> World:
    """The world without anybody whom an earlier test has left in it."""
    page = await world.ubr.list_users(ListUsersCommand(limit=200), actor=SYSTEM)
    for user in page.items:
        with suppress(LastAdmin):
            await world.ubr.delete_user(DeleteUserCommand(user_id=user.id), actor=SYSTEM)
    for role in (await world.ubr.list_roles(ListRolesCommand(limit=200), actor=SYSTEM)).items:
        if not role.built_in:
            await world.ubr.delete_role(DeleteRoleCommand(role_id=role.id), actor=SYSTEM)
    world.clock.move(days=2)
    await world.acts()
    return world


@pytest.fixture
def world(request: pytest.FixtureRequest) -> World:
    made: World = request.getfixturevalue(request.param)
    return made


everywhere = pytest.mark.parametrize("world", ["memory", "sqlite", "postgresql"], indirect=True)
in_memory = pytest.mark.parametrize("world", ["memory"], indirect=True)


async def register(world: World, who: Anyone, idempotency_key: IdempotencyKey | None, **changes: Any) -> UserResult:
    command = RegisterUserCommand(**{"email": "New@example.org", "password": PASSWORD, "full_name": "New", **changes})
    made = await world.ubr.register_user(command, actor=who, idempotency_key=idempotency_key)
    assert made is not None
    return made


def create(world: World, who: Anyone, idempotency_key: IdempotencyKey | None, **changes: Any) -> Awaitable[UserResult]:
    command = CreateUserCommand(**{"email": "new@example.org", "password": PASSWORD, **changes})
    return world.ubr.create_user(command, actor=who, idempotency_key=idempotency_key)  # type: ignore[arg-type]


def create_bare(
    world: World, who: Anyone, idempotency_key: IdempotencyKey | None, **changes: Any
) -> Awaitable[UserResult]:
    command = CreateUserCommand(**{"email": "new@example.org", **changes})
    return world.ubr.create_user(command, actor=who, idempotency_key=idempotency_key)  # type: ignore[arg-type]


def create_role(
    world: World, who: Anyone, idempotency_key: IdempotencyKey | None, **changes: Any
) -> Awaitable[RoleResult]:
    command = CreateRoleCommand(**{"name": "editor", "permissions": ["users:read"], **changes})
    return world.ubr.create_role(command, actor=who, idempotency_key=idempotency_key)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Kind:
    """A use case that takes a key: how it is called, what another body would be, and what it writes to the log."""

    call: Callable[..., Awaitable[Any]]
    other: dict[str, Any]
    action: str
    needed: tuple[str, ...]


KINDS = {
    "register_user": Kind(register, {"full_name": "Other"}, "user.registered", ()),
    "create_user": Kind(create, {"full_name": "Other"}, "user.created", ("users:write",)),
    "create_user without a password": Kind(create_bare, {"full_name": "Other"}, "user.created", ("users:write",)),
    "create_role": Kind(create_role, {"description": "Other"}, "role.created", ("roles:write", "users:read")),
}
of_each = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
of_each_signed_in = pytest.mark.parametrize("kind", list(KINDS.values())[1:], ids=list(KINDS)[1:])


of_each_everywhere = pytest.mark.parametrize(
    ("world", "kind"),
    [
        pytest.param(world, kind, id=f"{name}-{world}", marks=[pytest.mark.long] if slow else [])
        for name, kind in KINDS.items()
        for world in ("memory", "sqlite", "postgresql")
        for slow in [world != "memory" and name.startswith("create_user")]
    ],
    indirect=["world"],
)


async def users(world: World) -> list[str]:
    page = await world.ubr.list_users(ListUsersCommand(limit=200), actor=SYSTEM)
    return [user.email for user in page.items if user.email.lower() == "new@example.org"]


# --- the same call ---------------------------------------------------------------------------------------------------


@of_each_everywhere
async def test_it_is_done_once_and_answered_alike(world: World, kind: Kind) -> None:
    member = await world.user(*kind.needed)
    await world.acts()
    first = await kind.call(world, member.actor, KEY)
    world.clock.move(hours=23, minutes=59)
    member = await world.logged_in(member.email)  # a key belongs to the user and not to one session
    again = await kind.call(world, member.actor, KEY)
    assert (again, again.revision) == (first, first.revision)
    assert [entry.action for entry in await world.acts()] == [kind.action, "session.opened"]


@in_memory
@of_each
async def test_another_body_is_refused_and_tells_nothing_of_the_first(world: World, kind: Kind) -> None:
    admin = await world.admin()
    await kind.call(world, admin.actor, KEY)
    await world.acts()
    with pytest.raises(IdempotencyKeyReused) as refusal:
        await kind.call(world, admin.actor, KEY, **kind.other)
    assert refusal.value.detail == IdempotencyKeyReused.title
    [entry] = await world.acts()
    assert (entry.action, entry.actor_id) == ("idempotency_key.mismatched", admin.id)
    assert entry.data == {"mismatches": 1}


@everywhere
async def test_the_password_of_a_registration_cannot_be_guessed_by_its_key(world: World) -> None:
    made = await register(world, None, KEY)
    await world.acts()
    guesses = [register(world, None, KEY, password=f"a guess, number {number}") for number in range(20)]
    results = await asyncio.gather(*guesses, return_exceptions=True)
    assert all(isinstance(result, IdempotencyKeyReused) for result in results)
    entries = [entry for entry in await world.acts() if entry.action == "idempotency_key.mismatched"]
    assert [entry.data["mismatches"] for entry in entries] == [1, 2, 3, 4, 5]
    assert {entry.target.id for entry in entries if entry.target} == {str(made.id)}
    for password in (PASSWORD, OTHER_PASSWORD):
        with pytest.raises(IdempotencyKeyReused):
            await register(world, None, KEY, password=password)
    assert await world.acts() == [], "no more are counted than it takes"


@in_memory
async def test_a_few_wrong_bodies_do_not_hinder_the_right_one(world: World) -> None:
    made = await register(world, None, KEY)
    for _ in range(4):
        with pytest.raises(IdempotencyKeyReused):
            await register(world, None, KEY, password=OTHER_PASSWORD)
        assert await register(world, None, KEY) == made


async def test_wrong_bodies_count_as_registrations_of_their_client() -> None:
    a_minute = Limit(10, timedelta(minutes=1))
    async with new_world(login_rate_limit=LoginRateLimit(a_minute, a_minute)) as world:
        with calling_from(Origin(ip="192.0.2.1")):
            await register(world, None, KEY)
            for number in range(59):
                with pytest.raises(IdempotencyKeyReused):
                    await register(world, None, KEY, password=f"a guess, number {number}")
            with pytest.raises(RateLimited):
                await register(world, None, KEY, password="one guess too many")


@in_memory
@of_each
async def test_a_day_later_it_is_another_call(world: World, kind: Kind) -> None:
    await kind.call(world, SYSTEM, KEY)
    world.clock.move(hours=24)
    with pytest.raises((EmailTaken, RoleNameTaken)):
        await kind.call(world, SYSTEM, KEY)


@everywhere
async def test_one_of_20_concurrent_calls_creates_the_user_and_all_get_its_answer(world: World) -> None:
    results = await asyncio.gather(*(register(world, None, KEY) for _ in range(20)))
    assert len({(result.id, result.revision) for result in results}) == 1
    assert [entry.action for entry in await world.acts()] == ["user.registered"]


@in_memory
async def test_one_of_many_concurrent_bodies_under_one_key_is_accepted(world: World) -> None:
    calls = (register(world, None, KEY, email=f"new{number}@example.org") for number in range(20))
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(result, IdempotencyKeyReused) for result in results) == 19
    assert [entry.action for entry in await world.acts()].count("user.registered") == 1


@in_memory
async def test_a_refused_call_is_not_stored(world: World) -> None:
    role = await world.role(name="editor")
    for _ in range(2):
        with pytest.raises(RoleNameTaken):
            await create_role(world, SYSTEM, KEY)
    await world.ubr.delete_role(DeleteRoleCommand(role_id=role.id), actor=SYSTEM)
    made = await create_role(world, SYSTEM, KEY)
    assert await create_role(world, SYSTEM, KEY) == made


@in_memory
async def test_a_password_is_part_of_what_was_asked(world: World) -> None:
    await register(world, None, KEY)
    with pytest.raises(IdempotencyKeyReused):
        await register(world, None, KEY, password=OTHER_PASSWORD)


@in_memory
async def test_what_is_left_out_is_what_it_stands_for(world: World) -> None:
    first = await create_bare(world, SYSTEM, KEY)
    assert await create_bare(world, SYSTEM, KEY, password=None, full_name=None, roles=[]) == first


@in_memory
async def test_bad_input_is_told_as_ever(world: World) -> None:
    await register(world, None, KEY)
    with pytest.raises(WeakPassword):
        await register(world, None, KEY, password="short")


# --- whose key it is -------------------------------------------------------------------------------------------------


@in_memory
async def test_the_same_key_of_somebody_else_is_another(world: World) -> None:
    one, other = await world.user("users:write"), await world.user("users:write")
    whose: list[Anyone] = [one.actor, other.actor, SYSTEM]
    made = [await create(world, who, KEY, email=f"n{at}@example.org") for at, who in enumerate(whose)]
    for at, who in enumerate(whose):
        assert await create(world, who, KEY, email=f"n{at}@example.org") == made[at]


@in_memory
async def test_the_same_key_on_another_route_is_another(world: World) -> None:
    admin = await world.admin()
    registered = await register(world, admin.actor, KEY, email="a@example.org")
    created = await create(world, admin.actor, KEY, email="b@example.org")
    assert len({registered.id, created.id, (await create_role(world, admin.actor, KEY)).id}) == 3


@in_memory
async def test_strangers_share_theirs_and_it_is_nobody_elses(world: World) -> None:
    first = await register(world, None, KEY)
    assert await register(world, None, KEY) == first
    for who in (SYSTEM, (await world.user()).actor):
        with pytest.raises(EmailTaken):
            await register(world, who, KEY)


@in_memory
async def test_without_a_key_every_call_is_another(world: World) -> None:
    await register(world, None, KEY)
    for idempotency_key in (None, OTHER_KEY):
        with pytest.raises(EmailTaken):
            await register(world, None, idempotency_key)


# --- authorization comes first ---------------------------------------------------------------------------------------


@in_memory
@of_each_signed_in
async def test_a_caller_who_lost_the_permission_is_refused(world: World, kind: Kind) -> None:
    admin = await world.admin()
    await kind.call(world, admin.actor, KEY)
    another = await world.admin()
    await world.ubr.unassign_role(UnassignRoleCommand(user_id=admin.id, role="admin"), actor=another.actor)
    with pytest.raises(Forbidden):
        await kind.call(world, admin.actor, KEY)


@in_memory
@of_each_signed_in
async def test_whose_session_has_ended_is_refused(world: World, kind: Kind) -> None:
    admin = await world.admin()
    await kind.call(world, admin.actor, KEY)
    await world.ubr.revoke_session(RevokeSessionCommand(session_id=admin.actor.session_id), actor=SYSTEM)
    with pytest.raises(InvalidToken):
        await kind.call(world, admin.actor, KEY)


async def test_where_registration_was_closed_meanwhile_nobody_is_answered(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'ubr.db'}"
    async with connect(settings_on(url)) as ubr:
        await register(World(ubr, MovableClock()), None, KEY)
    async with connect(settings_on(url, registration="closed")) as ubr:
        with pytest.raises(RegistrationClosed):
            await register(World(ubr, MovableClock()), None, KEY)


# --- what becomes of it ----------------------------------------------------------------------------------------------


@in_memory
async def test_the_answer_is_that_of_then_however_the_user_has_changed(world: World) -> None:
    first = await register(world, None, KEY)
    changes = UserChanges(email="changed@example.org", full_name="Changed", status=UserStatus.DISABLED)
    await world.ubr.update_user(UpdateUserCommand(user_id=first.id, changes=changes), actor=SYSTEM)
    again = await register(world, None, KEY)
    assert (again, again.revision) == (first, first.revision)


@everywhere
async def test_with_the_user_who_was_made_it_is_gone(world: World) -> None:
    first = await register(world, None, KEY)
    await world.ubr.delete_user(DeleteUserCommand(user_id=first.id), actor=SYSTEM)
    second = await register(world, None, KEY, full_name="Other")
    assert second.id != first.id


@in_memory
@of_each_signed_in
async def test_with_the_actor_it_is_gone(world: World, kind: Kind) -> None:
    await world.admin()
    admin = await world.admin()
    await kind.call(world, admin.actor, KEY)
    idempotency = world.ubr.create_role.idempotency
    commands = (CreateRoleCommand(name="x"), CreateUserCommand(email="x"))
    calls = [idempotency.of(KEY, command, actor=admin.actor, answer=UserResult) for command in commands]
    with pytest.raises(IdempotencyKeyReused):
        [await call.answered() for call in calls]
    await world.ubr.delete_user(DeleteUserCommand(user_id=admin.id), actor=SYSTEM)
    assert [await call.answered() for call in calls] == [None, None]


@in_memory
async def test_no_password_is_hashed_for_what_was_done_already(world: World) -> None:
    admin = await world.admin()
    hashed: list[str] = []

    class Counting(PassingOn):
        async def hash(self, password: str, *, owner: UserId, account: str = "") -> PasswordHash:
            hashed.append(password)
            return await self.hasher.hash(password, owner=owner, account=account)

    ubr = replace(
        world.ubr,
        register_user=replace(world.ubr.register_user, hasher=Counting(world.ubr.register_user.hasher)),
        create_user=replace(world.ubr.create_user, hasher=Counting(world.ubr.create_user.hasher)),
    )
    counting = World(ubr, world.clock)
    for _ in range(3):
        await register(counting, None, KEY, email="a@example.org")
        await create(counting, admin.actor, KEY, email="b@example.org")
    assert len(hashed) == 2


# --- what is stored --------------------------------------------------------------------------------------------------


def contents(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def test_neither_the_password_nor_the_key_is_in_the_file(tmp_path: Path) -> None:
    key = secrets.token_urlsafe(32)
    password = "a canary sings in the mine"
    async with connect(settings_on(f"sqlite+aiosqlite:///{tmp_path / 'ubr.db'}")) as ubr:
        await register(World(ubr, MovableClock()), None, IdempotencyKey(key), password=password)
    stored = contents(tmp_path)
    assert b"New@example.org" in stored
    for secret in (key, password):
        assert secret.encode() not in stored
    assert key not in repr(IdempotencyKey(key))


async def test_expired_records_are_deleted() -> None:
    clock = MovableClock()
    async with open_environment(settings_on(MEMORY), clock=clock) as environment:
        made = clock()
        call = environment.application.register_user.idempotency.of(
            KEY, RegisterUserCommand(email="", password=""), actor=None, answer=UserResult
        )
        assert call.digest is not None
        await register(World(environment.application, clock), None, KEY)
        for hours, kept in ((0, True), (24, True), (0.001, False)):
            clock.move(hours=hours)
            await environment.janitor()
            async with call.unit_of_work.read() as tx:
                assert (await tx.idempotency.find(call.digest, made) is not None) == kept


async def test_it_is_known_after_the_secret_was_replaced(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'ubr.db'}"
    old, new = secrets.token_bytes(32), secrets.token_bytes(32)
    made = []
    for keys in ((old,), (new, old)):
        async with connect(settings_on(url, secret_keys=keys)) as ubr:
            made.append(await register(World(ubr, MovableClock()), None, KEY))
    assert made[0] == made[1]


# --- answers of every kind -------------------------------------------------------------------------------------------


@in_memory
async def test_an_answer_may_be_that_there_is_none(world: World) -> None:
    idempotency = world.ubr.register_user.idempotency
    command = RegisterUserCommand(email="new@example.org", password=PASSWORD)
    call: IdempotentCall[UserResult | None] = idempotency.of(KEY, command, actor=None, answer=UserResult)
    async with call.unit_of_work.begin(None) as tx:
        assert await call.claim(tx) is None
        await call.keep(tx, None)
        await tx.commit()
    assert await call.answered() == Answered(None)


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "é", "a\n", "a\x7f", "\u2028"])
def test_a_key_is_visible_ascii(key: str) -> None:
    with pytest.raises(Invalid, match="1 to 255"):
        IdempotencyKey(key)


@pytest.mark.parametrize("key", ["x", "x" * 255, '"8c9a2b1e"', "!~"])
def test_any_such_key_will_do(key: str) -> None:
    assert IdempotencyKey(key).key == key


# --- on a database that is shared, and out of reach at the wrong moment ----------------------------------------------


@pytest.mark.long
async def test_20_at_once_on_two_instances_make_one_user(new_database: NewDatabase) -> None:
    async with two_instances(settings_on(new_database())) as both:
        worlds = [World(ubr, MovableClock()) for ubr in both]
        results = await asyncio.gather(*(register(worlds[at % 2], None, KEY) for at in range(20)))
        assert len({(result.id, result.revision) for result in results}) == 1
        assert await users(worlds[0]) == ["New@example.org"]
        assert [entry.action for entry in await worlds[1].acts()].count("user.registered") == 1


async def test_what_was_committed_unheard_is_answered_to_the_next_try(new_database: NewDatabase) -> None:
    """The connection breaks after COMMIT and before its answer. Then another instance is asked, after a restart."""
    url = new_database()
    address = urlsplit(url)
    assert address.hostname is not None
    assert address.port is not None
    kinds = [KINDS["register_user"], KINDS["create_role"]]
    made = []
    async with FaultProxy(address.hostname, address.port) as proxy, connect(settings_on(proxy.url(url))) as ubr:
        world = World(ubr, MovableClock())
        for cuts, kind in enumerate(kinds, 1):
            proxy.cut_on(b"COMMIT", having=b"INSERT INTO replays", answered=True)
            with pytest.raises(StoreUnavailable):
                await kind.call(world, SYSTEM, KEY)
            assert proxy.cuts == cuts
            made.append(await kind.call(world, SYSTEM, KEY))
            assert [entry.action for entry in await world.acts()].count(kind.action) == 1
    async with connect(settings_on(url)) as ubr:
        for kind, first in zip(kinds, made, strict=True):
            again = await kind.call(World(ubr, MovableClock()), SYSTEM, KEY)
            assert (again, again.revision) == (first, first.revision)
    async with reading(url) as connection:
        [row] = await connection.fetch("SELECT * FROM replays WHERE user_id IS NOT NULL")
    stored = b"".join(value if isinstance(value, bytes) else str(value).encode() for value in row.values())
    assert b"New@example.org" in stored
    assert KEY.key.encode() not in stored
    assert PASSWORD.encode() not in stored


@asynccontextmanager
async def reading(url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        yield connection
    finally:
        await connection.close()
