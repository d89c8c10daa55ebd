"""The number of messages and units with which each use case uses PostgreSQL, without rate limits.

The numbers are exact, so that a change of them is a decision.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import uuid4

import pytest
from sqlalchemy import event

from tests.support.papers import table
from tests.support.people import NO_LIMITS, PASSWORD
from tests.support.plugin import NewDatabase
from ubr import (
    SYSTEM,
    Actor,
    Application,
    ChangePasswordCommand,
    CreateMachineCommand,
    CreateMachineKeyCommand,
    GetUserCommand,
    IssueAccessTokenCommand,
    KeyToCreate,
    ListLogsCommand,
    ListRolesCommand,
    ListSessionsCommand,
    ListUserRolesCommand,
    ListUsersCommand,
    LogInBrowserCommand,
    LogInCommand,
    LogInMachineCommand,
    RefreshSessionCommand,
    RegisterUserCommand,
    Settings,
    connect,
)
from ubr.domain.errors import InvalidClient
from ubr.domain.ids import MachineKeyId
from ubr.domain.machines.key_text import key_text
from ubr.testing import TINY_HASHING

pytestmark = pytest.mark.anyio

OTHER = PASSWORD + " again"


@dataclass
class House:
    ubr: Application
    actor: Actor
    refresh_token: str
    cookie: str


Act: TypeAlias = Callable[[House], Awaitable[object]]

BUDGETS: dict[str, tuple[int, int, Act]] = {
    "authenticated read of oneself": (0, 0, lambda it: it.ubr.get_me(actor=it.actor)),
    "authentication by a cookie": (0, 0, lambda it: it.ubr.authenticate_cookie(it.cookie)),
    "another user": (2, 0, lambda it: it.ubr.get_user(GetUserCommand(user_id=it.actor.user_id), actor=SYSTEM)),
    "first page of users": (1, 0, lambda it: it.ubr.list_users(ListUsersCommand(), actor=SYSTEM)),
    "roles": (1, 0, lambda it: it.ubr.list_roles(ListRolesCommand(), actor=SYSTEM)),
    "a user's roles": (
        2,
        0,
        lambda it: it.ubr.list_user_roles(ListUserRolesCommand(user_id=it.actor.user_id), actor=SYSTEM),
    ),
    "a user's sessions": (
        2,
        0,
        lambda it: it.ubr.list_sessions(ListSessionsCommand(user_id=it.actor.user_id), actor=SYSTEM),
    ),
    "logs": (5, 1, lambda it: it.ubr.list_logs(ListLogsCommand(), actor=SYSTEM)),
    "login": (10, 1, lambda it: it.ubr.log_in(LogInCommand(email="user0@example.org", password=PASSWORD))),
    "login of a browser": (
        9,
        1,
        lambda it: it.ubr.log_in_browser(LogInBrowserCommand(email="user0@example.org", password=PASSWORD)),
    ),
    "token for a page": (5, 1, lambda it: it.ubr.issue_access_token(IssueAccessTokenCommand(cookie=it.cookie))),
    "refresh": (
        11,
        1,
        lambda it: it.ubr.refresh_session(RefreshSessionCommand(refresh_token=it.refresh_token)),
    ),
    "registration": (
        10,
        1,
        lambda it: it.ubr.register_user(RegisterUserCommand(email=f"{uuid4().hex}@example.org", password=PASSWORD)),
    ),
    "change of password": (
        13,
        1,
        lambda it: it.ubr.change_password(
            ChangePasswordCommand(current_password=PASSWORD, new_password=OTHER), actor=it.actor
        ),
    ),
    "log-out": (9, 1, lambda it: it.ubr.log_out(actor=it.actor)),
}


@pytest.fixture
async def house(new_database: NewDatabase) -> AsyncIterator[House]:
    settings = Settings.memory(database_url=new_database(), migrate="check", login_rate_limit=NO_LIMITS, **TINY_HASHING)
    async with connect(settings) as ubr:
        await ubr.register_user(RegisterUserCommand(email="user0@example.org", password=PASSWORD))
        tokens = await ubr.log_in(LogInCommand(email="user0@example.org", password=PASSWORD))
        browser = await ubr.log_in_browser(LogInBrowserCommand(email="user0@example.org", password=PASSWORD))
        await ubr.authenticate_cookie(browser.cookie.value)
        yield House(ubr, await ubr.authenticate(tokens.access_token), tokens.refresh_token, browser.cookie.value)


@contextmanager
def counting(ubr: Application) -> Iterator[list[str]]:
    """Collects the statements of the use cases. Those of background jobs have other connections."""
    units: Any = ubr.list_users.unit_of_work
    engine = units.read.__self__._engine  # noqa: SLF001 - there is no other way to its connections
    sent: list[str] = []

    def logged(query: Any) -> None:
        sent.append(query.query)

    def taken(connection: Any, *_: object) -> None:
        connection.driver_connection.add_query_logger(logged)

    event.listen(engine.sync_engine, "checkout", taken)
    try:
        yield sent
    finally:
        event.remove(engine.sync_engine, "checkout", taken)


@pytest.mark.parametrize("name", BUDGETS)
async def test_a_use_case_sends_as_many_messages_as_its_budget(house: House, name: str) -> None:
    messages, units, act = BUDGETS[name]
    await house.ubr.list_roles(ListRolesCommand(), actor=SYSTEM)
    with counting(house.ubr) as sent:
        await act(house)
        await asyncio.sleep(0)  # asyncpg reports a message in the next step of the loop
        found = [*sent]
    assert (len(found), sum(text.startswith("BEGIN") for text in found)) == (messages, units), "\n".join(found)


async def test_a_wrong_text_for_a_key_sends_the_messages_of_one_for_no_key(house: House) -> None:
    """Otherwise the time of the answer would tell whether a key exists."""
    machine = await house.ubr.create_machine(CreateMachineCommand(name="report"), actor=SYSTEM)
    key = KeyToCreate(name="a key")
    made = await house.ubr.create_machine_key(CreateMachineKeyCommand(machine_id=machine.id, key=key), actor=SYSTEM)
    found = []
    for key_id in (made.key.id, uuid4()):
        text = key_text(MachineKeyId(key_id), bytes(32))
        with counting(house.ubr) as sent:
            with pytest.raises(InvalidClient):
                await house.ubr.log_in_machine(LogInMachineCommand(client_secret=text))
            await asyncio.sleep(0)
            found.append([*sent])
    assert found[0] == found[1]


def test_the_page_about_performance_has_these_numbers() -> None:
    expected = [[name, str(messages), str(units)] for name, (messages, units, _) in BUDGETS.items()]
    assert table("docs/performance.md", "use case") == expected
