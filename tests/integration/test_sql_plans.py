"""Every question that is asked of a table that grows is answered by an index."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import event

from tests.contracts.kit import NOON, MovableClock, email
from ubr.adapters.sql import SqlUnitOfWork, make_engine
from ubr.adapters.sql.migrations import upgrade
from ubr.application.actor import SYSTEM
from ubr.application.ports.repositories import After, LogFilter, UserFilter
from ubr.application.recording import Recorder
from ubr.domain.user import UserStatus
from ubr.domain.values import RoleName, SessionId, TokenDigest, UserId

pytestmark = pytest.mark.anyio


BATCHES = {"SCAN expired", "SCAN sealed"}
"""What a statement has found itself before."""


async def test_no_question_reads_a_whole_table_or_sorts_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ubr.db'}"
    await upgrade(url)
    engine = make_engine(url, durable=False)
    asked: dict[str, Any] = {}

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def remember(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        if not statement.startswith("BEGIN"):
            asked[statement] = parameters

    user_id, behind = UserId(uuid4()), After(NOON, uuid4())
    async with SqlUnitOfWork(engine, Recorder(uuid4, os.urandom), MovableClock()).begin(SYSTEM) as tx:
        await tx.users.get(user_id)
        await tx.users.by_email(email("somebody"))
        await tx.users.another_admin_stays(user_id)
        await tx.users.page(UserFilter(sort="created_at", now=NOON), behind, 50)
        await tx.users.page(UserFilter(sort="-created_at", now=NOON), behind, 50)
        await tx.users.page(UserFilter(sort="email", now=NOON), After("a", uuid4()), 50)
        await tx.users.page(UserFilter(sort="-email", now=NOON), After("a", uuid4()), 50)
        await tx.users.page(UserFilter(role=RoleName("r"), status=UserStatus.ACTIVE, now=NOON), behind, 50)
        await tx.roles.page(behind, 50)
        await tx.sessions.live_of(user_id, NOON)
        await tx.sessions.page(user_id, NOON, behind, 50)
        await tx.sessions.forget(NOON, 100)
        digest = TokenDigest(bytes(32))
        await tx.refresh_tokens.get(digest)
        await tx.refresh_tokens.spend(digest, successor=b"", now=NOON)
        await tx.refresh_tokens.forget_successors(NOON, 100)
        await tx.refresh_tokens.forget(NOON, 100)
        await tx.principals.get(SessionId(uuid4()))
        for which in (
            LogFilter(),
            LogFilter(level="warning"),
            LogFilter(action="user.created"),
            LogFilter(actor_id=user_id),
            LogFilter(target_id="x"),
            LogFilter(since=NOON, until=NOON + timedelta(days=1)),
        ):
            await tx.logs.page(which, behind, 50)
    assert len(asked) > 20
    questions = list(asked.items())
    async with engine.connect() as connection:
        for statement, parameters in questions:
            plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            steps = [str(step.detail) for step in plan]
            assert not [step for step in steps if step.startswith("SCAN ") and step not in BATCHES], statement
            # Only a principal's few roles are put in order when they are read.
            assert "LEFT OUTER JOIN roles" in statement or not [step for step in steps if "B-TREE" in step], statement
    await engine.dispose()
