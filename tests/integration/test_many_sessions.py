"""A user with thousands of live sessions, as a lowered maximum leaves them, can log in and end them all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.people import PASSWORD
from ubr import (
    SYSTEM,
    CreateUserCommand,
    ListSessionsCommand,
    LogInCommand,
    RevokeUserSessionsCommand,
    Settings,
)
from ubr.adapters.sql.migrations import upgrade
from ubr.application.sessions.log_in import MAX_EVICTED
from ubr.bootstrap import Environment, open_environment
from ubr.domain.ids import SessionId, UserId
from ubr.domain.sessions.session import Session
from ubr.testing import TINY_HASHING

pytestmark = pytest.mark.anyio

MANY = 3000
CAP = 50
EMAIL = "user@example.org"


@pytest.fixture(params=["memory", *(pytest.param(name, marks=pytest.mark.system) for name in ("sqlite", "postgresql"))])
async def environment(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Environment]:
    settings = Settings.memory(**TINY_HASHING, sessions_per_user=CAP)
    if request.param == "sqlite":
        settings = replace(settings, database_url=f"sqlite+aiosqlite:///{tmp_path / 'ubr.db'}")
        await upgrade(settings.database_url)
    elif request.param == "postgresql":
        settings = replace(settings, database_url=request.getfixturevalue("new_database")())
    async with open_environment(settings) as made:
        yield made


async def test_a_user_with_thousands_of_sessions_logs_in_and_ends_them_all(environment: Environment) -> None:
    ubr, uow = environment.application, environment.janitor.unit_of_work
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
