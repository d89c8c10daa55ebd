"""Protection of the secrets that a serving process holds in memory."""

from __future__ import annotations

import logging
import os
import sys
from typing import Final

_PR_SET_DUMPABLE: Final = 4

AS_ROOT: Final = "ubr runs as root, but needs no privilege of root: start it as a user of its own"

_log: Final = logging.getLogger("ubr.process")


def protect_secrets() -> None:
    """Keep the memory of this process, and of its later forks, out of core dumps and away from debuggers.

    On Linux, other processes of the same user can then read neither its memory nor its environment.
    """
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - Windows does not have it

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - only a serving process needs it

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def runs_as_root() -> bool:
    return sys.platform != "win32" and os.geteuid() == 0


def warn_of_root() -> None:
    """Log a warning if this process runs as root."""
    if runs_as_root():
        _log.warning(AS_ROOT)
