"""Keys of machines that end on one instance are at their end on the other one: one after the other, and in races.

Real use cases on PostgreSQL. A call that answered an end is the measure: no token and no key is accepted after it.
"""

from __future__ import annotations

import asyncio
import json
from base64 import urlsafe_b64decode
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.support.people import NO_LIMITS
from tests.support.plugin import NewDatabase
from tests.support.races import rounds, two_instances
from ubr import (
    SYSTEM,
    Application,
    CreateMachineCommand,
    CreateMachineKeyCommand,
    CreateRoleCommand,
    DeleteMachineCommand,
    KeyToCreate,
    LogInMachineCommand,
    MachineChanges,
    MachineTokenResult,
    RevokeMachineKeyCommand,
    RotateMachineKeyCommand,
    Settings,
    UnassignRoleCommand,
    UpdateMachineCommand,
)
from ubr.application.machines.rotate_machine_key import KeyRotation
from ubr.domain.accounts.user import UserStatus
from ubr.domain.errors import InvalidClient, InvalidToken
from ubr.domain.ids import MachineKeyId, SessionId
from ubr.domain.revocation.changes import Change
from ubr.testing import TINY_HASHING

pytestmark = pytest.mark.system

OVERLAP = 60
"""Seconds, less than the life of an access token."""


@dataclass(frozen=True)
class Working:
    """A machine that may read users, and a key of it."""

    id: UUID
    key_id: UUID
    key: str

    async def log_in(self, ubr: Application, scope: str | None = None) -> MachineTokenResult:
        return await ubr.log_in_machine(LogInMachineCommand(client_secret=self.key, scope=scope))

    async def is_exchanged(self, ubr: Application) -> bool:
        try:
            await self.log_in(ubr)
        except InvalidClient:
            return False
        return True


Ends = Callable[[Application, Working], Awaitable[object]]


async def revoke(ubr: Application, machine: Working) -> None:
    command = RevokeMachineKeyCommand(machine_id=machine.id, key_id=machine.key_id)
    await ubr.revoke_machine_key(command, actor=SYSTEM)


async def rotate(ubr: Application, machine: Working) -> None:
    await _rotate(ubr, machine, 0)


async def rotate_with_overlap(ubr: Application, machine: Working) -> None:
    await _rotate(ubr, machine, OVERLAP)


async def _rotate(ubr: Application, machine: Working, overlap: int) -> None:
    command = RotateMachineKeyCommand(
        machine_id=machine.id, key_id=machine.key_id, rotation=KeyRotation(overlap=overlap)
    )
    await ubr.rotate_machine_key(command, actor=SYSTEM)


async def disable(ubr: Application, machine: Working) -> None:
    changes = MachineChanges(status=UserStatus.DISABLED)
    await ubr.update_machine(UpdateMachineCommand(machine_id=machine.id, changes=changes), actor=SYSTEM)


async def delete(ubr: Application, machine: Working) -> None:
    await ubr.delete_machine(DeleteMachineCommand(machine_id=machine.id), actor=SYSTEM)


async def take_the_role_away(ubr: Application, machine: Working) -> None:
    await ubr.unassign_role(UnassignRoleCommand(user_id=machine.id, role="reader"), actor=SYSTEM)


CLOSING: list[Ends] = [revoke, rotate, disable, delete]
"""After these, neither the key nor a token of it is accepted."""


def settings(database_url: str, redis_url: str | None) -> Settings:
    return Settings.memory(
        database_url=database_url,
        redis_url=redis_url,
        migrate="check",
        login_rate_limit=NO_LIMITS,
        revocation_poll=timedelta(milliseconds=50),
        revocation_bound=timedelta(seconds=1),
        **TINY_HASHING,
    )


async def working(ubr: Application, name: str) -> Working:
    machine = await ubr.create_machine(CreateMachineCommand(name=name, roles=["reader"]), actor=SYSTEM)
    command = CreateMachineKeyCommand(machine_id=machine.id, key=KeyToCreate(name="production"))
    key = await ubr.create_machine_key(command, actor=SYSTEM)
    return Working(machine.id, key.key.id, key.client_secret)


async def accepted(ubr: Application, token: MachineTokenResult) -> bool:
    try:
        await ubr.authenticate(token.access_token)
    except InvalidToken:
        return False
    return True


async def reads_users(ubr: Application, token: MachineTokenResult) -> bool:
    return await ubr.permits(await ubr.authenticate(token.access_token), "users:read")


def claims(token: MachineTokenResult) -> dict[str, Any]:
    part = token.access_token.split(".")[1]
    found: dict[str, Any] = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


async def is_outdated(ubr: Application, token: MachineTokenResult) -> bool:
    """True if every verifier refuses the token: there is a later change record about its session or its user."""
    known = claims(token)
    about = {Change("session", known["sid"]), Change("user", known["sub"])}
    return any(row.change in about for row in (await ubr.export_user.feed.read(known["ver"])).rows)


@pytest.mark.parametrize("notified", [True, False], ids=["Redis", "polling only"])
async def test_each_end_is_known_to_the_other_instance_when_it_is_answered(
    new_database: NewDatabase, clean_redis_url: str, notified: bool
) -> None:
    known = settings(new_database(), clean_redis_url if notified else None)
    ways = [(0, 1), (1, 0)] if notified else [(0, 1)]  # each end waits for the bound where workers only poll
    async with two_instances(known) as instances:
        await instances[0].create_role(CreateRoleCommand(name="reader", permissions=["users:read"]), actor=SYSTEM)
        for way in ways:
            here, there = (instances[number] for number in way)
            for end in CLOSING:
                machine = await working(here, f"{end.__name__}{way[0]}")
                tokens = [await machine.log_in(ubr, scope) for ubr in (here, there) for scope in (None, "users:read")]
                assert [await accepted(there, token) for token in tokens] == [True] * 4
                await end(here, machine)
                assert [await accepted(there, token) for token in tokens] == [False] * 4, end.__name__
                assert not await machine.is_exchanged(there), end.__name__
            machine = await working(here, f"role{way[0]}")
            token = await machine.log_in(there)
            assert await reads_users(there, token)
            await take_the_role_away(here, machine)
            assert not await reads_users(there, token)
            assert not await reads_users(there, await machine.log_in(there))


@pytest.fixture
def stored(new_database: NewDatabase, clean_redis_url: str) -> Settings:
    return settings(new_database(), clean_redis_url)


async def raced(
    first: Application, second: Application, machine: Working, end: Ends
) -> tuple[list[MachineTokenResult], Counter[str]]:
    """Log in again and again at both instances, in the common session and in new ones, until the end is answered."""
    tokens = [await machine.log_in(second), await machine.log_in(first)]
    told: Counter[str] = Counter()
    ending = asyncio.create_task(_awaited(end(first, machine)))

    async def one(ubr: Application, scope: str | None) -> None:
        while True:
            last = ending.done()
            try:
                tokens.append(await machine.log_in(ubr, scope))
                told["after" if last else "beside"] += 1
            except InvalidClient:
                told["refused"] += 1
            if last:
                return

    await asyncio.gather(ending, *(one(ubr, scope) for ubr in (first, second) for scope in (None, None, "users:read")))
    return tokens, told


async def _awaited(work: Awaitable[object]) -> None:
    await work


@rounds(8, 1_000)
async def test_no_token_outlives_the_end_that_runs_beside_its_login(stored: Settings, rounds: int) -> None:
    async with two_instances(stored) as (first, second):
        await first.create_role(CreateRoleCommand(name="reader", permissions=["users:read"]), actor=SYSTEM)
        all_told: Counter[str] = Counter()
        for number in range(rounds):
            end = CLOSING[number % len(CLOSING)]
            machine = await working(first, f"machine{number}")
            tokens, told = await raced(first, second, machine, end)
            assert told["after"] == 0, end.__name__
            for token in tokens:
                assert [await accepted(ubr, token) for ubr in (first, second)] == [False, False], end.__name__
                assert await is_outdated(first, token), f"a verifier accepts it: {end.__name__}"
            all_told += told
        assert all_told["beside"] > 0
        assert all_told["refused"] > 0


@rounds(3, 300)
async def test_no_token_outlives_the_overlap_of_a_rotation_beside_its_login(stored: Settings, rounds: int) -> None:
    async with two_instances(stored) as (first, second):
        await first.create_role(CreateRoleCommand(name="reader", permissions=["users:read"]), actor=SYSTEM)
        for number in range(rounds):
            machine = await working(first, f"machine{number}")
            tokens, told = await raced(first, second, machine, rotate_with_overlap)
            assert told["after"] > 0
            assert told["refused"] == 0
            async with first.create_role.unit_of_work.read() as tx:
                old = await tx.machine_keys.get(MachineKeyId(machine.key_id))
            assert old is not None
            assert old.expires_at is not None
            for token in tokens:
                ends_in_time = datetime.fromtimestamp(claims(token)["exp"], UTC) <= old.expires_at
                assert ends_in_time or await is_outdated(first, token), "a verifier accepts it after the end of the key"
                async with second.create_role.unit_of_work.read() as tx:
                    principal = await tx.principals.get(SessionId(UUID(claims(token)["sid"])))
                assert principal is not None
                assert principal.session.expires_at <= old.expires_at, "ubr accepts it after the end of the key"


@rounds(3, 300)
async def test_no_token_has_a_permission_that_was_taken_away_beside_its_login(stored: Settings, rounds: int) -> None:
    async with two_instances(stored) as (first, second):
        await first.create_role(CreateRoleCommand(name="reader", permissions=["users:read"]), actor=SYSTEM)
        for number in range(rounds):
            machine = await working(first, f"machine{number}")
            tokens = [await machine.log_in(second)]
            ending = asyncio.create_task(_awaited(take_the_role_away(first, machine)))

            async def one(
                ubr: Application,
                machine: Working = machine,
                ending: asyncio.Task[None] = ending,
                tokens: list[MachineTokenResult] = tokens,
            ) -> None:
                last = False
                while not last:
                    last = ending.done()
                    tokens.append(await machine.log_in(ubr))

            await asyncio.gather(ending, *(one(ubr) for ubr in (first, second) for _ in range(3)))
            outdated = [await is_outdated(first, token) for token in tokens]
            assert set(outdated) == {True, False}, "logins from before and from after"
            for token, old in zip(tokens, outdated, strict=True):
                assert old or not claims(token).get("permissions"), "a verifier permits it"
                assert [await reads_users(ubr, token) for ubr in (first, second)] == [False, False]
