"""The file of a SQLite database: its password hashes are for the account of the service alone."""

from __future__ import annotations

import logging
import os
import stat
from contextlib import suppress
from typing import Final

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO

OPEN_TO_OTHERS: Final = (
    "other users of this machine can read or write the database file %s: run `chmod 600 %s` for the file, and for "
    "those beside it that end in -wal and -shm"
)

_log: Final = logging.getLogger("ubr.sql")

_warned: Final[set[str]] = set()
"""Files with a warning in the log. One process opens a file many times."""


def private_file(path: str) -> None:
    """Create the file, if it is missing, so that only its owner can read it, and warn if others can.

    SQLite gives its own new files the same permissions: the write-ahead log, which holds the same rows. The permissions
    of an existing file are unchanged, because a group may be meant to read it. An error is left to SQLite, which
    describes it.
    """
    with suppress(OSError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with suppress(OSError):
        whole = os.path.abspath(path)  # noqa: PTH100 - the path is a text
        if open_to_others(path) and whole not in _warned:
            _warned.add(whole)
            _log.warning(OPEN_TO_OTHERS, path, path)


def open_to_others(path: str) -> bool:
    """True if other users can read or write a file. Errors: `OSError`."""
    return bool(os.stat(path).st_mode & _OTHERS)  # noqa: PTH116 - the path is a text
