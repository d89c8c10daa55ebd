"""All events, in the past tense. Every event is one log entry, written in the transaction of the act.

`data()` holds ids and facts, never an e-mail, a name or a secret, because an entry outlives the person it describes.
"""

from __future__ import annotations

from typing import Final

from ubr.domain.accounts.events import (
    AccountClaimed,
    AdminTakenOver,
    EmailChangeAsked,
    EmailChanged,
    EmailChangeUndone,
    EmailVerified,
    LinkIssued,
    PasswordChanged,
    PasswordReset,
    PersonEvent,
    UserCreated,
    UserDeleted,
    UserDisabled,
    UserEnabled,
    UserRegistered,
    UserUpdated,
)
from ubr.domain.audit.events import (
    LOG_KEY_CREATED,
    LOG_KEY_ROTATED,
    LOG_PRUNED,
    RESTORED,
    ActRefused,
    IdempotencyKeyMismatched,
    LogEntryRead,
    LogExported,
    LogKeyCreated,
    LogKeyEvent,
    LogKeyRewrapped,
    LogKeyRotated,
    LogPruned,
    LogRead,
    RequestsRejected,
    Restored,
)
from ubr.domain.event_kinds import Event, Facts, Level, RoleEvent, SessionEvent, Target, TargetType, UserEvent
from ubr.domain.ids import UserId
from ubr.domain.keys.events import (
    PasswordsRewrapped,
    SigningKeyCreated,
    SigningKeyEvent,
    SigningKeyRevoked,
    SigningKeyRewrapped,
    SigningKeyRotated,
)
from ubr.domain.mail.events import MailEvent, MailGivenUp, MailRetried
from ubr.domain.revocation.events import VerifierRegistered
from ubr.domain.roles.events import RoleAssigned, RoleCreated, RoleDeleted, RoleUnassigned, RoleUpdated
from ubr.domain.sessions.events import (
    EVICTED,
    LogInFailed,
    LogInLocked,
    NoSessionRevoked,
    SessionOpened,
    SessionRefreshed,
    SessionRevoked,
    TokenReused,
)

__all__ = [
    "EVENTS",
    "EVICTED",
    "LOG_KEY_CREATED",
    "LOG_KEY_ROTATED",
    "LOG_PRUNED",
    "RESTORED",
    "AccountClaimed",
    "ActRefused",
    "AdminTakenOver",
    "EmailChangeAsked",
    "EmailChangeUndone",
    "EmailChanged",
    "EmailVerified",
    "Event",
    "Facts",
    "IdempotencyKeyMismatched",
    "Level",
    "LinkIssued",
    "LogEntryRead",
    "LogExported",
    "LogInFailed",
    "LogInLocked",
    "LogKeyCreated",
    "LogKeyEvent",
    "LogKeyRewrapped",
    "LogKeyRotated",
    "LogPruned",
    "LogRead",
    "MailEvent",
    "MailGivenUp",
    "MailRetried",
    "NoSessionRevoked",
    "PasswordChanged",
    "PasswordReset",
    "PasswordsRewrapped",
    "PersonEvent",
    "RequestsRejected",
    "Restored",
    "RoleAssigned",
    "RoleCreated",
    "RoleDeleted",
    "RoleEvent",
    "RoleUnassigned",
    "RoleUpdated",
    "SessionEvent",
    "SessionOpened",
    "SessionRefreshed",
    "SessionRevoked",
    "SigningKeyCreated",
    "SigningKeyEvent",
    "SigningKeyRevoked",
    "SigningKeyRewrapped",
    "SigningKeyRotated",
    "Target",
    "TargetType",
    "TokenReused",
    "UserCreated",
    "UserDeleted",
    "UserDisabled",
    "UserEnabled",
    "UserEvent",
    "UserRegistered",
    "UserUpdated",
    "VerifierRegistered",
    "actions",
    "actor_of",
]

EVENTS: Final[tuple[type[Event], ...]] = (
    UserRegistered,
    UserCreated,
    UserUpdated,
    UserDisabled,
    UserEnabled,
    UserDeleted,
    PasswordChanged,
    PasswordReset,
    EmailVerified,
    AccountClaimed,
    EmailChangeAsked,
    EmailChanged,
    EmailChangeUndone,
    AdminTakenOver,
    LinkIssued,
    SessionOpened,
    SessionRefreshed,
    SessionRevoked,
    NoSessionRevoked,
    TokenReused,
    LogInFailed,
    LogInLocked,
    RoleCreated,
    RoleUpdated,
    RoleDeleted,
    RoleAssigned,
    RoleUnassigned,
    LogRead,
    LogEntryRead,
    LogExported,
    LogPruned,
    LogKeyCreated,
    LogKeyRotated,
    LogKeyRewrapped,
    Restored,
    ActRefused,
    IdempotencyKeyMismatched,
    RequestsRejected,
    SigningKeyCreated,
    SigningKeyRotated,
    SigningKeyRevoked,
    SigningKeyRewrapped,
    PasswordsRewrapped,
    MailGivenUp,
    MailRetried,
    VerifierRegistered,
)
"""Every event that becomes a log entry."""


def actions() -> dict[str, type[Event]]:
    """Every action name of the log, with its event class."""
    return {event.action: event for event in EVENTS}


def actor_of(event: Event, actor: UserId | None) -> UserId | None:
    """The recorded actor: the authenticated user, else the user that the event itself identifies."""
    return actor if actor is not None else event.subject
