"""The blocking face, as Django, Celery and scripts use it."""

from __future__ import annotations

import asyncio
import locale
import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import pytest

from ubr import (
    SYSTEM,
    CreateUserCommand,
    ListLogsCommand,
    ListUsersCommand,
    LogInCommand,
    Origin,
    RegisterUserCommand,
    Settings,
    WrongEventLoop,
    calling_from,
    errors,
    sync,
)
from ubr.application.app import UseCases
from ubr.testing import TINY_HASHING

PASSWORD = "a long enough password"
SETTINGS = Settings.memory(**TINY_HASHING)


@pytest.fixture
def users() -> Iterator[sync.BlockingApplication]:
    with sync.connect(SETTINGS) as connected:
        yield connected


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "ubr.sync"]


def test_every_use_case_is_a_blocking_method(users: sync.BlockingApplication) -> None:
    names = {name for name in vars(sync.BlockingApplication) if not name.startswith("_")}
    assert names - {"application", "close", "run"} == {field.name for field in fields(UseCases)}
    assert all(callable(getattr(users, name)) for name in names - {"application"})
    assert all(hasattr(sync.BlockingApplication, name) for name in names)


def test_calls_and_their_errors(users: sync.BlockingApplication) -> None:
    command = RegisterUserCommand(email="a@example.org", password=PASSWORD)
    user = users.register_user(command, actor=SYSTEM)
    tokens = users.log_in(LogInCommand(email="a@example.org", password=PASSWORD))
    assert users.authenticate(tokens.access_token).user_id == user.id
    assert users.get_public_keys()
    with pytest.raises(errors.EmailTaken):
        users.register_user(command, actor=SYSTEM)


def test_many_threads_call_at_once(users: sync.BlockingApplication) -> None:
    def create(number: int) -> str:
        return users.create_user(CreateUserCommand(email=f"{number}@example.org"), actor=SYSTEM).email

    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(create, range(64)))) == 64


def test_the_origin_of_the_caller_goes_along(users: sync.BlockingApplication) -> None:
    with calling_from(Origin(ip="192.0.2.1")):
        users.create_user(CreateUserCommand(email="a@example.org"), actor=SYSTEM)
    [entry] = users.list_logs(ListLogsCommand(action="user.created"), actor=SYSTEM).items
    assert entry.ip == "192.0.2.1"


async def test_a_thread_with_an_event_loop_is_refused() -> None:
    with pytest.raises(WrongEventLoop, match="Await the use case there"):
        sync.connect(SETTINGS)

    def call_in_a_loop(users: sync.BlockingApplication) -> None:
        async def call() -> None:
            users.get_public_keys()

        asyncio.run(call())

    def elsewhere() -> None:
        with sync.connect(SETTINGS) as users, pytest.raises(WrongEventLoop):
            call_in_a_loop(users)

    await asyncio.to_thread(elsewhere)


def test_a_call_that_takes_too_long_is_cancelled() -> None:
    started, cancelled = threading.Event(), threading.Event()

    async def wait() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with sync.connect(SETTINGS, timeout=0.01) as users:
        while not started.is_set():  # on a busy machine a call may be cancelled before it starts
            with pytest.raises(sync.CallTimeout):
                users.run(wait)
        assert cancelled.wait(60)


def test_a_call_that_is_cancelled_before_it_starts_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its caller waits for its end, and must not wait in vain."""
    monkeypatch.setattr("ubr.sync._ENDING", 120.0)
    entered, go_on = threading.Event(), threading.Event()

    async def occupy() -> None:
        entered.set()
        go_on.wait()

    async def nothing() -> None:
        pass

    with sync.connect(SETTINGS, timeout=0.01) as users, ThreadPoolExecutor(2) as pool:
        occupying = pool.submit(users.run, occupy)
        entered.wait()
        late = pool.submit(users.run, nothing)
        # The loop is occupied until the second call has been given up, and so is cancelled before its first step.
        while not occupying.running() or not late.running():
            time.sleep(0.01)
        time.sleep(0.1)
        go_on.set()
        with pytest.raises(sync.CallTimeout):
            late.result(60)


def test_a_closed_connection_is_refused_and_its_thread_ends() -> None:
    before = len(threads())
    users = sync.connect(SETTINGS)
    assert len(threads()) == before + 1
    users.close()
    users.close()
    assert len(threads()) == before
    with pytest.raises(sync.Closed):
        users.get_public_keys()


def test_the_end_waits_for_calls_of_other_threads() -> None:
    users = sync.connect(SETTINGS)
    started, results = threading.Event(), []

    async def work() -> str:
        started.set()
        for _ in range(100):
            await asyncio.sleep(0)
        return "done"

    thread = threading.Thread(target=lambda: results.append(users.run(work)))
    thread.start()
    started.wait()
    users.close()
    thread.join()
    assert results == ["done"]


def test_an_error_of_the_connection_is_raised_and_no_thread_is_left(tmp_path: Path) -> None:
    before = len(threads())
    missing = Settings.memory(database_url=f"sqlite:///{tmp_path / 'nowhere' / 'ubr.db'}", migrate="check")
    with pytest.raises(errors.StoreUnavailable):
        sync.connect(missing)
    assert len(threads()) == before


def test_a_connection_that_nobody_holds_ends() -> None:
    before = len(threads())
    users = sync.connect(SETTINGS)
    assert users.get_public_keys()
    del users
    assert len(threads()) == before


def global_state() -> dict[str, object]:
    """State of the interpreter that belongs to the program and not to a library."""
    root = logging.getLogger()
    return {
        "signals": [signal.getsignal(each) for each in signal.valid_signals()],
        "handlers": list(root.handlers),
        "levels": [root.level, logging.getLogger("ubr").level, logging.root.manager.disable],
        "policy": type(asyncio.get_event_loop_policy()),
        "hooks": [sys.excepthook, sys.unraisablehook, threading.excepthook, sys.displayhook],
        "folder": Path.cwd(),
        "recursion": sys.getrecursionlimit(),
        "locale": locale.setlocale(locale.LC_ALL),
    }


def test_two_connections_at_once_are_apart_and_change_nothing_of_the_program() -> None:
    before = global_state()
    with sync.connect(SETTINGS) as first, sync.connect(SETTINGS) as second:
        for users in (first, second):
            users.create_user(CreateUserCommand(email="a@example.org"), actor=SYSTEM)
            assert len(users.list_users(ListUsersCommand(), actor=SYSTEM).items) == 1
        assert global_state() == before
    assert global_state() == before


HEADER = """
import os, signal, sys, threading
import ubr, ubr.sync
from ubr import Settings, SYSTEM
from ubr.testing import TINY_HASHING
stored = {"database_url": sys.argv[1], "migrate": "auto"} if len(sys.argv) > 1 else {}
settings = Settings.memory(**TINY_HASHING, **stored)
users = ubr.sync.connect(settings)
"""


def script(text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - it is ours
        [sys.executable, "-W", "error", "-c", HEADER + text, *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.system
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_program_that_closes_nothing_ends_by_itself(kind: str, tmp_path: Path) -> None:
    done = script("users.get_public_keys()", *([f"sqlite:///{tmp_path / 'ubr.db'}"] if kind == "sqlite" else []))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.system
def test_a_fork_is_refused_and_its_end_leaves_the_parent_alone() -> None:
    done = script("""
child = os.fork()
if child == 0:
    try:
        users.get_public_keys()
    except ubr.sync.ForkedProcess as error:
        assert "after the fork" in str(error)
        other = ubr.sync.connect(settings)
        assert other.get_public_keys()
        sys.exit(7)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 7, status
assert users.get_public_keys()
print("ok")
""")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


@pytest.mark.system
def test_an_interrupt_cancels_the_call_and_the_connection_stays_usable() -> None:
    done = script("""
import asyncio
import locale
import logging
import os
import signal
ended = threading.Event()
async def wait():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()
    finally:
        ended.set()
try:
    users.run(wait)
except KeyboardInterrupt:
    assert ended.is_set()
    assert users.get_public_keys()
    print("ok")
""")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")
