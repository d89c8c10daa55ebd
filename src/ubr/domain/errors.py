"""Everything that can go wrong, on one screen.

A *kind* (direct child of `UbrError`) says what the caller can do about it; a *leaf* adds a stable `code`, and stands
beside what it is about. Entry points translate kinds, never leaves: the HTTP status of a kind is known in one file
there and nowhere else.
"""

from __future__ import annotations

from ubr.domain.accounts.errors import (
    Busy,
    EmailTaken,
    InvalidCredentials,
    InvalidLink,
    ReauthenticationRequired,
    RegistrationClosed,
    UserNotFound,
    WeakPassword,
    WrongPassword,
)
from ubr.domain.audit.errors import CheckpointMismatch, LogDamaged, LogEntryNotFound, LogKeyLocked
from ubr.domain.error_kinds import (
    Conflict,
    Contradictory,
    Forbidden,
    IdempotencyKeyReused,
    InputError,
    Invalid,
    InvalidCursor,
    NotFound,
    PreconditionFailed,
    RateLimited,
    StoreUnavailable,
    TransactionConflict,
    UbrError,
    Unauthenticated,
    Unavailable,
)
from ubr.domain.keys.errors import NoSigningKey, SecretMismatch, SigningKeyLocked, SigningKeyNotFound
from ubr.domain.mail.errors import MailRefused, MailUnavailable, QueuedMailNotFound
from ubr.domain.roles.errors import BuiltInRole, GrantExceedsOwn, LastAdmin, RoleNameTaken, RoleNotFound, TooManyRoles
from ubr.domain.sessions.errors import InvalidToken, SessionNotFound

__all__ = [
    "BuiltInRole",
    "Busy",
    "CheckpointMismatch",
    "Conflict",
    "Contradictory",
    "EmailTaken",
    "Forbidden",
    "GrantExceedsOwn",
    "IdempotencyKeyReused",
    "InputError",
    "Invalid",
    "InvalidCredentials",
    "InvalidCursor",
    "InvalidLink",
    "InvalidToken",
    "LastAdmin",
    "LogDamaged",
    "LogEntryNotFound",
    "LogKeyLocked",
    "MailRefused",
    "MailUnavailable",
    "NoSigningKey",
    "NotFound",
    "PreconditionFailed",
    "QueuedMailNotFound",
    "RateLimited",
    "ReauthenticationRequired",
    "RegistrationClosed",
    "RoleNameTaken",
    "RoleNotFound",
    "SecretMismatch",
    "SessionNotFound",
    "SigningKeyLocked",
    "SigningKeyNotFound",
    "StoreUnavailable",
    "TooManyRoles",
    "TransactionConflict",
    "UbrError",
    "Unauthenticated",
    "Unavailable",
    "UserNotFound",
    "WeakPassword",
    "WrongPassword",
]
