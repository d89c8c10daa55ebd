"""A commit that returns has stored everything that the unit wrote, also after an error that its caller passed over."""

from __future__ import annotations

from contextlib import suppress

import pytest

from tests.contracts.kit import new_role, new_session, new_user, put
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import RoleNameTaken

pytestmark = pytest.mark.anyio


async def test_it_does_not_report_what_the_database_rolled_back(uow: UnitOfWork) -> None:
    user, role = new_user(), new_role()
    await put(uow, user, role)
    session = new_session(user)
    session.events.clear()
    again = new_role()
    again.name = role.name
    reported = False
    with suppress(Exception):
        async with uow.begin(SYSTEM) as tx:
            await tx.sessions.add(session)
            with suppress(RoleNameTaken):
                await tx.roles.add(again)
            await tx.commit()
            reported = True
    async with uow.read() as tx:
        assert (await tx.sessions.get(session.id) is not None) == reported
