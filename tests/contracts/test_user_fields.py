"""Fields of a host: alike on every store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

import anyio
import msgspec
import pytest

from tests.contracts.kit import new_user, page_of_users, put, seen
from tests.support.plugin import NewDatabase
from tests.support.values import replace
from ubr import (
    SYSTEM,
    Application,
    CreateUserCommand,
    DeleteUserCommand,
    FieldRules,
    GetUserCommand,
    ListUsersCommand,
    Settings,
    UpdateUserCommand,
    UserChanges,
    UserResult,
    connect,
    errors,
    fields_from,
)
from ubr.adapters.sql.migrations import upgrade
from ubr.application.ports.accounts import UserFilter
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.accounts.user import UserKind
from ubr.domain.accounts.user_field import Term, Terms
from ubr.domain.accounts.user_fields import FieldIndex, FieldState
from ubr.domain.actor import SYSTEM as SERVICE
from ubr.domain.ids import UserId
from ubr.testing import TINY_HASHING, in_memory

pytestmark = pytest.mark.anyio

PATIENCE = 60
"""Seconds, for a machine that is busy."""

SETTINGS = Settings.memory(migrate="check", **TINY_HASHING)
"""One secret for all applications on a database."""


class Company(msgspec.Struct, kw_only=True):
    department: Annotated[Literal["sales", "legal"], FieldRules(searchable=True)]
    level: Annotated[int, msgspec.Meta(ge=1, le=9), FieldRules(searchable=True)] = 1
    since: date | None = None
    tags: Annotated[list[str], FieldRules(searchable=True)] = []
    nickname: Annotated[str | None, FieldRules(write="user")] = None


@dataclass
class Host:
    url: str

    @asynccontextmanager
    async def opened(
        self, user_fields: type[Any] | None = Company, *, background: bool = False
    ) -> AsyncIterator[Application]:
        if self.url == "memory":
            async with in_memory(user_fields=user_fields) as (ubr, _):
                yield ubr
            return
        settings = replace(SETTINGS, database_url=self.url)
        async with connect(settings, user_fields=user_fields, background=background) as ubr:
            yield ubr


async def _host(request: pytest.FixtureRequest, tmp_path: Path) -> Host:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'ubr.db'}"
        await upgrade(url)
        return Host(url)
    new_database: NewDatabase = request.getfixturevalue("new_database")
    return Host("memory" if request.param == "memory" else new_database())


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def host(request: pytest.FixtureRequest, tmp_path: Path) -> Host:
    return await _host(request, tmp_path)


@pytest.fixture(params=["sqlite", "postgresql"])
async def lasting(request: pytest.FixtureRequest, tmp_path: Path) -> Host:
    """A store that outlives its application."""
    return await _host(request, tmp_path)


async def create(ubr: Application, **fields: Any) -> UserResult:
    command = CreateUserCommand(email=f"{uuid4().hex}@example.org", fields=fields)
    return await ubr.create_user(command, actor=SYSTEM)


async def change(ubr: Application, user_id: UUID, **fields: Any) -> UserResult:
    command = UpdateUserCommand(user_id=user_id, changes=UserChanges(fields=fields))
    return await ubr.update_user(command, actor=SYSTEM)


async def found(ubr: Application, **fields: Any) -> set[UUID]:
    page = await ubr.list_users(ListUsersCommand(fields=fields), actor=SYSTEM)
    return {user.id for user in page.items}


async def read(ubr: Application, user_id: UUID) -> UserResult:
    return await ubr.get_user(GetUserCommand(user_id=user_id), actor=SYSTEM)


async def test_fields_come_back_as_they_were_written(host: Host) -> None:
    company = Company(department="sales", level=3, since=date(2026, 1, 31), tags=["a", "Ünï'c\"ode"], nickname="Z")
    async with host.opened() as ubr:
        user = await create(ubr, **fields_from(company))
        assert user.fields_as(Company) == company
        assert (await read(ubr, user.id)).fields_as(Company) == company
        [listed] = (await ubr.list_users(ListUsersCommand(), actor=SYSTEM)).items
        assert listed == user
        assert listed.fields_as(Company) == company


async def test_a_merge_changes_some_and_null_resets(host: Host) -> None:
    async with host.opened() as ubr:
        user = await create(ubr, department="sales", level=3, tags=["a"])
        changed = await change(ubr, user.id, level=None, since="2026-01-31")
        assert changed.fields == {
            "department": "sales",
            "level": 1,
            "since": "2026-01-31",
            "tags": ["a"],
            "nickname": None,
        }
        assert changed == await read(ubr, user.id)
        assert changed.revision != user.revision
        assert (await change(ubr, user.id, level=None)).revision == changed.revision


async def test_a_refused_change_changes_nothing(host: Host) -> None:
    async with host.opened() as ubr:
        user = await create(ubr, department="sales")
        with pytest.raises(errors.Invalid):
            await change(ubr, user.id, nickname="Z", level=10)
        assert (await read(ubr, user.id)).fields == user.fields
        with pytest.raises(errors.Invalid):
            await create(ubr, department="unknown")


async def test_users_are_found_by_the_values_they_have_now(host: Host) -> None:
    async with host.opened() as ubr:
        one = await create(ubr, department="sales", tags=["a", "b"])
        two = await create(ubr, department="sales", level=2)
        three = await create(ubr, department="legal", level=2, tags=["a"])
        assert await found(ubr, department="sales") == {one.id, two.id}
        assert await found(ubr, department="sales", level=2) == {two.id}
        assert await found(ubr, level="1") == {one.id}
        assert await found(ubr, tags="a") == {one.id, three.id}
        assert await found(ubr, tags="c") == set()
        await change(ubr, one.id, department="legal", tags=["c"])
        await change(ubr, two.id, level=None)
        assert await found(ubr, department="sales") == {two.id}
        assert await found(ubr, level="1") == {one.id, two.id}
        assert await found(ubr, tags="c") == {one.id}
        await ubr.delete_user(DeleteUserCommand(user_id=one.id), actor=SYSTEM)
        assert await found(ubr, tags="c") == set()


async def test_a_change_of_another_field_keeps_what_a_user_is_found_by(host: Host) -> None:
    async with host.opened() as ubr:
        user = await create(ubr, department="sales")
        changes = UserChanges(full_name="Zed")
        await ubr.update_user(UpdateUserCommand(user_id=user.id, changes=changes), actor=SYSTEM)
        assert await found(ubr, department="sales") == {user.id}


async def test_a_search_has_pages(host: Host) -> None:
    async with host.opened() as ubr:
        made = [(await create(ubr, department="sales")).id for _ in range(5)]
        await create(ubr, department="legal")
        got, cursor = list[UUID](), None
        while cursor is not None or not got:
            command = ListUsersCommand(fields={"department": "sales"}, limit=2, cursor=cursor)
            page = await ubr.list_users(command, actor=SYSTEM)
            got += [user.id for user in page.items]
            cursor = page.next_cursor
        assert got == made
        first = await ubr.list_users(ListUsersCommand(fields={"department": "sales"}, limit=2), actor=SYSTEM)
        with pytest.raises(errors.InvalidCursor):
            await ubr.list_users(
                ListUsersCommand(fields={"department": "legal"}, limit=2, cursor=first.next_cursor), actor=SYSTEM
            )


# --- a declaration that changes --------------------------------------------------------------------------------------


class Later(msgspec.Struct, kw_only=True):
    """`department` was a choice, `level` a number, and `nickname` is gone; `plan` is new, `since` searchable."""

    department: Annotated[int | None, FieldRules(searchable=True)] = None
    level: Annotated[str, FieldRules(searchable=True)] = "none"
    since: Annotated[date | None, FieldRules(searchable=True)] = None
    plan: Annotated[Literal["free", "paid"], FieldRules(searchable=True)] = "free"


async def test_stored_rows_are_read_by_a_later_declaration(lasting: Host) -> None:
    async with lasting.opened() as ubr:
        user = await create(ubr, department="sales", level=3, since="2026-01-31", nickname="Z", tags=["a"])
    async with lasting.opened(Later) as ubr:
        later = await read(ubr, user.id)
        assert later.fields_as(Later) == Later(since=date(2026, 1, 31))
        assert later.revision != user.revision
        assert later == (await ubr.list_users(ListUsersCommand(), actor=SYSTEM)).items[0]
        with pytest.raises(errors.Invalid):
            await change(ubr, user.id, level=3)
        with pytest.raises(errors.Invalid):
            await change(ubr, user.id, nickname="Y")
        assert (await change(ubr, user.id, level="3")).fields_as(Later).level == "3"
    async with lasting.opened(None) as ubr:
        assert (await read(ubr, user.id)).fields is msgspec.UNSET
    async with lasting.opened() as ubr:
        again = (await read(ubr, user.id)).fields_as(Company)
        assert (again.department, again.level, again.nickname, again.tags) == ("sales", 1, "Z", ["a"])


async def test_indexing_finds_users_that_were_written_before(lasting: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ubr.application.accounts.index_user_fields.BATCH", 2)
    async with lasting.opened() as ubr:
        users = {(await create(ubr, department="sales", since="2026-01-31")).id for _ in range(5)}
    async with lasting.opened(Later) as ubr:
        before = {user: (await read(ubr, user)).revision for user in users}
        assert (await ubr.index_user_fields(actor=SYSTEM)).users == 5
        assert await found(ubr, plan="free") == await found(ubr, since="2026-01-31") == users
        assert {user: (await read(ubr, user)).revision for user in users} == before
    async with lasting.opened() as ubr:
        await ubr.index_user_fields(actor=SYSTEM)
        assert await found(ubr, department="sales") == users


class Dated(Company, kw_only=True):
    since: Annotated[date | None, FieldRules(searchable=True)] = None


async def unindexed(ubr: Application) -> list[str]:
    return (await ubr.inspect_installation(actor=SYSTEM)).unindexed_fields


async def until_indexed(ubr: Application) -> None:
    with anyio.fail_after(PATIENCE):
        while await unindexed(ubr):  # noqa: ASYNC110 - the job of another process does it
            await anyio.sleep(0.01)


async def test_a_search_by_a_field_that_is_not_indexed_says_so(lasting: Host) -> None:
    async with lasting.opened() as ubr:
        user = await create(ubr, department="sales", since="2026-01-31")
        assert await unindexed(ubr) == []
    async with lasting.opened(Dated) as ubr:
        for fields in {"since": "2026-01-31"}, {"since": "2026-01-31", "department": "sales"}:
            with pytest.raises(errors.Unavailable, match="indexed by since yet"):
                await found(ubr, **fields)
        assert await found(ubr, department="sales") == {user.id}
        assert await unindexed(ubr) == ["since"]
        await ubr.index_user_fields(actor=SYSTEM)
        assert await found(ubr, since="2026-01-31") == {user.id}
        assert await unindexed(ubr) == []
        async with lasting.opened() as earlier:
            late = await create(earlier, department="legal")
            assert await found(earlier, department="sales") == {user.id}
        with pytest.raises(errors.Unavailable):
            await found(ubr, since="2026-01-31")
        await change(ubr, late.id, since="2026-01-31")
        assert await found(ubr, since="2026-01-31") == {user.id, late.id}


async def test_users_are_indexed_without_a_command_when_a_field_becomes_searchable(lasting: Host) -> None:
    async with lasting.opened(None) as ubr:
        early = await ubr.create_user(CreateUserCommand(email="early@example.org"), actor=SYSTEM)
    async with lasting.opened() as ubr:
        users = {(await create(ubr, department="sales", since="2026-01-31")).id for _ in range(3)}
    async with lasting.opened(Dated, background=True) as ubr:
        await until_indexed(ubr)
        assert await found(ubr, since="2026-01-31") == await found(ubr, department="sales") == users
        assert early.id in await found(ubr, level=1)


@pytest.mark.system(seconds=10)
async def test_two_declarations_that_contradict_each_other_do_not_index_in_turn(lasting: Host) -> None:
    async with lasting.opened(background=True) as earlier:
        one = await create(earlier, department="sales", level=3)
        async with lasting.opened(Later, background=True) as later:
            two = await create(later, level="3")
            await until_indexed(earlier)
            assert await found(earlier, department="sales") == {one.id}
            with pytest.raises(errors.Unavailable):
                await found(later, level="3")
    async with lasting.opened(Later, background=True) as later:
        await until_indexed(later)
        assert await found(later, level="3") == {two.id}
        assert await found(later, level="none") == {one.id}


async def test_the_first_start_of_an_installation_indexes_nothing(lasting: Host) -> None:
    async with lasting.opened() as ubr:
        assert await unindexed(ubr) == []
        assert await found(ubr, department="sales") == set()


# --- the port --------------------------------------------------------------------------------------------------------


def terms(**values: str) -> Terms:
    return Terms(frozenset(Term(field, value) for field, value in values.items()))


async def test_a_store_keeps_fields_and_finds_users_by_their_terms(uow: UnitOfWork) -> None:
    one = replace(new_user(), fields={"a": "x", "b": ["y"], "c": True, "d": 7}, terms=terms(a="x", c="true"))
    two = replace(new_user(), fields={"a": "x"}, terms=terms(a="x"))
    three = new_user()
    await put(uow, one, two, three)

    async def which(**values: str) -> list[UserId]:
        sought = UserFilter(terms=tuple(sorted(terms(**values).found_by)))
        return sorted(user.id for user in await seen(uow, lambda tx: page_of_users(tx, sought, None, 10)))

    assert await seen(uow, lambda tx: tx.users.get(one.id)) == one
    assert await which(a="x") == sorted([one.id, two.id])
    assert await which(a="x", c="true") == [one.id]
    assert await which(a="X") == await which(b="x") == []
    values = await seen(uow, lambda tx: tx.users.field_values(None, 10))
    assert values == sorted((user.id, user.fields) for user in (one, two, three))
    assert await seen(uow, lambda tx: tx.users.field_values(values[0][0], 1)) == values[1:2]
    async with uow.begin(SERVICE) as tx:
        await tx.users.field_values(None, 10)
        await tx.users.index({one.id: terms(a="z"), three.id: terms(a="x"), two.id: Terms()})
        await tx.commit()
    assert (await which(a="x"), await which(a="z"), await which(c="true")) == ([three.id], [one.id], [])


async def test_a_saved_user_without_terms_keeps_the_stored_ones(uow: UnitOfWork) -> None:
    user = replace(new_user(), fields={"a": "x"}, terms=terms(a="x"))
    await put(uow, user)
    sought = UserFilter(terms=(Term("a", "x"),))
    async with uow.begin(SERVICE) as tx:
        again = await tx.users.get(user.id)
        assert again is not None
        again.update(email=again.email, full_name="Zed", status=again.status, now=tx.now)
        await tx.users.save(again)
        await tx.commit()
    assert len(await seen(uow, lambda tx: page_of_users(tx, sought, None, 10))) == 1
    async with uow.begin(SERVICE) as tx:
        again = await tx.users.get(user.id)
        assert again is not None
        again.update(
            email=again.email, full_name="Zed", status=again.status, now=tx.now, fields=FieldState({}, Terms())
        )
        await tx.users.save(again)
        await tx.commit()
    assert await seen(uow, lambda tx: page_of_users(tx, sought, None, 10)) == []


async def test_a_store_knows_under_which_declarations_persons_are_indexed(uow: UnitOfWork) -> None:
    index = FieldIndex("one", {"a": "string:1"})
    one, two, three = (
        replace(new_user(), fields={"a": "x"}, terms=Terms(index=name)) for name in ("one", "one", "two")
    )
    machine = replace(new_user(), kind=UserKind.MACHINE, terms=Terms(index="machines"))
    assert await seen(uow, lambda tx: tx.users.indexes()) == []
    async with uow.autocommit() as repositories:
        await repositories.users.declare_index(index)
    async with uow.autocommit() as repositories:
        await repositories.users.declare_index(index)
    await put(uow, one, two, three, machine)
    assert await seen(uow, lambda tx: tx.users.indexes()) == [index, FieldIndex("two")]
    under = await seen(uow, lambda tx: tx.users.indexed_under("one", 10))
    assert sorted(under) == sorted((user.id, {"a": "x"}) for user in (one, two))
    assert len(await seen(uow, lambda tx: tx.users.indexed_under("one", 1))) == 1
    assert await seen(uow, lambda tx: tx.users.indexed_under("machines", 1)) == []
    async with uow.begin(SERVICE) as tx:
        await tx.users.indexed_under("two", 10)
        await tx.users.index({three.id: terms(a="x")})
        again = await tx.users.get(one.id)
        assert again is not None
        again.update(email=again.email, full_name="Zed", status=again.status, now=tx.now)
        await tx.users.save(again)
        await tx.commit()
    assert await seen(uow, lambda tx: tx.users.indexes()) == [FieldIndex(), index]
    assert len(await seen(uow, lambda tx: tx.users.indexed_under("one", 10))) == 2
