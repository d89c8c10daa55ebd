"""All errors, on one screen.

A *kind* (direct child of `UbrError`) determines what the caller can do about it; a *leaf* adds a stable `code`, and is
defined in the module of its capability. Entry points translate kinds, never leaves: only one file there knows the HTTP
status of a kind.
"""

from __future__ import annotations

from ubr.domain.accounts.errors import (
    Busy,
    EmailTaken,
    InvalidCredentials,
    InvalidLink,
    MachineAccount,
    ReauthenticationRequired,
    RegistrationClosed,
    UserNotFound,
    WeakPassword,
    WrongPassword,
)
from ubr.domain.audit.errors import (
    CheckpointMismatch,
    EventsMissing,
    LogDamaged,
    LogEntryNotFound,
    LogKeyLocked,
    LogPrunedMeanwhile,
)
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
    StoreTooSlow,
    StoreUnavailable,
    TransactionConflict,
    UbrError,
    Unauthenticated,
    Unavailable,
)
from ubr.domain.keys.errors import NoSigningKey, SecretMismatch, SigningKeyLocked, SigningKeyNotFound
from ubr.domain.machines.errors import (
    InvalidClient,
    InvalidScope,
    MachineKeyEnded,
    MachineKeyNotFound,
    MachineNameTaken,
    MachineNotFound,
    TooManyMachineKeys,
    UnsupportedGrantType,
)
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
    "EventsMissing",
    "Forbidden",
    "GrantExceedsOwn",
    "IdempotencyKeyReused",
    "InputError",
    "Invalid",
    "InvalidClient",
    "InvalidCredentials",
    "InvalidCursor",
    "InvalidLink",
    "InvalidScope",
    "InvalidToken",
    "LastAdmin",
    "LogDamaged",
    "LogEntryNotFound",
    "LogKeyLocked",
    "LogPrunedMeanwhile",
    "MachineAccount",
    "MachineKeyEnded",
    "MachineKeyNotFound",
    "MachineNameTaken",
    "MachineNotFound",
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
    "StoreTooSlow",
    "StoreUnavailable",
    "TooManyMachineKeys",
    "TooManyRoles",
    "TransactionConflict",
    "UbrError",
    "Unauthenticated",
    "Unavailable",
    "UnsupportedGrantType",
    "UserNotFound",
    "WeakPassword",
    "WrongPassword",
]
