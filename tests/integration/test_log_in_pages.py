"""Verifying and exporting the log reads page by page: no snapshot is held, and the log may change meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace as replace_fields
from sqlalchemy import Select

from tests.support.people import PASSWORD
from tests.support.values import replace
from ubr import (
    SYSTEM,
    Application,
    CreateRoleCommand,
    EraseUserCommand,
    Origin,
    RegisterUserCommand,
    RoleChanges,
    UpdateRoleCommand,
    calling_from,
)
from ubr.adapters.security.system import utc_now
from ubr.adapters.sql.audit import entries as log_entries
from ubr.application.audit import export_log, verify_log
from ubr.application.audit.list_logs import ListLogsCommand
from ubr.application.audit.prune_log import PruneLogCommand
from ubr.application.audit.verify_log import VerifyLogCommand
from ubr.application.ports.unit_of_work import Repositories, Transaction, UnitOfWork
from ubr.audit_verifier import check_export
from ubr.bootstrap import Environment
from ubr.domain.actor import Actor, System
from ubr.domain.audit.entry import LogEntry
from ubr.domain.audit.log_check import Tampered
from ubr.domain.errors import LogPrunedMeanwhile

pytestmark = pytest.mark.anyio

PAGE = 4
FILLED = 20


@dataclass(slots=True)
class Interrupted:
    """Units of work that read one after the other; something happens before one of them."""

    inner: UnitOfWork
    before: int
    happen: Callable[[], Awaitable[object]]
    reads: int = 0
    open: int = 0

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Transaction]:
        assert self.open == 0, "a snapshot is held while another page is read"
        self.reads += 1
        if self.reads == self.before:
            await self.happen()
        self.open += 1
        async with self.inner.read() as tx:
            yield tx
        self.open -= 1

    def peek(self) -> AbstractAsyncContextManager[Repositories]:
        return self.inner.peek()

    def autocommit(self) -> AbstractAsyncContextManager[Repositories]:
        return self.inner.autocommit()

    def begin(self, actor: Actor | System | None) -> AbstractAsyncContextManager[Transaction]:
        return self.inner.begin(actor)


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (verify_log, export_log):
        monkeypatch.setattr(module, "PAGE", PAGE)
    monkeypatch.setattr(verify_log, "ENTRIES", PAGE)


async def fill(ubr: Application, word: str) -> None:
    for number in range(FILLED):
        await ubr.create_role(CreateRoleCommand(name=f"{word}-{number}"), actor=SYSTEM)
    await ubr.get_checkpoint(actor=SYSTEM)


async def prune(ubr: Application) -> int:
    return (await ubr.prune_log(PruneLogCommand(before=utc_now(), force=True), actor=SYSTEM)).entries


async def test_a_log_that_grows_and_is_pruned_while_it_is_verified_verifies(each_environment: Environment) -> None:
    ubr = each_environment.application
    await fill(ubr, "before")

    async def happen() -> None:
        assert await prune(ubr) > FILLED
        await fill(ubr, "meanwhile")

    units = Interrupted(each_environment.janitor.unit_of_work, 4, happen)
    told: list[tuple[int, int]] = []
    verify = replace(ubr.verify_log, unit_of_work=units)
    found = await verify(VerifyLogCommand(), actor=SYSTEM, progress=lambda *at: told.append(at))
    assert found.finding is None
    assert found.size > 2 * FILLED
    assert found.pruned > FILLED
    assert units.reads > found.size // PAGE
    assert told[0][0] == PAGE
    assert all(done <= of for done, of in told)
    again = await ubr.verify_log(VerifyLogCommand(), actor=SYSTEM)
    assert (again.finding, again.pruned) == (None, found.pruned)


async def test_an_export_of_a_log_that_grows_is_of_one_size(each_environment: Environment) -> None:
    ubr, lines = each_environment.application, list[str]()
    await fill(ubr, "before")
    units = Interrupted(each_environment.janitor.unit_of_work, 3, lambda: fill(ubr, "meanwhile"))
    result = await replace(ubr.export_log, unit_of_work=units)(lines.append, actor=SYSTEM)
    checked = check_export(lines)
    assert checked.size == result.size < 2 * FILLED


async def test_an_export_of_a_log_that_is_pruned_meanwhile_fails(each_environment: Environment) -> None:
    ubr, lines = each_environment.application, list[str]()
    await fill(ubr, "before")
    units = Interrupted(each_environment.janitor.unit_of_work, 3, lambda: prune(ubr))
    with pytest.raises(LogPrunedMeanwhile):
        await replace(ubr.export_log, unit_of_work=units)(lines.append, actor=SYSTEM)
    lines.clear()
    await ubr.export_log(lines.append, actor=SYSTEM)
    assert check_export(lines).pruned > FILLED, "an export after the pruning is whole"
    invented = lines[1].replace('"entry":null', '"entry":null,"client_ip":{"ip":"192.0.2.1","salt":"00"}')
    assert invented != lines[1]
    with pytest.raises(Tampered, match="in place of entry 0 cannot be read"):
        check_export([lines[0], invented, *lines[2:]])


async def test_no_entry_is_in_two_pages_of_a_search_that_stops_early(
    each_environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries that come between the statements of a page do not move the place at which it stops."""
    monkeypatch.setattr(log_entries, "AHEAD", 4)
    ubr = each_environment.application
    role = await ubr.create_role(CreateRoleCommand(name="sought"), actor=SYSTEM)

    async def describe(*texts: str) -> None:
        for text in texts:
            changes = RoleChanges(description=text)
            await ubr.update_role(UpdateRoleCommand(role_id=role.id, changes=changes), actor=SYSTEM)

    await describe("one", "two", "three")
    entries = log_entries.SqlLogs._entries  # noqa: SLF001 - the first statement of a page
    left = 1

    async def interrupted(logs: log_entries.SqlLogs, statement: Select[Any]) -> list[LogEntry]:
        nonlocal left
        found = await entries(logs, statement)
        if left:
            left -= 1
            await describe("four", "five", "six")
        return found

    monkeypatch.setattr(log_entries.SqlLogs, "_entries", interrupted)
    found: list[UUID] = []
    command = ListLogsCommand(action="role.created", target_id=str(role.id), limit=2)
    while True:
        page = await ubr.list_logs(command, actor=SYSTEM)
        found += [entry.id for entry in page.items]
        if page.next_cursor is None:
            break
        command = replace_fields(command, cursor=page.next_cursor)
    assert len(found) == 1


async def test_an_action_is_not_searched_for_at_a_level_that_it_never_has(
    each_environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search would stop early among so many entries, and leave a cursor."""
    monkeypatch.setattr(log_entries, "AHEAD", 4)
    ubr = each_environment.application
    for number in range(6):
        await ubr.create_role(CreateRoleCommand(name=f"role-{number}"), actor=SYSTEM)
    page = await ubr.list_logs(ListLogsCommand(action="role.created", level="warning"), actor=SYSTEM)
    assert (page.items, page.next_cursor) == ([], None)
    page = await ubr.list_logs(ListLogsCommand(action="role.created", level="info", limit=6), actor=SYSTEM)
    assert len(page.items) == 6, "without the level, which is the action's, an index has them"


async def registered(ubr: Application) -> UUID:
    with calling_from(Origin(ip="192.0.2.1")):
        command = RegisterUserCommand(email="ada@example.org", password=PASSWORD)
        return (await ubr.register_user(command, actor=SYSTEM)).id


@pytest.mark.system
async def test_a_log_in_which_a_user_is_erased_while_it_is_verified_verifies(each_environment: Environment) -> None:
    ubr = each_environment.application
    await fill(ubr, "before")
    user_id = await registered(ubr)
    await fill(ubr, "after")
    reads = []

    async def happen() -> None:
        reads.append(await ubr.erase_user(EraseUserCommand(user_id=user_id), actor=SYSTEM))

    units = Interrupted(each_environment.janitor.unit_of_work, 3, happen)
    found = await replace(ubr.verify_log, unit_of_work=units)(VerifyLogCommand(), actor=SYSTEM)
    assert (found.finding, [result.entries > 0 for result in reads]) == (None, [True])


@pytest.mark.system
async def test_an_export_during_which_a_user_is_erased_fails(each_environment: Environment) -> None:
    ubr, lines = each_environment.application, list[str]()
    await fill(ubr, "before")
    user_id = await registered(ubr)
    await fill(ubr, "after")
    erasing = EraseUserCommand(user_id=user_id)
    units = Interrupted(each_environment.janitor.unit_of_work, 3, lambda: ubr.erase_user(erasing, actor=SYSTEM))
    with pytest.raises(LogPrunedMeanwhile):
        await replace(ubr.export_log, unit_of_work=units)(lines.append, actor=SYSTEM)
    lines.clear()
    await ubr.export_log(lines.append, actor=SYSTEM)
    assert check_export(lines).size > 2 * FILLED, "an export after the erasure is whole"
    assert "192.0.2.1" not in "".join(lines)
