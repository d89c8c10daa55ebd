"""Calls that end what their token rests on, made again with a token whose session has ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.http.kit import Service, assert_problem, bearer
from tests.integration.http.routes import ROUTES, Route
from ubr.application.ports.revocation import WorkerId
from ubr.application.revocation.follow_revocations import FollowRevocationsCommand
from ubr.application.sessions.log_out import LogOut
from ubr.application.sessions.revoke_other_sessions import RevokeOtherSessions
from ubr.application.sessions.revoke_session import RevokeSession
from ubr.application.sessions.revoke_user_sessions import RevokeUserSessions
from ubr.domain.actor import SYSTEM
from ubr.domain.revocation.changes import ChangeRecord

ENDING = [route for route in ROUTES if route.operation.ending]


def test_these_are_all() -> None:
    assert {route.operation.use_case for route in ENDING} == {
        LogOut,
        RevokeSession,
        RevokeOtherSessions,
        RevokeUserSessions,
    }


@pytest.mark.parametrize("route", ENDING, ids=lambda route: route.operation.name)
async def test_the_denial_waits_until_the_end_holds_everywhere(
    service: Service, route: Route, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for the record of the first call, although this worker knew already, and writes none itself."""
    assert service.ubr is not None
    acknowledged: list[str] = []

    async def deliver(_epoch: str, rows: Sequence[ChangeRecord], _to: frozenset[WorkerId]) -> bool:
        acknowledged.extend(row.change.id for row in rows)
        return True

    monkeypatch.setattr(service.ubr.follow_revocations.notifier, "deliver", deliver)
    await service.ubr.follow_revocations(FollowRevocationsCommand(verifier=uuid4()), actor=SYSTEM)
    await service.register("reader@example.org")
    tokens = await service.logged_in("reader@example.org")
    assert (await service.client.post("/api/auth/logout", headers=bearer(tokens))).status_code == 204
    feed: Any = service.ubr.follow_revocations.feed
    rows = len(feed.store.feed)
    path = route.path(user_id=tokens["user"]["id"], session_id=tokens["session_id"])
    acknowledged.clear()

    answer = await service.client.request(route.method, path, headers=bearer(tokens))

    assert assert_problem(answer, 401)["type"] == "/problems/invalid-token"
    assert acknowledged == [tokens["session_id"]]
    assert len(feed.store.feed) == rows


async def test_any_other_refusal_costs_nothing(service: Service) -> None:
    await service.register("reader@example.org")
    tokens = await service.logged_in("reader@example.org")
    await service.client.post("/api/auth/logout", headers=bearer(tokens))
    assert service.ubr is not None
    feed: Any = service.ubr.follow_revocations.feed
    rows = len(feed.store.feed)
    for method, path in (("GET", "/api/users/me"), ("DELETE", f"/api/users/{tokens['user']['id']}")):
        assert_problem(await service.client.request(method, path, headers=bearer(tokens)), 401)
    assert len(feed.store.feed) == rows
