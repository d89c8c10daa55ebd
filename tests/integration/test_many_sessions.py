"""A user with thousands of live sessions, as a lowered maximum leaves them, can log in and end them all."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.support.people import PASSWORD
from ubr import (
    SYSTEM,
    CreateUserCommand,
    ListSessionsCommand,
    LogInCommand,
    RevokeUserSessionsCommand,
)
from ubr.application.sessions.new_session import MAX_EVICTED
from ubr.bootstrap import Environment
from ubr.domain.ids import SessionId, UserId
from ubr.domain.sessions.session import Session

pytestmark = pytest.mark.anyio

MANY = 3000
EMAIL = "user@example.org"


async def test_a_user_with_thousands_of_sessions_logs_in_and_ends_them_all(each_environment: Environment) -> None:
    ubr, uow = each_environment.application, each_environment.janitor.unit_of_work
    user_id = (await ubr.create_user(CreateUserCommand(email=EMAIL, password=PASSWORD), actor=SYSTEM)).id
    async with uow.begin(SYSTEM) as tx:
        for _ in range(MANY):
            session = Session.open(
                id=SessionId(uuid4()),
                user_id=UserId(user_id),
                limits=ubr.log_in.policy.sessions,
                ip=None,
                user_agent=None,
                now=tx.now,
            )
            session.events.clear()
            await tx.sessions.add(session)
        await tx.commit()

    async def live() -> int:
        async with uow.read() as tx:
            return len(await tx.sessions.page(UserId(user_id), tx.now, None, 2 * MANY))

    assert await live() == MANY
    await ubr.log_in(LogInCommand(email=EMAIL, password=PASSWORD))
    assert await live() == MANY - MAX_EVICTED + 1
    assert len((await ubr.list_sessions(ListSessionsCommand(user_id=user_id), actor=SYSTEM)).items) == 50
    await ubr.revoke_user_sessions(RevokeUserSessionsCommand(user_id=user_id), actor=SYSTEM)
    assert await live() == 0
