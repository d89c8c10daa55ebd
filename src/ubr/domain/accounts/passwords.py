"""Passwords: which are allowed, and how they are stored."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from ubr.domain.accounts.email import Email
from ubr.domain.accounts.errors import WeakPassword
from ubr.domain.concealed import Concealed
from ubr.domain.error_kinds import InputError, Invalid


class PasswordHash(Concealed, frozen=True):
    """An encoded password hash (PHC string). Its `repr` hides it."""

    encoded: str


MAX_PASSWORD_LENGTH: Final = 1024
"""Maximum number of code points in a password. A bound on input, not a rule about strength."""

PASSWORD_MIN_LENGTH_FLOOR: Final = 8
PASSWORD_MIN_LENGTH_CEILING: Final = 64
"""The bounds within which the operator sets the minimum number of code points of a new password."""

PASSWORD_MIN_LENGTH_DEFAULT: Final = 15

_SERVICE_NAME: Final = "ubr"

_MIN_WORD_LENGTH: Final = 3

_BESIDE: Final = 8
"""Letters and digits that a password needs in addition to any known data about its owner that it contains."""


def bounded_password(raw: str, pointer: str = "/password") -> str:
    """A password in the form that is hashed: NFC (NIST SP 800-63B-4, 3.1.1.2), never trimmed or truncated.

    Errors: `Invalid` if it cannot be a password: too long, or with control characters or lone surrogates. The strength
    of a password is checked when it is set, never at login.
    """
    if not 1 <= len(raw) <= MAX_PASSWORD_LENGTH:
        raise Invalid.at(pointer, f"must have between 1 and {MAX_PASSWORD_LENGTH} characters")
    if any(unicodedata.category(char) in {"Cc", "Cs"} for char in raw):
        raise Invalid.at(pointer, "contains a control character")
    return unicodedata.normalize("NFC", raw)


def check_password(
    raw: str,
    *,
    min_length: int,
    email: Email,
    is_common: Callable[[str], bool],
    is_guessable: Callable[[str], bool],
    full_name: str | None = None,
    pointer: str = "/password",
) -> str:
    """The normal form of a password that may be set. No composition rules (NIST SP 800-63B-4, 3.1.1.2).

    `is_common` returns True for a common password in lower case. It is asked about the whole password and about the
    unit that the password repeats, but not about single words in it. `is_guessable` returns True for a text that is
    easy to guess; it is asked about the unit that the password repeats. The password may contain known data about the
    owner if it also contains enough else.

    Errors: those of `bounded_password`; `WeakPassword` if it is too short, one repeated character, a common or
    guessable password, repeated or not, or the owner's e-mail, the owner's name, the service's name, or a word of
    these, with fewer than eight other letters and digits.
    """
    password = bounded_password(raw, pointer)
    if len(password) < min_length:
        raise WeakPassword(None, InputError(pointer, f"must have at least {min_length} characters"))
    local, name = email.key.partition("@")[0], full_name or ""
    known = [_SERVICE_NAME, email.address, email.key, local, name]
    if len(set(password)) == 1 or any(_repeats(password, word) for word in known):
        raise WeakPassword(None, InputError(pointer, "is too easy to guess"))
    if _little_beside(password, [*known, *_words(local), *_words(name)]):
        raise WeakPassword(None, InputError(pointer, "is too similar to the e-mail, the name or the service's name"))
    if any(map(is_common, _units(password.casefold()))):
        raise WeakPassword(None, InputError(pointer, "is one of the most common passwords, or a repetition of one"))
    if is_guessable(next(_units(password))):
        raise WeakPassword(None, InputError(pointer, "is a common word, number or pattern with little added to it"))
    return password


def _units(text: str) -> Iterator[str]:
    """The text itself, and each prefix that it repeats. The last repetition may be incomplete."""
    return (text[:length] for length in range(1, len(text) + 1) if text.startswith(text[length:]))


def _repeats(password: str, word: str) -> bool:
    """True if a password consists of one word, once or repeated. The last repetition may be incomplete.

    Only letters and digits count, and upper case equals lower case. False if the password has fewer of them than the
    word.
    """
    plain, unit = (_letters(password), _letters(word))
    return 0 < len(unit) <= len(plain) and plain == (unit * (len(plain) // len(unit) + 1))[: len(plain)]


def _words(text: str) -> list[str]:
    return "".join(char if char.isalnum() else " " for char in text).split()


def _little_beside(password: str, known: Iterable[str]) -> bool:
    """True if a password contains known data and too little else, ignoring case, spaces and punctuation."""
    plain = _letters(password)
    rest = plain
    for word in sorted({_letters(word) for word in known}, key=len, reverse=True):
        if len(word) >= _MIN_WORD_LENGTH:
            rest = rest.replace(word, " ")  # a space, so that the text on both sides does not form a new word
    return rest != plain and sum(char != " " for char in rest) < _BESIDE


def _letters(text: str) -> str:
    return "".join(char for char in text.casefold() if char.isalnum())
