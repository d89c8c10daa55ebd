"""The rules that span more than one thing. Pure functions and tables: tests and docs are made from them."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from enum import Enum, StrEnum
from typing import Final

from ubr.domain import events
from ubr.domain.errors import Flaw, GrantExceedsOwn, Invalid, WeakPassword
from ubr.domain.values import EVERYTHING, Email, Permission, Permissions

# --- permissions -----------------------------------------------------------------------------------------------------

USERS_READ: Final = Permission("users:read")
USERS_WRITE: Final = Permission("users:write")
USERS_DELETE: Final = Permission("users:delete")
ROLES_READ: Final = Permission("roles:read")
ROLES_WRITE: Final = Permission("roles:write")
ROLES_ASSIGN: Final = Permission("roles:assign")
SESSIONS_READ: Final = Permission("sessions:read")
SESSIONS_REVOKE: Final = Permission("sessions:revoke")
LOGS_READ: Final = Permission("logs:read")
REVOCATIONS_READ: Final = Permission("revocations:read")

BUILT_IN_PERMISSIONS: Final = Permissions.of(
    [
        EVERYTHING,
        USERS_READ,
        USERS_WRITE,
        USERS_DELETE,
        ROLES_READ,
        ROLES_WRITE,
        ROLES_ASSIGN,
        SESSIONS_READ,
        SESSIONS_REVOKE,
        LOGS_READ,
        REVOCATIONS_READ,
    ]
)


def nobody_rises(own: Permissions, *of_target: Permissions) -> None:
    """Whoever changes another must hold every permission that the target has before and would have after.

    Errors: `GrantExceedsOwn`.
    """
    if not all(map(own.cover, of_target)):
        raise GrantExceedsOwn


# --- passwords -------------------------------------------------------------------------------------------------------

PASSWORD_LENGTH: Final = 1024
"""The most code points a password may have. A bound on input, not a rule about strength."""

_SERVICE_NAME: Final = "ubr"
_SHORTEST_WORD: Final = 3
_BESIDE: Final = 8
"""How many letters and digits a password has beside what anybody knows of its owner, where it holds any of that."""


def bounded_password(raw: str, pointer: str = "/password") -> str:
    """A password as it is hashed: NFC (NIST SP 800-63B-4, 3.1.1.2), nothing trimmed, nothing cut off.

    Errors: `Invalid` for what cannot be anybody's password: too long to be looked at, or with control characters or
    halves of surrogate pairs. Whether it is a *good* one is asked where a password is set, never at log-in.
    """
    if not 1 <= len(raw) <= PASSWORD_LENGTH:
        raise Invalid.at(pointer, f"must have between 1 and {PASSWORD_LENGTH} characters")
    if any(unicodedata.category(char) in {"Cc", "Cs"} for char in raw):
        raise Invalid.at(pointer, "holds a control character")
    return unicodedata.normalize("NFC", raw)


def check_password(
    raw: str,
    *,
    min_length: int,
    email: Email,
    is_common: Callable[[str], bool],
    full_name: str | None = None,
    pointer: str = "/password",
) -> str:
    """The normal form of a password that may be set. No composition rules (NIST SP 800-63B-4, 3.1.1.2).

    `is_common` says of a text in lower case whether everybody tries it first. The whole password is asked about, and
    what it is a row of, but no word in it. What anybody knows of the owner may be in it where enough else is.

    Errors: `Invalid` as `bounded_password` has it; `WeakPassword` where it is too short, of one repeated character, a
    common password, however often repeated, or the owner's e-mail, name, the service's name, or a word of these, with
    fewer than eight letters and digits beside it.
    """
    password = bounded_password(raw, pointer)
    if len(password) < min_length:
        raise WeakPassword(None, Flaw(pointer, f"must have at least {min_length} characters"))
    local, name = email.key.partition("@")[0], full_name or ""
    known = [_SERVICE_NAME, email.address, email.key, local, name]
    if len(set(password)) == 1 or any(_repeats(password, word) for word in known):
        raise WeakPassword(None, Flaw(pointer, "is too easy to guess"))
    if _little_beside(password, [*known, *_words(local), *_words(name)]):
        raise WeakPassword(None, Flaw(pointer, "is too much like the e-mail, the name or the name of the service"))
    if any(map(is_common, _units(password.casefold()))):
        raise WeakPassword(None, Flaw(pointer, "is one of the most common passwords, or a row of one"))
    return password


def _units(text: str) -> Iterator[str]:
    """The text itself, and each beginning of it that it is a row of, the last one perhaps cut short."""
    return (text[:length] for length in range(1, len(text) + 1) if text.startswith(text[length:]))


def _repeats(password: str, word: str) -> bool:
    """Whether a password is a word, or a row of it, but for case, spaces and punctuation.

    One with fewer letters than the word is something else, however many other characters it has.
    """
    plain, unit = (_letters(password), _letters(word))
    return 0 < len(unit) <= len(plain) and plain == (unit * (len(plain) // len(unit) + 1))[: len(plain)]


def _words(text: str) -> list[str]:
    return "".join(char if char.isalnum() else " " for char in text).split()


def _little_beside(password: str, known: Iterable[str]) -> bool:
    """Whether a password holds what is known, and less than enough else, but for case, spaces and punctuation."""
    plain = _letters(password)
    rest = plain
    for word in sorted({_letters(word) for word in known}, key=len, reverse=True):
        if len(word) >= _SHORTEST_WORD:
            rest = rest.replace(word, " ")  # and not nothing: what stood around it makes no new word
    return rest != plain and sum(char != " " for char in rest) < _BESIDE


def _letters(text: str) -> str:
    return "".join(char for char in text.casefold() if char.isalnum())


# --- what ends what --------------------------------------------------------------------------------------------------


class SecurityEvent(StrEnum):
    """Why sessions end. The values are stable: they stand in the log."""

    LOG_OUT = "log_out"
    REVOKED = "revoked"
    OTHERS_REVOKED = "others_revoked"
    ALL_REVOKED = "all_revoked"
    PASSWORD_CHANGED = "password_changed"
    PASSWORD_RESET = "password_reset"
    CLAIMED = "claimed"
    EMAIL_CHANGED = "email_changed"
    EMAIL_CHANGE_UNDONE = "email_change_undone"
    ROLE_CHANGED = "role_changed"
    GRANT_EXPIRED = "grant_expired"
    DISABLED = "disabled"
    DELETED = "deleted"
    TAKEN_OVER = "taken_over"
    TOKEN_REUSED = "token_reused"
    EVICTED = events.EVICTED


class Reach(Enum):
    """Which of a user's sessions an event ends."""

    NONE = "none: rights change at once, nobody is signed out"
    ONE = "the one it is about"
    OTHERS = "all but the one that acted, where that is the user's own"
    ALL = "all"


ENDS: Final[dict[SecurityEvent, Reach]] = {
    SecurityEvent.LOG_OUT: Reach.ONE,
    SecurityEvent.REVOKED: Reach.ONE,
    SecurityEvent.OTHERS_REVOKED: Reach.OTHERS,
    SecurityEvent.ALL_REVOKED: Reach.ALL,
    SecurityEvent.PASSWORD_CHANGED: Reach.OTHERS,
    SecurityEvent.PASSWORD_RESET: Reach.ALL,
    SecurityEvent.CLAIMED: Reach.ALL,
    SecurityEvent.EMAIL_CHANGED: Reach.OTHERS,
    SecurityEvent.EMAIL_CHANGE_UNDONE: Reach.ALL,
    SecurityEvent.ROLE_CHANGED: Reach.NONE,
    SecurityEvent.GRANT_EXPIRED: Reach.NONE,
    SecurityEvent.DISABLED: Reach.ALL,
    SecurityEvent.DELETED: Reach.ALL,
    SecurityEvent.TAKEN_OVER: Reach.ALL,
    SecurityEvent.TOKEN_REUSED: Reach.ONE,
    SecurityEvent.EVICTED: Reach.ONE,
}
"""What ends what. A session that ends takes its refresh tokens with it."""

ENDS_LINKS: Final = frozenset(
    {
        SecurityEvent.PASSWORD_CHANGED,
        SecurityEvent.PASSWORD_RESET,
        SecurityEvent.CLAIMED,
        SecurityEvent.EMAIL_CHANGED,
        SecurityEvent.EMAIL_CHANGE_UNDONE,
        SecurityEvent.DISABLED,
        SecurityEvent.DELETED,
        SecurityEvent.TAKEN_OVER,
    }
)
"""After which the one-time links of a user are no longer good: they were sent to, or asked for by, who was before.

But for those that take back a change of e-mail: that can be done whatever happened since, but for what an operator
does, or a change before it that is taken back.
"""

RETRY_WINDOW: Final = timedelta(seconds=10)
"""How long a spent refresh token still yields its successor, so that a lost answer signs nobody out."""

REAUTHENTICATION: Final = timedelta(minutes=10)
"""How recent a log-in must be before its user may delete their own account."""

SHORTEST_GRANT: Final = timedelta(seconds=60)
"""How far ahead the end of a grant must lie."""


def union(parts: Iterable[Permissions]) -> Permissions:
    """All permissions of several sets."""
    return Permissions(frozenset().union(*(part.names for part in parts)))
