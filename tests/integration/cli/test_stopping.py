"""The supervisor stops its workers."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from multiprocessing.process import BaseProcess
from types import SimpleNamespace
from typing import Any

import pytest

from ubr.entrypoints.cli import supervisor
from ubr.entrypoints.cli.supervisor import Supervisor
from ubr.settings import Settings

pytestmark = pytest.mark.system


def forked(*, deaf: bool) -> BaseProcess:
    """A process that a signal ends, or that is deaf to the signals for its end."""
    ready = multiprocessing.get_context("fork").Event()

    def work() -> None:
        if deaf:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        ready.set()
        signal.pause()

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    assert ready.wait(60)
    return process


def stop(process: BaseProcess, caplog: pytest.LogCaptureFixture) -> list[str]:
    """Stop a process as the only worker. Returns what the supervisor logs."""
    server = Supervisor(Settings.from_env({}), "127.0.0.1")
    worker: Any = SimpleNamespace(idx=0, inner=process, terminate=process.terminate)
    server.wrks.append(worker)
    with caplog.at_level(logging.WARNING):
        server._stop_workers()  # noqa: SLF001 - the server calls it at its end
    assert server.wrks == []
    return caplog.messages


def test_a_worker_whose_end_another_thread_has_seen_is_not_killed(caplog: pytest.LogCaptureFixture) -> None:
    process = forked(deaf=False)
    process.terminate()
    assert process.pid is not None
    os.waitpid(process.pid, 0)
    assert process.is_alive()  # as far as the object knows
    assert stop(process, caplog) == []


def test_a_worker_that_does_not_stop_is_killed(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "DRAIN", 0)
    process = forked(deaf=True)
    assert stop(process, caplog) == ["Worker 1 did not end within 0 seconds, and is killed"]
    assert process.exitcode == -signal.SIGKILL
