"""The job that indexes users by a changed declaration: alike on every store."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from uuid import uuid4

import pytest

from tests.contracts.kit import new_user, page_of_users, put, race, seen
from tests.support.values import replace
from ubr.application.operations.field_indexer import BATCH, LEASE, FieldIndexer
from ubr.application.operations.leader import Leader
from ubr.application.ports.accounts import UserFilter
from ubr.application.ports.revocation import WorkerId
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.accounts.user import User
from ubr.domain.accounts.user_field import FieldKind, Term, UserField
from ubr.domain.accounts.user_fields import NO_FIELDS, FieldState, UserFields
from ubr.domain.actor import SYSTEM
from ubr.domain.ids import UserId

pytestmark = pytest.mark.anyio

TEAM = UserField(name="team", kind=FieldKind.STRING, searchable=True)
PLAN = UserField(name="plan", kind=FieldKind.STRING, searchable=True, default="free")
EARLIER, LATER = UserFields.of(TEAM), UserFields.of(TEAM, PLAN)
OTHER = UserFields.of(UserField(name="team", kind=FieldKind.INTEGER, searchable=True))


async def process(uow: UnitOfWork, fields: UserFields, *, step: float = 0) -> FieldIndexer:
    """The job in a process that has declared these fields. Its clock moves by `step` seconds at each look."""
    ticks: Iterator[int] = count()
    leader = Leader(unit_of_work=uow, worker=WorkerId(uuid4()), elapsed=lambda: 1.0, name=LEASE)
    made = FieldIndexer(unit_of_work=uow, leader=leader, elapsed=lambda: step * next(ticks), user_fields=fields)
    await made.declare()
    return made


async def leading(uow: UnitOfWork, fields: UserFields, *, step: float = 0) -> FieldIndexer:
    made = await process(uow, fields, step=step)
    await made.leader()
    return made


def written(fields: UserFields, **values: str) -> User:
    """A user whom a process with these fields writes."""
    return replace(new_user(), fields=values, terms=fields.terms(values))


async def which(uow: UnitOfWork, **values: str) -> set[UserId]:
    sought = UserFilter(terms=tuple(Term(field, value) for field, value in values.items()))
    return {user.id for user in await seen(uow, lambda tx: page_of_users(tx, sought, None, 1000))}


async def lacking(uow: UnitOfWork, fields: UserFields) -> list[str]:
    return fields.index.lacking(await seen(uow, lambda tx: tx.users.indexes()))


async def test_users_of_every_earlier_declaration_are_indexed(uow: UnitOfWork) -> None:
    one, two, three = written(NO_FIELDS, plan="paid"), written(EARLIER, team="a", plan="paid"), written(EARLIER)
    await process(uow, EARLIER)
    await put(uow, one, two, three)
    job = await leading(uow, LATER)
    assert await lacking(uow, LATER) == ["plan", "team"]
    await job()
    assert await lacking(uow, LATER) == []
    assert await which(uow, plan="paid") == {one.id, two.id}
    assert await which(uow, plan="free") == {three.id}
    assert await which(uow, team="a") == {two.id}


async def test_a_round_goes_on_where_another_process_stopped(uow: UnitOfWork) -> None:
    users = [written(EARLIER) for _ in range(BATCH + 20)]
    await put(uow, *users)
    first = await leading(uow, LATER, step=3)
    await first()
    assert len(await which(uow, plan="free")) == BATCH
    async with uow.autocommit() as repositories:
        await repositories.leases.give_back(LEASE, first.leader.worker)
    await (await leading(uow, LATER))()
    assert len(await which(uow, plan="free")) == len(users)


async def test_a_process_does_nothing_while_another_one_has_the_lease(uow: UnitOfWork) -> None:
    user = written(NO_FIELDS, team="7")
    await leading(uow, EARLIER)
    await put(uow, user)
    await (await leading(uow, LATER))()
    assert await lacking(uow, LATER) == ["plan", "team"]


async def test_users_who_are_found_by_every_field_stay_as_another_declaration_indexed_them(uow: UnitOfWork) -> None:
    user = written(LATER, team="a")
    await process(uow, LATER)
    await put(uow, user)
    await (await leading(uow, EARLIER))()
    assert await which(uow, plan="free") == await which(uow, team="a") == {user.id}


async def test_an_index_that_no_one_declared_finds_no_one(uow: UnitOfWork) -> None:
    user = written(OTHER, team="a")
    await put(uow, user)
    await (await leading(uow, EARLIER))()
    assert await which(uow, team="a") == {user.id}


async def test_users_whom_an_earlier_process_still_writes_are_indexed_again(uow: UnitOfWork) -> None:
    user = written(LATER, team="a")
    await process(uow, EARLIER)
    await put(uow, user)
    job = await leading(uow, LATER)
    await job()
    async with uow.begin(SYSTEM) as tx:
        again = await tx.users.get(user.id)
        assert again is not None
        changed = FieldState({"team": "b"}, EARLIER.terms({"team": "b"}))
        again.update(email=again.email, full_name=None, status=again.status, now=tx.now, fields=changed)
        await tx.users.save(again)
        await tx.commit()
    await put(uow, late := written(EARLIER, team="b"))
    assert await which(uow, plan="free") == set()
    assert await lacking(uow, LATER) == ["plan"]
    await job()
    assert await lacking(uow, LATER) == []
    assert await which(uow, plan="free") == await which(uow, team="b") == {user.id, late.id}


async def test_without_a_searchable_field_there_is_no_lease_and_no_declaration(uow: UnitOfWork) -> None:
    await put(uow, written(EARLIER, team="a"))
    job = await process(uow, NO_FIELDS)
    async with job.running():
        assert not job.leader.leads
    [index] = await seen(uow, lambda tx: tx.users.indexes())
    assert index.forms == {}
    assert await which(uow, team="a") != set()


async def test_users_who_are_written_meanwhile_are_found_by_their_last_values(uow: UnitOfWork) -> None:
    users = [written(EARLIER, team="a", plan="old") for _ in range(20)]
    await put(uow, *users)
    job = await leading(uow, LATER)

    async def change(user: User, fields: UserFields) -> None:
        async with uow.begin(SYSTEM) as tx:
            again = await tx.users.get(user.id)
            assert again is not None
            values = {"team": "b", "plan": "new"}
            again.update(
                email=again.email,
                full_name=None,
                status=again.status,
                now=tx.now,
                fields=FieldState(values, fields.terms(values)),
            )
            await tx.users.save(again)
            await tx.commit()

    writers = [change(user, (EARLIER, LATER)[place % 2]) for place, user in enumerate(users)]
    failed = [error for error in await race([job(), *writers]) if error is not None]
    assert failed == []
    await job()
    assert await lacking(uow, LATER) == []
    assert await which(uow, plan="new") == await which(uow, team="b") == {user.id for user in users}
    assert await which(uow, plan="old") == await which(uow, team="a") == set()
