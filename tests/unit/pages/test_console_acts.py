"""The acts of the console, and what their questions look up."""

from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

import pytest

from ubr.application.kernel.representations import UserResult
from ubr.domain.accounts.user import UserStatus
from ubr.entrypoints.http.pages.console import machines, user

NOW = datetime(2026, 2, 1, tzinfo=UTC)
SOMEBODY = UserResult(
    id=UUID(int=1),
    email="somebody@example.org",
    full_name=None,
    status=UserStatus.ACTIVE,
    email_verified=True,
    roles=["user"],
    created_at=NOW,
    updated_at=NOW,
)


@pytest.mark.parametrize("acts", [user.ACTS, machines.ACTS])
def test_sessions_are_counted_for_the_acts_that_name_their_number_and_for_no_other(
    acts: Mapping[str, user.UserAct | machines.MachineAct],
) -> None:
    for name, act in acts.items():
        known, unknown = [_told(act, sessions) for sessions in ("3 sessions", None)]
        assert act.names_sessions == (known != unknown), name


def _told(act: user.UserAct | machines.MachineAct, sessions: str | None) -> list[str]:
    if isinstance(act, machines.MachineAct):
        return act.tells(sessions)
    return act.tells(user.Subject(SOMEBODY, sessions, {"role": "editor"}))
