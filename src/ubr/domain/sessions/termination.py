"""Security events, and the sessions and links that each ends."""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Final

from ubr.domain.sessions.events import EVICTED


class SecurityEvent(StrEnum):
    """The reasons for which sessions end. The values are stable: the log stores them."""

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
    KEY_REVOKED = "key_revoked"
    EVICTED = EVICTED


class TerminationScope(Enum):
    """The sessions of a user that an event ends."""

    NONE = "none: permissions change at once, no session ends"
    ONE = "that session"
    OTHERS = "all, except the current session if it is the user's own"
    KEY = "those of that key of the machine"
    ALL = "all"


SESSION_TERMINATION: Final[dict[SecurityEvent, TerminationScope]] = {
    SecurityEvent.LOG_OUT: TerminationScope.ONE,
    SecurityEvent.REVOKED: TerminationScope.ONE,
    SecurityEvent.OTHERS_REVOKED: TerminationScope.OTHERS,
    SecurityEvent.ALL_REVOKED: TerminationScope.ALL,
    SecurityEvent.PASSWORD_CHANGED: TerminationScope.OTHERS,
    SecurityEvent.PASSWORD_RESET: TerminationScope.ALL,
    SecurityEvent.CLAIMED: TerminationScope.ALL,
    SecurityEvent.EMAIL_CHANGED: TerminationScope.OTHERS,
    SecurityEvent.EMAIL_CHANGE_UNDONE: TerminationScope.ALL,
    SecurityEvent.ROLE_CHANGED: TerminationScope.NONE,
    SecurityEvent.GRANT_EXPIRED: TerminationScope.NONE,
    SecurityEvent.DISABLED: TerminationScope.ALL,
    SecurityEvent.DELETED: TerminationScope.ALL,
    SecurityEvent.TAKEN_OVER: TerminationScope.ALL,
    SecurityEvent.TOKEN_REUSED: TerminationScope.ONE,
    SecurityEvent.KEY_REVOKED: TerminationScope.KEY,
    SecurityEvent.EVICTED: TerminationScope.ONE,
}
"""The scope of each event. The refresh tokens of a session end with it."""

LINK_TERMINATION: Final = frozenset(
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
"""The events that end the one-time links of a user: a person who no longer controls the account may hold or have
requested them.

Exception: links that undo a change of e-mail. They survive all events, except for an act of an operator, and the
undoing of an earlier change.
"""
