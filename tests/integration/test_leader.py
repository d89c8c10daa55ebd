"""Of the processes that connect with background jobs, one does them; another one when that process is killed."""

from __future__ import annotations

import asyncio
import subprocess
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from tests.integration.http.kit import migrated_file
from tests.support.hosts import settings_of, started
from tests.support.mail import MailServer, mail_server
from tests.support.plugin import NewDatabase
from ubr import SYSTEM, Application, CreateUserCommand, connect
from ubr.application.operations.leader import LASTS, NAME

pytestmark = [pytest.mark.anyio, pytest.mark.system]

PATIENCE = 60
"""Seconds: many times the bound of ten, for a machine that is busy."""


@dataclass
class Program:
    process: subprocess.Popen[str]
    worker: str


async def leading(ubr: Application) -> str | None:
    async with ubr.deliver_mail.unit_of_work.peek() as repositories:
        holder = await repositories.leases.holder(NAME, LASTS)
    return None if holder is None else str(holder)


async def leader_of(ubr: Application, programs: list[Program]) -> Program:
    """The one of these programs that does the jobs, once it is one of them."""
    with anyio.fail_after(PATIENCE):
        while True:
            holder = await leading(ubr)
            for program in programs:
                if program.worker == holder:
                    return program
            await anyio.sleep(0.02)


@pytest.mark.system(seconds=20)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_another_process_does_the_jobs_when_the_leader_is_killed(
    kind: str, tmp_path: Path, new_database: NewDatabase
) -> None:
    url = new_database() if kind == "postgresql" else f"sqlite+aiosqlite:///{tmp_path / 'ubr.db'}"
    if kind == "sqlite":
        (tmp_path / "ubr.db").write_bytes(migrated_file())
    async with mail_server() as server:
        mails = {
            "smtp_url": f"smtp://127.0.0.1:{server.port}",
            "mail_from": "ubr@example.org",
            "public_url": "https://ubr.example.org",
        }
        expected: Counter[str] = Counter()

        async def invite(number: int) -> None:
            """Queue a mail, and wait until it is there and the log has no entry outside its tree."""
            email = f"person{number}@example.org"
            await ubr.create_user(CreateUserCommand(email=email), actor=SYSTEM)
            expected[email] += 1
            with anyio.fail_after(PATIENCE):
                while email not in received_by(server) or await is_waiting(ubr):  # noqa: ASYNC110 - of other processes
                    await anyio.sleep(0.02)

        with ExitStack() as stack:
            processes = [stack.enter_context(started("background", url=url, **mails)) for _ in range(2)]
            programs = [Program(each, (await asyncio.to_thread(line_of, each)).strip()) for each in processes]
            async with connect(settings_of(url, **mails)) as ubr:
                first = await leader_of(ubr, programs)
                await invite(1)
                assert await leading(ubr) == first.worker
                first.process.kill()
                [last] = [each for each in programs if each is not first]
                await invite(2)
                assert await leader_of(ubr, programs) is last
                await asyncio.to_thread(last.process.communicate, "")
                assert await leading(ubr) is None, "a program that ends gives the lease back"
    assert received_by(server) == expected


def received_by(server: MailServer) -> Counter[str]:
    return Counter(recipient for mail in server.received for recipient in mail.recipients)


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


async def is_waiting(ubr: Application) -> bool:
    async with ubr.deliver_mail.unit_of_work.peek() as repositories:
        return await repositories.log_tree.anything_waiting()
