"""The forbidden passwords: a built-in list, and the operator's list. No external service is used."""

from __future__ import annotations

import stat
import unicodedata
from array import array
from bisect import bisect_left
from functools import cache, lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Final

from ubr.application.ports.accounts import CommonPasswords
from ubr.domain.accounts.passwords import MAX_PASSWORD_LENGTH

MAX_LINES: Final = 1_000_000
_MAX_LINE_LENGTH: Final = 4 * MAX_PASSWORD_LENGTH + 2
"""In bytes: the longest password, plus the end of the line."""


def is_common(password: str) -> bool:
    return password in _listed()


@cache
def _listed() -> frozenset[str]:
    """30,000 from leaks, in lower case."""
    # Costs a twentieth of a second and 16 MB: only for processes in which a password is set.
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # noqa: PLC0415

    return frozenset(FREQUENCY_LISTS["passwords"])


def common_and_listed(path: str) -> CommonPasswords:
    """The built-in list and a file in UTF-8: one password a line, no comments, blank lines ignored.

    Errors: `ValueError` with the end of a sentence that begins with the file.
    """
    try:
        found = Path(path).stat()
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("is not a file")
        digests = _read(path, found.st_mtime_ns, found.st_size)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None

    def is_listed(password: str) -> bool:
        digest = _digest(password)
        at = bisect_left(digests, digest)
        return at < len(digests) and digests[at] == digest

    return lambda password: is_common(password) or is_listed(password)


@lru_cache(maxsize=1)
def _read(path: str, _changed: int, _size: int) -> array[int]:
    """Digests in order. Workers are forks of a process that has read the file, and share its memory."""
    # Eight bytes for each password of any length. A collision of two texts is practically impossible, and would only
    # reject a password that might have been allowed.
    digests = array("Q")
    with Path(path).open("rb") as file:
        number = 0
        while line := file.readline(_MAX_LINE_LENGTH + 1):
            number += 1
            if number > MAX_LINES:
                raise ValueError(f"has more than {MAX_LINES} lines")
            if len(line) > _MAX_LINE_LENGTH:
                raise ValueError(f"has a text longer than any password in line {number}")
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                raise ValueError(f"is not UTF-8 in line {number}") from None
            if text and not text.isspace():
                digests.append(_digest(unicodedata.normalize("NFC", text).casefold()))
    return array("Q", sorted(digests))


def _digest(password: str) -> int:
    return int.from_bytes(blake2b(password.encode("utf-8", "surrogatepass"), digest_size=8).digest())
