"""A serving process protects the secrets in its memory, and says so if it runs as root."""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import resource
import sys
from multiprocessing.queues import SimpleQueue

import pytest

from ubr.entrypoints.cli.hardening import protect_secrets, warn_of_root

pytestmark = pytest.mark.system

PR_GET_DUMPABLE = 3


def protected(told: SimpleQueue[tuple[object, int]]) -> None:
    protect_secrets()
    dumpable = ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) if sys.platform == "linux" else 0
    told.put((resource.getrlimit(resource.RLIMIT_CORE), dumpable))


def test_a_process_that_holds_secrets_cannot_be_dumped() -> None:
    context = multiprocessing.get_context("fork")
    told = context.SimpleQueue()
    process = context.Process(target=protected, args=(told,))
    process.start()
    assert told.get() == ((0, 0), 0)
    process.join()
    told.close()


@pytest.mark.parametrize(("user", "lines"), [(0, 1), (1000, 0)])
def test_a_service_of_root_is_warned_of(
    user: int, lines: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    with caplog.at_level(logging.WARNING, "ubr.process"):
        warn_of_root()
    assert len(caplog.messages) == lines
    assert all("runs as root" in line for line in caplog.messages)
