"""The time limit of a check, so that the command ends whatever is down."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable
from contextlib import suppress
from typing import Final

from ubr.domain.errors import UbrError
from ubr.entrypoints.findings import Finding, error, not_checked

SECONDS: Final = 15.0
"""For a check. Its own connections have shorter limits, and then the finding has the reason."""


async def limited(
    check: Awaitable[list[Finding]], subject: str, *others: str, seconds: float = SECONDS
) -> list[Finding]:
    """The findings of a check about these subjects. If it fails or takes too long, that is the finding."""
    try:
        async with asyncio.timeout(seconds):
            return await check
    except TimeoutError:
        problem = error(subject, f"The check took longer than {seconds:g} s, and was ended.")
    except UbrError as unexpected:
        problem = error(subject, f"{unexpected.detail}.")
    except Exception as bug:  # noqa: BLE001 - the other checks still say what they found
        # Its text is not shown: it may contain a secret.
        problem = error(subject, f"The check failed with {type(bug).__name__}: please report this error of ubr.")
    return [problem, *not_checked(f"the check of the {subject} failed", *others)]


async def is_resolved(host: str, seconds: float = 3.0) -> bool:
    """False if the name of a host is not resolved in time. An unknown name counts as resolved: connecting explains it.

    The thread is a daemon: the process can end while the resolver of the system still waits for an answer.
    """
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def resolve() -> None:
        with suppress(OSError, UnicodeError):
            socket.getaddrinfo(host, None)
        with suppress(RuntimeError):  # the loop has ended without this answer
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=resolve, daemon=True, name="doctor-resolver").start()
    try:
        async with asyncio.timeout(seconds):
            await done.wait()
    except TimeoutError:
        return False
    return True
