"""Rights that were written into the database: `VerifyLog` compares administrators and keys with their entries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Executable, delete, insert, update

from tests.integration.http.kit import migrated_file
from tests.support.people import World
from tests.support.plugin import NewDatabase
from ubr import SYSTEM, Settings, connect
from ubr.adapters.sql import make_engine
from ubr.adapters.sql.tables import roles, signing_keys, user_roles
from ubr.application.audit.prune_log import PruneLogCommand
from ubr.application.audit.verify_log import VerifiedLogResult, VerifyLogCommand
from ubr.application.keys.revoke_signing_key import RevokeSigningKeyCommand
from ubr.application.roles.assign_role import AssignRoleCommand
from ubr.application.roles.unassign_role import UnassignRoleCommand
from ubr.application.roles.update_role import RoleChanges, UpdateRoleCommand
from ubr.domain.roles.role import ADMIN_ROLE_ID
from ubr.testing import TINY_HASHING, MovableClock

pytestmark = [pytest.mark.anyio, pytest.mark.system]


@dataclass
class Place:
    """An installation, and its database in reach of SQL."""

    world: World
    clock: MovableClock
    url: str

    async def tamper(self, *acts: Executable) -> None:
        engine = make_engine(self.url)
        async with engine.begin() as connection:
            for act in acts:
                await connection.execute(act)
        await engine.dispose()

    async def verify(self) -> VerifiedLogResult:
        await self.world.ubr.get_checkpoint(actor=SYSTEM)
        return await self.world.ubr.verify_log(VerifyLogCommand(), actor=SYSTEM)

    async def finding(self) -> str:
        return (await self.verify()).finding or ""

    def grant(self, user_id: Any, **changes: Any) -> Executable:
        row = {"user_id": user_id, "role_id": ADMIN_ROLE_ID, "granted_at": self.clock(), **changes}
        return insert(user_roles).values(**row)


@pytest.fixture(params=["sqlite", "postgresql"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    if request.param == "sqlite":
        (tmp_path / "ubr.db").write_bytes(migrated_file())
        url = f"sqlite+aiosqlite:///{tmp_path / 'ubr.db'}"
    else:
        new_database: NewDatabase = request.getfixturevalue("new_database")
        url = new_database()
    clock = MovableClock()
    async with connect(Settings.memory(**TINY_HASHING, database_url=url), clock=clock) as ubr:
        yield Place(World(ubr, clock), clock, url)


async def test_rights_that_were_given_by_acts_are_explained(place: Place) -> None:
    world = place.world
    admin, member = await world.admin(), await world.user()
    await world.role("*", name="owners")
    ends = place.clock() + timedelta(days=9)
    await world.ubr.assign_role(AssignRoleCommand(user_id=member.id, role="owners", expires_at=ends), actor=SYSTEM)
    other = await world.role(name="helpers")
    changes = RoleChanges(permissions=["*"])
    await world.ubr.update_role(UpdateRoleCommand(role_id=other.id, changes=changes), actor=SYSTEM)
    for again in (False, True):
        await world.ubr.assign_role(AssignRoleCommand(user_id=admin.id, role="helpers"), actor=SYSTEM)
        if not again:
            await world.ubr.unassign_role(UnassignRoleCommand(user_id=admin.id, role="helpers"), actor=SYSTEM)
    old = (await world.ubr.list_signing_keys(actor=SYSTEM))[0].kid
    await world.ubr.revoke_signing_key(RevokeSigningKeyCommand(kid=old), actor=SYSTEM)
    found = await place.verify()
    assert (found.finding, found.unexplained) == (None, ())


async def test_an_administrator_without_an_entry_is_found(place: Place) -> None:
    member = await place.world.user()
    await place.tamper(place.grant(member.id))
    assert await place.finding() == (
        f"User {member.id} holds the role admin, which may do everything: the log has no entry that assigns it. "
        f"The {(await place.verify()).size} signed entries match"
    )


async def test_a_grant_that_was_removed_or_prolonged_is_found(place: Place) -> None:
    member = await place.world.user()
    ends = place.clock() + timedelta(hours=1)
    command = AssignRoleCommand(user_id=member.id, role="admin", expires_at=ends)
    await place.world.ubr.assign_role(command, actor=SYSTEM)
    mine = (user_roles.c.user_id == member.id, user_roles.c.role_id == ADMIN_ROLE_ID)
    await place.tamper(update(user_roles).where(*mine).values(expires_at=None))
    assert "its end is not the one in the log" in await place.finding()
    await place.tamper(update(user_roles).where(*mine).values(expires_at=ends))
    assert await place.finding() == ""
    place.clock.move(seconds=1)
    await place.world.admin()
    await place.world.ubr.unassign_role(UnassignRoleCommand(user_id=member.id, role="admin"), actor=SYSTEM)
    await place.tamper(place.grant(member.id, expires_at=ends))
    assert "the last entry about it removes it" in await place.finding()


async def test_a_role_that_became_all_powerful_without_an_entry_is_found(place: Place) -> None:
    role = await place.world.role(name="helpers")
    powerful = update(roles).where(roles.c.id == role.id).values(permissions=["*"])
    await place.tamper(powerful)
    assert (await place.finding()).startswith("The role helpers may do everything: the log gives it other permissions")
    await place.tamper(delete(roles).where(roles.c.id == role.id))
    unknown = {"id": role.id, "name": "ghosts", "permissions": ["*"], "version": 1}
    await place.tamper(insert(roles).values(**unknown, created_at=place.clock(), updated_at=place.clock()))
    assert "The role ghosts may do everything" in await place.finding()


async def test_a_signing_key_that_differs_from_its_entries_is_found(place: Place) -> None:
    old = (await place.world.ubr.list_signing_keys(actor=SYSTEM))[0].kid
    new = (await place.world.ubr.revoke_signing_key(RevokeSigningKeyCommand(kid=old), actor=SYSTEM)).kid
    await place.tamper(update(signing_keys).where(signing_keys.c.kid == old).values(revoked_at=None))
    assert (await place.finding()).startswith(f"The database denies that the signing key {old} was revoked")
    await place.tamper(
        delete(signing_keys).where(signing_keys.c.kid == old),
        update(signing_keys).where(signing_keys.c.kid == new).values(kid="unknown"),
    )
    assert (await place.finding()).startswith("The log has no entry of the creation of the signing key unknown")


async def test_an_entry_that_may_have_been_pruned_is_named_and_no_finding(place: Place) -> None:
    admin = await place.world.admin()
    place.clock.move(seconds=3600)
    await place.world.ubr.get_checkpoint(actor=SYSTEM)
    before = place.clock()
    await place.world.ubr.prune_log(PruneLogCommand(before=before, force=True), actor=SYSTEM)
    found = await place.verify()
    assert found.finding is None
    assert any(f"User {admin.id} holds the role admin" in sentence for sentence in found.unexplained)
    late = await place.world.user()
    await place.tamper(place.grant(late.id))
    assert f"User {late.id} holds the role admin" in await place.finding()
