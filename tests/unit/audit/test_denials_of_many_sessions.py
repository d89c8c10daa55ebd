"""Denials are written per user, however many sessions the user has."""

from __future__ import annotations

from contextlib import suppress

from tests.support.people import World
from ubr.application.accounts.list_users import ListUsersCommand
from ubr.application.audit.list_logs import ListLogsCommand
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import Forbidden


async def test_a_user_s_denials_of_one_kind_are_one_entry_at_once_over_all_sessions(world: World) -> None:
    member = await world.user()
    for _ in range(10):
        session = await world.logged_in(member.email)
        with suppress(Forbidden):
            await world.ubr.list_users(ListUsersCommand(), actor=session.actor)
    found = await world.ubr.list_logs(ListLogsCommand(action="act.refused"), actor=SYSTEM)
    assert len(found.items) == 1
