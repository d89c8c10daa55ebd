"""Estimates how many guesses an attacker with common passwords, words and patterns needs for a password."""

from __future__ import annotations

from typing import Final

MIN_GUESSES: Final = 100_000_000
"""A password that takes fewer guesses is guessable: a score below 3 of 4 in the scale of zxcvbn."""

PART: Final = 24
"""Maximum length of a text that is estimated at once, in characters. The cost grows faster than the length."""

MAX_SYMBOLS: Final = 4
"""Maximum number of different symbols in a part. The cost doubles with each symbol that may stand for a letter."""

_SYMBOLS: Final = frozenset("@({[<!|$+%")
"""The symbols that zxcvbn also reads as letters, as in `p@$$w0rd`."""


def is_guessable(password: str) -> bool:
    """True if a password takes fewer than `MIN_GUESSES` guesses.

    A password longer than `PART` counts as several that are guessed one after the other. Most take enough guesses in
    the first part. A part with more than `MAX_SYMBOLS` takes enough without an estimate.
    """
    # Loaded only where a password is set, like the list of common passwords.
    from zxcvbn import zxcvbn  # noqa: PLC0415

    guesses = 1.0
    for start in range(0, len(password), PART):
        part = password[start : start + PART]
        if len(_SYMBOLS.intersection(part)) > MAX_SYMBOLS:
            return False
        guesses *= float(zxcvbn(part)["guesses"])
        if guesses >= MIN_GUESSES:
            return False
    return True
