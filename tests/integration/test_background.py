"""A program that connects does the jobs of `ubr serve` only when asked."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from types import CoroutineType

import anyio
import pytest

from tests.integration.http.kit import sqlite_settings
from tests.support.mail import mail_server
from tests.support.people import World
from ubr import SYSTEM, ListLogsCommand, ListUsersCommand, errors
from ubr.bootstrap import connect
from ubr.testing import MovableClock


class Rows:
    """The work that is left in a database file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __call__(self, condition: str) -> int:
        with closing(sqlite3.connect(self._file)) as database:
            return int(database.execute(f"SELECT count(*) FROM {condition}").fetchone()[0])  # noqa: S608

    @property
    def left(self) -> dict[str, bool]:
        return {
            "mails": self("outbox WHERE email = 'another@example.org'") > 0,
            "entries": self("log_queue") > 0,
            "expired": self("sessions") > 0,
        }


def repeated() -> str:
    """The acts that tasks of this event loop repeat."""
    coroutines = [task.get_coro() for task in asyncio.all_tasks()]
    return str(
        [each.cr_frame.f_locals.get("act") for each in coroutines if isinstance(each, CoroutineType) and each.cr_frame]
    )


@pytest.mark.parametrize("background", [False, True])
async def test_a_program_does_all_background_jobs_or_none(tmp_path: Path, background: bool) -> None:
    clock, rows = MovableClock(), Rows(tmp_path / "ubr.db")
    async with mail_server() as server:
        settings = sqlite_settings(
            tmp_path,
            smtp_url=f"smtp://127.0.0.1:{server.port}",
            mail_from="ubr@example.org",
            public_url="https://ubr.example.org",
        )
        async with connect(settings, clock=clock) as ubr:
            world = World(ubr, clock)
            await world.logged_in((await world.register()).email)
        assert rows.left == {"mails": False, "entries": True, "expired": True}
        clock.move(days=200)
        async with connect(settings, clock=clock, background=background) as ubr:
            await World(ubr, clock).register("another@example.org")
            # A mail that is not sent proves little in so short a time; a job that is not there does.
            assert ("DeliverMail" in repeated(), "Janitor" in repeated()) == (background, background)
            with anyio.fail_after(60):
                while background and any(rows.left.values()):  # noqa: ASYNC110 - jobs of other tasks
                    await anyio.sleep(0.02)
        assert rows.left == dict.fromkeys(("mails", "entries", "expired"), not background)
        assert bool(server.received) == background


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("ended", ["error", "cancelled"])
async def test_a_program_that_ends_by_an_error_leaves_nothing_undone(
    tmp_path: Path, background: bool, ended: str
) -> None:
    clock, rows, settings, counted = MovableClock(), Rows(tmp_path / "ubr.db"), sqlite_settings(tmp_path), anyio.Event()

    async def program() -> None:
        async with connect(settings, clock=clock, background=background) as ubr:
            member = await World(ubr, clock).user()
            for _ in range(3):
                with pytest.raises(errors.Forbidden):
                    await ubr.list_users(ListUsersCommand(), actor=member.actor)
            counted.set()
            if ended == "error":
                raise LookupError
            await anyio.sleep_forever()

    task = asyncio.create_task(program())
    with anyio.fail_after(60):
        await counted.wait()
    if ended == "cancelled":
        task.cancel()
    with pytest.raises((LookupError, asyncio.CancelledError)):
        await task
    assert rows("leases") == 0
    async with connect(settings, clock=clock) as ubr:
        refused = await ubr.list_logs(ListLogsCommand(action="act.refused"), actor=SYSTEM)
    assert [each.data["count"] for each in refused.items] == [2, 1]
