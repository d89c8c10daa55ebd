"""What ends what."""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Final

from ubr.domain.sessions.events import EVICTED


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
    EVICTED = EVICTED


class TerminationScope(Enum):
    """Which of a user's sessions an event ends."""

    NONE = "none: rights change at once, no session ends"
    ONE = "the one it is about"
    OTHERS = "all but the one that acted, where that is the user's own"
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
    SecurityEvent.EVICTED: TerminationScope.ONE,
}
"""What ends what. A session that ends takes its refresh tokens with it."""

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
"""After which the one-time links of a user are no longer good: they were sent to, or asked for by, who was before.

But for those that take back a change of e-mail: that can be done whatever happened since, but for what an operator
does, or a change before it that is taken back.
"""
